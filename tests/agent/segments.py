"""Packets as byte tables, the extension headers of IPv6, and short ways to decode them."""

from podmirror_agent import segment as segment_module
from podmirror_agent.segment import Fragment, Segment, Undecoded
from tests.agent import packets

SYN_PACKET = bytes.fromhex(
    "02 00 00 00 00 02  02 00 00 00 00 01  08 00"  # to, from, IPv4
    "45 00 00 2c  12 34 40 00  40 06 00 00"  # version and header length, total 44; don't fragment; TTL 64, TCP
    "0a 00 00 01  0a 00 00 02"  # 10.0.0.1 to 10.0.0.2
    "9c 40 00 50  ff ff ff ff  00 00 00 00"  # ports 40000 and 80, sequence, acknowledgment
    "60 02 fa f0  00 00 00 00  02 04 05 b4"  # header of 24 bytes, SYN; window, checksum, urgent; MSS 1460
)

DATA_PACKET = bytes.fromhex(
    "02 00 00 00 00 02  02 00 00 00 00 01  86 dd"  # to, from, IPv6
    "60 00 00 00  00 19 06 40"  # payload of 25 bytes, TCP, hop limit 64
    "20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01"
    "20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 02"
    "00 50 9c 40  01 02 03 04  05 06 07 08"
    "50 18 fa f0  00 00 00 00"  # header of 20 bytes, PSH and ACK
    "68 65 6c 6c 6f"  # hello
)

V4 = ("10.0.0.1", "10.0.0.2")
V6 = ("2001:db8::1", "2001:db8::2")


def decode(packet: bytes, wire_length: int | None = None) -> Segment | Fragment | Undecoded:
    return segment_module.decode(memoryview(packet), len(packet) if wire_length is None else wire_length)


def payload_of(packet: bytes, wire_length: int | None = None) -> bytes:
    segment = decode(packet, wire_length)
    assert isinstance(segment, Segment), segment
    assert segment.length == len(segment.payload)
    return segment.payload


HELLO = packets.tcp(40000, 80, payload=b"hello")


HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION, NONE = 0, 43, 44, 51, 60, 59


def extended(*headers: tuple[int, bytes], last: int = 6) -> bytes:
    """An IPv6 packet with these extension headers: (number, what stands behind the next-header byte)."""
    numbers = [number for number, _ in headers]
    chain = b"".join(
        bytes((following,)) + rest for following, (_, rest) in zip([*numbers[1:], last], headers, strict=True)
    )
    return packets.ethernet(packets.ipv6(*V6, chain + HELLO, following=numbers[0]))


EXTENSIONS = {
    "hop-by-hop": (HOP_BY_HOP, b"\x00" + bytes.fromhex("050200000100")),
    "destination of 16 bytes": (DESTINATION, b"\x01" + bytes(14)),
    "routing": (ROUTING, b"\x02" + bytes(22)),
    "authentication of 24 bytes": (AUTHENTICATION, b"\x04" + bytes(22)),
    "atomic fragment": (FRAGMENT, b"\x00" + bytes.fromhex("0000 00000001")),
    "atomic fragment, reserved bits set": (FRAGMENT, b"\xff" + bytes.fromhex("0006 00000001")),
}
