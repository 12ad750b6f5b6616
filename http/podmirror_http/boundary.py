"""Where an HTTP/1 conversation can be joined: the first byte of a request.

Theory of operation. After a gap, or on a connection whose beginning was not seen, the initiator's bytes may be anything, the
middle of a body among them, and a body may itself hold what looks like a request. So a request is taken for one in two places
only.

At the beginning of the initiator's *turn*: its first bytes after the responder said something, or the first that were seen of
it at all. In HTTP/1 without pipelining a request begins exactly there; a body that continues after `100 Continue`, or that was
joined in its middle, does too, and is told apart because the bytes from there on must be the head of a request, complete to
its empty line, as h11 reads it (RFC 9112, 3 and 5).

Inside a turn, where a pipelining client begins most of its requests. Nothing marks the place, so everything around it has to
agree, and the judgement waits for the turn's end, when all of it has been seen:

- it is the first line in the turn that reads as a request's, or as the rest of one; a second is never tried, since a body that
  holds one may hold more;
- what stands before it is the end of a request: the remainder of a head in which no field speaks of a body, or the last chunk
  of a chunked body (RFC 9112, 7.1). Both end in CRLF. The end of a body with a length has no mark, so it is no sign;
- from it to the turn's last byte there are whole HTTP/1.1 requests and nothing else: heads that h11 accepts, Host fields
  among them, each with its body as its framing says (RFC 9112, 6).

A text in a body that is no more than a request fails the second or the third. To pass, a body would have to read as fields from
the first byte that was seen of it, and then as whole requests to its very end. Whatever is in doubt is passed over, until the
initiator's next turn.
"""

import re

import h11

MAX_HEAD_BYTES = 64 * 1024
"""A head that is longer than that is none: four times the default limit of h11 and nginx's large_client_header_buffers. In a
turn that is longer than that no request is looked for except at its beginning."""

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
"""RFC 9110, 5.6.2."""

_REQUEST_LINE = re.compile(rb"^" + _TOKEN + rb" [^ \r\n]+ HTTP/1\.[01]\r?$", re.MULTILINE)

_REQUEST_LINE_END = re.compile(rb" HTTP/1\.[01]\r?\n")
"""Of the rest of a request's line, too, which may as well be a whole one behind something else in a body."""

_HEAD_REMAINDER = re.compile(rb"(?:[\t\x20-\x7e\x80-\xff]*\r)?\n(?:" + _TOKEN + rb":[^\r\n]*\r\n)*\r\n")
"""The rest of some line, whole fields, and the empty line."""

_SPEAKS_OF_BODY = re.compile(
    rb"^(?:content-|transfer-encoding|trailer|expect|upgrade)", re.MULTILINE | re.IGNORECASE
)
"""Fields of requests whose head is not followed by the next one at once (RFC 9110, 6.4, 7.8 and 10.1.1)."""

_LAST_CHUNK = b"\r\n0\r\n\r\n"


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
    return (
        isinstance(event, h11.Request)
        and event.http_version in (b"1.0", b"1.1")  # h11 reads HTTP/2's preface as a request of HTTP/2.0
        and head_bytes <= MAX_HEAD_BYTES
    )


def first_request_inside(turn: bytes) -> int | None:
    """Give where in a whole turn, behind its beginning, its first request begins; None if that is in doubt."""
    line = _REQUEST_LINE.search(turn)
    if line is None or not _ends_a_request(turn[: line.start()]):
        return None
    at = line.start()
    while at < len(turn):
        size = _request_size(turn[at:])
        if size is None:
            return None
        at += size
    return line.start()


def _ends_a_request(before: bytes) -> bool:
    """Whether `before` reads as the last bytes of a request, so that the next may follow."""
    if _REQUEST_LINE_END.search(before):
        return False
    if before.endswith(_LAST_CHUNK):
        return True
    return _HEAD_REMAINDER.fullmatch(before) is not None and _SPEAKS_OF_BODY.search(before) is None


def _request_size(data: bytes) -> int | None:
    """Give the size of the HTTP/1.1 request with which `data` begins, its body included; None if there is no whole one."""
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
    try:
        parser.receive_data(data)
        event = parser.next_event()
        if not isinstance(event, h11.Request) or event.http_version != b"1.1" or event.method == b"CONNECT":
            return None
        while not isinstance(event, h11.EndOfMessage):
            event = parser.next_event()
            if event is h11.NEED_DATA:
                return None
    except h11.RemoteProtocolError:
        return None
    return len(data) - len(parser.trailing_data[0])


class BoundarySeeker:
    """Looks for the next request in the initiator's bytes; holds at most `MAX_HEAD_BYTES` and one piece of them."""

    def __init__(self, *, turn: bool) -> None:
        """Begin; `turn` says whether the next bytes may be a beginning (a late join) or not (after a gap)."""
        self._begins = turn
        """Whether what is held may be a request from its first byte on."""
        self._passes = False
        """Whether the rest of this turn is passed over."""
        self._held = bytearray()
        self.skipped = 0
        """Bytes that were given and are no part of the request that is looked for."""

    def receive_turn(self) -> bytes | None:
        """The initiator's turn is over, since the responder said something or it ended; give the requests inside it."""
        turn = bytes(self._held)
        found = first_request_inside(turn)
        requests = None if found is None else turn[found:]
        self._skip(len(turn) if found is None else found)
        self._held.clear()
        self._begins, self._passes = True, False
        return requests

    def receive_gap(self) -> None:
        """Bytes of the initiator are missing: what comes next is no beginning."""
        self._skip(len(self._held))
        self._held.clear()
        self._begins = self._passes = False

    def receive_data(self, payload: bytes) -> bytes | None:
        """Take the initiator's next bytes; give the request's bytes so far once its head is complete."""
        if self._passes:
            self._skip(len(payload))
            return None
        continued = bool(self._held)
        self._held += payload
        # While no line ends, the parser, which begins anew each time, has nothing to add.
        if self._begins and (not continued or b"\n" in payload or len(self._held) > MAX_HEAD_BYTES):
            verdict = is_request_head(bytes(self._held))
            if verdict:
                found = bytes(self._held)
                self._held.clear()
                return found
            self._begins = verdict is None
        if len(self._held) > MAX_HEAD_BYTES:
            self._skip(len(self._held))
            self._held.clear()
            self._begins, self._passes = False, True
        return None

    def _skip(self, size: int) -> None:
        self.skipped += size
