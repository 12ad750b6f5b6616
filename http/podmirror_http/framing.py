"""Where the body of a message ends (RFC 9112, 6 and 7)."""

import re
from enum import Enum

from podmirror_http.events import Part, RequestHead, ResponseHead
from podmirror_http.heads import values_of

MAX_LINE_BYTES = 4096
"""Of a chunk's line with its extensions: half of what nginx reads a line into."""
MAX_TRAILER_BYTES = 64 * 1024

_SIZE = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r?\n")
_SECTION_END = re.compile(rb"(?:\A|\n)\r?\n")

Pieces = list[tuple[Part, bytes]]


class MalformedBody(Exception):
    """The framing makes no sense."""


class Kind(Enum):
    """How a body's end is known."""

    LENGTH = "length"
    CHUNKED = "chunked"
    UNTIL_CLOSE = "until close"


def request_framing(head: RequestHead) -> tuple[Kind, int]:
    """Give how the body of a request is framed, and its length (RFC 9112, 6.3).

    Raises:
        MalformedBody: It cannot be told.
    """
    codings = [coding.lower() for coding in values_of(head.headers, "transfer-encoding")]
    if codings:
        if codings[-1] != "chunked":  # rule 4.3: a server answers 400
            raise MalformedBody
        return Kind.CHUNKED, 0
    return Kind.LENGTH, _content_length(head.headers) or 0  # rules 5, 6 and 7


def response_framing(head: ResponseHead, method: str) -> tuple[Kind, int]:
    """Give the same of the response to a request with that method, which is not 1xx, nor 2xx to CONNECT (rules 1 and 2).

    Raises:
        MalformedBody: It cannot be told.
    """
    if method == "HEAD" or head.status in (204, 304):  # rule 1
        return Kind.LENGTH, 0
    codings = [coding.lower() for coding in values_of(head.headers, "transfer-encoding")]
    if codings:  # rules 3 and 4
        return (Kind.CHUNKED if codings[-1] == "chunked" else Kind.UNTIL_CLOSE), 0
    length = _content_length(head.headers)
    return (Kind.UNTIL_CLOSE, 0) if length is None else (Kind.LENGTH, length)  # rules 5, 6 and 8


def _content_length(fields: tuple[tuple[str, str], ...]) -> int | None:
    values = set(values_of(fields, "content-length"))
    if not values:
        return None
    value = values.pop()
    if values or not re.fullmatch("[0-9]{1,18}", value):
        raise MalformedBody
    return int(value)


class _State(Enum):
    CONTENT = "content"
    SIZE = "size"
    CHUNK_END = "chunk end"
    TRAILERS = "trailers"
    ENDED = "ended"
    MALFORMED = "malformed"


class BodyReader:
    """Splits the bytes of one body into content and framing."""

    def __init__(self, kind: Kind, length: int = 0) -> None:
        """Begin; the length is that of content, for `Kind.LENGTH` alone."""
        self.kind = kind
        self.remaining = length
        """Bytes of content, or of the chunk, that are still to come."""
        self._line = bytearray()
        """Framing that is not whole."""
        self._state = _State.SIZE if kind is Kind.CHUNKED else _State.CONTENT
        self.touched = False
        """Whether any of it came."""
        self._settle()

    @property
    def ended(self) -> bool:
        """Whether all of it was read."""
        return self._state is _State.ENDED

    @property
    def malformed(self) -> bool:
        """Whether the framing makes no sense from what is held on."""
        return self._state is _State.MALFORMED

    @property
    def held(self) -> int:
        """Bytes that were taken and not yet given."""
        return len(self._line)

    def receive_data(self, data: bytes, at: int, pieces: Pieces) -> int:
        """Take what of `data` behind `at` belongs to the body, add it to `pieces`, and give where the rest begins."""
        self.touched = self.touched or at < len(data)
        while at < len(data) and self._state not in (_State.ENDED, _State.MALFORMED):
            if self._state is _State.CONTENT:
                at = self._read_content(data, at, pieces)
            elif self._state is _State.TRAILERS:
                at = self._read_trailers(data, at, pieces)
            else:
                at = self._read_line(data, at, pieces)
        return at

    def receive_missing(self, length: int) -> bool:
        """Take that bytes are not there; whether it is still known where the body ends."""
        if self._state is not _State.CONTENT or self._line:
            return False
        if self.kind is Kind.UNTIL_CLOSE:
            return True
        if length > self.remaining:
            return False
        self.remaining -= length
        self._settle()
        return True

    def drop(self) -> bytes:
        """Give what is held, which is of no use any more."""
        line, self._line = bytes(self._line), bytearray()
        return line

    def _settle(self) -> None:
        if self._state is _State.CONTENT and not self.remaining:
            if self.kind is Kind.LENGTH:
                self._state = _State.ENDED
            elif self.kind is Kind.CHUNKED:
                self._state = _State.CHUNK_END

    def _read_content(self, data: bytes, at: int, pieces: Pieces) -> int:
        end = len(data) if self.kind is Kind.UNTIL_CLOSE else min(len(data), at + self.remaining)
        pieces.append((Part.CONTENT, data[at:end]))
        self.remaining -= end - at
        self._settle()
        return end

    def _read_line(self, data: bytes, at: int, pieces: Pieces) -> int:
        found = data.find(b"\n", at)
        end = len(data) if found < 0 else found + 1
        self._line += data[at:end]
        if self._state is _State.CHUNK_END:
            proper = bytes(self._line) in (b"\r", b"\n", b"\r\n")
        else:
            size = _SIZE.fullmatch(self._line)
            proper = found < 0 or size is not None
        if not proper or len(self._line) > MAX_LINE_BYTES:
            self._state = _State.MALFORMED
        elif found >= 0:
            if self._state is _State.CHUNK_END:
                self._state = _State.SIZE
            elif size is not None:
                self.remaining = int(size[1], 16)
                self._state = _State.CONTENT if self.remaining else _State.TRAILERS
            pieces.append((Part.FRAMING, self.drop()))
        return end

    def _read_trailers(self, data: bytes, at: int, pieces: Pieces) -> int:
        before = len(self._line)
        self._line += data[at : at + MAX_TRAILER_BYTES]
        taken = len(self._line) - before
        found = _SECTION_END.search(self._line, max(0, before - 2))
        if (found.end() if found else len(self._line)) > MAX_TRAILER_BYTES:
            self._state = _State.MALFORMED
            return at + taken
        if found is None:
            return at + taken
        del self._line[found.end() :]
        pieces.append((Part.TRAILERS, self.drop()))
        self._state = _State.ENDED
        return at + found.end() - before
