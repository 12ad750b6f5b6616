"""One direction of a TCP connection: from segments in any order to its bytes in order.

Theory of operation. `_next` is the sequence number of the first byte that has not been handed on. A segment that covers it is
handed on from there; one that begins behind it is parked until the hole before it is filled; one that ends before it is old
(a retransmission, a keep-alive probe) and ignored. The result is what a receiver with the same segments would have read.

A hole is not a loss: segments are reordered and retransmitted all the time, so no timer decides. It is a gap only on evidence,
when the receiver acknowledges bytes beyond it: then the app has them, and the capture will never see them again. Bytes behind
a hole that nobody acknowledged were never given to the app, and are not handed on either. The one exception is the byte
budget: when parking would break it, the hole is given up at once, and named so.

Overlaps are resolved as the receiver's kernel does (Linux, net/ipv4/tcp_input.c, tcp_data_queue_ofo and tcp_ofo_queue): bytes
that were handed on stay; among parked segments the one that begins first wins where two overlap, and a segment that covers a
parked one completely replaces it.

Sequence numbers wrap; every comparison goes through `distance`.
"""

from bisect import bisect_right
from typing import NamedTuple

from podmirror_agent.budget import OVERHEAD_BYTES, Budget
from podmirror_wire.values import GapReason

MAX_WINDOW = 1 << 30
"""Largest receive window: 65,535 << 14 rounded up (RFC 7323, 2.3). What lies further from `_next` belongs to no one."""

MAX_PARKED_BYTES = 8 << 20
"""Parked bytes of one direction: above Linux's default largest receive buffer (tcp_rmem, 6 MiB), so that no receiver
could have waited for more."""


def distance(later: int, earlier: int) -> int:
    """How far `later` is ahead of `earlier` in sequence space, from -2**31 to 2**31 - 1 (RFC 9293, 3.4)."""
    return ((later - earlier + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)


class Piece(NamedTuple):
    """Bytes in order."""

    offset: int
    payload: bytes


class Hole(NamedTuple):
    """Bytes that the receiver has and the capture has not."""

    offset: int
    length: int
    reason: GapReason


class End(NamedTuple):
    """The FIN, with everything before it handed on or named."""

    offset: int


StreamEvent = Piece | Hole | End


class _Parked(NamedTuple):
    start: int
    """Offset in the stream, not a sequence number, so that order is plain."""
    payload: bytes
    end: int
    """Start plus the length on the wire."""


class Stream:
    """Reassembles one direction. Offsets count from its first byte, or from where a late join began."""

    def __init__(self, budget: Budget, *, max_parked_bytes: int = MAX_PARKED_BYTES) -> None:
        self._budget = budget
        self._max_parked_bytes = max_parked_bytes
        self._parked: list[_Parked] = []
        self._parked_bytes = 0
        self._next: int | None = None
        self._offset = 0
        self._fin_offset: int | None = None
        self.ended = False

    @property
    def next_sequence(self) -> int | None:
        """Sequence number of the next byte to hand on; None until the stream has begun."""
        return self._next

    def begin(self, sequence: int) -> None:
        """Set the sequence number of the first byte: that of the SYN plus one, or where a late join begins."""
        self._next = sequence

    def receive_segment(
        self, sequence: int, payload: bytes, length: int, *, fin: bool = False
    ) -> list[StreamEvent]:
        """Take a segment of `length` payload bytes on the wire, of which `payload` was captured."""
        if self._next is None:
            self._next = sequence
        ahead = distance(sequence, self._next)
        if not -MAX_WINDOW < ahead < MAX_WINDOW:
            return []
        start = self._offset + ahead
        events: list[StreamEvent] = []
        if fin and self._fin_offset is None:
            self._fin_offset = start + length
        elif self._fin_offset is not None:  # nothing follows a FIN
            length = min(length, self._fin_offset - start)
            payload = payload[: max(length, 0)]
        if length > 0:
            if ahead <= 0:
                self._hand_on(_Parked(start, payload, start + length), events)
                self._drain(events)
            else:
                self._park(_Parked(start, payload, start + length), events)
        self._finish(events)
        return events

    def receive_acknowledgment(self, acknowledgment: int) -> list[StreamEvent]:
        """Take an acknowledgment number of the receiver: it has every byte before that."""
        if self._next is None:
            self._next = acknowledgment
            return []
        ahead = distance(acknowledgment, self._next)
        if ahead <= 0 or ahead >= MAX_WINDOW:
            return []
        acknowledged = self._offset + ahead
        if self._fin_offset is not None:
            acknowledged = min(acknowledged, self._fin_offset)  # the FIN takes a number of its own
        events: list[StreamEvent] = []
        while self._offset < acknowledged:
            hole_end = min(acknowledged, self._parked[0].start) if self._parked else acknowledged
            self._skip(hole_end, GapReason.MISSED, events)
            self._drain(events)
        self._finish(events)
        return events

    def discard(self) -> None:
        """Give back what is parked; the stream is over."""
        for parked in self._parked:
            self._release(parked)
        self._parked.clear()

    def _hand_on(self, segment: _Parked, events: list[StreamEvent]) -> None:
        if segment.end <= self._offset:
            return
        payload = (
            segment.payload[self._offset - segment.start :]
            if segment.start < self._offset
            else segment.payload
        )
        if payload:
            events.append(Piece(self._offset, payload))
            self._advance(len(payload))
        if self._offset < segment.end:
            self._skip(segment.end, GapReason.TRUNCATED, events)

    def _skip(self, to_offset: int, reason: GapReason, events: list[StreamEvent]) -> None:
        length = to_offset - self._offset
        if length > 0:
            events.append(Hole(self._offset, length, reason))
            self._advance(length)

    def _advance(self, length: int) -> None:
        assert self._next is not None, "a stream advances only after it began"
        self._offset += length
        self._next = (self._next + length) & 0xFFFFFFFF

    def _park(self, segment: _Parked, events: list[StreamEvent]) -> None:
        index = bisect_right(self._parked, segment.start, key=lambda parked: parked.start)
        if index and segment.end <= self._parked[index - 1].end:
            return
        if index and self._parked[index - 1].start == segment.start:
            index -= 1
        while index < len(self._parked) and self._parked[index].end <= segment.end:
            self._release(self._parked.pop(index))
        size = len(segment.payload) + OVERHEAD_BYTES
        while self._parked and self._parked[0].start < segment.start and not self._has_room(size):
            self._skip(self._parked[0].start, GapReason.BUDGET, events)
            self._drain(events)
        if self._offset >= segment.start or not self._has_room(size):
            self._skip(segment.start, GapReason.BUDGET, events)
            self._hand_on(segment, events)
            self._drain(events)
            return
        self._budget.take(size)
        self._parked_bytes += size
        self._parked.insert(
            bisect_right(self._parked, segment.start, key=lambda parked: parked.start), segment
        )

    def _has_room(self, size: int) -> bool:
        return (
            self._parked_bytes + size <= self._max_parked_bytes
            and self._budget.held + size <= self._budget.limit
        )

    def _drain(self, events: list[StreamEvent]) -> None:
        while self._parked and self._parked[0].start <= self._offset:
            parked = self._parked.pop(0)
            self._release(parked)
            self._hand_on(parked, events)

    def _release(self, parked: _Parked) -> None:
        size = len(parked.payload) + OVERHEAD_BYTES
        self._budget.give(size)
        self._parked_bytes -= size

    def _finish(self, events: list[StreamEvent]) -> None:
        if not self.ended and self._fin_offset is not None and self._offset >= self._fin_offset:
            self.ended = True
            events.append(End(self._offset))
