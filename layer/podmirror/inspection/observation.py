"""What comes from one pod's agent, or from a file's: it goes to the view, and its counts to the account at the end."""

from collections import Counter

from podmirror.credit import Credit
from podmirror.inspection.view import View
from podmirror.packetrecorder import PodPackets
from podmirror.session import Session
from podmirror_wire.frames import Closed, ConnectionFrame, Data, Opened


class Observation:
    """The connections of one pod."""

    def __init__(self, pod: str, view: View, packets: PodPackets | None = None) -> None:
        """Look at a pod; `packets` takes what comes of packets besides, None if none are asked for."""
        self._packets = packets
        self.pod = pod
        self.connections = 0
        self.session: Session | None = None
        self._view = view
        self._left = False
        self._credits: dict[int, Credit] = {}
        self._owed: Counter[int] = Counter()
        """Credit that is due, by connection."""

    def receive_frame(self, frame: ConnectionFrame) -> None:
        """Take the next frame of a connection."""
        if isinstance(frame, Opened):
            self.connections += 1
            self._credits[frame.connection] = Credit()
        self._view.receive_frame(self.pod, frame)
        if self._packets is not None:
            self._packets.receive_frame(frame)
        if isinstance(frame, Data):
            self._owed[frame.connection] += self._credits[frame.connection].take(len(frame.payload))
            if self._owed[frame.connection] and not self._view.is_full:
                self.release()
        elif isinstance(frame, Closed):
            self._credits.pop(frame.connection, None)
            self._owed.pop(frame.connection, None)

    def release(self) -> None:
        """Give the credit that was kept back while the view could take no more."""
        for connection, due in self._owed.items():
            if due and self.session is not None:
                self.session.link.give_credit(connection, due)
        self._owed.clear()

    def attach(self, session: Session) -> None:
        """Answer to this session from now on."""
        self.session = session
        if self._packets is not None:
            session.link.packet_receiver = self._packets.receive

    def expect_end(self) -> None:
        """The pod goes away, and its agent with it: that is told as such, and is no agent lost."""
        self._left = True

    async def finish(self) -> None:
        """Nothing is under way here."""

    @property
    def counts(self) -> dict[str, int]:
        """The agent's ledger, as last heard."""
        return self.session.link.counts if self.session is not None else {}

    @property
    def cut_short(self) -> bool:
        """Whether the agent was lost, so that nobody knows what was missed."""
        return self.session is not None and self.session.lost and not self._left
