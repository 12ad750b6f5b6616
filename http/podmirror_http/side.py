"""One direction of a conversation: how far its messages were read."""

from enum import Enum
from typing import TYPE_CHECKING

from podmirror_http.heads import MAX_HEAD_BYTES, head_end

if TYPE_CHECKING:
    from podmirror_http.exchange import Exchange
    from podmirror_http.framing import BodyReader


class State(Enum):
    """What the next byte is expected to be."""

    HEAD = "head"
    """One of a head, or the first after a message."""
    BODY = "body"
    WAITING = "waiting"
    """Of the next request or of another protocol: the response will tell."""
    LOST = "lost"
    """Anything."""
    TUNNEL = "tunnel"
    FOREIGN = "foreign"
    """Of no HTTP/1."""


class Side:
    """The messages of one direction."""

    __slots__ = ("began", "body", "direction", "exchange", "held", "searched", "state", "turn", "wire_bytes")

    def __init__(self, direction: int, state: State) -> None:
        self.direction = direction
        self.state = state
        self.held = bytearray()
        """What was received and is not understood yet."""
        self.searched = 0
        """So much of it holds no end of a head."""
        self.began = 0
        """When the first byte of that, and then of the message, was seen."""
        self.exchange: Exchange | None = None
        """Whose message is being read."""
        self.body: BodyReader | None = None
        self.wire_bytes = 0
        """Of the message."""
        self.turn = False
        """Whether the first held byte is this direction's first after the other spoke."""

    def take(self, size: int) -> bytes:
        """Give the first held bytes, which are understood."""
        taken = bytes(self.held[:size])
        del self.held[:size]
        self.searched = 0
        return taken

    def head(self, *, may: bool) -> bytes | None:
        """Give the head with which the held bytes begin, or all of them if they begin none; None if there must be more."""
        if not may:
            return bytes(self.held)
        end = head_end(self.held, self.searched)
        if end is None and len(self.held) <= MAX_HEAD_BYTES:
            self.searched = len(self.held)
            return None
        return bytes(self.held[:end])

    def begin_head(self) -> None:
        """Expect the next message."""
        self.state = State.HEAD
        self.exchange = self.body = None
        self.wire_bytes = 0
        self.searched = 0
