"""Child processes in a namespace: started, awaited, never left behind, and their CPU time read."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.namespaces import Namespace, Namespaces

ROOT = Path(__file__).parent.parent
CHILD_SECONDS = 20.0
"""For a child to answer or to end; on a busy machine importing scapy alone can take some seconds."""


@contextlib.contextmanager
def started(command: list[str], **options: int) -> Iterator["subprocess.Popen[str]"]:
    """Run a command beside the block, from the repository's root; at the end of the block it is killed if need be."""
    with subprocess.Popen(command, cwd=ROOT, text=True, **options) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.kill()


def python(
    made: Namespaces, namespace: Namespace, module: str, *arguments: str
) -> contextlib.AbstractContextManager["subprocess.Popen[str]"]:
    """Run a Python module in a namespace, with pipes to its standard input and output."""
    command = made.command(namespace, sys.executable, "-m", module, *arguments)
    return started(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def wait_until_ready(process: "subprocess.Popen[str]") -> None:
    """Wait for the line that says so.

    Raises:
        RuntimeError: Another line came, or the process ended.
    """
    assert process.stdout is not None
    line = process.stdout.readline()
    if line != "ready\n":
        raise RuntimeError(f"{process.args!r} did not get ready: {line!r}")


def cpu_seconds(pid: int) -> float:
    """Read the CPU time of a process, user and system, of all threads that it has now.

    From schedstat, in nanoseconds (Documentation/scheduler/sched-stats.rst); /proc/PID/stat counts in hundredths of a second.
    """
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
