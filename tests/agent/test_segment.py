"""Packets as byte tables, and a sibling of each that is one byte short."""

import pytest

from podmirror_agent import segment as segment_module
from podmirror_agent.segment import Fragment, Link, Segment, Undecoded
from tests.agent import packets
from tests.agent.segments import (
    DATA_PACKET,
    EXTENSIONS,
    FRAGMENT,
    HELLO,
    NONE,
    SYN_PACKET,
    V4,
    V6,
    decode,
    extended,
    payload_of,
)

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
    for length in range(len(packet)):
        decoded = decode(packet[:length], length if wire_length == "as captured" else len(packet))

        assert isinstance(decoded, Segment | Undecoded)
        if length < len(packet) - beyond_header:
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


JUMBO_OPTIONS = [
    pytest.param(b"\xc2\x04%b", id="alone, as Linux sends it"),
    pytest.param(b"\x00" * 2 + b"\xc2\x04%b" + b"\x01\x04" + bytes(4), id="behind Pad1, before PadN"),
    pytest.param(b"\x05\x02\x00\x00" + b"\x01\x00" + b"\xc2\x04%b" + bytes(2), id="behind a router alert"),
]


def jumbo(options: bytes, payload: bytes) -> bytes:
    tcp = packets.tcp(40000, 80, payload=payload)
    length = 2 + len(options) - 2 + 4 + len(tcp)
    options = options.replace(b"%b", length.to_bytes(4, "big"))
    header = bytes((6, len(options) // 8)) + options
    return packets.ethernet(packets.ipv6(*V6, header + tcp, following=0, length=0))


@pytest.mark.parametrize("options", JUMBO_OPTIONS)
def test_jumbo_payload_option_says_how_long_the_packet_is(options):
    payload = bytes(range(250)) * 300
    packet = jumbo(options, payload)

    assert payload_of(packet) == payload
    assert payload_of(packet + b"padding") == payload


@pytest.mark.parametrize("options", JUMBO_OPTIONS)
def test_jumbo_packet_cut_short_at_any_length_of_its_headers(options):
    packet = jumbo(options, bytes(70_000))
    headers = len(packet) - 70_000

    for length in range(headers):
        assert decode(packet[:length], len(packet)) is Undecoded.MALFORMED
    assert decode(packet[:headers], len(packet)).length == 70_000


def test_hop_by_hop_header_without_a_jumbo_option_leaves_the_length_to_the_wire():
    payload = bytes(70_000)
    header = bytes((6, 0)) + b"\x01\x04" + bytes(4)
    tcp = packets.tcp(40000, 80, payload=payload)

    assert payload_of(packets.ethernet(packets.ipv6(*V6, header + tcp, following=0, length=0))) == payload


def test_super_packet_of_the_largest_length_that_the_header_can_say():
    payload = bytes(65_535 - 40)

    assert payload_of(packets.ethernet(packets.ipv4(*V4, packets.tcp(40000, 80, payload=payload)))) == payload


@pytest.mark.parametrize(
    ("fragment", "offset", "more"),
    [
        pytest.param(0x2000, 0, True, id="first"),
        pytest.param(0x2010, 128, True, id="middle"),
        pytest.param(0x0010, 128, False, id="last"),
        pytest.param(0x1FFF, 65_528, False, id="last, at the largest offset"),
    ],
)
def test_ipv4_fragments_are_told(fragment, offset, more):
    told = decode(packets.ethernet(packets.ipv4(*V4, HELLO, fragment=fragment)))

    assert isinstance(told, Fragment)
    assert (told.offset, told.more, told.payload, told.length) == (offset, more, HELLO, len(HELLO))


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
    ("offset_and_more", "offset", "more"),
    [("0001", 0, True), ("0008", 8, False), ("0009", 8, True), ("fff8", 65_528, False)],
    ids=["first", "last", "middle", "largest"],
)
def test_ipv6_fragments_are_told(offset_and_more, offset, more):
    header = (FRAGMENT, b"\x00" + bytes.fromhex(offset_and_more) + bytes.fromhex("01020304"))

    told = decode(extended(header))

    assert isinstance(told, Fragment)
    assert (told.offset, told.more, told.payload) == (offset, more, HELLO)
    assert (told.identification, told.protocol) == (0x01020304, 6)
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
    segment = segment_module.decode(memoryview(packet), len(packet))
    packet[:] = bytes(len(packet))

    assert segment.payload == b"hello"
    assert segment.source == bytes.fromhex("20010db8000000000000000000000001")


# Links.


COOKED = bytes.fromhex("0000 0001 0006 020000000001 0000")
COOKED_2 = bytes.fromhex("0000 00000002 0001 00 06 0200000000010000")


@pytest.mark.parametrize(
    ("link", "header_v4", "header_v6"),
    [
        (Link.RAW, b"", b""),
        (Link.NULL, b"\x02\0\0\0", b"\0\0\0\x1e"),
        (Link.COOKED, COOKED + b"\x08\x00", COOKED + b"\x86\xdd"),
        (Link.COOKED_2, b"\x08\x00" + COOKED_2, b"\x86\xdd" + COOKED_2),
        (Link.COOKED, COOKED + b"\x81\x00\x00\x05\x08\x00", COOKED + b"\x81\x00\x00\x05\x86\xdd"),
    ],
    ids=["raw", "BSD loopback", "cooked", "cooked 2", "cooked, with a VLAN tag"],
)
def test_packets_of_other_links(link, header_v4, header_v6):
    for header, packet in (
        (header_v4, packets.ipv4(*V4, HELLO)),
        (header_v6, packets.ipv6(*V6, HELLO)),
    ):
        whole = header + packet
        segment = segment_module.decode(memoryview(whole), len(whole), link)

        assert isinstance(segment, Segment)
        assert segment.payload == b"hello"


@pytest.mark.parametrize("link", Link)
def test_nothing_of_a_packet_is_no_fault(link):
    for size in range(40):
        told = segment_module.decode(memoryview(bytes(size)), size, link)
        assert isinstance(told, Undecoded)


def test_numbers_of_capture_files():
    assert Link.of_linktype(1) is Link.ETHERNET
    assert Link.of_linktype(113) is Link.COOKED
    assert Link.of_linktype(276) is Link.COOKED_2
    assert {Link.of_linktype(number) for number in (12, 14, 101, 228, 229)} == {Link.RAW}
    assert {Link.of_linktype(number) for number in (0, 108)} == {Link.NULL}
    assert Link.of_linktype(105) is None  # 802.11
