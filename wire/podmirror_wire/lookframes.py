"""Frames for who looks at traffic, and has no need to deliver it: times, digests, protocols, and packets themselves."""

import struct
from dataclasses import dataclass

from podmirror_wire.codec import Frame, Tail
from podmirror_wire.values import Direction


@dataclass(frozen=True, slots=True)
class Timed(Frame):
    """Agent to layer: what follows of this connection was captured at that pod time, in nanoseconds since 1970.

    Sent only when the options ask for times, and only where the time has changed.
    """

    KIND = 25
    FIXED = struct.Struct("!QQ")
    connection: int
    pod_time: int


@dataclass(frozen=True, slots=True)
class Digest(Frame):
    """Agent to layer, before `Closed`: SHA-256 of the bytes of one direction as they were seen, whatever is sent of them.

    Sent only when the options ask for digests. Bytes in gaps are in neither the digest nor the length.
    """

    KIND = 26
    FIXED = struct.Struct("!QBQ32s")
    connection: int
    direction: Direction
    length: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Recognised(Frame):
    """Agent to layer: what a connection looks like of which the bytes are not sent, because they cannot be redacted."""

    KIND = 28
    FIXED = struct.Struct("!Q")
    TAIL = Tail.SETTINGS
    connection: int
    says: dict[str, str]
    """`protocol`, and `detail`, which may be empty."""


@dataclass(frozen=True, slots=True)
class Interface(Frame):
    """Agent to layer: an interface of the pod, before the first packet of it; another of the same index takes its place."""

    KIND = 27
    FIXED = struct.Struct("!IH")
    TAIL = Tail.TEXT
    index: int
    linktype: int
    """What its packets begin with: a LINKTYPE number (tcpdump.org, link-layer header types)."""
    name: str


@dataclass(frozen=True, slots=True)
class Packet(Frame):
    """Agent to layer: a packet as captured, or cut behind its headers, as the options ask.

    One that holds bytes of a connection that the session knows names their place in it, so that the layer can fill in from the
    connection's own frames what was cut.
    """

    KIND = 23
    FIXED = struct.Struct("!IBQIIQBQI")
    TAIL = Tail.BYTES
    interface: int
    """Interface index in the pod."""
    packet_type: int
    """sll_pkttype of packet(7): 0 to the host, 4 outgoing."""
    pod_time: int
    length: int
    """Bytes on the wire; the tail may be shorter."""
    drops: int
    """Packets that are missing since the last frame of this kind: dropped by the kernel, or by the agent."""
    connection: int
    """Whose bytes follow the headers; 0 if that is not known."""
    direction: Direction
    offset: int
    """In that direction, of the first of those bytes."""
    payload: int
    """How many they are. The tail holds what of them was not cut."""
    packet: bytes
