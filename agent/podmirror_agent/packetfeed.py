"""What a session is given of packets themselves, beside the connections: all of each, or its headers alone.

A session whose layer redacts gets headers. The payload that belongs behind them goes through redaction as a part of its
connection; the packet names its place there, and the layer puts them together again. Packets that are not TCP, or of a
connection that the session does not know, stay cut.

Packets are a luxury beside the connections: they wait within a limit of their own, and what does not fit is dropped and
counted.
"""

import re
from enum import Enum
from typing import NamedTuple

from podmirror_agent.headers import header_bytes
from podmirror_agent.outbox import Outbox
from podmirror_agent.packet import CapturedPacket
from podmirror_agent.segment import Link
from podmirror_wire.codec import HEADER
from podmirror_wire.frames import Interface, Packet
from podmirror_wire.values import Direction

MAX_SNAPLEN = 262_144
"""Bytes of a packet that are taken at most: what the kernel filter accepts of it."""

LINKTYPES = {Link.ETHERNET: 1, Link.COOKED: 113, Link.COOKED_2: 276, Link.NULL: 0, Link.RAW: 101}
"""The numbers that capture files use (tcpdump.org, link-layer header types)."""

_TAG_OFFSET = 12
"""Behind both Ethernet addresses."""


class PacketMode(Enum):
    """Which packets a session is given, and how much of each."""

    WHOLE = "whole"
    HEADERS = "headers"
    OTHERS = "others"
    """Those that are not TCP, and of those the headers."""


_MODES = frozenset(mode.value for mode in PacketMode)


class Place(NamedTuple):
    """Where the payload of a packet stands in its connection."""

    connection: int
    direction: Direction
    offset: int
    length: int


NOWHERE = Place(0, Direction.TO_RESPONDER, 0, 0)


class PacketFeed:
    """Gives packets to one session."""

    def __init__(self, outbox: Outbox) -> None:
        self.mode: PacketMode | None = None
        """None if the session wants no packets."""
        self.snaplen: int = MAX_SNAPLEN
        """Bytes."""
        self.expression = ""
        """What the kernel filter lets through, of packets and for connections; empty for anything."""
        self.unsent: int = 0
        """Packets that found no room."""
        self._outbox = outbox
        self._told: dict[int, tuple[Link, str]] = {}
        """Interfaces that the layer knows, by index."""
        self._kernel_drops: int = 0
        self._drops: int = 0
        """Packets that are missing since the last one that was sent."""

    def receive_option(self, name: str, value: str) -> bool:
        """Follow an option; False if it is none of packets, or has no such value."""
        if name == "packets" and value in _MODES:
            self.mode = PacketMode(value)
        elif name == "snaplen" and re.fullmatch("[1-9][0-9]{0,5}", value) and int(value) <= MAX_SNAPLEN:
            self.snaplen = int(value)
        elif name == "filter":
            self.expression = value.strip()
        else:
            return False
        return True

    @property
    def wants_tcp(self) -> bool:
        """Whether TCP packets are among what the session wants."""
        return self.mode in (PacketMode.WHOLE, PacketMode.HEADERS)

    def receive_drops(self, total: int) -> None:
        """Take the number of packets that the kernel has dropped since the session began."""
        self._drops += total - self._kernel_drops
        self._kernel_drops = total

    def receive_packet(self, packet: CapturedPacket, place: Place = NOWHERE) -> None:
        """Send a packet of a kind that is wanted, or count it."""
        index, name = packet.interface
        if self._told.get(index) != (packet.link, name):
            self._told[index] = (packet.link, name)
            self._outbox.send(Interface(index, LINKTYPES[packet.link], name))
        whole = self.mode is PacketMode.WHOLE
        size = len(packet.packet) if whole else header_bytes(packet.packet, packet.link)
        if size > self.snaplen and not whole:
            place = NOWHERE  # nothing can be filled in behind headers that are cut themselves
        # An interface that takes tags off is Ethernet's.
        tag = packet.tag if size >= _TAG_OFFSET else b""
        parts = (
            bytes(packet.packet[:_TAG_OFFSET]) + tag + bytes(packet.packet[_TAG_OFFSET:size])
            if tag
            else bytes(packet.packet[:size])
        )[: self.snaplen]
        if self._outbox.send_packet(self._encoded(packet, place, parts)):
            self._drops = 0
        else:
            self.unsent += 1
            self._drops += 1

    def _encoded(self, packet: CapturedPacket, place: Place, kept: bytes) -> bytes:
        header = HEADER.pack(1 + Packet.FIXED.size + len(kept), Packet.KIND)
        fixed = Packet.FIXED.pack(
            packet.interface[0],
            packet.packet_type,
            packet.pod_time,
            packet.wire_length + len(packet.tag),
            min(self._drops, 0xFFFFFFFF),
            *place,
        )
        return b"".join((header, fixed, kept))
