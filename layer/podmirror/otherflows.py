"""Flows that are not TCP, told from the headers of packets: who talks with whom, and how much.

A flow is both ways of a protocol between two addresses, with ports where there are any. Only headers are looked at, as far as
the agent sends them.
"""

import heapq
import ipaddress
import struct
from dataclasses import dataclass

from podmirror.verdict import counted
from podmirror_wire.frames import Interface, Packet

MAX_FLOWS = 10_000
"""That are told apart; a scan of all ports makes more than anybody reads."""

_PLACES = {1: (12, 14), 113: (14, 16), 276: (0, 20)}
"""Where the ethertype is, and where its payload begins, by LINKTYPE: Ethernet, Linux cooked, version 2."""

_STARTS = {0: 4, 101: 0}
"""Where IP begins, of a LINKTYPE without an ethertype: BSD's loopback, raw IP."""

_VLAN = {0x8100, 0x88A8, 0x9100}
_IPV4, _ARP, _IPV6 = 0x0800, 0x0806, 0x86DD
_TCP, _UDP = 6, 17
_PROTOCOLS = {
    1: "icmp",
    2: "igmp",
    17: "udp",
    47: "gre",
    50: "esp",
    51: "ah",
    58: "icmpv6",
    103: "pim",
    132: "sctp",
}
_PORTED = {17, 132}
"""UDP and SCTP begin with both ports."""

_EXTENSIONS = {0, 43, 60}
"""IPv6 extension headers that say their length in units of eight bytes (RFC 8200, 4)."""

_FRAGMENT = 44
_WELL_KNOWN = {
    53: "dns",
    67: "dhcp",
    68: "dhcp",
    123: "ntp",
    443: "quic",
    546: "dhcpv6",
    547: "dhcpv6",
    5353: "mdns",
}
"""UDP ports that tell what is spoken, or nearly (443: HTTP/3)."""

_PAIR = struct.Struct("!HH")
_ETHERTYPE = struct.Struct("!H")


@dataclass(slots=True)
class OtherFlow:
    """One flow, from the side that was seen to send first."""

    pod: str
    protocol: str
    source: str
    """Address, with a port where there is one."""
    destination: str
    packets: int = 0
    bytes: int = 0
    """On the wire, headers included."""
    answers: int = 0
    """Packets the other way."""
    answer_bytes: int = 0
    last: int = 0
    """Time of the latest packet, nanoseconds since 1970."""

    def __str__(self) -> str:
        ends = " to ".join(filter(None, (self.source, self.destination)))
        what = " ".join(filter(None, (self.protocol, ends, f"in {self.pod}" if self.pod else "")))
        sent = f"{counted(self.packets, 'packet')}, {counted(self.bytes, 'byte')}"
        if not self.answers:
            return f"{what}: {sent}"
        return f"{what}: {sent}; back {counted(self.answers, 'packet')}, {counted(self.answer_bytes, 'byte')}"


class OtherFlows:
    """Counts the packets of each flow."""

    def __init__(self, *, max_flows: int = MAX_FLOWS) -> None:
        self._max_flows = max_flows
        self._linktypes: dict[tuple[str, int], int] = {}
        self._flows: dict[tuple[str, str, str, str], OtherFlow] = {}
        self.untold = 0
        """Packets of flows beyond those that are told apart."""

    def receive_interface(self, pod: str, interface: Interface) -> None:
        """Learn what an interface's packets begin with."""
        self._linktypes[pod, interface.index] = interface.linktype

    def receive_packet(self, pod: str, packet: Packet) -> None:
        """Count a packet, if it is not TCP."""
        ends = _ends(packet.packet, self._linktypes.get((pod, packet.interface), 1))
        if ends is None:
            return
        protocol, source, destination = ends
        flow = self._flows.get((pod, protocol, source, destination))
        if flow is not None:
            flow.packets += 1
            flow.bytes += packet.length
        elif (flow := self._flows.get((pod, protocol, destination, source))) is not None:
            flow.answers += 1
            flow.answer_bytes += packet.length
        elif len(self._flows) < self._max_flows:
            flow = OtherFlow(pod, protocol, source, destination, 1, packet.length)
            self._flows[pod, protocol, source, destination] = flow
        else:
            self.untold += 1
            return
        flow.last = packet.pod_time

    def top(self, count: int) -> list[OtherFlow]:
        """Give so many flows, those with the most bytes."""
        return heapq.nlargest(count, self._flows.values(), key=lambda flow: flow.bytes + flow.answer_bytes)

    def rows(self) -> list[OtherFlow]:
        """Give all flows, those with the most bytes first."""
        return sorted(self._flows.values(), key=lambda flow: flow.bytes + flow.answer_bytes, reverse=True)


def _ends(packet: bytes, linktype: int) -> tuple[str, str, str] | None:
    """Give protocol, source and destination of a packet; None if it is TCP, or too short to say."""
    try:
        if linktype in _STARTS:
            start = _STARTS[linktype]
            ethertype = {4: _IPV4, 6: _IPV6}.get(packet[start] >> 4, 0)
        else:
            place, start = _PLACES.get(linktype, _PLACES[1])
            (ethertype,) = _ETHERTYPE.unpack_from(packet, place)
        while ethertype in _VLAN:
            (ethertype,) = _ETHERTYPE.unpack_from(packet, start + 2)
            start += 4
        if ethertype == _IPV4:
            return _ipv4_ends(packet, start)
        if ethertype == _IPV6:
            return _ipv6_ends(packet, start)
        if ethertype == _ARP:
            return "arp", _address(packet[start + 14 : start + 18]), _address(packet[start + 24 : start + 28])
    except (struct.error, IndexError, ValueError):
        return None
    return f"ethertype 0x{ethertype:04x}", "", ""


def _ipv4_ends(packet: bytes, start: int) -> tuple[str, str, str] | None:
    source, destination = packet[start + 12 : start + 16], packet[start + 16 : start + 20]
    later = bool(_ETHERTYPE.unpack_from(packet, start + 6)[0] & 0x1FFF)
    position = start + (packet[start] & 0x0F) * 4
    return _upper_ends(packet, position, packet[start + 9], source, destination, later=later)


def _ipv6_ends(packet: bytes, start: int) -> tuple[str, str, str] | None:
    source, destination = packet[start + 8 : start + 24], packet[start + 24 : start + 40]
    following, position, later = packet[start + 6], start + 40, False
    while following in _EXTENSIONS or following == _FRAGMENT:
        length = 8 if following == _FRAGMENT else (packet[position + 1] + 1) * 8
        later = following == _FRAGMENT and bool(_ETHERTYPE.unpack_from(packet, position + 2)[0] & 0xFFF8)
        following, position = packet[position], position + length
    return _upper_ends(packet, position, following, source, destination, later=later)


def _upper_ends(
    packet: bytes, start: int, number: int, source: bytes, destination: bytes, *, later: bool
) -> tuple[str, str, str] | None:
    """Go on behind the IP header; `later` says that this is a fragment without the header that follows."""
    if number == _TCP:
        return None
    protocol = _PROTOCOLS.get(number, f"ip protocol {number}")
    ends = _address(source), _address(destination)
    if number not in _PORTED or later:
        return protocol, *ends
    ports = _PAIR.unpack_from(packet, start)
    if number == _UDP:
        protocol = next((_WELL_KNOWN[port] for port in sorted(ports) if port in _WELL_KNOWN), protocol)
    first, second = (
        f"[{end}]:{port}" if ":" in end else f"{end}:{port}" for end, port in zip(ends, ports, strict=True)
    )
    return protocol, first, second


def _address(packed: bytes) -> str:
    return str(ipaddress.ip_address(packed))
