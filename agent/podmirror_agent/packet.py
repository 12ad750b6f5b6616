"""A captured packet, wherever it was captured."""

from enum import Enum
from typing import NamedTuple

from podmirror_agent.segment import Link


class Way(Enum):
    """Which way a packet took past the capture."""

    INCOMING = "incoming"
    OUTGOING = "outgoing"
    EITHER = "either"
    """Loopback, or a capture that does not say."""


class CapturedPacket(NamedTuple):
    """A packet as its source gives it. Its bytes may be valid only until the next one is asked for."""

    packet: memoryview
    wire_length: int
    way: Way
    interface: tuple[int, str]
    """Index and name."""
    pod_time: int
    """Nanoseconds since 1970."""
    link: Link = Link.ETHERNET
