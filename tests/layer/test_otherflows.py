"""Flows that are not TCP, from the headers of packets."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podmirror.otherflows import OtherFlow, OtherFlows, _ends
from podmirror_wire.frames import Interface
from tests.agent import packets
from tests.layer.pcapngs import ETH0, TIME, packet

POD, CLIENT = packets.POD, packets.CLIENT
V6 = ("2001:db8::1", "2001:db8::2")


def udp(source: int, destination: int) -> bytes:
    return struct.pack("!HHHH", source, destination, 8, 0)


def flows(*seen: bytes, linktype: int = 1, **limits: int) -> OtherFlows:
    made = OtherFlows(**limits)
    made.receive_interface("web", Interface(2, linktype, "eth0"))
    for data in seen:
        made.receive_packet("web", packet(data, length=len(data) + 10))
    return made


def test_both_ways_are_one_flow():
    question = packets.ethernet(packets.ipv4(POD, CLIENT, udp(5000, 53), protocol=17))
    answer = packets.ethernet(packets.ipv4(CLIENT, POD, udp(53, 5000), protocol=17))

    (row,) = flows(question, question, answer).rows()

    size = len(question) + 10
    assert row == OtherFlow("web", "dns", f"{POD}:5000", f"{CLIENT}:53", 2, 2 * size, 1, size, TIME)


@pytest.mark.parametrize(
    ("data", "row"),
    [
        (packets.ethernet(packets.ipv4(CLIENT, POD, bytes(8), protocol=1)), ("icmp", CLIENT, POD)),
        (packets.ethernet(packets.ipv6(*V6, bytes(8), following=58)), ("icmpv6", *V6)),
        (
            packets.ethernet(packets.ipv6(*V6, udp(4000, 443), following=17)),
            ("quic", f"[{V6[0]}]:4000", f"[{V6[1]}]:443"),
        ),
        (
            packets.ethernet(packets.ipv4(CLIENT, POD, udp(7, 8), protocol=17)),
            ("udp", f"{CLIENT}:7", f"{POD}:8"),
        ),
        (packets.ethernet(packets.ipv4(CLIENT, POD, bytes(4), protocol=99)), ("ip protocol 99", CLIENT, POD)),
        (
            packets.ethernet(packets.ipv4(CLIENT, POD, b"later", protocol=17, fragment=5)),
            ("udp", CLIENT, POD),
        ),
        (
            packets.ethernet(
                bytes(14) + bytes((10, 0, 0, 1)) + bytes(6) + bytes((10, 0, 0, 2)), ethertype=0x0806
            ),
            ("arp", CLIENT, POD),
        ),
        (packets.ethernet(bytes(20), ethertype=0x88CC), ("ethertype 0x88cc", "", "")),
        (
            packets.ethernet(packets.ipv4(CLIENT, POD, udp(7, 8), protocol=17), tags=((0x8100, 5),)),
            ("udp", f"{CLIENT}:7", f"{POD}:8"),
        ),
    ],
    ids=lambda each: each[0] if isinstance(each, tuple) else "",
)
def test_flow_is_named(data, row):
    (found,) = flows(data).rows()

    assert (found.protocol, found.source, found.destination) == row


@pytest.mark.parametrize("linktype", [1, 113, 276, 0, 101])
def test_tcp_is_no_other_flow_on_any_link(linktype):
    ip = packets.ipv4(CLIENT, POD, packets.tcp(1, 80))
    header = {
        1: bytes(12) + b"\x08\0",
        113: bytes(14) + b"\x08\0",
        276: b"\x08\0" + bytes(18),
        0: bytes(4),
        101: b"",
    }
    datagram = packets.ipv4(CLIENT, POD, udp(7, 8), protocol=17)

    assert not flows(header[linktype] + ip, linktype=linktype).rows()
    assert len(flows(header[linktype] + datagram, linktype=linktype).rows()) == 1


def test_flows_are_bounded():
    made = flows(
        *(packets.ethernet(packets.ipv4(CLIENT, POD, udp(port, 9), protocol=17)) for port in range(20)),
        max_flows=5,
    )

    assert len(made.rows()) == 5
    assert made.untold == 15


@given(data=st.binary(max_size=100), linktype=st.sampled_from([1, 113, 276, 0, 101, 147]))
def test_no_packet_raises(data, linktype):
    _ends(data, linktype)


def test_packet_of_an_interface_that_was_not_told_is_ethernet():
    made = OtherFlows()
    made.receive_packet("web", packet(packets.ethernet(packets.ipv4(CLIENT, POD, udp(7, 8), protocol=17))))

    assert len(made.rows()) == 1
    assert ETH0.linktype == 1
