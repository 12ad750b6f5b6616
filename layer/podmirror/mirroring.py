"""A session that delivers to local ports, with everything that is said about it: what `mirror` and `exec` share."""

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from podmirror.delivery import CONNECT_SECONDS, Delivery
from podmirror.errors import TooMuchLoss
from podmirror.fleet import Fleet
from podmirror.forwarding import Forwarding, LateJoins, OnGap, Outcome
from podmirror.ledger import LayerLedger
from podmirror.listenaddress import ListenAddress
from podmirror.livestats import LiveStats
from podmirror.losslimit import LossLimit
from podmirror.progress import Progress
from podmirror.stats import AgentLoad, Sample
from podmirror.verdict import sentences
from podmirror_wire.frames import ConnectionFrame

if TYPE_CHECKING:
    from podmirror.metrics import MetricsServer, Stock

FINISH_SECONDS = 2.0
"""For local connections whose mirrored ones have ended, after the session's end; Ctrl-C should not feel slow."""

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
        self, progress: Progress, report: ReportOptions, *, on_gap: OnGap, late_joins: LateJoins = "http"
    ) -> None:
        self.ledger = LayerLedger()
        self._progress = progress
        self._report = report
        self._noted: dict[str, int] = {}
        self._by_pod: dict[str, int] = {}
        """Connections that ended, by pod, if there is or was more than one."""
        self._session: Fleet | None = None
        self._load = AgentLoad()
        self._stats: LiveStats | None = None
        self._metrics: MetricsServer | None = None
        self._delivery = Delivery(
            self.ledger,
            self._give_credit,
            dismiss=self._dismiss,
            on_gap=on_gap,
            late_joins=late_joins,
            on_outcome=self._receive_outcome,
            on_waiting=self._receive_waiting,
        )

    async def begin(self) -> None:
        """Begin to serve metrics, if that is asked for; before anything is injected.

        Raises:
            NotStarted: The address cannot be had.
        """
        if self._report.metrics is not None:
            from podmirror.metrics import MetricsServer  # aiohttp takes a quarter of a second to import

            self._metrics = await MetricsServer.start(self._report.metrics, self._take_stock)
            self._progress.note(f"metrics are served at http://{self._metrics.address}/metrics")

    def receive_frame(self, frame: ConnectionFrame) -> None:
        """Take a frame of a mirrored connection."""
        self._delivery.receive_frame(frame)

    def attach(self, session: Fleet, *, shares_terminal: bool = False) -> None:
        """Use this session from now on, and show figures, if that is asked for.

        Args:
            session: The session.
            shares_terminal: Whether somebody else writes to the terminal, whose lines figures that move would tear.
        """
        self._session = session
        if self._report.stats:
            self._stats = LiveStats(self._progress, self._take_sample, in_place=not shares_terminal)

    async def subscribe(self, remote: int, local: int) -> None:
        """Mirror a port of the pod to a local one.

        Raises:
            NotStarted: The agent refused.
            AgentLost: It was lost.
        """
        assert self._session is not None, "attach comes before subscribe"
        with self._progress.step(f"subscribing port {remote}") as step:
            self._delivery.map_port(remote, local)
            await self._session.subscribe(remote)
            step.done = f"subscribed: port {remote} of the pod goes to local port {local}"

    def end_delivery(self) -> None:
        """The local process has ended: what it does not take from now on is no loss."""
        self._delivery.end()

    async def finish(self) -> None:
        """Let local connections end, and tell the ledger; after the session has ended."""
        try:
            await self._delivery.finish(FINISH_SECONDS)
        finally:
            if self._session is not None:
                self.ledger.agent = self._session.link.counts
                self.ledger.cut_short = self._session.lost
            if self._stats is not None:
                await self._stats.stop()
                self._stats = None
            if self._metrics is not None:
                await self._metrics.close()
                self._metrics = None
            if self._session is not None:
                self._progress.tell(sentences(self.ledger))
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

    def _count_all(self) -> LayerLedger:
        ledger = self._delivery.take_stock()
        if self._session is not None:
            link = self._session.link
            ledger.agent = link.counts
            if link.counted is not None:
                self._load.receive_report(link.counted, link.counts.get("cpu_ns", 0))
        return ledger

    def _take_sample(self) -> Sample:
        ledger = self._count_all()
        now = time.monotonic()
        return Sample(now, ledger, self._delivery.open_connections, self._load.cores(now))

    def _take_stock(self) -> "Stock":
        from podmirror.metrics import Stock  # imported by now

        connected = self._session is not None and not self._session.lost
        return Stock(self.ledger, self._count_all(), self._delivery.open_connections, connected)

    def _write_ledger(self) -> None:
        if self._report.ledger_file is None:
            return
        pods = (
            {"pods": {pod: self._by_pod.get(pod, 0) for pod in self._session.pods}}
            if self._session is not None
            else {}
        )
        text = json.dumps({**self.ledger.as_dict(), **pods}) + "\n"
        try:
            if str(self._report.ledger_file) == "-":
                sys.stdout.write(text)
            else:
                self._report.ledger_file.write_text(text)
        except OSError as error:
            self._progress.note(
                f"the ledger could not be written to {self._report.ledger_file}: {error.strerror}"
            )

    def _give_credit(self, connection: int, size: int) -> None:
        if self._session is not None:
            self._session.link.give_credit(connection, size)

    def _dismiss(self, connection: int) -> None:
        if self._session is not None:
            self._session.link.dismiss(connection)

    def _receive_waiting(self, port: int) -> None:
        self._progress.note(
            f"nothing accepts connections on local port {port} yet; trying for {CONNECT_SECONDS:g} s"
        )

    def _receive_outcome(self, forwarding: Forwarding, trouble: str) -> None:
        reason = trouble or _REASONS.get(forwarding.outcome, "")
        opened = forwarding.opened
        pod = self._session.label(opened.connection) if self._session is not None else ""
        if pod:
            self._by_pod[pod] = self._by_pod.get(pod, 0) + 1
        of_pod = f" of {pod}" if pod else ""
        what = f"{opened.initiator} to port {opened.responder.port}{of_pod}"
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
