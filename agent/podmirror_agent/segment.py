"""From a packet to a TCP segment.

Theory of operation. A packet is decoded from its first byte on with precompiled structs: the link header (Ethernet with any
number of VLAN tags left in the packet, Linux cooked, or none), IPv4 with options or IPv6 with extension headers, TCP with
options. What is no TCP segment is answered with the reason, so that the caller can count it; no input raises. A fragment of an
IP packet is answered with itself, for `fragments` to put together.

Three facts of Linux shape the lengths. Packets of the pod's own interfaces are often super-packets of far more than the MTU
(GSO and GRO), so an IP length is believed up to its maximum and no checksum is: offloading leaves it to the network card. An
IP length of zero means that the packet is longer than the field can say (BIG TCP), and then IPv6's jumbo payload option counts
(RFC 2675), or else what was on the wire. A captured length beyond the IP length is Ethernet padding.
"""

import struct
from enum import Enum
from typing import NamedTuple

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10
"""TCP flag bits, RFC 9293, 3.1."""

ETHERTYPE_IPV4, ETHERTYPE_IPV6 = 0x0800, 0x86DD
_ETHERTYPES_VLAN = {0x8100, 0x88A8, 0x9100}
"""802.1Q, 802.1ad, and the pre-standard tag of some switches (linux/if_ether.h)."""

_PROTOCOL_TCP = 6
_IPV6_HOP_BY_HOP, _IPV6_ROUTING, _IPV6_FRAGMENT, _IPV6_AUTHENTICATION, _IPV6_DESTINATION = 0, 43, 44, 51, 60
"""IPv6 extension headers that can stand before TCP (RFC 8200, 4; RFC 4302)."""

_IPV6_EXTENSIONS = {
    _IPV6_HOP_BY_HOP, _IPV6_ROUTING, _IPV6_FRAGMENT, _IPV6_AUTHENTICATION, _IPV6_DESTINATION,
}  # fmt: skip

_IPV6_JUMBO = 0xC2
"""An option of hop-by-hop headers (RFC 2675, 2)."""

_IPV4_BYTES = 20
_IPV6_BYTES = 40
_TCP_BYTES = 20

_ETHERTYPE = struct.Struct("!H")
_IPV4 = struct.Struct("!BxHHHxB2x4s4s")
_IPV6 = struct.Struct("!BxxxHBx16s16s")
_IPV6_EXTENSION = struct.Struct("!BB")
_IPV6_OPTION = struct.Struct("!BBI")
_IPV6_FRAGMENT_HEADER = struct.Struct("!BxHI")
_TCP = struct.Struct("!HHIIBB6x")


class Link(Enum):
    """What a packet begins with. The values say where its ethertype is, and where its payload begins, in bytes."""

    ETHERNET = (12, 14)
    COOKED = (14, 16)
    """LINKTYPE_LINUX_SLL."""
    COOKED_2 = (0, 20)
    """LINKTYPE_LINUX_SLL2."""
    NULL = (None, 4)
    """LINKTYPE_NULL and LINKTYPE_LOOP: BSD's loopback, a protocol family in somebody's byte order."""
    RAW = (None, 0)
    """LINKTYPE_RAW: the IP packet itself."""

    @classmethod
    def of_linktype(cls, number: int) -> "Link | None":
        """Give the kind of link of a capture file's number (tcpdump.org, link-layer header types); None if unknown to us."""
        return _LINKTYPES.get(number)


_LINKTYPES = {
    1: Link.ETHERNET, 113: Link.COOKED, 276: Link.COOKED_2, 0: Link.NULL, 108: Link.NULL,
    12: Link.RAW, 14: Link.RAW, 101: Link.RAW, 228: Link.RAW, 229: Link.RAW,
}  # fmt: skip  # 12 and 14 are what some systems write for 101


class Segment(NamedTuple):
    """One TCP segment as it was seen."""

    source: bytes
    """Address, 4 or 16 bytes."""
    destination: bytes
    source_port: int
    destination_port: int
    sequence: int
    acknowledgment: int
    """Meaningful when ACK is among the flags."""
    flags: int
    payload: bytes
    length: int
    """Payload bytes on the wire. More than len(payload) if the capture cut the packet short."""


class Fragment(NamedTuple):
    """A part of an IP packet that may hold a TCP segment."""

    source: bytes
    destination: bytes
    identification: int
    protocol: int
    """Of what the first fragment begins with: TCP, or an IPv6 extension header."""
    offset: int
    """Bytes."""
    more: bool
    """Whether this is not the last."""
    payload: bytes
    length: int
    """Bytes on the wire. More than len(payload) if the capture cut the packet short."""


class Undecoded(Enum):
    """Why a packet gave no segment."""

    NOT_TCP = "not_tcp"
    MALFORMED = "malformed"


def decode(
    packet: memoryview, wire_length: int, link: Link = Link.ETHERNET
) -> Segment | Fragment | Undecoded:
    """Decode a packet of which `packet` was captured and `wire_length` bytes were on the wire."""
    try:
        ethertype, start = network_header(packet, link)
        if ethertype == ETHERTYPE_IPV4:
            return _decode_ipv4(packet, start, wire_length)
        if ethertype == ETHERTYPE_IPV6:
            return _decode_ipv6(packet, start, wire_length)
    except struct.error:  # the packet ends before the header that was to be read
        return Undecoded.MALFORMED
    return Undecoded.NOT_TCP


def network_header(packet: memoryview, link: Link) -> tuple[int, int]:
    """Give which protocol is behind the link's header and all tags, as an Ethertype (0 for none), and where it begins.

    Raises:
        struct.error: The packet ends before that.
    """
    place: int | None
    start: int
    ethertype: int
    place, start = link.value
    if place is None:
        version = packet[start] >> 4 if start < len(packet) else 0
        ethertype = ETHERTYPE_IPV4 if version == 4 else ETHERTYPE_IPV6 if version == 6 else 0
    else:
        (ethertype,) = _ETHERTYPE.unpack_from(packet, place)
    while ethertype in _ETHERTYPES_VLAN:
        (ethertype,) = _ETHERTYPE.unpack_from(packet, start + 2)
        start += 4
    return ethertype, start


def decode_payload(
    payload: bytes, protocol: int, source: bytes, destination: bytes, *, length: int | None = None
) -> Segment | Fragment | Undecoded:
    """Decode the payload of an IP packet that was put together from its fragments; `length` is what it would be whole."""
    end = len(payload) if length is None else length
    try:
        return _decode_upper(memoryview(payload), protocol, 0, end, source, destination)
    except struct.error:
        return Undecoded.MALFORMED


def _decode_ipv4(packet: memoryview, start: int, wire_length: int) -> Segment | Fragment | Undecoded:
    version_and_length, total, identification, fragment, protocol, source, destination = _IPV4.unpack_from(
        packet, start
    )
    header_bytes = (version_and_length & 0x0F) * 4
    if protocol != _PROTOCOL_TCP:
        return Undecoded.NOT_TCP
    if version_and_length >> 4 != 4 or header_bytes < _IPV4_BYTES:
        return Undecoded.MALFORMED
    end = min(start + total if total else wire_length, wire_length)
    start += header_bytes
    if fragment & 0x3FFF:  # more fragments, or an offset
        offset, more = (fragment & 0x1FFF) * 8, bool(fragment & 0x2000)
        return _fragment(packet, start, end, (source, destination, identification, protocol), offset, more)
    return _decode_tcp(packet, start, end, source, destination)


def _decode_ipv6(packet: memoryview, start: int, wire_length: int) -> Segment | Fragment | Undecoded:
    version, payload_length, following, source, destination = _IPV6.unpack_from(packet, start)
    if version >> 4 != 6:
        return Undecoded.MALFORMED
    position = start + _IPV6_BYTES
    if not payload_length and following == _IPV6_HOP_BY_HOP:
        payload_length = _jumbo_length(packet, position)
    end = min(position + payload_length if payload_length else wire_length, wire_length)
    return _decode_upper(packet, following, position, end, source, destination)


def _jumbo_length(packet: memoryview, start: int) -> int:
    """Find the jumbo payload option (RFC 2675, 2) in a hop-by-hop header; 0 if it is not there."""
    _, length = _IPV6_EXTENSION.unpack_from(packet, start)
    position, end = start + _IPV6_EXTENSION.size, min(start + (length + 1) * 8, len(packet))
    while position + 6 <= end:  # no shorter than the option itself
        kind, length, jumbo = _IPV6_OPTION.unpack_from(packet, position)
        if (kind, length) == (_IPV6_JUMBO, 4):
            return int(jumbo)
        position += 2 + length if kind else 1  # Pad1 is one byte (RFC 8200, 4.2)
    return 0


def _decode_upper(
    packet: memoryview, following: int, position: int, end: int, source: bytes, destination: bytes
) -> Segment | Fragment | Undecoded:
    while following != _PROTOCOL_TCP:
        if following in (_IPV6_HOP_BY_HOP, _IPV6_ROUTING, _IPV6_DESTINATION):
            following, length = _IPV6_EXTENSION.unpack_from(packet, position)
            position += (length + 1) * 8
        elif following == _IPV6_AUTHENTICATION:
            following, length = _IPV6_EXTENSION.unpack_from(packet, position)
            position += (length + 2) * 4
        elif following == _IPV6_FRAGMENT:
            following, place, identification = _IPV6_FRAGMENT_HEADER.unpack_from(packet, position)
            position += 8
            if following != _PROTOCOL_TCP and following not in _IPV6_EXTENSIONS:
                return Undecoded.NOT_TCP
            if place & 0xFFF9:  # more fragments, or an offset: no atomic fragment (RFC 6946)
                ends = (source, destination, identification, following)
                return _fragment(packet, position, end, ends, place & 0xFFF8, bool(place & 1))
        else:
            return Undecoded.NOT_TCP
    return _decode_tcp(packet, position, end, source, destination)


def _fragment(
    packet: memoryview, start: int, end: int, of: tuple[bytes, bytes, int, int], offset: int, more: bool
) -> Fragment | Undecoded:
    if end < start:
        return Undecoded.MALFORMED
    return Fragment(*of, offset, more, bytes(packet[start:end]), end - start)


def _decode_tcp(
    packet: memoryview, start: int, end: int, source: bytes, destination: bytes
) -> Segment | Undecoded:
    source_port, destination_port, sequence, acknowledgment, offset, flags = _TCP.unpack_from(packet, start)
    header_bytes = (offset >> 4) * 4
    length = end - start - header_bytes
    if header_bytes < _TCP_BYTES or length < 0:
        return Undecoded.MALFORMED
    payload = bytes(packet[start + header_bytes : end]) if length else b""
    return Segment(
        source, destination, source_port, destination_port, sequence, acknowledgment, flags, payload, length
    )
