"""Reading the heads of messages: httptools reads the fields, and we the line before them.

httptools is llhttp, the parser of Node.js: it reads a head in a few microseconds, while h11 takes a few hundred, which counts
in a pod. It is told to be lenient, since what an app accepts must be seen as well. The request line is not left to it, because
it knows only registered methods and only ASCII in targets.
"""

import re

import httptools

from podmirror_http.events import Fields, RequestHead, ResponseHead

MAX_HEAD_BYTES = 64 * 1024
"""A head that is longer than that is none, as in `boundary`."""

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
"""RFC 9110, 5.6.2."""

_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([^\r\n]+) HTTP/(1\.[01])\r?\n")
_STATUS_LINE = re.compile(rb"HTTP/(1\.[01]) ([1-9][0-9]{2})(?: ([^\r\n]*))?\r?\n")
_END = re.compile(rb"\n\r?\n")
_BEGINNING = re.compile(_TOKEN[:-1] + rb"{1,32}(?: |\Z)")
"""A method is longer than every registered one, if there is no space in so many bytes."""
_VERSION_PREFIX = b"HTTP/1."


class MalformedHead(Exception):
    """Bytes that were to be a head are none."""


class _Collector:
    """What httptools calls."""

    def __init__(self) -> None:
        self.fields: list[tuple[str, str]] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.decode("latin-1"), value.decode("latin-1").strip(" \t")))


def head_end(held: bytes | bytearray, searched: int) -> int | None:
    """Give where the head ends with which `held` begins; `searched` bytes of it had none before. None if that is not there."""
    found = _END.search(held, max(0, searched - 2))
    return found.end() if found else None


def may_begin_request(held: bytes | bytearray) -> bool:
    """Whether these first bytes may be those of a request."""
    if b"\n" in held[:MAX_HEAD_BYTES]:
        return _REQUEST_LINE.match(held) is not None
    return _BEGINNING.match(held) is not None and len(held) <= MAX_HEAD_BYTES


def may_begin_response(held: bytes | bytearray) -> bool:
    """Whether these first bytes may be those of a response."""
    if b"\n" in held[:MAX_HEAD_BYTES]:
        return _STATUS_LINE.match(held) is not None
    return _VERSION_PREFIX.startswith(held[: len(_VERSION_PREFIX)]) and len(held) <= MAX_HEAD_BYTES


def read_request_head(raw: bytes) -> RequestHead:
    """Read a whole head.

    Raises:
        MalformedHead: It is none.
    """
    line = _REQUEST_LINE.match(raw)
    if line is None or len(raw) > MAX_HEAD_BYTES:
        raise MalformedHead
    method, target, version = (part.decode("latin-1") for part in line.groups())
    return RequestHead(method, target, version, _fields(raw[line.end() :]), raw)


def read_response_head(raw: bytes) -> ResponseHead:
    """Read a whole head.

    Raises:
        MalformedHead: It is none.
    """
    line = _STATUS_LINE.match(raw)
    if line is None or len(raw) > MAX_HEAD_BYTES:
        raise MalformedHead
    version, status, reason = (part.decode("latin-1") for part in line.groups(b""))
    return ResponseHead(int(status), reason, version, _fields(raw[line.end() :]), raw)


def _fields(lines: bytes) -> Fields:
    collector = _Collector()
    parser = httptools.HttpRequestParser(collector)
    parser.set_dangerous_leniencies(
        lenient_headers=True,
        lenient_chunked_length=True,
        lenient_transfer_encoding=True,
        lenient_optional_lf_after_cr=True,
        lenient_optional_cr_before_lf=True,
    )
    try:
        parser.feed_data(b"GET / HTTP/1.1\r\n" + lines)
    except httptools.HttpParserUpgrade:
        pass  # what it is upgraded to is for `pairing`
    except httptools.HttpParserError:
        raise MalformedHead from None
    return tuple(collector.fields)


def values_of(fields: Fields, name: str) -> list[str]:
    """Give the members of all fields of a name (in small letters) that holds a list (RFC 9110, 5.6.1)."""
    return [
        member.strip(" \t")
        for field, value in fields
        if field.lower() == name
        for member in value.split(",")
        if member.strip(" \t")
    ]
