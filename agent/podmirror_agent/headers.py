"""How much of a packet is headers: where it is cut for a session that may see no payload.

Theory of operation. A packet is read from its link header on, as `segment` does, but whatever it is. What is not understood is
cut where understanding ends: behind the link header, or behind that of IP. TCP ends behind its options, UDP and ICMP after
eight bytes (an ICMP error quotes the packet that it is about); ARP is a header throughout. A fragment that is not the first
has none behind that of IP. No input raises.
"""

import struct

from podmirror_agent.segment import ETHERTYPE_IPV4, ETHERTYPE_IPV6, Link, network_header

_ETHERTYPE_ARP = 0x0806
_ARP_BYTES = 28
"""For Ethernet and IPv4 (RFC 826); behind it there is padding, which may be anything."""

_TCP = 6
_FIXED_BYTES = {1: 8, 17: 8, 58: 8}
"""Headers of ICMP, UDP and ICMPv6 (RFC 792, RFC 768, RFC 4443)."""

_LEAST_TCP_BYTES = 20
_CHAINED = {0, 43, 60}
_IPV6_FRAGMENT, _IPV6_AUTHENTICATION = 44, 51
"""IPv6 extension headers (RFC 8200, 4; RFC 4302): options and routing say their length in units of eight bytes."""

_IPV4 = struct.Struct("!B5xHxB")
_IPV6_FOLLOWING = struct.Struct("!B5xB")
_EXTENSION = struct.Struct("!BBH")


def header_bytes(packet: memoryview, link: Link) -> int:
    """Give how many bytes of the captured packet are headers."""
    return min(_end(packet, link), len(packet))


def _end(packet: memoryview, link: Link) -> int:
    try:
        ethertype, start = network_header(packet, link)
        if ethertype == ETHERTYPE_IPV4:
            return _ipv4_end(packet, start)
        if ethertype == ETHERTYPE_IPV6:
            return _ipv6_end(packet, start)
    except struct.error:  # the packet ends within a header
        return len(packet)
    return start + _ARP_BYTES if ethertype == _ETHERTYPE_ARP else start


def _ipv4_end(packet: memoryview, start: int) -> int:
    version_and_length, fragment, protocol = _IPV4.unpack_from(packet, start)
    if not 0x45 <= version_and_length <= 0x4F:
        return start
    end = start + (version_and_length & 0x0F) * 4
    return end if fragment & 0x1FFF else _upper_end(packet, end, protocol)


def _ipv6_end(packet: memoryview, start: int) -> int:
    version: int
    following: int
    version, following = _IPV6_FOLLOWING.unpack_from(packet, start)
    if version >> 4 != 6:
        return start
    position = start + 40
    while following in _CHAINED or following in (_IPV6_FRAGMENT, _IPV6_AUTHENTICATION):
        kind = following
        following, length, place = _EXTENSION.unpack_from(packet, position)
        if kind == _IPV6_FRAGMENT:
            position += 8
            if place & 0xFFF8:
                return position
        elif kind == _IPV6_AUTHENTICATION:
            position += (length + 2) * 4
        else:
            position += (length + 1) * 8
    return _upper_end(packet, position, following)


def _upper_end(packet: memoryview, start: int, protocol: int) -> int:
    if protocol == _TCP:
        if start + 12 >= len(packet):
            return len(packet)
        return start + max((packet[start + 12] >> 4) * 4, _LEAST_TCP_BYTES)
    return start + _FIXED_BYTES.get(protocol, 0)
