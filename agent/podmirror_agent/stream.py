"""One direction of a TCP connection: from segments in any order to its bytes in order.

Theory of operation. `next` is the sequence number of the first byte that has not been handed on. A segment that covers it is
handed on from there; one that begins behind it is parked until the hole before it is filled; one that ends before it is old
(a retransmission, a keep-alive probe) and ignored. The result is what a receiver with the same segments would have read.

A hole is not a loss: segments are reordered and retransmitted all the time, so no timer decides. It is a gap only on evidence,
when the receiver acknowledges bytes beyond it: then the app has them, and the capture will never see them again. Bytes behind
a hole that nobody acknowledged were never given to the app, and are not handed on either. The one exception is the byte
budget: when parking would break it, the hole is given up at once, and named so.

A FIN takes a sequence number, and is acknowledged, as a byte is. So the last number that is acknowledged beyond all that was
seen may have been a byte or a FIN that was missed. It is called a gap when the bytes behind it show that it was a byte; until
then it stays open (`fin_missed`).

Overlaps are resolved as the receiver's kernel does (Linux, net/ipv4/tcp_input.c, tcp_data_queue_ofo and tcp_ofo_queue): bytes
that were handed on stay; among parked segments the one that begins first wins where two overlap; a segment that covers a
parked one completely replaces it; and one that begins where a parked one ends becomes a part of it. A FIN is a part of its
segment: it counts when the segment is reached, and not at all if others bring more bytes before that. Urgent data stays where
it was sent, as for an app with SO_OOBINLINE (RFC 6093, 3.1).

A stream whose bytes nobody wants is followed by its sequence numbers alone; its packets may have been cut to their headers.

A capture that stood still for seconds may find both ends further on than any window is wide. Then one segment decides nothing,
for anybody can forge it; but if the receiver acknowledges what it says, all up to there is a gap. Sequence numbers cannot tell
whether another 4 GiB were missed.

Sequence numbers wrap; every comparison goes through `distance`. `fastpath` advances a stream that is `ready` itself.
"""

from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

from podmirror_agent.budget import OVERHEAD_BYTES, Budget
from podmirror_wire.values import Direction, GapReason

if TYPE_CHECKING:
    from podmirror_agent.fastpath import Run

MAX_WINDOW = 1 << 30
"""Largest receive window: 65,535 << 14 rounded up (RFC 7323, 2.3). What lies further from `next` belongs to no one."""

FAR_BEHIND = 1 << 29
"""How far behind `next` an old segment may be. Nobody has so much under way at a time; only the capture can have missed it."""

MAX_PARKED_BYTES = 8 << 20
"""Parked bytes of one direction: above Linux's default largest receive buffer (tcp_rmem, 6 MiB), so that no receiver
could have waited for more."""

UNKNOWN = -1
"""In place of a sequence number or an offset."""


def distance(later: int, earlier: int) -> int:
    """How far `later` is ahead of `earlier` in sequence space, from -2**31 to 2**31 - 1 (RFC 9293, 3.4)."""
    return ((later - earlier + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)


class Piece(NamedTuple):
    """Bytes in order."""

    offset: int
    payload: bytes


class Unwanted(NamedTuple):
    """Bytes in order that nobody wants."""

    offset: int
    length: int


class Hole(NamedTuple):
    """Bytes that the receiver has and the capture has not."""

    offset: int
    length: int
    reason: GapReason


class End(NamedTuple):
    """The FIN, with everything before it handed on or named."""

    offset: int


StreamEvent = Piece | Unwanted | Hole | End


class _Parked:
    """A segment that waits, or several that were joined."""

    __slots__ = ("end", "fin", "payload", "start")

    def __init__(self, start: int, payload: bytes, end: int, *, fin: bool) -> None:
        self.start = start
        """Offset in the stream, not a sequence number, so that order is plain."""
        self.payload: bytes | bytearray = payload
        self.end = end
        """Start plus the length on the wire."""
        self.fin = fin

    @property
    def limit(self) -> int:
        """Behind its last sequence number, that of the FIN included."""
        return self.end + 1 if self.fin else self.end

    def join(self, following: "_Parked") -> None:
        """Take in a segment that begins where this one ends."""
        if not isinstance(self.payload, bytearray):
            self.payload = bytearray(self.payload)  # which grows without a copy of everything
        self.payload += following.payload
        self.end, self.fin = following.end, following.fin


class Stream:
    """Reassembles one direction. Offsets count from its first byte, or from where a late join began."""

    def __init__(
        self,
        budget: Budget,
        *,
        connection: int = 0,
        direction: Direction = Direction.TO_RESPONDER,
        wanted: bool = True,
        max_parked_bytes: int = MAX_PARKED_BYTES,
    ) -> None:
        self.connection = connection
        """Number of the connection that it belongs to."""
        self.direction = direction
        self.wanted = wanted
        """Whether anybody wants its bytes, or only their number."""
        self.next: int = UNKNOWN
        """Sequence number of the next byte to hand on, or behind the FIN; `UNKNOWN` until the stream has begun."""
        self.offset: int = 0
        """Of that byte."""
        self.ended = False
        self._budget = budget
        self._max_parked_bytes = max_parked_bytes
        self._parked: list[_Parked] = []
        self._parked_bytes: int = 0
        self.astray: int = UNKNOWN
        """Behind the last segment, if that was nowhere near `next`."""
        self._acknowledged: int = 0
        """Offset before which the receiver has every byte; of a missed FIN, the one behind it."""

        # For the fast path.
        self.ready = False
        """Whether the next segment in order may be taken without a look at anything else."""
        self.interface: int = UNKNOWN
        """Index of the one interface on which it is followed."""
        self.packet_type: int = 0
        """Of its packets there (sll_pkttype of packet(7))."""
        self.last_seen: float = 0.0
        self.reverse: Stream = self
        """The other direction's stream."""
        self.run: Run | None = None
        """Where its bytes go while a block of the ring is read."""

    def begin(self, sequence: int) -> None:
        """Set the sequence number of the first byte: that of the SYN plus one, or where a late join begins."""
        self.next = sequence
        self.offset = 0

    @property
    def plain(self) -> bool:
        """Whether it has begun and not ended, and waits for nothing but the next byte."""
        return self.next != UNKNOWN and not self._parked and not self.ended

    @property
    def fin_missed(self) -> bool:
        """Whether one number is acknowledged beyond all that was seen: a FIN, or a byte."""
        return not self.ended and not self._parked and self._acknowledged == self.offset + 1

    def receive_segment(
        self, sequence: int, payload: bytes, length: int, *, fin: bool = False
    ) -> list[StreamEvent]:
        """Take a segment of `length` payload bytes on the wire, of which `payload` was captured."""
        if self.ended:
            return []
        if self.next == UNKNOWN:
            self.next = sequence
        ahead = distance(sequence, self.next)
        if not -FAR_BEHIND < ahead < MAX_WINDOW:
            self.astray = (sequence + length) & 0xFFFFFFFF
            return []
        self.astray = UNKNOWN
        start = self.offset + ahead
        segment = _Parked(start, payload if self.wanted else b"", start + length, fin=fin)
        events: list[StreamEvent] = []
        if ahead <= 0:
            self._hand_on(segment, events)
            self._drain(events)
        elif segment.limit > start:
            self._park(segment, events)
        if self._acknowledged > self.offset:
            self._name_holes(events)
        return events

    def receive_acknowledgment(self, acknowledgment: int) -> list[StreamEvent]:
        """Take an acknowledgment number of the receiver: it has every byte before that."""
        if self.ended:
            return []
        if self.next == UNKNOWN:
            self.next = acknowledgment
            return []
        ahead = distance(acknowledgment, self.next)
        if ahead <= 0 or ahead >= MAX_WINDOW:
            if self.astray == UNKNOWN or -FAR_BEHIND < ahead <= 0:
                return []
            if not -MAX_WINDOW < distance(acknowledgment, self.astray) < MAX_WINDOW:
                return []
            ahead = (acknowledgment - self.next) & 0xFFFFFFFF  # both ends agree on where they are
            self.astray = UNKNOWN
        events: list[StreamEvent] = []
        self._acknowledged = max(self._acknowledged, self.offset + ahead)
        self._name_holes(events)
        return events

    def receive_reset_of_reverse(self) -> list[StreamEvent]:
        """Take it that the connection was reset by the receiver, so that what it acknowledged were bytes."""
        events: list[StreamEvent] = []
        self._name_holes(events, last=True)
        return events

    def receive_reset(self, sequence: int) -> list[StreamEvent]:
        """Take a reset that the receiver obeyed, which it does when it has every byte before it (RFC 5961, 3.2)."""
        events: list[StreamEvent] = []
        if self.next == UNKNOWN or self.ended:
            return events
        ahead = distance(sequence, self.next)
        if 0 < ahead < MAX_WINDOW and not (ahead == 1 and self.fin_missed):
            self._acknowledged = max(self._acknowledged, self.offset + ahead)
            self._name_holes(events, last=True)
        return events

    def discard(self) -> None:
        """Give back what is parked; the stream is over."""
        for parked in self._parked:
            self._release(parked)
        self._parked.clear()
        self.ready = False

    def _name_holes(self, events: list[StreamEvent], *, last: bool = False) -> None:
        """Name what the receiver has and the capture has not; the last number only if it is known to be a byte."""
        while not self.ended:
            limit = self._acknowledged
            if self._parked:
                limit = min(limit, self._parked[0].start)
            elif not last:
                limit -= 1
            if self.offset >= limit:
                return
            self._skip(limit, GapReason.MISSED, events)
            self._drain(events)

    def _hand_on(self, segment: _Parked, events: list[StreamEvent]) -> None:
        if self.ended or segment.limit <= self.offset:
            return
        if segment.end > self.offset:
            if self.wanted:
                self._hand_on_bytes(segment, events)
            else:
                events.append(Unwanted(self.offset, segment.end - self.offset))
                self._advance(segment.end - self.offset)
        if segment.fin:
            self.ended = True
            self.next = (self.next + 1) & 0xFFFFFFFF
            events.append(End(self.offset))
            self.discard()

    def _hand_on_bytes(self, segment: _Parked, events: list[StreamEvent]) -> None:
        payload = bytes(segment.payload)
        if segment.start < self.offset:
            payload = payload[self.offset - segment.start :]
        if payload:
            events.append(Piece(self.offset, payload))
            self._advance(len(payload))
        self._skip(segment.end, GapReason.TRUNCATED, events)

    def _skip(self, to_offset: int, reason: GapReason, events: list[StreamEvent]) -> None:
        length = to_offset - self.offset
        if length > 0:
            events.append(Hole(self.offset, length, reason))
            self._advance(length)

    def _advance(self, length: int) -> None:
        self.offset += length
        self.next = (self.next + length) & 0xFFFFFFFF

    def _park(self, segment: _Parked, events: list[StreamEvent]) -> None:
        index = bisect_right(self._parked, segment.start, key=_start)
        size = len(segment.payload) + OVERHEAD_BYTES
        if index:
            before = self._parked[index - 1]
            if segment.limit <= before.limit:
                return
            if before.end == segment.start and self._may_grow(before) and self._has_room(size):
                self._budget.take(len(segment.payload))
                self._parked_bytes += len(segment.payload)
                before.join(segment)
                return
            if before.start == segment.start:
                index -= 1
        while index < len(self._parked) and self._parked[index].limit <= segment.limit:
            self._release(self._parked.pop(index))
        while self._parked and self._parked[0].start < segment.start and not self._has_room(size):
            self._skip(self._parked[0].start, GapReason.BUDGET, events)
            self._drain(events)
        if self.ended:
            return
        if self.offset >= segment.start or not self._has_room(size):
            self._skip(segment.start, GapReason.BUDGET, events)
            self._hand_on(segment, events)
            self._drain(events)
            return
        self._budget.take(size)
        self._parked_bytes += size
        self._parked.insert(bisect_right(self._parked, segment.start, key=_start), segment)

    def _may_grow(self, parked: _Parked) -> bool:
        """Whether nothing is missing at its end, where more is to be joined."""
        return not parked.fin and (not self.wanted or len(parked.payload) == parked.end - parked.start)

    def _has_room(self, size: int) -> bool:
        return (
            self._parked_bytes + size <= self._max_parked_bytes
            and self._budget.held + size <= self._budget.limit
        )

    def _drain(self, events: list[StreamEvent]) -> None:
        while self._parked and self._parked[0].start <= self.offset:
            parked = self._parked.pop(0)
            self._release(parked)
            self._hand_on(parked, events)

    def _release(self, parked: _Parked) -> None:
        size = len(parked.payload) + OVERHEAD_BYTES
        self._budget.give(size)
        self._parked_bytes -= size


def _start(parked: _Parked) -> int:
    return parked.start
