"""Packets as byte tables, a sibling of each that is one byte short, and scapy as an independent oracle."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podmirror_agent.segment import Segment, Undecoded, decode_ethernet
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


def decode(packet: bytes, wire_length: int | None = None) -> Segment | Undecoded:
    return decode_ethernet(memoryview(packet), len(packet) if wire_length is None else wire_length)


def payload_of(packet: bytes, wire_length: int | None = None) -> bytes:
    segment = decode(packet, wire_length)
    assert isinstance(segment, Segment), segment
    assert segment.length == len(segment.payload)
    return segment.payload


HELLO = packets.tcp(40000, 80, payload=b"hello")


# Plain packets, written out.


def test_syn_over_ipv4():
    assert decode(SYN_PACKET) == Segment(
        source=bytes((10, 0, 0, 1)),
        destination=bytes((10, 0, 0, 2)),
        source_port=40000,
        destination_port=80,
        sequence=0xFFFFFFFF,
        acknowledgment=0,
        flags=0x02,
        payload=b"",
        length=0,
    )


def test_data_over_ipv6():
    assert decode(DATA_PACKET) == Segment(
        source=bytes.fromhex("20010db8000000000000000000000001"),
        destination=bytes.fromhex("20010db8000000000000000000000002"),
        source_port=80,
        destination_port=40000,
        sequence=0x01020304,
        acknowledgment=0x05060708,
        flags=0x18,
        payload=b"hello",
        length=5,
    )


def test_syn_one_byte_short_of_its_options_still_says_all_we_read():
    assert decode(SYN_PACKET[:-1], len(SYN_PACKET)) == decode(SYN_PACKET)


def test_data_one_byte_short_says_how_long_it_was():
    segment = decode(DATA_PACKET[:-1], len(DATA_PACKET))

    assert (segment.payload, segment.length) == (b"hell", 5)


def test_builders_of_these_tests_build_the_same_bytes():
    built = packets.ethernet(
        packets.ipv6(
            *V6,
            packets.tcp(
                80, 40000, sequence=0x01020304, acknowledgment=0x05060708, flags="PA", payload=b"hello"
            ),
        )
    )

    assert decode(built) == decode(DATA_PACKET)


@pytest.mark.parametrize("packet", [SYN_PACKET, DATA_PACKET], ids=["SYN", "data"])
@pytest.mark.parametrize("wire_length", ["as captured", "as sent"])
def test_packet_that_is_cut_short_never_raises(packet, wire_length):
    beyond_header = 4 if packet is SYN_PACKET else 5
    checksum_and_urgent = 4  # nobody reads them
    for length in range(len(packet)):
        decoded = decode(packet[:length], length if wire_length == "as captured" else len(packet))

        assert isinstance(decoded, Segment | Undecoded)
        if length < len(packet) - beyond_header - checksum_and_urgent:
            assert decoded is Undecoded.MALFORMED


# Link layer.


@pytest.mark.parametrize(
    "tags",
    [
        pytest.param(((0x8100, 5),), id="802.1Q"),
        pytest.param(((0x8100, 0),), id="priority tag, VLAN 0"),
        pytest.param(((0x88A8, 7), (0x8100, 5)), id="QinQ"),
        pytest.param(((0x9100, 7), (0x8100, 5)), id="QinQ before the standard"),
        pytest.param(((0x8100, 1),) * 5, id="five tags"),
    ],
)
@pytest.mark.parametrize("inner", [packets.ipv4(*V4, HELLO), packets.ipv6(*V6, HELLO)], ids=["IPv4", "IPv6"])
def test_vlan_tags_are_stepped_over(tags, inner):
    packet = packets.ethernet(inner, tags=tags)

    assert payload_of(packet) == b"hello"
    for length in range(14, 14 + 4 * len(tags)):
        assert decode(packet[:length]) is Undecoded.MALFORMED


@pytest.mark.parametrize("ethertype", [0x0806, 0x05DC, 0x88CC, 0x8863])
def test_other_ethertypes_are_no_tcp(ethertype):
    assert decode(packets.ethernet(packets.ipv4(*V4, HELLO), ethertype=ethertype)) is Undecoded.NOT_TCP


# IPv4.


def test_ipv4_options_are_stepped_over():
    options = bytes.fromhex("94040000 01010101")  # router alert, no-operation

    assert payload_of(packets.ethernet(packets.ipv4(*V4, HELLO, options=options))) == b"hello"


def test_ipv4_header_of_its_largest_size():
    assert payload_of(packets.ethernet(packets.ipv4(*V4, HELLO, options=b"\x01" * 40))) == b"hello"


def test_ethernet_padding_is_no_payload():
    empty = packets.ethernet(packets.ipv4(*V4, packets.tcp(40000, 80)))
    padded = empty + bytes(60 - len(empty))

    assert payload_of(padded) == b""


def test_ipv6_padding_is_no_payload():
    assert payload_of(DATA_PACKET + bytes(9)) == b"hello"


def test_total_length_of_zero_stands_for_all_that_was_on_the_wire():
    payload = bytes(70_000)
    packet = packets.ethernet(packets.ipv4(*V4, packets.tcp(40000, 80, payload=payload), total=0))

    assert payload_of(packet) == payload


def test_total_length_of_zero_in_a_packet_cut_short():
    packet = packets.ethernet(packets.ipv4(*V4, packets.tcp(40000, 80, payload=bytes(70_000)), total=0))

    segment = decode(packet[:1000], len(packet))

    assert segment.length == 70_000
    assert len(segment.payload) == 1000 - 54


def test_payload_length_of_zero_stands_for_all_that_was_on_the_wire():
    payload = bytes(70_000)
    packet = packets.ethernet(packets.ipv6(*V6, packets.tcp(40000, 80, payload=payload), length=0))

    assert payload_of(packet) == payload


def test_super_packet_of_the_largest_length_that_the_header_can_say():
    payload = bytes(65_535 - 40)

    assert payload_of(packets.ethernet(packets.ipv4(*V4, packets.tcp(40000, 80, payload=payload)))) == payload


@pytest.mark.parametrize(
    ("fragment", "expected"),
    [
        pytest.param(0x2000, Undecoded.FRAGMENT, id="first"),
        pytest.param(0x2010, Undecoded.FRAGMENT, id="middle"),
        pytest.param(0x0010, Undecoded.FRAGMENT, id="last"),
        pytest.param(0x1FFF, Undecoded.FRAGMENT, id="last, at the largest offset"),
    ],
)
def test_ipv4_fragments_are_told(fragment, expected):
    assert decode(packets.ethernet(packets.ipv4(*V4, HELLO, fragment=fragment))) is expected


@pytest.mark.parametrize("fragment", [0x0000, 0x4000, 0x8000], ids=["plain", "don't fragment", "evil bit"])
def test_ipv4_flags_alone_make_no_fragment(fragment):
    assert payload_of(packets.ethernet(packets.ipv4(*V4, HELLO, fragment=fragment))) == b"hello"


@pytest.mark.parametrize("protocol", [1, 17, 132])
def test_other_protocols_over_ipv4_are_no_tcp(protocol):
    assert decode(packets.ethernet(packets.ipv4(*V4, HELLO, protocol=protocol))) is Undecoded.NOT_TCP
    fragment = packets.ipv4(*V4, HELLO, protocol=protocol, fragment=0x2000)
    assert decode(packets.ethernet(fragment)) is Undecoded.NOT_TCP


@pytest.mark.parametrize("first_byte", [0x55, 0x65, 0x05, 0x40, 0x44], ids=hex)
def test_ipv4_header_with_a_wrong_version_or_length_is_malformed(first_byte):
    packet = bytearray(packets.ethernet(packets.ipv4(*V4, HELLO)))
    packet[14] = first_byte

    assert decode(bytes(packet)) is Undecoded.MALFORMED


def test_total_length_shorter_than_the_headers_is_malformed():
    assert decode(packets.ethernet(packets.ipv4(*V4, HELLO, total=39))) is Undecoded.MALFORMED


# IPv6.

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


@pytest.mark.parametrize("name", EXTENSIONS)
def test_ipv6_extension_header_is_stepped_over(name):
    assert payload_of(extended(EXTENSIONS[name])) == b"hello"


def test_all_ipv6_extension_headers_in_a_row():
    assert payload_of(extended(*EXTENSIONS.values())) == b"hello"


def test_ipv6_extension_headers_cut_short_at_every_length_never_raise():
    packet = extended(*EXTENSIONS.values())

    for length in range(len(packet) - len(HELLO)):
        assert decode(packet[:length], len(packet)) is Undecoded.MALFORMED


@pytest.mark.parametrize(
    "offset_and_more", ["0001", "0008", "0009", "fff8"], ids=["first", "last", "middle", "largest"]
)
def test_ipv6_fragments_are_told(offset_and_more):
    header = (FRAGMENT, b"\x00" + bytes.fromhex(offset_and_more) + bytes(4))

    assert decode(extended(header)) is Undecoded.FRAGMENT
    assert decode(extended(header, last=17)) is Undecoded.NOT_TCP


@pytest.mark.parametrize("following", [17, 58, NONE, 50, 255])
def test_other_next_headers_are_no_tcp(following):
    assert decode(packets.ethernet(packets.ipv6(*V6, HELLO, following=following))) is Undecoded.NOT_TCP
    assert decode(extended(EXTENSIONS["hop-by-hop"], last=following)) is Undecoded.NOT_TCP


# TCP.


def test_tcp_options_are_stepped_over():
    segment = packets.tcp(40000, 80, options=b"\x01" * 40, payload=b"hello")

    assert payload_of(packets.ethernet(packets.ipv4(*V4, segment))) == b"hello"


@pytest.mark.parametrize("offset", [0x00, 0x10, 0x40])
def test_tcp_header_shorter_than_its_fixed_part_is_malformed(offset):
    segment = bytearray(HELLO)
    segment[12] = offset

    assert decode(packets.ethernet(packets.ipv4(*V4, bytes(segment)))) is Undecoded.MALFORMED


def test_tcp_header_longer_than_the_packet_is_malformed():
    segment = bytearray(HELLO)
    segment[12] = 0xF0

    assert decode(packets.ethernet(packets.ipv4(*V4, bytes(segment)))) is Undecoded.MALFORMED


def test_payload_outlives_the_packet_it_came_in():
    packet = bytearray(DATA_PACKET)
    segment = decode_ethernet(memoryview(packet), len(packet))
    packet[:] = bytes(len(packet))

    assert segment.payload == b"hello"
    assert segment.source == bytes.fromhex("20010db8000000000000000000000001")


# Anything.


@given(st.binary(max_size=150), st.integers(0, 200))
def test_arbitrary_bytes_never_raise(packet, wire_length):
    decode(packet, wire_length)


@given(
    start=st.sampled_from([SYN_PACKET, DATA_PACKET, extended(*EXTENSIONS.values())]),
    changes=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), min_size=1, max_size=6),
    length=st.integers(0, 200),
)
def test_damaged_packets_never_raise(start, changes, length):
    packet = bytearray(start)
    for position, value in changes:
        packet[position % len(packet)] = value

    decoded = decode(bytes(packet[:length]), len(packet))

    if isinstance(decoded, Segment):
        assert len(decoded.payload) <= decoded.length


flags = st.integers(0, 255)
u16 = st.integers(0, 2**16 - 1)
u32 = st.integers(0, 2**32 - 1)


@settings(max_examples=60, deadline=None)
@given(
    addresses=st.tuples(st.ip_addresses(v=4), st.ip_addresses(v=4))
    | st.tuples(st.ip_addresses(v=6), st.ip_addresses(v=6)),
    ports=st.tuples(u16, u16),
    numbers=st.tuples(u32, u32),
    flags=flags,
    payload=st.binary(max_size=100),
    options=st.lists(
        st.sampled_from(
            [("MSS", 1460), ("NOP", None), ("WScale", 7), ("SAckOK", b""), ("Timestamp", (1, 2))]
        ),
        max_size=4,
    ),
    vlans=st.lists(st.integers(0, 4095), max_size=2),
    extensions=st.lists(st.sampled_from(["hop", "destination", "fragment"]), max_size=2, unique=True),
    padding=st.integers(0, 20),
)
def test_scapy_builds_and_we_read_the_same(
    addresses, ports, numbers, flags, payload, options, vlans, extensions, padding
):
    from scapy.layers.inet import IP, TCP  # scapy takes a second to import, and only this test needs it
    from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop
    from scapy.layers.l2 import Dot1Q, Ether

    source, destination = addresses
    packet = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    for vlan in vlans:
        packet /= Dot1Q(vlan=vlan)
    if source.version == 4:
        packet /= IP(src=str(source), dst=str(destination))
    else:
        packet /= IPv6(src=str(source), dst=str(destination))
        kinds = {"hop": IPv6ExtHdrHopByHop, "destination": IPv6ExtHdrDestOpt, "fragment": IPv6ExtHdrFragment}
        for name in extensions:
            packet /= kinds[name]()
    packet /= TCP(
        sport=ports[0], dport=ports[1], seq=numbers[0], ack=numbers[1], flags=flags, options=options
    )
    built = bytes(packet / payload) + bytes(padding)

    assert decode(built) == Segment(
        source.packed, destination.packed, *ports, *numbers, flags, payload, len(payload)
    )


@settings(max_examples=40, deadline=None)
@given(packet=st.binary(min_size=54, max_size=120), total=st.integers(40, 106), header=st.integers(5, 8))
def test_scapy_reads_the_same_from_random_headers(packet, total, header):
    from scapy.layers.inet import TCP  # as above
    from scapy.layers.l2 import Ether

    changed = bytearray(packet)
    changed[12:14] = b"\x08\x00"
    changed[14] = 0x45
    changed[16:18] = struct.pack("!H", min(total, len(packet) - 14))
    changed[20:22] = b"\x40\x00"
    changed[23] = 6
    changed[46] = header << 4 | changed[46] & 0x0F

    decoded = decode(bytes(changed))

    if isinstance(decoded, Undecoded):
        assert decoded is Undecoded.MALFORMED
        assert header * 4 + 20 > min(total, len(packet) - 14)
        return
    oracle = Ether(bytes(changed))[TCP]
    assert (decoded.source_port, decoded.destination_port) == (oracle.sport, oracle.dport)
    assert (decoded.sequence, decoded.acknowledgment) == (oracle.seq, oracle.ack)
    assert decoded.flags == int(oracle.flags) & 0xFF
    remaining = min(total, len(packet) - 14) - 20 - header * 4
    start = 14 + 20 + header * 4
    assert decoded.payload == bytes(changed[start : start + remaining])
