"""tcpdump expressions on packets of files."""

import pytest

from podmirror_agent.expressions import OfflineFilter
from podmirror_agent.packet import CapturedPacket, Way
from podmirror_agent.segment import Link
from tests.agent import packets
from tests.agent.packets import CLIENT, ETH0, POD

PACKET = packets.ipv4(CLIENT, POD, packets.tcp(40000, 80, payload=b"GET /"))
LINKS = {
    Link.ETHERNET: packets.ethernet(PACKET),
    Link.COOKED: bytes(14) + b"\x08\x00" + PACKET,
    Link.COOKED_2: b"\x08\x00" + bytes(18) + PACKET,
    Link.RAW: PACKET,
    Link.NULL: b"\x02\x00\x00\x00" + PACKET,
}


@pytest.mark.parametrize("link", LINKS, ids=lambda link: link.name)
def test_packets_of_any_link_are_judged(link):
    packet = CapturedPacket(memoryview(LINKS[link]), len(LINKS[link]), Way.EITHER, ETH0, 0, link)

    for expression in ("tcp port 80", f"src host {CLIENT}", "ip[9] = 6"):
        assert OfflineFilter(expression).matches(packet)
    for expression in ("tcp port 81", "udp", f"dst host {CLIENT}"):
        assert not OfflineFilter(expression).matches(packet)


def test_expression_about_ethernet_matches_nothing_without_it():
    judge = OfflineFilter("ether src 02:00:00:00:00:01")

    assert not judge.why_not()
    assert not judge.matches(CapturedPacket(memoryview(PACKET), len(PACKET), Way.EITHER, ETH0, 0, Link.RAW))


def test_expression_that_libpcap_does_not_take_is_explained():
    assert OfflineFilter("tcp portt 80").why_not() == (
        "libpcap does not take the filter 'tcp portt 80': can't parse filter expression: syntax error"
    )
