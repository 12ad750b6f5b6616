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


UNKNOWN_TYPE = 255
"""In place of an sll_pkttype, where a file does not say."""


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
    packet_type: int = 0
    """sll_pkttype of packet(7): 0 to the host, 1 broadcast, 2 multicast, 3 to another host, 4 outgoing; or
    `UNKNOWN_TYPE`."""
    tag: bytes = b""
    """A VLAN tag that the kernel took off behind the Ethernet addresses, 4 bytes."""
