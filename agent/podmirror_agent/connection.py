"""One connection of a subscribed port: its ends, its two streams, and how far it has come."""

from enum import Enum
from typing import NamedTuple

from podmirror_agent.budget import OVERHEAD_BYTES, Budget
from podmirror_agent.packet import Way
from podmirror_agent.segment import ACK, FIN, RST, SYN, Segment
from podmirror_agent.stream import (
    MAX_PARKED_BYTES,
    MAX_WINDOW,
    UNKNOWN,
    End,
    Hole,
    Piece,
    Stream,
    StreamEvent,
    Unwanted,
    distance,
)
from podmirror_wire.frames import Closed, Data, Ended, Gap, Omitted, Opened
from podmirror_wire.values import Direction, Endpoint

_PACKET_HOST, _PACKET_OUTGOING = 0, 4
"""sll_pkttype of packet(7)."""


class Shed(NamedTuple):
    """Told of connections that are not mirrored because the agent's CPU budget is used up."""

    port: int
    """Of the responder."""
    connections: int
    """That are shed from now on."""
    bytes: int
    """Payload of one that has ended."""


class Moment(NamedTuple):
    """When what follows was captured."""

    pod_time: int
    """Nanoseconds since 1970."""


ConnectionEvent = Opened | Data | Omitted | Gap | Ended | Closed | Shed | Moment


class State(Enum):
    """How far a connection has come."""

    HANDSHAKE = "handshake"
    OPEN = "open"
    CLOSED = "closed"
    SHED = "shed"
    """Not mirrored: only its end is looked at, to count its bytes."""
    FOREIGN = "foreign"
    """A call of the pod's own, from a port that is subscribed."""


class Connection:
    """A connection of a subscribed port."""

    def __init__(
        self,
        number: int,
        keys: tuple[bytes, bytes],
        ends: tuple[tuple[bytes, int], tuple[bytes, int]],
        streams: tuple[Stream, Stream],
        interface: str,
        pod_time: int,
    ) -> None:
        self.number = number
        self.keys = keys
        """Of its flows, by direction."""
        self.initiator, self.responder = ends
        self.streams = streams
        """By direction."""
        streams[0].reverse, streams[1].reverse = streams[1], streams[0]
        self.interface = interface
        self.pod_time = pod_time
        """Of its first packet, nanoseconds since 1970."""
        self.late = False
        self.state = State.HANDSHAKE
        self.initial_sequence: int = UNKNOWN
        """Of the initiator's SYN."""
        self.rival: int = UNKNOWN
        """Sequence number of another SYN of the initiator, while the connection was open."""
        self.early: list[ConnectionEvent] = []
        """What came with the SYN (TCP Fast Open, RFC 7413), until the connection is open."""
        self.charged: int = 0
        """What the table holds for it of the budget."""
        self._early_charge: int = 0
        """What that took from the budget."""
        self.reset: tuple[Direction, int] | None = None
        """A reset that its receiver may have ignored: its direction and sequence number."""

    @property
    def last_seen(self) -> float:
        """When its last packet came, monotonic seconds."""
        return max(self.streams[0].last_seen, self.streams[1].last_seen)

    def passes_elsewhere(self, segment: Segment, direction: Direction, interface: int, way: Way) -> bool:
        """Whether packets of that direction are followed on another interface, of which this segment is a copy.

        They are followed where they are seen first. What was not seen there is no copy, and if it is next in order the
        direction has moved: a member of a bond has failed, or the interface was made anew.
        """
        stream = self.streams[direction]
        if stream.interface == interface:
            return False
        ahead = distance(segment.sequence, stream.next)
        if stream.interface != UNKNOWN:
            if not self._is_news(segment, stream, ahead):
                return True
            if ahead > 0 or not segment.length:
                return False
        stream.interface = interface
        stream.packet_type = _PACKET_OUTGOING if way is Way.OUTGOING else _PACKET_HOST
        return False

    def _is_news(self, segment: Segment, stream: Stream, ahead: int) -> bool:
        if stream.next == UNKNOWN:
            return True
        if self.state is State.SHED or segment.flags & RST:
            return True
        if segment.length or segment.flags & FIN:
            end = ahead + segment.length + bool(segment.flags & FIN)
            return not stream.ended and end > 0 and ahead < MAX_PARKED_BYTES
        beyond = distance(segment.acknowledgment, stream.reverse.next)
        return not ahead and stream.reverse.next != UNKNOWN and beyond > 0

    def update_readiness(self) -> None:
        """Say of each stream whether the fast path may go on with it."""
        first, second = self.streams
        begun = self.state is State.OPEN and first.next != UNKNOWN and second.next != UNKNOWN
        begun = begun and first.astray == UNKNOWN and second.astray == UNKNOWN and self.reset is None
        first.ready = begun and first.plain
        second.ready = begun and second.plain

    def hold_early(self, syn: Segment, budget: Budget) -> None:
        """Keep what comes with a SYN until the connection is open, if there is room for it."""
        size = syn.length + OVERHEAD_BYTES
        if self._early_charge or not budget.take(size):
            return
        self._early_charge = size
        first = (syn.sequence + 1) & 0xFFFFFFFF
        read = self.streams[Direction.TO_RESPONDER].receive_segment(first, syn.payload, syn.length)
        self.early += self.events(Direction.TO_RESPONDER, read)

    def drop_early(self, budget: Budget) -> None:
        """Give back what that took."""
        self.early = []
        budget.give(self._early_charge)
        self._early_charge = 0

    def receive_answer(self, syn_ack: Segment, budget: Budget) -> None:
        """Take the responder's SYN; what came with the initiator's counts only if the responder took it."""
        self.streams[Direction.TO_INITIATOR].begin((syn_ack.sequence + 1) & 0xFFFFFFFF)
        first = (self.initial_sequence + 1) & 0xFFFFFFFF
        if self.early and syn_ack.acknowledgment == first:
            self.drop_early(budget)
            self.streams[Direction.TO_RESPONDER].begin(first)

    def accepts_answer(self, segment: Segment) -> bool:
        """Whether a segment of the initiator ends the handshake; one that acknowledges another SYN is refused."""
        if not segment.flags & ACK:
            return False
        after = distance(segment.acknowledgment, self.streams[Direction.TO_INITIATOR].next)
        return not self.was_answered or 0 <= after < MAX_WINDOW

    def ends_handshake(self, reset: Segment, direction: Direction) -> bool:
        """Whether a reset concerns the SYN, or the responder's (RFC 9293, 3.10.7.3 and 3.10.7.4), and not other segments."""
        if direction is Direction.TO_RESPONDER:
            return 0 <= distance(reset.sequence, self.initial_sequence) < MAX_WINDOW
        if reset.flags & ACK and self.acknowledges_syn(reset.acknowledgment):
            return True
        return self.was_answered and reset.sequence == self.streams[Direction.TO_INITIATOR].next

    @property
    def was_answered(self) -> bool:
        """Whether the responder's SYN was seen, and not only what it says of another connection of these ports."""
        return self.streams[Direction.TO_INITIATOR].next != UNKNOWN

    @property
    def may_be_over(self) -> bool:
        """Whether both directions have ended, as far as can be told if a FIN was missed."""
        first, second = self.streams
        return (first.ended or first.fin_missed) and (second.ended or second.fin_missed)

    def receive_bytes(self, segment: Segment, direction: Direction) -> list[ConnectionEvent]:
        """Take what a segment acknowledges and carries."""
        events: list[ConnectionEvent] = []
        if segment.flags & ACK:
            acknowledged = self.streams[1 - direction].receive_acknowledgment(segment.acknowledgment)
            if acknowledged:
                events += self.events(direction.reverse, acknowledged)
        if segment.length or segment.flags & FIN:
            sequence = segment.sequence + 1 if segment.flags & SYN else segment.sequence
            read = self.streams[direction].receive_segment(
                sequence & 0xFFFFFFFF, segment.payload, segment.length, fin=bool(segment.flags & FIN)
            )
            if read:
                events += self.events(direction, read)
        return events

    def end_shed(self, segment: Segment, direction: Direction) -> list[Shed]:
        """End a direction that is not mirrored, and count it by the distance of its end from what was mirrored of it."""
        told = self._count_shed(direction, segment.sequence + segment.length, sure=bool(segment.flags & FIN))
        if (
            segment.flags & RST and segment.flags & ACK
        ):  # then nothing more is heard of the other direction either
            heard = self._count_shed(direction.reverse, segment.acknowledgment, sure=False)
            told += [each for each in heard if each.bytes]
        return told

    def _count_shed(self, direction: Direction, end: int, *, sure: bool) -> list[Shed]:
        stream = self.streams[direction]
        if stream.ended or not stream.wanted or stream.next == UNKNOWN:
            stream.ended = True
            return []
        stream.ended = True
        carried = (end - stream.next) & 0xFFFFFFFF
        return [Shed(self.responder[1], 0, carried)] if sure or carried < MAX_WINDOW else []

    def opened(self) -> Opened:
        """Give the event that announces the connection."""
        return Opened(
            self.number,
            self.late,
            endpoint(self.initiator),
            endpoint(self.responder),
            self.pod_time,
            self.interface,
        )

    def events(self, direction: Direction, read: list[StreamEvent]) -> list[ConnectionEvent]:
        """Give what a direction's stream read as events of this connection."""
        named: list[ConnectionEvent] = []
        for event in read:
            if isinstance(event, Piece):
                named.append(Data(self.number, direction, event.offset, event.payload))
            elif isinstance(event, Unwanted):
                named.append(Omitted(self.number, direction, event.offset, event.length))
            elif isinstance(event, Hole):
                named.append(Gap(self.number, direction, event.offset, event.length, event.reason))
            elif isinstance(event, End):
                named.append(Ended(self.number, direction, event.offset))
        return named

    def answered_rival(self, before: int) -> int:
        """Give which other SYN a SYN-ACK answers that takes all up to there; what came with that SYN was not kept."""
        if self.rival != UNKNOWN and 0 <= distance(before, self.rival) < MAX_WINDOW:
            return self.rival
        return before

    def acknowledges_syn(self, acknowledgment: int) -> bool:
        """Whether a SYN-ACK answers our SYN: it acknowledges the SYN, and some of what came with it."""
        end = self.streams[Direction.TO_RESPONDER].next
        if self.initial_sequence == UNKNOWN or end == UNKNOWN:
            return False
        return distance(acknowledgment, self.initial_sequence) > 0 and distance(acknowledgment, end) <= 0


def endpoint(end: tuple[bytes, int]) -> Endpoint:
    """Give an end, of 4 or 16 bytes and a port, as frames name it."""
    address, port = end
    return Endpoint.from_packed(address if len(address) == 16 else bytes(10) + b"\xff\xff" + address, port)
