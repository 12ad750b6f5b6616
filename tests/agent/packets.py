"""Builders for the tests of the agent: packets as bytes, segments, and the two ends of a TCP conversation.

Nothing here uses the code under test except for the tuples that it takes; checksums are left zero, unless asked for.
"""

import ipaddress
import struct
from dataclasses import dataclass, field

from podmirror_agent.packet import CapturedPacket, Way
from podmirror_agent.segment import Segment

FLAGS = {"F": 0x01, "S": 0x02, "R": 0x04, "P": 0x08, "A": 0x10}

POD = "10.0.0.2"
CLIENT = "10.0.0.1"
ETH0 = (2, "eth0")
LO = (1, "lo")


def flag_bits(letters: str) -> int:
    return sum(FLAGS[letter] for letter in letters)


def tcp(
    source_port: int,
    destination_port: int,
    *,
    sequence: int = 0,
    acknowledgment: int = 0,
    flags: str = "A",
    options: bytes = b"",
    payload: bytes = b"",
) -> bytes:
    assert len(options) % 4 == 0, "TCP options are padded to 32 bits"
    return (
        struct.pack(
            "!HHIIBBHHH",
            source_port,
            destination_port,
            sequence & 0xFFFFFFFF,
            acknowledgment & 0xFFFFFFFF,
            (5 + len(options) // 4) << 4,
            flag_bits(flags),
            0xFFFF,
            0,
            0,
        )
        + options
        + payload
    )


def summed(segment: bytes, source: str, destination: str) -> bytes:
    """Fill in a TCP segment's checksum (RFC 9293, 3.1)."""
    pseudo_header = b"".join(ipaddress.ip_address(each).packed for each in (source, destination))
    words = int.from_bytes(segment + bytes(len(segment) % 2), "big")
    total = (words + int.from_bytes(pseudo_header, "big") + 6 + len(segment)) % 0xFFFF
    return segment[:16] + struct.pack("!H", 0xFFFF - total) + segment[18:]


def ipv4(
    source: str,
    destination: str,
    payload: bytes,
    *,
    protocol: int = 6,
    options: bytes = b"",
    fragment: int = 0,
    total: int | None = None,
) -> bytes:
    """`fragment` is the 16-bit field of flags and offset; `total` overrides the length that the header says."""
    assert len(options) % 4 == 0, "IPv4 options are padded to 32 bits"
    header_bytes = 20 + len(options)
    return (
        struct.pack(
            "!BBHHHBBH4s4s",
            0x40 | header_bytes // 4,
            0,
            header_bytes + len(payload) if total is None else total,
            0x1234,
            fragment,
            64,
            protocol,
            0,
            ipaddress.IPv4Address(source).packed,
            ipaddress.IPv4Address(destination).packed,
        )
        + options
        + payload
    )


def ipv6(
    source: str, destination: str, payload: bytes, *, following: int = 6, length: int | None = None
) -> bytes:
    """`following` is the next header; `length` overrides the payload length that the header says."""
    return (
        struct.pack(
            "!IHBB16s16s",
            0x60000000,
            len(payload) if length is None else length,
            following,
            64,
            ipaddress.IPv6Address(source).packed,
            ipaddress.IPv6Address(destination).packed,
        )
        + payload
    )


def ethernet(
    payload: bytes, *, ethertype: int | None = None, tags: tuple[tuple[int, int], ...] = ()
) -> bytes:
    """`tags` are (ethertype of the tag, tag control information), outermost first."""
    if ethertype is None:
        ethertype = 0x0800 if payload[0] >> 4 == 4 else 0x86DD
    addresses = bytes.fromhex("020000000002 020000000001")
    return (
        addresses
        + b"".join(struct.pack("!HH", kind, control) for kind, control in tags)
        + struct.pack("!H", ethertype)
        + payload
    )


def encoded(segment: Segment) -> bytes:
    """Give the Ethernet frame that carries a segment."""
    source, destination = (
        str(ipaddress.ip_address(address)) for address in (segment.source, segment.destination)
    )
    packet = (
        struct.pack(
            "!HHIIBBHHH",
            segment.source_port,
            segment.destination_port,
            segment.sequence,
            segment.acknowledgment,
            5 << 4,
            segment.flags,
            0xFFFF,
            0,
            0,
        )
        + segment.payload
    )
    wrap = ipv4 if len(segment.source) == 4 else ipv6
    return ethernet(wrap(source, destination, packet))


def captured(
    segment: Segment,
    way: Way,
    *,
    interface: tuple[int, str] = ETH0,
    pod_time: int = 1_700_000_000_000_000_000,
) -> CapturedPacket:
    packet = encoded(segment)
    return CapturedPacket(memoryview(packet), len(packet), way, interface, pod_time)


@dataclass
class End:
    """One end of a conversation."""

    address: str
    port: int
    next: int
    """Sequence number of what it sends next."""


@dataclass
class Talk:
    """A TCP conversation of a client with a server: each method gives the segment of that step, and moves on.

    Both ends are good citizens: every segment acknowledges all that the other end has sent so far.
    """

    client: End = field(default_factory=lambda: End(CLIENT, 40000, 1000))
    server: End = field(default_factory=lambda: End(POD, 80, 5000))

    def segment(
        self,
        sender: End,
        flags: str,
        payload: bytes = b"",
        *,
        sequence: int | None = None,
        acknowledgment: int | None = None,
        cut: int | None = None,
    ) -> Segment:
        """Give a segment without moving on; `cut` is how much of the payload the capture kept."""
        receiver = self.server if sender is self.client else self.client
        acknowledged = receiver.next if acknowledgment is None else acknowledgment
        return Segment(
            ipaddress.ip_address(sender.address).packed,
            ipaddress.ip_address(receiver.address).packed,
            sender.port,
            receiver.port,
            (sender.next if sequence is None else sequence) & 0xFFFFFFFF,
            acknowledged & 0xFFFFFFFF if "A" in flags else 0,
            flag_bits(flags),
            payload[:cut],
            len(payload),
        )

    def send(self, sender: End, flags: str, payload: bytes = b"") -> Segment:
        segment = self.segment(sender, flags, payload)
        sender.next = (sender.next + len(payload) + sum(flags.count(each) for each in "SF")) & 0xFFFFFFFF
        return segment

    def syn(self) -> Segment:
        return self.send(self.client, "S")

    def syn_ack(self) -> Segment:
        return self.send(self.server, "SA")

    def ack(self) -> Segment:
        return self.send(self.client, "A")

    def server_ack(self) -> Segment:
        return self.send(self.server, "A")

    def says(self, payload: bytes) -> Segment:
        return self.send(self.client, "PA", payload)

    def answers(self, payload: bytes) -> Segment:
        return self.send(self.server, "PA", payload)

    def fin(self, payload: bytes = b"") -> Segment:
        return self.send(self.client, "FA", payload)

    def server_fin(self, payload: bytes = b"") -> Segment:
        return self.send(self.server, "FA", payload)

    def reset(self, *, sequence: int | None = None) -> Segment:
        return self.segment(self.client, "RA", sequence=sequence)

    def server_reset(self, *, sequence: int | None = None) -> Segment:
        return self.segment(self.server, "RA", sequence=sequence)

    def handshake(self) -> list[Segment]:
        return [self.syn(), self.syn_ack(), self.ack()]
