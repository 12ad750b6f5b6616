"""One connection of a subscribed port: its ends, its two streams, and how far it has come."""

from dataclasses import dataclass, field
from enum import Enum

from podmirror_agent.stream import End, Hole, Piece, Stream, StreamEvent, distance
from podmirror_wire.frames import Closed, Data, Ended, Gap, Opened
from podmirror_wire.values import Direction, Endpoint

ConnectionEvent = Opened | Data | Gap | Ended | Closed


class State(Enum):
    """How far a connection has come."""

    HANDSHAKE = "handshake"
    OPEN = "open"
    CLOSED = "closed"
    FOREIGN = "foreign"
    """A call of the pod's own, from a port that is subscribed."""


@dataclass(slots=True, eq=False)
class Connection:
    """A connection of a subscribed port."""

    number: int
    initiator: tuple[bytes, int]
    responder: tuple[bytes, int]
    interface: str
    streams: tuple[Stream, Stream]
    """By direction."""
    pod_time: int
    """Of its first packet, nanoseconds since 1970."""
    last_seen: float
    late: bool = False
    state: State = State.HANDSHAKE
    initial_sequence: int | None = None
    """Of the initiator's SYN."""
    early: list[ConnectionEvent] = field(default_factory=list)
    """What came with the SYN (TCP Fast Open, RFC 7413), until the connection is open."""
    early_charge: int = 0
    """What that took from the budget."""
    paths: list[str | None] = field(default_factory=lambda: [None, None])
    """The interface of each direction."""

    def passes_elsewhere(self, direction: Direction, interface: str) -> bool:
        """Whether packets of that direction are followed on another interface; the first one seen is the one."""
        if self.paths[direction] is None:
            self.paths[direction] = interface
        return self.paths[direction] != interface

    def opened(self) -> Opened:
        """Give the event that announces the connection."""
        return Opened(
            self.number,
            self.late,
            _endpoint(self.initiator),
            _endpoint(self.responder),
            self.pod_time,
            self.interface,
        )

    def events(self, direction: Direction, read: list[StreamEvent]) -> list[ConnectionEvent]:
        """Give what a direction's stream read as events of this connection."""
        named: list[ConnectionEvent] = []
        for event in read:
            match event:
                case Piece(offset, payload):
                    named.append(Data(self.number, direction, offset, payload))
                case Hole(offset, length, reason):
                    named.append(Gap(self.number, direction, offset, length, reason))
                case End(offset):
                    named.append(Ended(self.number, direction, offset))
        return named

    def acknowledges_syn(self, acknowledgment: int) -> bool:
        """Whether a SYN-ACK answers our SYN: it acknowledges the SYN, and some of what came with it."""
        end = self.streams[Direction.TO_RESPONDER].next_sequence
        if self.initial_sequence is None or end is None:
            return False
        return distance(acknowledgment, self.initial_sequence) > 0 and distance(acknowledgment, end) <= 0


def _endpoint(end: tuple[bytes, int]) -> Endpoint:
    address, port = end
    return Endpoint.from_packed(address if len(address) == 16 else bytes(10) + b"\xff\xff" + address, port)
