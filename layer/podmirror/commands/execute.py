"""`podmirror exec`: run a command with the target's traffic."""

import asyncio
import signal
from typing import Any

import click

from podmirror.errors import AgentLost, NotStarted, UsageError
from podmirror.localagent import Reading
from podmirror.mirroring import Mirroring
from podmirror.mirroroptions import mirroring_options, take_wish
from podmirror.portmap import PortPair
from podmirror.process import POLL_SECONDS, LocalProcess, check_runnable
from podmirror.progress import Progress
from podmirror.session import SessionOptions
from podmirror.source import Source, open_source

SILENT_SECONDS = 10.0
"""After which a command that listens on no port yet is worth a word."""


@click.command("exec", context_settings={"allow_interspersed_args": False})
@mirroring_options
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, required=True, metavar="-- COMMAND...")
def command(pairs: tuple[PortPair, ...], arguments: tuple[str, ...], **options: Any) -> int:
    """Run a command with the target's traffic.

    The ports are found from what the command listens on: its port 3000 gets the pod's port 3000, or with -p 80:3000 the
    pod's port 80, or with -p 80 the pod's port 80 whatever its own.

    With -r, the connections of a capture file instead, as soon as the command listens on all ports that are named; when
    they are over the command goes on.

    \b
    podmirror exec -t deployment/web -p 80:3000 -- python app.py
    podmirror exec -r capture.pcapng -p 80:3000 -- python app.py
    """
    if options["file"] is not None and not pairs:
        raise UsageError("with -r, name at least one port: -p REMOTE:LOCAL")
    if options["file"] == "-":
        raise UsageError("the standard input is the command's; name a file with -r")
    check_runnable(arguments[0])
    return run(list(arguments), *take_wish(pairs, options))


def run(
    arguments: list[str],
    pairs: list[PortPair],
    origin: SessionOptions | Reading,
    progress: Progress,
    mirroring: Mirroring,
    *,
    outlives_agent: bool = True,
) -> int:
    """Run a command with the traffic of a target or a file, and give its exit code, or the session's if that is zero.

    Args:
        arguments: The command.
        pairs: The ports.
        origin: Where and how to start an agent, or the file.
        progress: Told what happens.
        mirroring: Delivers and reports.
        outlives_agent: Let the command run on when the agent is lost. It may be somebody's work; the demo's is not.

    Raises:
        PodmirrorError: The session could not be started, was lost, or lost too much.
    """
    return asyncio.run(_Run(arguments, pairs, progress, mirroring, outlives_agent=outlives_agent).run(origin))


class _Run:
    """One run of the command with a session beside it."""

    def __init__(
        self,
        arguments: list[str],
        pairs: list[PortPair],
        progress: Progress,
        mirroring: Mirroring,
        *,
        outlives_agent: bool = True,
    ) -> None:
        self._arguments = arguments
        self._pairs = pairs
        self._progress = progress
        self._mirroring = mirroring
        self._outlives_agent = outlives_agent
        self._process: LocalProcess | None = None
        self._file: str | None = None
        """That is read; it begins when all ports are there, and live traffic at once."""

    async def run(self, origin: SessionOptions | Reading) -> int:
        """Give the exit code: the command's own, if that is not zero; else what the session says."""
        self._file = origin.file if isinstance(origin, Reading) else None
        working = asyncio.current_task()
        assert working is not None, "a coroutine runs in a task"
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._receive_signal, number, working)
        lost: AgentLost | None = None
        code = 0
        try:
            await self._mirroring.begin()
            async with open_source(origin, self._progress, self._mirroring.join) as source:
                self._mirroring.attach(source, shares_terminal=True)
                lost, code = await self._run_beside(source)
        finally:
            await self._mirroring.finish()
        if lost is not None and (code == 0 or not self._outlives_agent):
            raise lost
        if code:
            return code
        self._mirroring.check_loss()
        return 0

    def _receive_signal(self, number: signal.Signals, working: "asyncio.Task[object]") -> None:
        if self._process is None:
            working.cancel()
        else:
            self._process.receive_signal(number)

    async def _run_beside(self, source: Source) -> tuple[AgentLost | None, int]:
        for pair in self._pairs:
            if pair.local is not None and self._file is None:
                await self._mirroring.subscribe(pair.remote, pair.local)
        self._process = await LocalProcess.start(self._arguments)
        mirroring = asyncio.create_task(self._mirror(source), name="mirror")
        try:
            code = await self._process.wait()
        except BaseException:
            self._process.terminate()
            raise
        self._mirroring.end_delivery()
        mirroring.cancel()
        (outcome,) = await asyncio.gather(mirroring, return_exceptions=True)
        if isinstance(outcome, BaseException) and not isinstance(outcome, AgentLost | asyncio.CancelledError):
            raise outcome
        return (outcome if isinstance(outcome, AgentLost) else source.loss), code

    async def _mirror(self, source: Source) -> None:
        finding = asyncio.create_task(self._find_ports(), name="find ports")
        try:
            await source.wait()
            await self._mirroring.drain()
            if self._file is not None:
                self._progress.note(f"{self._file} is over; {self._arguments[0]} goes on")
        except AgentLost as lost:
            if self._outlives_agent:
                self._progress.note(f"{lost}. {self._arguments[0]} goes on without mirrored traffic")
            elif self._process is not None:
                self._process.terminate()
            raise
        finally:
            finding.cancel()
            (found,) = await asyncio.gather(finding, return_exceptions=True)
            if isinstance(found, Exception):
                self._progress.note(f"a fault of podmirror's own while looking for ports: {found!r}")

    async def _find_ports(self) -> None:
        try:
            await self._subscribe_as_found()
        except NotStarted as refusal:
            self._progress.note(str(refusal))
        except AgentLost:
            pass  # whoever waits for the session says so

    async def _subscribe_as_found(self) -> None:
        """Subscribe a port of the pod as soon as the command listens on the local port for it."""
        assert self._process is not None, "the command runs"
        wanted = {pair.remote for pair in self._pairs if pair.local is None}
        named = {} if self._file is None else {each.remote: each.local for each in self._pairs if each.local}
        automatic = not self._pairs
        subscribed: set[int] = set()
        loop = asyncio.get_running_loop()
        patience = loop.time() + SILENT_SECONDS
        while automatic or (wanted | named.keys()) - subscribed:
            listening = self._process.listening_ports()
            there = {remote: local for remote, local in named.items() if local in listening}
            for remote, local in (_matches(listening, listening if automatic else wanted) | there).items():
                if remote not in subscribed:
                    subscribed.add(remote)
                    await self._mirroring.subscribe(remote, local)
            if loop.time() > patience:
                patience = float("inf")
                missing = (wanted | named.keys()) - subscribed
                self._tell_missing(subscribed, [named.get(remote, remote) for remote in missing])
            await asyncio.sleep(POLL_SECONDS)

    def _tell_missing(self, subscribed: set[int], missing: list[int]) -> None:
        program = self._arguments[0]
        if missing and self._file is not None:
            ports = ", ".join(map(str, sorted(missing)))
            self._progress.note(
                f"{program} does not listen on {ports} yet; {self._file} is read when it does"
            )
        elif not subscribed:
            self._progress.note(f"{program} listens on no TCP port yet; waiting for one")


def _matches(listening: set[int], wanted: set[int]) -> dict[int, int]:
    """Say which local port serves which wanted port of the pod: the same number, or else the only one there is."""
    matches = {port: port for port in wanted & listening}
    others = listening - wanted
    missing = wanted - listening
    if len(others) == 1 and len(missing) == 1:
        matches[missing.pop()] = others.pop()
    return matches
