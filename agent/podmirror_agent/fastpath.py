"""The short way of a packet: a segment in order, of a connection that is open and waits for nothing else.

Theory of operation. Nearly all packets of a busy pod are such segments, so they are read where they lie in the ring: two
`struct` calls, one look-up of the flow, a handful of comparisons, and one copy of the payload. Everything else (handshakes,
ends, holes, options and extension headers, fragments, VLAN tags, other interfaces) goes the careful way through `segment` and
`connections`, which then says whether its streams are `ready` for this one.

Bytes of one direction that follow each other become one `Run`, and each run becomes one frame. A run ends when the other
direction speaks, so that whoever reads the frames sees the turns of the conversation, or when the careful way has something to
tell of the connection. Runs and events of the blocks that are read at a time stand in one list, in the order in which they
happened.

What is passed by here must not be seen by anyone: an acknowledgment of bytes that the capture has not seen is evidence of a
loss, and goes the careful way.
"""

import struct
import sys
from collections.abc import Callable
from mmap import mmap
from typing import Final

from podmirror_agent.connection import ConnectionEvent
from podmirror_agent.stream import Stream

LARGE_BYTES: Final = 4096
"""A payload of at least so many bytes is not copied but sent from the ring, if the tunnel takes it at once: below a page, the
system call's work for a buffer of its own costs more than the copy."""

_PACKET = struct.Struct("=I8xI8xHH22xHi2xB")
"""struct tpacket3_hdr and the struct sockaddr_ll behind it, at 48 (linux/if_packet.h): offset of the following packet, captured
bytes, offset of the packet, offset of its network header; protocol, interface, packet type."""

_TIME = struct.Struct("=4xII")
"""Of the same: seconds and nanoseconds since 1970."""

_IPV4 = struct.Struct("!BxH2xHxB2x12sIIBB")
"""An IPv4 header without options and the TCP header behind it: version and length, total length, fragment offset, protocol;
addresses and ports; sequence and acknowledgment number, data offset, flags."""

_IPV6 = struct.Struct("!B3xHBx36sIIBB")
"""The same with an IPv6 header: version, payload length, next header; and so on."""

_ETHERTYPE_IPV4: Final = int.from_bytes(b"\x08\x00", sys.byteorder)
_ETHERTYPE_IPV6: Final = int.from_bytes(b"\x86\xdd", sys.byteorder)
"""As the kernel's structure holds them, in network byte order."""

_LEAST_IPV4: Final = 14 + 20 + 20
_LEAST_IPV6: Final = 14 + 40 + 20
"""Ethernet, IP and TCP headers: with less, there may be nothing to read."""

_TCP: Final = 6
_FLAGS: Final = 0x17
_ACK_ALONE: Final = 0x10
"""Of FIN, SYN, RST and ACK, the last must be set and no other."""

_LEAST_OFFSET: Final = 0x50
"""Of the data: five words of header."""


class Run:
    """Bytes of one direction that came one behind the other."""

    __slots__ = ("length", "offset", "pieces", "pod_time", "stream")

    def __init__(self, stream: Stream, pod_time: int) -> None:
        self.stream = stream
        self.pod_time = pod_time
        """Of the first of its packets, nanoseconds since 1970."""
        self.offset: int = stream.offset
        self.length: int = 0
        self.pieces: list[bytes | memoryview] = []
        """Empty if nobody wants the bytes."""


Happened = list[Run | ConnectionEvent]

Block = tuple[int, int]
"""Of the ring: the place of its first packet, in bytes, and how many packets it has."""


def walk(
    ring: mmap,
    view: memoryview,
    block: Block,
    flows: dict[bytes, Stream],
    now: float,
    careful: Callable[[int], list[ConnectionEvent]],
    happened: Happened,
) -> None:
    """Read the packets of a block of the ring, and add what happened.

    Args:
        ring: The mapped ring.
        view: The same; what is taken from it is valid until the block is given back.
        block: Where they are.
        flows: Streams by source address, destination address and both ports, as they stand in the packet.
        now: Monotonic seconds.
        careful: Takes the position of a packet that is not for this way.
        happened: In the blocks before this one, while none of it was told to anyone.
    """
    position, count = block
    read_packet = _PACKET.unpack_from
    read_ipv4 = _IPV4.unpack_from
    read_ipv6 = _IPV6.unpack_from
    # Declared for the compiler, which would take what `struct` gives for objects of any kind.
    following: int
    captured: int
    mac: int
    net: int
    protocol: int
    interface: int
    packet_type: int
    version: int
    total: int
    fragment: int
    transport: int
    flow: bytes
    flags: int
    seconds: int
    nanoseconds: int
    for _ in range(count):
        following, captured, mac, net, protocol, interface, packet_type = read_packet(ring, position)
        at = position + net
        stream: Stream | None = None
        start = end = 0
        acknowledgment = offset = sequence = 0
        if protocol == _ETHERTYPE_IPV4 and captured >= _LEAST_IPV4:
            version, total, fragment, transport, flow, sequence, acknowledgment, offset, flags = read_ipv4(
                ring, at
            )
            start, end = at + 20, at + total
            if (
                version == 0x45
                and transport == _TCP
                and not fragment & 0x3FFF
                and flags & _FLAGS == _ACK_ALONE
            ):
                stream = flows.get(flow)
        elif protocol == _ETHERTYPE_IPV6 and captured >= _LEAST_IPV6:
            version, total, transport, flow, sequence, acknowledgment, offset, flags = read_ipv6(ring, at)
            start, end = at + 40, at + 40 + total
            if version >> 4 == 6 and transport == _TCP and flags & _FLAGS == _ACK_ALONE:
                stream = flows.get(flow)
        if (
            stream is not None
            and stream.ready
            and sequence == stream.next
            and offset >= _LEAST_OFFSET
            and interface == stream.interface
            and packet_type == stream.packet_type
        ):
            reverse = stream.reverse
            start += offset >> 2 & 0x3C
            length = end - start
            if acknowledgment == reverse.next or (acknowledgment - reverse.next) & 0x80000000:
                if length > 0 and (not stream.wanted or end - position - mac <= captured):
                    run = stream.run
                    if run is None:
                        seconds, nanoseconds = _TIME.unpack_from(ring, position)
                        run = stream.run = Run(stream, seconds * 1_000_000_000 + nanoseconds)
                        reverse.run = None
                        happened.append(run)
                    if stream.wanted:
                        run.pieces.append(ring[start:end] if length < LARGE_BYTES else view[start:end])
                    run.length += length
                    stream.next = (sequence + length) & 0xFFFFFFFF
                    stream.offset += length
                    stream.last_seen = now
                    position += following
                    continue
                if not length:
                    stream.last_seen = now
                    position += following
                    continue
        happened += careful(position)
        position += following
