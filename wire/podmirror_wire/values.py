"""What fields of frames hold besides numbers: directions, reasons, addresses."""

import ipaddress
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple, Self

EVERY_PORT = 0
"""In a subscription: all connections, whatever their ports, and whichever end the pod is."""

CAPTURE_ENDED = "the capture file was read to its end"
"""Reason of the goodbye of an agent that read a file."""

TOLD_TO_END = "SIGTERM was received"
"""And of one that was told to end, as all of a pod's containers are when it goes away."""


class Direction(IntEnum):
    """Which way bytes travel in a mirrored connection."""

    TO_RESPONDER = 0
    TO_INITIATOR = 1

    @property
    def reverse(self) -> "Direction":
        """The other direction."""
        return Direction(1 - self)


class CloseReason(IntEnum):
    """Why nothing more comes of a mirrored connection."""

    FINISHED = 0
    """Both directions ended with FIN, and all that came before was sent."""
    RESET_BY_INITIATOR = 1
    RESET_BY_RESPONDER = 2
    IDLE = 3
    """No packet was seen for longer than the agent's idle limit."""
    CUT = 4
    """A byte budget was full: the rest of this connection was given up."""
    REPLACED = 5
    """The initiator used the port pair for a new connection; the end of this one was missed."""
    UNSUBSCRIBED = 6
    AGENT_ENDED = 7
    SHED = 8
    """The agent's CPU budget was used up: the rest of this connection is not sent, only counted at its end."""
    END_MISSED = 9
    """Both directions seem to have ended, but a FIN was missed, so that nobody can tell for sure."""
    CAPTURE_ENDED = 10
    """The capture file was at its end."""


class GapReason(IntEnum):
    """What is known of bytes that the app received and the agent cannot send."""

    MISSED = 0
    """The receiver acknowledged them; the capture never saw them, or a FIN came after them."""
    BUDGET = 1
    """Waiting for them any longer would have broken the reassembly's byte budget."""
    TRUNCATED = 2
    """The capture cut the packet short."""


class Endpoint(NamedTuple):
    """An address and a TCP port."""

    address: str
    """Textual IPv4 or IPv6 address."""
    port: int

    @classmethod
    def from_packed(cls, address: bytes, port: int) -> Self:
        """Take 16 bytes, IPv4 as an IPv4-mapped IPv6 address (RFC 4291, 2.5.5.2)."""
        return cls(_text(address), port)

    def packed(self) -> bytes:
        """Give the address as 16 bytes, IPv4 mapped into IPv6."""
        return _packed(self.address)

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


# The same few addresses come again and again, and to read or write one takes longer than all else about a new connection.


@lru_cache(1024)
def _text(address: bytes) -> str:
    ip = ipaddress.IPv6Address(address)
    return str(ip.ipv4_mapped or ip)


@lru_cache(1024)
def _packed(text: str) -> bytes:
    ip = ipaddress.ip_address(text)
    return ip.packed if ip.version == 6 else bytes(10) + b"\xff\xff" + ip.packed
