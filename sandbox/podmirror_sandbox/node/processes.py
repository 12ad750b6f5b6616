"""The children of process 1, and the orphans that the kernel hands to it.

Theory of operation: in a PID namespace every process whose parent dies becomes a child of process 1, which must collect
it or it stays as a zombie. asyncio's own child watchers only collect what asyncio started. So this module is the only one
in the node that starts processes, and on SIGCHLD it collects *every* child; those it knows get their exit code, the rest
are orphans and are forgotten. Starting and registering a process happen without an await in between, so a child cannot
end unnoticed. For the same reason nothing in the node may use `asyncio.create_subprocess_exec` or `Popen.wait`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class CommandFailed(Exception):
    """A helper program (`ip`, `mount`) that ended with an error."""


class Process:
    """One running child."""

    def __init__(self, popen: subprocess.Popen[bytes], ended: asyncio.Future[int]) -> None:
        self._popen = popen
        self._ended = ended
        self.pid = popen.pid

    async def wait(self) -> int:
        """The exit code, negative for the number of the signal that ended it."""
        return await asyncio.shield(self._ended)

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return not self._ended.done()

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self.is_running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def children(self) -> list[int]:
        """The processes it has started, as seen from here."""
        return [pid for pid in _all_pids() if _parent_of(pid) == self.pid]


class Processes:
    """Starts processes and collects them."""

    def __init__(self) -> None:
        self._running: dict[int, tuple[subprocess.Popen[bytes], asyncio.Future[int]]] = {}

    def watch(self) -> None:
        """Begin to collect; needs the running loop."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self.collect)

    def start(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        output: int | IO[bytes] = subprocess.DEVNULL,
        errors: int | IO[bytes] = subprocess.STDOUT,
    ) -> Process:
        """Start a process in a session of its own.

        Raises:
            OSError: when it cannot be started.
        """
        # Not a context manager: the object must live as long as the process, and is never waited on.
        popen = subprocess.Popen(
            list(argv), env=env, stdin=stdin, stdout=output, stderr=errors, start_new_session=True
        )
        ended = asyncio.get_running_loop().create_future()
        self._running[popen.pid] = (popen, ended)
        return Process(popen, ended)

    async def run(self, argv: Sequence[str], text: str = "") -> None:
        """Run a helper program to its end, with `text` on its standard input.

        Raises:
            CommandFailed: with what it said, when it ended with an error.
        """
        # Unnamed files rather than pipes: no side can block, and nothing has to be read while the program runs.
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said:
            given.write(text.encode())
            given.seek(0)
            process = self.start(argv, stdin=given, output=said)
            code = await process.wait()
            said.seek(0)
            words = said.read(4096).decode(errors="replace").strip()
        if code != 0:
            raise CommandFailed(f"{' '.join(argv)} ended with {code}: {words}")

    def collect(self) -> None:
        """Collect every child that has ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            known = self._running.pop(pid, None)
            if known is not None:
                popen, ended = known
                # Tells Popen that nobody needs to wait any more; it would complain about a running process.
                popen.returncode = os.waitstatus_to_exitcode(status)
                if not ended.done():
                    ended.set_result(popen.returncode)


def _all_pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _parent_of(pid: int) -> int | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The name in parentheses may hold anything, so count the fields behind the last one.
    return int(text.rpartition(")")[2].split()[1])
