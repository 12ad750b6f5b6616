"""From a packet to a TCP segment.

Theory of operation. A packet is decoded from its first byte on with precompiled structs: the link header (Ethernet, with any
number of VLAN tags left in the packet), IPv4 with options or IPv6 with extension headers, TCP with options. What is no TCP
segment is answered with the reason, so that the caller can count it; no input raises.

Three facts of Linux shape the lengths. Packets of the pod's own interfaces are often super-packets of far more than the MTU
(GSO and GRO), so an IP length is believed up to its maximum and no checksum is: offloading leaves it to the network card. An
IP length of zero means that the packet is longer than the field can say (BIG TCP, RFC 2675), and then the captured length
counts. A captured length beyond the IP length is Ethernet padding.
"""

import struct
from enum import Enum
from typing import NamedTuple

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10
"""TCP flag bits, RFC 9293, 3.1."""

_ETHERTYPE_IPV4, _ETHERTYPE_IPV6 = 0x0800, 0x86DD
_ETHERTYPES_VLAN = {0x8100, 0x88A8, 0x9100}
"""802.1Q, 802.1ad, and the pre-standard tag of some switches (linux/if_ether.h)."""

_PROTOCOL_TCP = 6
_IPV6_HOP_BY_HOP, _IPV6_ROUTING, _IPV6_FRAGMENT, _IPV6_AUTHENTICATION, _IPV6_DESTINATION = 0, 43, 44, 51, 60
"""IPv6 extension headers that can stand before TCP (RFC 8200, 4; RFC 4302)."""

_ETHERNET_BYTES = 14
_IPV4_BYTES = 20
_IPV6_BYTES = 40
_TCP_BYTES = 20

_ETHERTYPE = struct.Struct("!H")
_IPV4 = struct.Struct("!BxHxxHxB2x4s4s")
_IPV6 = struct.Struct("!4xHBx16s16s")
_TCP = struct.Struct("!HHIIBBH")


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


class Undecoded(Enum):
    """Why a packet gave no segment."""

    NOT_TCP = "not_tcp"
    FRAGMENT = "fragment"
    MALFORMED = "malformed"


def decode_ethernet(packet: memoryview, wire_length: int) -> Segment | Undecoded:
    """Decode an Ethernet frame of which `packet` was captured and `wire_length` bytes were on the wire."""
    try:
        (ethertype,) = _ETHERTYPE.unpack_from(packet, _ETHERNET_BYTES - 2)
        start = _ETHERNET_BYTES
        while ethertype in _ETHERTYPES_VLAN:
            (ethertype,) = _ETHERTYPE.unpack_from(packet, start + 2)
            start += 4
        if ethertype == _ETHERTYPE_IPV4:
            return _decode_ipv4(packet, start, wire_length)
        if ethertype == _ETHERTYPE_IPV6:
            return _decode_ipv6(packet, start, wire_length)
    except struct.error:  # the packet ends before the header that was to be read
        return Undecoded.MALFORMED
    return Undecoded.NOT_TCP


def _decode_ipv4(packet: memoryview, start: int, wire_length: int) -> Segment | Undecoded:
    version_and_length, total, fragment, protocol, source, destination = _IPV4.unpack_from(packet, start)
    header_bytes = (version_and_length & 0x0F) * 4
    if protocol != _PROTOCOL_TCP:
        return Undecoded.NOT_TCP
    if version_and_length >> 4 != 4 or header_bytes < _IPV4_BYTES:
        return Undecoded.MALFORMED
    if fragment & 0x3FFF:  # more fragments, or an offset
        return Undecoded.FRAGMENT
    end = start + total if total else wire_length
    return _decode_tcp(packet, start + header_bytes, min(end, wire_length), source, destination)


def _decode_ipv6(packet: memoryview, start: int, wire_length: int) -> Segment | Undecoded:
    payload_length, following, source, destination = _IPV6.unpack_from(packet, start)
    position = start + _IPV6_BYTES
    end = position + payload_length if payload_length else wire_length
    while following != _PROTOCOL_TCP:
        if following in (_IPV6_HOP_BY_HOP, _IPV6_ROUTING, _IPV6_DESTINATION):
            following, length = struct.unpack_from("!BB", packet, position)
            position += (length + 1) * 8
        elif following == _IPV6_AUTHENTICATION:
            following, length = struct.unpack_from("!BB", packet, position)
            position += (length + 2) * 4
        elif following == _IPV6_FRAGMENT:
            following, offset = struct.unpack_from("!BxH", packet, position)
            if offset & 0xFFF9:  # more fragments, or an offset: no atomic fragment (RFC 6946)
                return Undecoded.FRAGMENT if following == _PROTOCOL_TCP else Undecoded.NOT_TCP
            position += 8
        else:
            return Undecoded.NOT_TCP
    return _decode_tcp(packet, position, min(end, wire_length), source, destination)


def _decode_tcp(
    packet: memoryview, start: int, end: int, source: bytes, destination: bytes
) -> Segment | Undecoded:
    source_port, destination_port, sequence, acknowledgment, offset, flags, _ = _TCP.unpack_from(
        packet, start
    )
    header_bytes = (offset >> 4) * 4
    length = end - start - header_bytes
    if header_bytes < _TCP_BYTES or length < 0:
        return Undecoded.MALFORMED
    payload = bytes(packet[start + header_bytes : end]) if length else b""
    return Segment(
        source, destination, source_port, destination_port, sequence, acknowledgment, flags, payload, length
    )
