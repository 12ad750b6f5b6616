"""What `pairing.Conversation` tells of a connection: its exchanges, and where its bytes belong."""

from dataclasses import dataclass
from enum import Enum
from typing import Literal, TypeAlias

TO_RESPONDER, TO_INITIATOR = 0, 1
"""Directions."""

Reason: TypeAlias = Literal["gap", "omitted", "end", "malformed"]
"""Why a message is not known to its end: bytes were missed in its framing, or left out; its direction or the connection ended;
or its framing makes no sense."""

Fields: TypeAlias = tuple[tuple[str, str], ...]
"""Names and values in order, in their original case, as ISO 8859-1."""


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A request's line and fields."""

    method: str
    target: str
    version: str
    """"1.0" or "1.1"."""
    headers: Fields
    raw: bytes
    """To the empty line, that included."""


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """A response's line and fields."""

    status: int
    reason: str
    version: str
    headers: Fields
    raw: bytes


@dataclass(frozen=True, slots=True)
class RequestBegan:
    """A request's head was read; the time is that of its first byte. Exchanges are numbered from 1 in a connection."""

    exchange: int
    head: RequestHead
    time: int


@dataclass(frozen=True, slots=True)
class InterimResponse:
    """A response of class 1xx, but for 101: the exchange's own is still to come (RFC 9110, 15.2)."""

    exchange: int
    head: ResponseHead


@dataclass(frozen=True, slots=True)
class ResponseBegan:
    """The head of an exchange's response was read; the time is that of its first byte."""

    exchange: int
    head: ResponseHead
    time: int


@dataclass(frozen=True, slots=True)
class Body:
    """Content, without the framing of chunks, but in its content-coding."""

    exchange: int
    direction: int
    content: bytes


@dataclass(frozen=True, slots=True)
class BodyMissing:
    """So many bytes of content (or, in a chunked body, of one chunk) are not there; what follows them is."""

    exchange: int
    direction: int
    length: int
    reason: Literal["gap", "omitted"]


@dataclass(frozen=True, slots=True)
class MessageEnded:
    """A request or response is known to its end, but for what `BodyMissing` said."""

    exchange: int
    direction: int
    time: int
    wire_bytes: int
    """Head, framing and missing bytes included; interim responses too."""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """An exchange will not be known to its end; told once of each, and nothing follows for it."""

    exchange: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class Upgraded:
    """The connection left HTTP/1 by this exchange: what follows is of another protocol."""

    exchange: int
    protocol: str
    """What the response names in Upgrade; "connect" after CONNECT."""


@dataclass(frozen=True, slots=True)
class TunnelData:
    """So many bytes of that other protocol."""

    direction: int
    length: int


@dataclass(frozen=True, slots=True)
class NotHttp:
    """The connection is not HTTP/1; told once, and nothing follows."""


class Part(Enum):
    """What bytes are."""

    HEAD = "head"
    """A whole head, to its empty line."""
    FRAMING = "framing"
    """Lines of chunks, and empty lines before a request."""
    CONTENT = "content"
    TRAILERS = "trailers"
    """A whole trailer section, with its empty line."""
    TUNNEL = "tunnel"
    UNKNOWN = "unknown"
    """Of no message that was recognised."""


@dataclass(frozen=True, slots=True)
class Span:
    """The raw bytes behind the other events, each byte in one span and in order; given on request, before what it led to."""

    exchange: int
    """0 for none."""
    direction: int
    part: Part
    raw: bytes


Event: TypeAlias = (
    RequestBegan
    | InterimResponse
    | ResponseBegan
    | Body
    | BodyMissing
    | MessageEnded
    | Interrupted
    | Upgraded
    | TunnelData
    | NotHttp
    | Span
)
