"""The record of an exchange: a request with its response, as one connection showed them.

A record grows while its exchange is in progress and is not changed any more once it is finished. Bodies are kept from their
first byte up to a limit, and never across a hole: what is kept is what the app received, without chunk framing and with its
content-coding.
"""

from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import urlsplit

from podmirror_wire.values import Endpoint

Headers = tuple[tuple[str, str], ...]
"""Names and values in order, in their original case, each character one byte (ISO 8859-1)."""

NANOSECONDS_PER_MS = 1_000_000


class State(Enum):
    """How much of an exchange was seen."""

    COMPLETE = "complete"
    JOINED_LATE = "joined_late"
    """The exchange is whole; its connection was open before it was looked at."""
    GAP = "gap"
    """Bytes of it are missing that the app received."""
    UNFINISHED = "unfinished"
    """The connection, or the looking at it, ended before it did."""


@dataclass(slots=True)
class Body:
    """What was seen of a body."""

    size: int = 0
    """Bytes, without chunk framing; those that are missing or left out included, as far as their number is known."""
    kept: bytearray = field(default_factory=bytearray)
    """From its first byte on, up to a limit or to the first hole."""
    missing: int = 0
    """Bytes of it that the app received and that were not seen."""
    left_out: int = 0
    """Bytes of it that the agent did not send, on purpose."""

    @property
    def truncated(self) -> bool:
        """Whether less is kept than there was."""
        return len(self.kept) < self.size

    def receive(self, content: bytes, limit: int) -> int:
        """Take the next bytes, keep them if there is room and no hole before them; give how many were kept."""
        room = limit - len(self.kept) if len(self.kept) == self.size else 0
        kept = content[: max(0, room)]
        self.kept += kept
        self.size += len(content)
        return len(kept)

    def skip(self, length: int, *, on_purpose: bool) -> None:
        """Take note of bytes that are not there."""
        self.size += length
        if on_purpose:
            self.left_out += length
        else:
            self.missing += length


@dataclass(slots=True)
class Message:
    """A request or a response."""

    version: str
    """As `1.1`."""
    headers: Headers
    head_bytes: int
    """Of the first line and the headers, their empty line included."""
    body: Body = field(default_factory=Body)
    wire_bytes: int = 0
    """Of the whole message with its framing; 0 until it ended."""
    ended: int | None = None
    """Pod time of its last byte, nanoseconds since 1970."""

    def header(self, name: str) -> str:
        """Give the first header of that name, or an empty text."""
        name = name.lower()
        return next((value for each, value in self.headers if each.lower() == name), "")

    @property
    def size(self) -> int:
        """Bytes of the message, as far as they are known."""
        return self.wire_bytes or self.head_bytes + self.body.size


@dataclass(slots=True)
class Request(Message):
    """What the initiator asked."""

    method: str = ""
    target: str = ""
    """As it stands in the request's first line (RFC 9112, 3.2)."""


@dataclass(slots=True)
class Response(Message):
    """What the responder answered."""

    status: int = 0
    reason: str = ""


@dataclass(slots=True)
class Exchange:
    """A request with its response."""

    pod: str
    connection: int
    """Number of the connection, unique in the session with that pod."""
    number: int
    """Of the exchange in its connection, from 1."""
    initiator: Endpoint
    responder: Endpoint
    began: int
    """Pod time of the request's first byte, nanoseconds since 1970."""
    request: Request
    response: Response | None = None
    first_byte: int | None = None
    """Pod time of the response's first byte."""
    state: State = State.UNFINISHED
    redacted: bool = False
    """Whether values in it are pseudonyms."""
    upgrade: str = ""
    """What the connection speaks from here on; empty if it goes on with HTTP/1."""
    interruption: str = ""
    """Why it could not be followed to its end; empty if it could."""

    @property
    def is_over(self) -> bool:
        """Whether both the request and the response were followed to their ends."""
        return (
            self.request.ended is not None and self.response is not None and self.response.ended is not None
        )

    @property
    def host(self) -> str:
        """Whom the initiator asked, with the port if it named one; empty if it named nobody."""
        if self.request.method == "CONNECT":
            return self.request.target
        if "://" in self.request.target:
            return _authority(self.request.target)
        return self.request.header("host")

    @property
    def path(self) -> str:
        """The target without its query."""
        target = self.request.target
        if "://" in target:
            _, _, rest = target.partition("://")
            target = rest[len(rest.partition("/")[0]) :] or "/"
        return target.partition("?")[0]

    @property
    def status(self) -> int | None:
        """Of the response; None if none was seen."""
        return self.response.status if self.response else None

    @property
    def first_byte_ms(self) -> float | None:
        """From the request's first byte to the response's, in milliseconds; None if one was not seen."""
        return None if self.first_byte is None else (self.first_byte - self.began) / NANOSECONDS_PER_MS

    @property
    def last_byte_ms(self) -> float | None:
        """From the request's first byte to the response's last, in milliseconds; None if one was not seen."""
        ended = self.response.ended if self.response else None
        return None if ended is None else (ended - self.began) / NANOSECONDS_PER_MS

    @property
    def missing_bytes(self) -> int:
        """Of both bodies, bytes that the app received and that were not seen."""
        return sum(message.body.missing for message in self._messages())

    @property
    def left_out_bytes(self) -> int:
        """Of both bodies, bytes that the agent did not send, on purpose."""
        return sum(message.body.left_out for message in self._messages())

    def _messages(self) -> list[Message]:
        return [self.request, self.response] if self.response else [self.request]


def _authority(target: str) -> str:
    try:
        return urlsplit(target).netloc.rpartition("@")[2]
    except ValueError:  # a bracket that is not closed
        return target.partition("://")[2].partition("/")[0]
