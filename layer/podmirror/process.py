"""The command of `podmirror exec`: started, watched for the ports it listens on, and ended as the shell would.

Signals. The command stays in the foreground process group of the terminal, so Ctrl-C reaches it from there, once, and it must
not be sent on. A signal that comes from elsewhere (`kill`, a supervisor) reaches only this process, and is sent on. The two are
told apart by the terminal: with one, SIGINT is taken for its Ctrl-C. A second SIGINT is final: the command is terminated.
"""

import asyncio
import errno
import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path

import psutil

from podmirror.errors import NotStarted

POLL_SECONDS = 0.25
"""Between two looks at the listening ports: a server that starts now misses no connection for longer than that."""

TERMINATE_SECONDS = 2.0
NOT_FOUND_CODE, NOT_EXECUTABLE_CODE = 127, 126
"""Exit codes of a command that cannot be run (POSIX, Shell Command Language, 2.8.2)."""


class CommandNotRunnable(NotStarted):
    """The command cannot be run; the exit code is the shell's for that."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def check_runnable(program: str) -> None:
    """Look for a program before anything else is done.

    Raises:
        CommandNotRunnable: There is none, or it may not be executed.
    """
    if shutil.which(program) is not None:
        return
    if os.sep in program and Path(program).exists():
        raise CommandNotRunnable(f"{program}: {os.strerror(errno.EACCES)}", NOT_EXECUTABLE_CODE)
    raise CommandNotRunnable(f"{program}: command not found", NOT_FOUND_CODE)


class LocalProcess:
    """A running command."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._interrupts = 0
        self._terminating: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, command: list[str]) -> "LocalProcess":
        """Run a command with this process's terminal, environment and folder.

        Raises:
            CommandNotRunnable: There is no such program, or it may not be executed.
        """
        check_runnable(command[0])
        try:
            return cls(await asyncio.create_subprocess_exec(*command))
        except OSError as error:
            raise CommandNotRunnable(f"{command[0]}: {error.strerror}", NOT_EXECUTABLE_CODE) from error

    async def wait(self) -> int:
        """Wait for the command's end, and give its exit code as a shell would: 128 + N for signal N."""
        code = await self._process.wait()
        if self._terminating is not None:
            self._terminating.cancel()
        return code if code >= 0 else 128 - code

    def receive_signal(self, number: signal.Signals) -> None:
        """Take a signal that this process received, and send it on if the command did not get it already."""
        if number is signal.SIGINT:
            self._interrupts += 1
            if self._interrupts > 1:
                self.terminate()
                return
        if number in (signal.SIGINT, signal.SIGHUP) and _in_foreground():
            return
        self._send(number)

    def terminate(self) -> None:
        """Ask the command to end, and make it end if it does not."""
        if self._terminating is None:
            self._terminating = asyncio.create_task(self._terminate(), name="terminate the command")

    def listening_ports(self) -> set[int]:
        """Give the TCP ports that the command or a descendant of it listens on."""
        ports: set[int] = set()
        with suppress(psutil.Error):
            parent = psutil.Process(self._process.pid)
            for process in (parent, *parent.children(recursive=True)):
                with suppress(psutil.Error):
                    ports |= {
                        each.laddr.port
                        for each in process.net_connections(kind="tcp")
                        if each.status == psutil.CONN_LISTEN
                    }
        return ports

    async def _terminate(self) -> None:
        self._send(signal.SIGTERM)
        await asyncio.sleep(TERMINATE_SECONDS)
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        # Not `send_signal`: it looks whether the command has ended, and then asyncio never learns how it did.
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, number)


def _in_foreground() -> bool:
    """Whether the terminal's Ctrl-C goes to our process group, and so to the command as well."""
    # The terminal itself, since standard input may come from elsewhere.
    with suppress(OSError):
        terminal = os.open(os.ctermid(), os.O_RDONLY | os.O_NOCTTY)
        try:
            return os.tcgetpgrp(terminal) == os.getpgrp()
        finally:
            os.close(terminal)
    return False
