"""A session that delivers to local ports, with everything that is said about it: what `mirror` and `exec` share."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from podmirror.delivery import CONNECT_SECONDS, Delivery
from podmirror.errors import TooMuchLoss
from podmirror.forwarding import Forwarding, LateJoins, OnGap, Outcome
from podmirror.ledger import LayerLedger, LossLimit
from podmirror.progress import Progress
from podmirror.session import Session
from podmirror_wire.frames import ConnectionFrame

FINISH_SECONDS = 2.0
"""For local connections whose mirrored ones have ended, after the session's end; Ctrl-C should not feel slow."""

NOTED_PER_OUTCOME = 3
"""Connections of one kind of trouble that are told one by one; the ledger counts them all."""

_REASONS = {
    Outcome.GAP: "bytes were missed by the capture; it was reset behind the last byte that is certain",
    Outcome.CUT: "given up by the agent, because its buffers were full",
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


class Mirroring:
    """Delivers connections, notes what cannot be delivered, and reports at the end."""

    def __init__(
        self, progress: Progress, report: ReportOptions, *, on_gap: OnGap, late_joins: LateJoins = "http"
    ) -> None:
        self.ledger = LayerLedger()
        self._progress = progress
        self._report = report
        self._noted: dict[str, int] = {}
        self._session: Session | None = None
        self._delivery = Delivery(
            self.ledger,
            self._give_credit,
            dismiss=self._dismiss,
            on_gap=on_gap,
            late_joins=late_joins,
            on_outcome=self._receive_outcome,
            on_waiting=self._receive_waiting,
        )

    def receive_frame(self, frame: ConnectionFrame) -> None:
        """Take a frame of a mirrored connection."""
        self._delivery.receive_frame(frame)

    def attach(self, session: Session) -> None:
        """Use this session from now on."""
        self._session = session

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
                self._progress.tell(self.ledger.lines())
                self._write_ledger()

    def check_loss(self) -> None:
        """Hold the ledger against `--max-loss`.

        Raises:
            TooMuchLoss: More was lost than that.
        """
        limit = self._report.max_loss
        if limit is not None and limit.exceeded_by(self.ledger):
            if self.ledger.lost:
                raise TooMuchLoss(
                    f"{self.ledger.lost} of {self.ledger.connections} connections lost bytes, over --max-loss"
                )
            raise TooMuchLoss(
                "--max-loss 0 was asked for, and the ledger cannot rule out that something was missed"
            )

    def _write_ledger(self) -> None:
        if self._report.ledger_file is None:
            return
        text = json.dumps(self.ledger.as_dict()) + "\n"
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
        what = f"{opened.initiator} to port {opened.responder.port}"
        if self._report.verbose:
            said = f": {reason}" if reason else ""
            self._progress.note(f"{what} {forwarding.outcome.value}, {forwarding.written:,} bytes{said}")
        elif reason:
            kind = trouble or forwarding.outcome.value
            self._noted[kind] = self._noted.get(kind, 0) + 1
            if self._noted[kind] <= NOTED_PER_OUTCOME:
                self._progress.note(f"connection from {what}: {reason}")
