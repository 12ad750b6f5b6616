"""Where an HTTP/1 conversation can be joined: the first byte of a request.

Theory of operation. After a gap, or on a connection whose beginning was not seen, the initiator's bytes may be anything, the
middle of a body among them, and a body may itself hold what looks like a request. Two signs together make a boundary honest:

- it is the initiator's *turn*: these are its first bytes after the responder said something, or the first that were seen of
  it at all. In HTTP/1 without pipelining a request begins exactly there; a body that continues after `100 Continue`, or that
  was joined in its middle, does too, and is told apart by the second sign;
- the bytes from there on are the head of a request, complete to its empty line, as h11 reads it (RFC 9112, 3 and 5).

Pipelined requests in the middle of a turn are passed over, until the initiator's next turn.
"""

import h11

MAX_HEAD_BYTES = 64 * 1024
"""A head that is longer than that is none: four times the default limit of h11 and nginx's large_client_header_buffers."""


def is_request_head(data: bytes) -> bool | None:
    """Whether `data` begins with the whole head of an HTTP/1 request; None if that cannot be told yet."""
    if not data:
        return None
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
    try:
        parser.receive_data(data)
        event = parser.next_event()
    except h11.RemoteProtocolError:
        return False
    if event is h11.NEED_DATA:
        return None
    head_bytes = len(data) - len(parser.trailing_data[0])
    return isinstance(event, h11.Request) and head_bytes <= MAX_HEAD_BYTES


class BoundarySeeker:
    """Looks for the next request in the initiator's bytes; holds at most `MAX_HEAD_BYTES` and one piece of them."""

    def __init__(self, *, turn: bool) -> None:
        """Begin; `turn` says whether the next bytes may be a beginning (a late join) or not (after a gap)."""
        self._turn = turn
        self._candidate = b""
        self.skipped = 0
        """Bytes that were given and are no part of the request that is looked for."""

    def receive_turn(self) -> None:
        """The responder said something: what the initiator says next begins a turn."""
        self._turn = True
        self.skipped += len(self._candidate)
        self._candidate = b""

    def receive_gap(self) -> None:
        """Bytes of the initiator are missing: what comes next is no beginning."""
        self._turn = False
        self.skipped += len(self._candidate)
        self._candidate = b""

    def receive_data(self, payload: bytes) -> bytes | None:
        """Take the initiator's next bytes; give the request's bytes so far once its head is complete."""
        if not self._turn and not self._candidate:
            self.skipped += len(payload)
            return None
        if not payload:
            return None
        continued = bool(self._candidate)
        self._turn = False
        self._candidate += payload
        if continued and b"\n" not in payload and len(self._candidate) <= MAX_HEAD_BYTES:
            return None  # no line has ended, so the parser, which begins anew each time, has nothing to add
        verdict = is_request_head(self._candidate)
        if verdict is None:
            return None
        found, self._candidate = self._candidate, b""
        if verdict:
            return found
        self.skipped += len(found)
        return None
