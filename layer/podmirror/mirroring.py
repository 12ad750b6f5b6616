"""Sessions that deliver to local ports, with everything that is said about it: what `mirror` and `exec` share."""

import asyncio
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from podmirror.delivery import CONNECT_SECONDS
from podmirror.errors import TooMuchLoss
from podmirror.forwarding import Forwarding, LateJoins, OnGap, Outcome
from podmirror.inflow import Inflow
from podmirror.ledger import LayerLedger, Move
from podmirror.listenaddress import ListenAddress
from podmirror.livestats import LiveStats
from podmirror.losslimit import LossLimit
from podmirror.progress import Progress
from podmirror.source import Source
from podmirror.stats import Sample
from podmirror.verdict import sentences

if TYPE_CHECKING:
    from podmirror.metrics import MetricsServer, Stock

NOTED_PER_OUTCOME = 3
"""Connections of one kind of trouble that are told one by one; the ledger counts them all."""

_REASONS = {
    Outcome.GAP: "bytes were missed by the capture; it was reset behind the last byte that is certain",
    Outcome.CUT: "given up by the agent, because its buffers were full",
    Outcome.SHED: "shed by the agent, because its CPU budget was used up",
    Outcome.TLS: "TLS cannot be replayed, so it is not delivered",
    Outcome.SERVER_FIRST: "the server spoke first, which cannot be replayed, so it is not delivered",
    Outcome.UNJOINED: "it was open before the session began, and no HTTP/1 request was recognised in it",
    Outcome.HTTP2: "it was open before the session began, and HTTP/2 cannot be joined late, so it is not delivered",
    Outcome.SKIPPED: "it was open before the session began, and --late-joins skip leaves it out",
    Outcome.WITHHELD: "part of a request could not be redacted safely and was left out; it was reset there",
}


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """What to say, and where."""

    max_loss: LossLimit | None = None
    ledger_file: Path | None = None
    verbose: bool = False
    stats: bool = False
    metrics: ListenAddress | None = None


class Mirroring:
    """Delivers connections, notes what cannot be delivered, and reports at the end."""

    def __init__(
        self,
        progress: Progress,
        report: ReportOptions,
        *,
        on_gap: OnGap,
        late_joins: LateJoins = "http",
        screened: bool = False,
    ) -> None:
        self._progress = progress
        self._report = report
        self._on_gap: OnGap = on_gap
        self._late_joins: LateJoins = late_joins
        self._screened = screened
        self._noted: dict[str, int] = {}
        self._waited_for: set[int] = set()
        self._local_ports: dict[int, int] = {}
        self._ended = False
        self._inflows: list[Inflow] = []
        self._source: Source | None = None
        self._stats: LiveStats | None = None
        self._metrics: MetricsServer | None = None

    @property
    def ledger(self) -> LayerLedger:
        """What became of the connections that ended, of all pods."""
        ledger = LayerLedger.merged(inflow.ledger for inflow in self._inflows)
        ledger.moves = self._moves
        return ledger

    async def begin(self) -> None:
        """Begin to serve metrics, if that is asked for; before anything is injected.

        Raises:
            NotStarted: The address cannot be had.
        """
        if self._report.metrics is not None:
            from podmirror.metrics import MetricsServer  # aiohttp takes a quarter of a second to import

            self._metrics = await MetricsServer.start(self._report.metrics, self._take_stock)
            self._progress.note(f"metrics are served at http://{self._metrics.address}/metrics")

    def join(self, pod: str) -> Inflow:
        """Give what takes the frames of the connections of another pod."""
        inflow = Inflow(
            pod,
            on_gap=self._on_gap,
            late_joins=self._late_joins,
            screened=self._screened,
            on_outcome=self._receive_outcome,
            on_waiting=self._receive_waiting,
        )
        for remote, local in self._local_ports.items():
            inflow.delivery.map_port(remote, local)
        if self._ended:
            inflow.delivery.end()
        self._inflows.append(inflow)
        return inflow

    def attach(self, source: Source, *, shares_terminal: bool = False) -> None:
        """Use these sessions from now on, and show figures, if that is asked for.

        Args:
            source: The sessions.
            shares_terminal: Whether somebody else writes to the terminal, whose lines figures that move would tear.
        """
        self._source = source
        if self._report.stats:
            self._stats = LiveStats(self._progress, self._take_sample, in_place=not shares_terminal)

    async def subscribe(self, remote: int, local: int) -> None:
        """Mirror a port of the pod to a local one. The ports of a file are all subscribed before it is read.

        Raises:
            NotStarted: The agent refused.
            AgentLost: It was lost.
        """
        assert self._source is not None, "attach comes before subscribe"
        with self._progress.step(f"subscribing port {remote}") as step:
            self._local_ports[remote] = local
            for inflow in self._inflows:
                inflow.delivery.map_port(remote, local)
            await self._source.subscribe(remote)
            step.done = f"subscribed: port {remote} of the pod goes to local port {local}"

    def end_delivery(self) -> None:
        """The local process has ended: what it does not take from now on is no loss."""
        self._ended = True
        for inflow in self._inflows:
            inflow.delivery.end()

    async def drain(self) -> None:
        """Let local connections take their time to end; when nothing more comes."""
        await asyncio.gather(*(inflow.drain() for inflow in self._inflows))

    async def finish(self) -> None:
        """Let local connections end, and tell the ledger; after the sessions have ended."""
        try:
            await asyncio.gather(*(inflow.finish() for inflow in self._inflows))
        finally:
            if self._stats is not None:
                await self._stats.stop()
                self._stats = None
            if self._metrics is not None:
                await self._metrics.close()
                self._metrics = None
            if self._source is not None:
                mirrored = [(inflow.pod, inflow.ledger) for inflow in self._mirrored]
                self._progress.tell(sentences(self.ledger, mirrored))
                self._write_ledger()

    def check_loss(self) -> None:
        """Hold the ledger against `--max-loss`.

        Raises:
            TooMuchLoss: More was lost than that.
        """
        limit = self._report.max_loss
        excess = limit.excess(self.ledger) if limit is not None else ""
        if excess:
            raise TooMuchLoss(excess)

    @property
    def _moves(self) -> tuple[Move, ...]:
        return tuple(self._source.moves) if self._source is not None else ()

    @property
    def _mirrored(self) -> list[Inflow]:
        """Those whose session has begun."""
        return [inflow for inflow in self._inflows if inflow.session is not None]

    def _count_all(self) -> LayerLedger:
        ledger = LayerLedger.merged([inflow.take_stock() for inflow in self._inflows])
        ledger.moves = self._moves
        return ledger

    def _take_sample(self) -> Sample:
        ledger = self._count_all()
        now = time.monotonic()
        cores = [inflow.agent_cores(now) for inflow in self._inflows]
        used = [each for each in cores if each is not None]
        return Sample(now, ledger, self._open_connections, sum(used) if used else None)

    @property
    def _open_connections(self) -> int:
        return sum(inflow.delivery.open_connections for inflow in self._inflows)

    def _take_stock(self) -> "Stock":
        from podmirror.metrics import Stock  # imported by now

        connected = any(inflow.connected for inflow in self._inflows)
        return Stock(self.ledger, self._count_all(), self._open_connections, connected)

    def _write_ledger(self) -> None:
        if self._report.ledger_file is None:
            return
        pods = [{"pod": inflow.pod, **inflow.ledger.as_dict()} for inflow in self._mirrored]
        text = json.dumps({**self.ledger.as_dict(), "pods": pods}) + "\n"
        try:
            if str(self._report.ledger_file) == "-":
                sys.stdout.write(text)
            else:
                self._report.ledger_file.write_text(text)
        except OSError as error:
            self._progress.note(
                f"the ledger could not be written to {self._report.ledger_file}: {error.strerror}"
            )

    def _receive_waiting(self, port: int) -> None:
        if port not in self._waited_for:
            self._waited_for.add(port)
            self._progress.note(
                f"nothing accepts connections on local port {port} yet; trying for {CONNECT_SECONDS:g} s"
            )

    def _receive_outcome(self, pod: str, forwarding: Forwarding, trouble: str) -> None:
        reason = trouble or _REASONS.get(forwarding.outcome, "")
        opened = forwarding.opened
        what = f"{opened.initiator} to port {opened.responder.port}" + (f" of {pod}" if pod else "")
        if self._report.verbose:
            said = f": {reason}" if reason else ""
            late = f", joined late behind {forwarding.skipped:,} bytes" if _joined_late(forwarding) else ""
            self._progress.note(
                f"{what} {forwarding.outcome.value}, {forwarding.written:,} bytes{late}{said}"
            )
        elif reason:
            kind = trouble or forwarding.outcome.value
            self._noted[kind] = self._noted.get(kind, 0) + 1
            if self._noted[kind] <= NOTED_PER_OUTCOME:
                self._progress.note(f"connection from {what}: {reason}")


def _joined_late(forwarding: Forwarding) -> bool:
    return forwarding.opened.late and forwarding.written > 0
