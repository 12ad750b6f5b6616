"""What comes from one pod's agent: its connections are delivered, and everything is counted by pod.

Agents number their connections each for itself, so every pod has a delivery and a ledger of its own.
"""

from collections.abc import Callable

from podmirror.delivery import Delivery
from podmirror.forwarding import Forwarding, LateJoins, OnGap
from podmirror.ledger import LayerLedger
from podmirror.session import Session
from podmirror.stats import AgentLoad
from podmirror_wire.frames import ConnectionFrame

FINISH_SECONDS = 2.0
"""For local connections whose mirrored ones have ended, after the session's end; Ctrl-C should not feel slow."""


class Inflow:
    """The connections of one pod."""

    def __init__(
        self,
        pod: str,
        *,
        on_gap: OnGap,
        late_joins: LateJoins,
        screened: bool = False,
        on_outcome: Callable[[str, Forwarding, str], None],
        on_waiting: Callable[[int], None],
    ) -> None:
        """Set what to do with the connections; for the last five see `Delivery`.

        Args:
            pod: The pod's name.
            on_gap: Of `Delivery`.
            late_joins: Of `Delivery`.
            screened: Of `Delivery`.
            on_outcome: Called with the pod's name, too.
            on_waiting: Of `Delivery`.
        """
        self.pod = pod
        self.ledger = LayerLedger()
        self.session: Session | None = None
        self._load = AgentLoad()
        self._left = False
        self.delivery = Delivery(
            self.ledger,
            self._give_credit,
            dismiss=self._dismiss,
            on_gap=on_gap,
            late_joins=late_joins,
            screened=screened,
            on_outcome=lambda forwarding, trouble: on_outcome(pod, forwarding, trouble),
            on_waiting=on_waiting,
        )

    def receive_frame(self, frame: ConnectionFrame) -> None:
        """Take a frame of a mirrored connection."""
        self.delivery.receive_frame(frame)

    def attach(self, session: Session) -> None:
        """Answer to this session from now on."""
        self.session = session

    def expect_end(self) -> None:
        """The pod goes away, and its agent with it: that is told as such, and is no agent lost."""
        self._left = True

    @property
    def connected(self) -> bool:
        """Whether there is a tunnel to an agent; not while a lost one is opened again."""
        return self.session is not None and self.session.connected

    def take_stock(self) -> LayerLedger:
        """Give a copy of the ledger in which the open connections are counted as they stand."""
        ledger = self.delivery.take_stock()
        if self.session is not None:
            link = self.session.link
            ledger.agent = link.counts
            ledger.restarts = link.restarts
            if link.counted is not None:
                self._load.receive_report(link.counted, link.counts.get("cpu_ns", 0))
        return ledger

    def agent_cores(self, now: float) -> float | None:
        """Give the cores that the agent uses, as of the last stock; None if it is quiet."""
        return self._load.cores(now)

    async def drain(self) -> None:
        """Let local connections take their time to end."""
        await self.delivery.drain()

    async def finish(self) -> None:
        """Let local connections end, and count; after the session has ended."""
        try:
            await self.delivery.finish(FINISH_SECONDS)
        finally:
            if self.session is not None:
                self.ledger.agent = self.session.link.counts
                self.ledger.restarts = self.session.link.restarts
                self.ledger.cut_short = self.session.lost and not self._left

    def _give_credit(self, connection: int, size: int) -> None:
        if self.session is not None:
            self.session.link.give_credit(connection, size)

    def _dismiss(self, connection: int) -> None:
        if self.session is not None:
            self.session.link.dismiss(connection)
