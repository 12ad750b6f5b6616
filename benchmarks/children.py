"""Child processes: started in a namespace and on a core, awaited, never left behind, and their use of the machine read."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.namespaces import Namespace, Namespaces

ROOT = Path(__file__).parent.parent
CHILD_SECONDS = 20.0
"""For a child to answer or to end; on a busy machine importing scapy alone can take some seconds."""

_CORES = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else [0]
LOAD_CORE, CAPTURE_CORE = _CORES[0], _CORES[-1]
"""A capture has a core of its own; what makes the load, and what takes the agent's output, share another. On a machine with
one core they are the same."""

Child = subprocess.Popen[str]


@contextlib.contextmanager
def started(command: list[str], core: int | None = None, **options: object) -> Iterator[Child]:
    """Run a command beside the block, from the repository's root; at the end of the block it is killed if need be."""
    with subprocess.Popen(command, cwd=ROOT, text=True, **options) as process:  # type: ignore[call-overload]
        try:
            if core is not None:
                os.sched_setaffinity(process.pid, {core})
            yield process
        finally:
            process.kill()


def piped(
    made: Namespaces, namespace: Namespace, command: list[str], core: int, **options: object
) -> contextlib.AbstractContextManager[Child]:
    """Run a command in a namespace, with pipes to its standard input and output."""
    return started(
        made.command(namespace, *command), core, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options
    )


def python(module: str, *arguments: str) -> list[str]:
    """Give the command line of a Python module."""
    return [sys.executable, "-m", module, *arguments]


def wait_until_said(process: Child, what: str) -> None:
    """Wait for a line on a child's standard output, which must be the next one.

    The child must say nothing more before its standard input ends, or `result_of` would miss it.

    Raises:
        RuntimeError: Another line came, or the process ended.
    """
    assert process.stdout is not None
    line = process.stdout.readline()
    if line != f"{what}\n":
        raise RuntimeError(f"{process.args!r} did not say {what!r}, but {line!r}")


def result_of(process: Child, seconds: float = CHILD_SECONDS) -> dict[str, float]:
    """Close a child's standard input, and give the line of JSON that it ends with.

    Raises:
        RuntimeError: It failed, or did not end in time.
    """
    try:
        told, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"{process.args!r} did not end within {seconds:g} s") from error
    if process.returncode != 0:
        raise RuntimeError(f"{process.args!r} failed, with exit code {process.returncode}")
    try:
        result: dict[str, float] = json.loads(told)
    except ValueError as error:
        raise RuntimeError(f"{process.args!r} ended with {told!r}") from error
    return result


def cpu_seconds(pid: int) -> float:
    """Read the CPU time of a process, user and system, of all threads that it has now.

    From schedstat, in nanoseconds (Documentation/scheduler/sched-stats.rst); /proc/PID/stat counts in hundredths of a second.
    """
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def resident_bytes(pid: int) -> tuple[int, int]:
    """Read what a process has in memory: packet rings aside, and in packet rings.

    A ring belongs to the kernel and is not charged to the container; the process merely maps it.
    """
    return parse_smaps(Path(f"/proc/{pid}/smaps").read_text())


def parse_smaps(text: str) -> tuple[int, int]:
    """Give the resident bytes of all mappings but packet rings, and of packet rings.

    In /proc/PID/smaps (proc(5)) a mapping of a socket has the name `socket:[inode]`.
    """
    other = rings = 0
    in_ring = False
    for line in text.splitlines():
        words = line.split()
        if words[0] == "Rss:" and in_ring:
            rings += int(words[1]) << 10
        elif words[0] == "Rss:":
            other += int(words[1]) << 10
        elif not words[0].endswith(":"):  # the heading of a mapping, with its name last
            in_ring = len(words) > 5 and words[5].startswith("socket:")
    return other, rings
