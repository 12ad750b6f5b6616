"""Any bytes at all as packets, with scapy as an independent oracle."""

import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from podmirror_agent import segment as segment_module
from podmirror_agent.segment import Fragment, Link, Segment, Undecoded
from tests.agent import packets
from tests.agent.segments import DATA_PACKET, EXTENSIONS, HELLO, SYN_PACKET, V6, decode, extended
from tests.fuzzing import examples

# Anything.


JUMBO_PACKET = packets.ethernet(
    packets.ipv6(*V6, bytes.fromhex("0600 c204 0000 0021") + HELLO, following=0, length=0)
)


@given(st.binary(max_size=150), st.integers(0, 200), st.sampled_from(Link))
def test_arbitrary_bytes_never_raise(packet, wire_length, link):
    segment_module.decode(memoryview(packet), wire_length, link)


@given(
    start=st.sampled_from([SYN_PACKET, DATA_PACKET, JUMBO_PACKET, extended(*EXTENSIONS.values())]),
    link=st.sampled_from([Link.ETHERNET, Link.RAW]),
    changes=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), min_size=1, max_size=6),
    length=st.integers(0, 200),
)
def test_damaged_packets_never_raise(start, link, changes, length):
    packet = bytearray(start if link is Link.ETHERNET else start[14:])
    for position, value in changes:
        packet[position % len(packet)] = value
    captured = memoryview(bytes(packet[:length]))

    decoded = segment_module.decode(captured, len(packet), link)

    if isinstance(decoded, Segment | Fragment):
        assert len(decoded.payload) <= decoded.length
        assert decoded.payload in bytes(captured)


flags = st.integers(0, 255)
u16 = st.integers(0, 2**16 - 1)
u32 = st.integers(0, 2**32 - 1)


@settings(max_examples=examples(60), deadline=None)
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


@settings(max_examples=examples(40), deadline=None)
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
    changed[54 : 14 + 20 + header * 4] = bytes([1]) * (
        header * 4 - 20
    )  # no-operations: scapy stumbles over bad options

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
