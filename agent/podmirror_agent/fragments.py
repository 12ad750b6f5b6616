"""From IP fragments to TCP segments.

Theory of operation. Fragments of a packet are gathered until they cover it from its beginning to its last one, in whatever
order they come (RFC 791, 3.2; RFC 8200, 4.5). What the receiver's kernel does not put together is not put together here either,
so that nobody can show the app one thing and us another. Linux (inet_frag_queue_insert in net/ipv4/inet_fragment.c,
ip_frag_queue in ip_fragment.c, ip6_frag_queue in net/ipv6/reassembly.c) ignores a fragment that is there already, and gives up
the packet for one that overlaps others in any other way (RFC 5722), or that does not agree with them on where the packet ends.
There already means: within a run, fragments that came one behind the other in their order.

Identifications come around, after 65,536 packets in IPv4, and then the fragments of two packets may be mixed (RFC 4963). The
receiver tells that by TCP's checksum, and so is it told here: who fragments a packet has filled it in, offloading or not.

A packet that stays incomplete is given up when the kernel would, or when the budget is needed; if the app has it all the same,
the acknowledgment of its bytes will show the gap.
"""

from bisect import bisect_right
from collections import OrderedDict
from enum import Enum

from podmirror_agent.budget import OVERHEAD_BYTES, Budget
from podmirror_agent.segment import Fragment, Segment, Undecoded, decode_payload

IPV4_SECONDS, IPV6_SECONDS = 30.0, 60.0
"""For all fragments of a packet to come (net.ipv4.ipfrag_time; RFC 8200, 4.5)."""

MAX_BYTES = 4 << 20
"""Held at a time: Linux's ipfrag_high_thresh."""

PACKET_BYTES = 1_024
"""What a packet that waits for others of its fragments takes besides them, measured about 1,000. Each may be all alone."""

MAX_IPV4_PAYLOAD, MAX_IPV6_PAYLOAD = 65_535 - 20, 65_535
"""Bytes that a packet of fragments can have behind its header: IPv4's length counts the header, too (RFC 791, 3.1)."""

_TCP = 6

_Key = tuple[object, bytes, bytes, int]


class _Verdict(Enum):
    """What becomes of a fragment."""

    TAKEN = "taken"
    IGNORED = "ignored"
    """It is there already."""
    REFUSED = "refused"
    """It is no good, and the others of its packet wait on."""
    SPOILT = "spoilt"
    """Nor can the others be put together."""


class _Partial:
    """A packet of which some fragments have come."""

    def __init__(self, due: float) -> None:
        self.due = due
        self.count: int = 0
        self.held: int = 0
        """Payload bytes."""
        self.protocol: int = -1
        """What the first fragment says."""
        self._end: int = 0
        """The highest that was seen; the packet's once the last fragment came."""
        self._last_came = False
        # Runs in their order, without overlaps: where each begins and ends, and its fragments.
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._runs: list[list[bytes]] = []

    def add(self, fragment: Fragment, payload: bytes) -> _Verdict:
        """Put a fragment in its place. `payload` may be less than what it came with."""
        offset, end = fragment.offset, fragment.offset + len(payload)
        if fragment.more:
            if end > self._end and self._last_came:
                return _Verdict.SPOILT
        elif end < self._end or (self._last_came and end != self._end):
            return _Verdict.SPOILT
        else:
            self._last_came = True
        self._end = max(self._end, end)
        verdict = self._insert(offset, end, payload)
        if verdict is _Verdict.TAKEN:
            self.count += 1
            self.held += len(payload)
            if not offset:
                self.protocol = fragment.protocol
        return verdict

    @property
    def payload(self) -> bytes | None:
        """All of it; None while something is missing."""
        if not self._last_came or self.held != self._end:
            return None
        return b"".join(payload for run in self._runs for payload in run)

    def _insert(self, offset: int, end: int, payload: bytes) -> _Verdict:
        last_end = self._ends[-1] if self._ends else -1
        if last_end == offset:
            self._ends[-1] = end
            self._runs[-1].append(payload)
            return _Verdict.TAKEN
        index = bisect_right(self._starts, offset)
        if index and offset < self._ends[index - 1]:
            return _Verdict.IGNORED if end <= self._ends[index - 1] else _Verdict.SPOILT
        if index < len(self._starts) and self._starts[index] < end:
            return _Verdict.SPOILT
        self._starts.insert(index, offset)
        self._ends.insert(index, end)
        self._runs.insert(index, [payload])
        return _Verdict.TAKEN


class Fragments:
    """Puts packets together."""

    def __init__(
        self, budget: Budget, *, max_bytes: int = MAX_BYTES, verifies_checksums: bool = True
    ) -> None:
        self.seen: int = 0
        self.lost: int = 0
        """Fragments that were given up."""
        self._budget = budget
        self._max_bytes = max_bytes
        self._verifies_checksums = verifies_checksums
        self._held: int = 0
        self._partials: OrderedDict[_Key, _Partial] = OrderedDict()

    def receive_fragment(
        self, fragment: Fragment, path: object, now: float
    ) -> Segment | Fragment | Undecoded | None:
        """Take a fragment, and give what its packet holds if it is the last that was missing.

        `path` tells copies of one packet apart that are seen in several places, and `now` is monotonic seconds.
        """
        self.seen += 1
        key = (path, fragment.source, fragment.destination, fragment.identification)
        partial = self._partials.get(key)
        if partial is not None and partial.due <= now:  # what comes now is of another packet
            self._give_up(key)
            partial = None
        verdict, payload = _check(fragment)
        if verdict is _Verdict.TAKEN:
            if partial is None:
                seconds = IPV4_SECONDS if len(fragment.source) == 4 else IPV6_SECONDS
                partial = self._partials[key] = _Partial(now + seconds)
            verdict = self._add(key, partial, fragment, payload)
        if verdict is _Verdict.REFUSED or verdict is _Verdict.SPOILT:
            self.lost += 1
        if verdict is _Verdict.SPOILT:
            self._give_up(key)
        if verdict is not _Verdict.TAKEN or partial is None:
            return None
        whole = partial.payload
        if whole is None:
            return None
        ends = (fragment.source, fragment.destination)
        if self._verifies_checksums and partial.protocol == _TCP and not _adds_up(whole, *ends):
            self._give_up(key)
            return None
        self._release(self._partials.pop(key))
        return decode_payload(whole, partial.protocol, *ends)

    def expire(self, now: float) -> None:
        """Give up packets whose fragments have not come in time."""
        for key in [key for key, partial in self._partials.items() if partial.due <= now]:
            self._give_up(key)

    def _add(self, key: _Key, partial: _Partial, fragment: Fragment, payload: bytes) -> _Verdict:
        size = len(payload) + OVERHEAD_BYTES + (0 if partial.count else PACKET_BYTES)
        if not self._make_room(size, key):
            return _Verdict.SPOILT
        verdict = partial.add(fragment, payload)
        if verdict is not _Verdict.TAKEN:
            self._budget.give(size)
            self._held -= size
        return verdict

    def _make_room(self, size: int, key: _Key) -> bool:
        while self._held + size > self._max_bytes or not self._budget.take(size):
            oldest = next(iter(self._partials))
            if oldest == key:
                return False
            self._give_up(oldest)
        self._held += size
        return True

    def _give_up(self, key: _Key) -> None:
        partial = self._partials.pop(key, None)
        if partial is not None:
            self.lost += partial.count
            self._release(partial)

    def _release(self, partial: _Partial) -> None:
        charged = partial.held + partial.count * OVERHEAD_BYTES + (PACKET_BYTES if partial.count else 0)
        self._held -= charged
        self._budget.give(charged)


def _check(fragment: Fragment) -> tuple[_Verdict, bytes]:
    """Judge a fragment by itself, and give what of its payload counts."""
    payload = fragment.payload
    is_ipv4 = len(fragment.source) == 4
    if len(payload) < fragment.length:  # the capture cut it short, and nobody will send it again
        return _Verdict.SPOILT, payload
    if not is_ipv4 and not fragment.offset and not _holds_tcp_header(fragment):
        return _Verdict.REFUSED, payload
    if fragment.offset + len(payload) > (MAX_IPV4_PAYLOAD if is_ipv4 else MAX_IPV6_PAYLOAD):
        return (_Verdict.SPOILT if is_ipv4 else _Verdict.REFUSED), payload
    if fragment.more and len(payload) % 8:
        if not is_ipv4:
            return _Verdict.REFUSED, payload
        payload = payload[: len(payload) & ~7]
    if not payload:
        return _Verdict.SPOILT, payload
    return _Verdict.TAKEN, payload


def _holds_tcp_header(fragment: Fragment) -> bool:
    """Say whether a first fragment goes at least to the end of the TCP header, as IPv6 demands (RFC 8200, 4.5)."""
    ends = (fragment.source, fragment.destination)
    told = decode_payload(fragment.payload, fragment.protocol, *ends, length=MAX_IPV6_PAYLOAD)
    return told is not Undecoded.MALFORMED


def _adds_up(segment: bytes, source: bytes, destination: bytes) -> bool:
    """Verify TCP's checksum (RFC 1071): the sum of 16-bit words in ones' complement is zero; it is the remainder by 65,535."""
    words = int.from_bytes(segment + bytes(len(segment) % 2), "big")
    pseudo_header = int.from_bytes(source + destination, "big") + _TCP + len(segment)
    return (words + pseudo_header) % 0xFFFF == 0
