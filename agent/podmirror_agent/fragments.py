"""From IP fragments to TCP segments.

Theory of operation. Fragments of a packet are gathered until they cover it from its beginning to its last one, in whatever
order they come (RFC 791, 3.2; RFC 8200, 4.5). What the receiver's kernel does not put together is not put together here either:
as Linux does (net/ipv4/inet_fragment.c, inet_frag_queue_insert), a fragment that is there already is ignored, and one that
overlaps another in any other way spoils the packet (RFC 5722), so that nobody can show the app one thing and us another.

A packet that stays incomplete is given up when the kernel would, or when the budget is needed; if the app has it all the same,
the acknowledgment of its bytes will show the gap.
"""

from collections import OrderedDict

from podmirror_agent.budget import OVERHEAD_BYTES, Budget
from podmirror_agent.segment import Fragment, Segment, Undecoded, decode_payload

IPV4_SECONDS, IPV6_SECONDS = 30.0, 60.0
"""For all fragments of a packet to come (net.ipv4.ipfrag_time; RFC 8200, 4.5)."""

MAX_BYTES = 4 << 20
"""Held at a time: Linux's ipfrag_high_thresh."""

MAX_PACKET_BYTES = 65_535
"""That an IP packet of fragments can have (RFC 791, 3.1)."""

_UNKNOWN = -1

_Key = tuple[object, bytes, bytes, int, int]


class _Partial:
    """A packet of which some fragments have come."""

    def __init__(self, due: float) -> None:
        self.due = due
        self.pieces: list[tuple[int, bytes]] = []
        """By offset, without overlaps."""
        self.total: int = _UNKNOWN
        """Bytes of the whole packet; known from its last fragment."""
        self.charged: int = 0
        self.protocol: int = _UNKNOWN
        """What the first fragment says."""

    def holds(self, start: int, end: int) -> bool:
        """Whether these bytes are there already, in pieces that follow each other."""
        position = start
        for offset, payload in self.pieces:
            if offset <= position < offset + len(payload):
                position = offset + len(payload)
        return position >= end

    def overlaps(self, start: int, end: int) -> bool:
        """Whether some of these bytes are there already."""
        return any(offset < end and start < offset + len(payload) for offset, payload in self.pieces)

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return self.total == sum(len(payload) for _, payload in self.pieces)


class Fragments:
    """Puts packets together."""

    def __init__(self, budget: Budget, *, max_bytes: int = MAX_BYTES) -> None:
        self.seen: int = 0
        self.lost: int = 0
        """Fragments that were given up."""
        self._budget = budget
        self._max_bytes = max_bytes
        self._held: int = 0
        self._partials: OrderedDict[_Key, _Partial] = OrderedDict()

    def receive_fragment(
        self, fragment: Fragment, path: object, now: float
    ) -> Segment | Fragment | Undecoded | None:
        """Take a fragment, and give what its packet holds if it is the last that was missing.

        `path` tells copies of one packet apart that are seen in several places, and `now` is monotonic seconds.
        """
        self.seen += 1
        key = (path, fragment.source, fragment.destination, fragment.identification, len(fragment.source))
        partial = self._partials.get(key)
        if partial is None:
            seconds = IPV4_SECONDS if len(fragment.source) == 4 else IPV6_SECONDS
            partial = self._partials[key] = _Partial(now + seconds)
        end = fragment.offset + fragment.length
        if partial.holds(fragment.offset, end) and (fragment.more or partial.total == end):
            return None
        if not self._fits(fragment, partial, end) or not self._make_room(fragment, key):
            self.lost += 1
            self._give_up(key)
            return None
        self._add(fragment, partial, end)
        if not partial.complete:
            return None
        del self._partials[key]
        self._release(partial)
        payload = b"".join(piece for _, piece in partial.pieces)
        return decode_payload(payload, partial.protocol, fragment.source, fragment.destination)

    def expire(self, now: float) -> None:
        """Give up packets whose fragments have not come in time."""
        for key in [key for key, partial in self._partials.items() if partial.due <= now]:
            self._give_up(key)

    def _fits(self, fragment: Fragment, partial: _Partial, end: int) -> bool:
        """Whether a fragment can be one of this packet."""
        if len(fragment.payload) < fragment.length or end > MAX_PACKET_BYTES:
            return False
        if fragment.more and fragment.length % 8:
            return False
        if partial.total != _UNKNOWN and (
            end > partial.total or (not fragment.more and end != partial.total)
        ):
            return False
        if not fragment.more and any(offset + len(payload) > end for offset, payload in partial.pieces):
            return False
        return not partial.overlaps(fragment.offset, end)

    def _make_room(self, fragment: Fragment, key: _Key) -> bool:
        size = fragment.length + OVERHEAD_BYTES
        while self._held + size > self._max_bytes or not self._budget.take(size):
            oldest = next(iter(self._partials))
            if oldest == key:
                return False
            self._give_up(oldest)
        self._held += size
        self._partials[key].charged += size
        return True

    def _add(self, fragment: Fragment, partial: _Partial, end: int) -> None:
        partial.pieces.append((fragment.offset, fragment.payload))
        partial.pieces.sort()
        if not fragment.more:
            partial.total = end
        if not fragment.offset:
            partial.protocol = fragment.protocol

    def _give_up(self, key: _Key) -> None:
        partial = self._partials.pop(key)
        self.lost += len(partial.pieces)
        self._release(partial)

    def _release(self, partial: _Partial) -> None:
        self._held -= partial.charged
        self._budget.give(partial.charged)
