"""Where a packet is cut that may show no payload."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podmirror_agent.headers import header_bytes
from podmirror_agent.segment import Link
from tests.agent import packets

V4 = ("10.0.0.1", "10.0.0.2")
V6 = ("2001:db8::1", "2001:db8::2")
SECRET = b"Authorization: Bearer s3cr3t"


def kept(packet: bytes, link: Link = Link.ETHERNET) -> int:
    return header_bytes(memoryview(packet), link)


@pytest.mark.parametrize("tags", [(), ((0x8100, 5),), ((0x88A8, 7), (0x8100, 5))], ids=len)
@pytest.mark.parametrize("options", [b"", b"\x01" * 12], ids=["plain", "options"])
def test_tcp_is_cut_behind_its_options(tags, options):
    segment = packets.tcp(40000, 80, options=options, payload=SECRET)

    assert kept(packets.ethernet(packets.ipv4(*V4, segment), tags=tags)) == 54 + 4 * len(tags) + len(options)
    assert kept(packets.ethernet(packets.ipv6(*V6, segment), tags=tags)) == 74 + 4 * len(tags) + len(options)


@pytest.mark.parametrize("protocol", [1, 17, 58])
def test_datagrams_are_cut_behind_eight_bytes(protocol):
    datagram = bytes(8) + SECRET

    assert kept(packets.ethernet(packets.ipv4(*V4, datagram, protocol=protocol))) == 42
    assert kept(packets.ethernet(packets.ipv6(*V6, datagram, following=protocol))) == 62


def test_other_protocols_are_cut_behind_ip():
    assert kept(packets.ethernet(packets.ipv4(*V4, SECRET, protocol=132))) == 34
    assert kept(packets.ethernet(packets.ipv6(*V6, SECRET, following=50))) == 54


def test_arp_is_kept_but_for_its_padding():
    assert kept(packets.ethernet(bytes(46), ethertype=0x0806)) == 42


def test_what_is_not_understood_is_cut_behind_the_link_header():
    assert kept(packets.ethernet(SECRET, ethertype=0x88CC)) == 14
    for ethertype in (0x0800, 0x86DD):  # and yet no version of IP
        assert kept(packets.ethernet(b"\0" + SECRET * 2, ethertype=ethertype)) == 14
    assert kept(SECRET, Link.RAW) == 0


def test_only_the_first_fragment_has_a_tcp_header():
    segment = packets.tcp(40000, 80, payload=SECRET)

    assert kept(packets.ethernet(packets.ipv4(*V4, segment, fragment=0x2000))) == 54
    assert kept(packets.ethernet(packets.ipv4(*V4, SECRET, fragment=0x2001))) == 34
    first = b"\x06\x00\x00\x01" + bytes(4) + segment
    later = b"\x06\x00\x00\x09" + bytes(4) + SECRET
    assert kept(packets.ethernet(packets.ipv6(*V6, first, following=44))) == 82
    assert kept(packets.ethernet(packets.ipv6(*V6, later, following=44))) == 62


def test_extension_headers_are_kept():
    segment = packets.tcp(40000, 80, payload=SECRET)
    extended = b"\x3c\x00" + bytes(6) + b"\x06\x01" + bytes(14) + segment

    assert kept(packets.ethernet(packets.ipv6(*V6, extended, following=0))) == 14 + 40 + 8 + 16 + 20


@pytest.mark.parametrize("link", Link)
@given(packet=st.binary(max_size=200))
def test_no_packet_raises_and_none_grows(link, packet):
    assert 0 <= kept(packet, link) <= len(packet)
