"""Whatever a packet is like, the filter accepts as much of it as user space needs to see."""

import functools
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podmirror_agent import filters
from podmirror_agent.expressions import compile_expression
from podmirror_agent.filters import WHOLE_LENGTH, Instruction, connection_class, cover
from podmirror_agent.governor import ALL_KEPT
from podmirror_agent.segment import FIN, RST, SYN, Fragment, Link, Segment, decode
from tests.agent import bpf, packets
from tests.agent.segments import EXTENSIONS
from tests.fuzzing import examples

CONTROL, LOOPBACK, ETH0, TUNNEL = 47_000, 1, 2, 3
HARDWARE = {LOOPBACK: 772, ETH0: 1, TUNNEL: 65_534}
OUTGOING = 4

FEW = frozenset({80, 8080, 40_001})
MANY = frozenset(range(1000, 30_000, 97))
"""So many that they are covered with ranges."""

ADDRESSES = {
    4: ("127.0.0.1", "10.0.0.1", "10.0.0.2"),
    6: ("::1", "2001:db8::1", "2001:db8::2"),
}
CONTROLS = {bytes((127, 0, 0, 1)), bytes(15) + b"\x01"}


@functools.cache
def program(ports: frozenset[int], responder_whole: bool, kept: int) -> list[Instruction]:
    return filters.program(
        compile_expression, ports, CONTROL, LOOPBACK, responder_whole=responder_whole, kept=kept
    )


@st.composite
def ip_packets(draw: st.DrawFn) -> bytes:
    some_port = st.sampled_from([80, 81, 8080, 40_001, 1097, CONTROL]) | st.integers(0, 65_535)
    payload = draw(st.binary(max_size=30)) * draw(st.sampled_from([1, 1, 20]))
    tcp = packets.tcp(
        draw(some_port),
        draw(some_port),
        flags=draw(st.sampled_from(["A", "PA", "S", "SA", "FA", "R", "RA"])),
        options=b"\x01" * 4 * draw(st.integers(0, 10)),
        payload=payload,
    )
    family = draw(st.sampled_from([4, 6]))
    hosts = (draw(st.sampled_from(ADDRESSES[family])), draw(st.sampled_from(ADDRESSES[family])))
    if family == 4:
        return packets.ipv4(
            *hosts,
            tcp,
            options=b"\x01" * 4 * draw(st.integers(0, 10)),
            fragment=draw(st.sampled_from([0, 0, 0x4000, 0x2000, 0x2010, 0x0010])),
            total=draw(st.sampled_from([None, None, None, 0])),
        )
    headers = draw(st.lists(st.sampled_from(list(EXTENSIONS.values())), max_size=2))
    numbers = [number for number, _ in headers]
    chain = b"".join(
        bytes((following,)) + rest for following, (_, rest) in zip([*numbers, 6][1:], headers, strict=True)
    )
    return packets.ipv6(*hosts, chain + tcp, following=[*numbers, 6][0])


@settings(max_examples=examples(400), deadline=None)
@given(
    packet=ip_packets(),
    tags=st.lists(st.tuples(st.sampled_from([0x8100, 0x88A8, 0x9100]), st.integers(0, 65_535)), max_size=2),
    padding=st.integers(0, 9),
    interface=st.sampled_from([LOOPBACK, ETH0, TUNNEL]),
    kind=st.sampled_from([0, OUTGOING]),
    ports=st.sampled_from([FEW, MANY]),
    responder_whole=st.booleans(),
    kept=st.sampled_from([0, 1, 128, 255, ALL_KEPT]),
)
def test_filter_accepts_all_that_is_needed(
    packet, tags, padding, interface, kind, ports, responder_whole, kept
):
    link = Link.RAW if interface == TUNNEL else Link.ETHERNET
    if link is Link.ETHERNET:
        packet = packets.ethernet(packet, tags=tuple(tags)) + bytes(padding)
    of = {bpf.PACKET_TYPE: kind, bpf.INTERFACE: interface, bpf.HARDWARE_TYPE: HARDWARE[interface]}

    accepted = bpf.run(program(ports, responder_whole, kept), packet, of)

    told = decode(memoryview(packet), len(packet), link)
    if interface == LOOPBACK and kind == OUTGOING:
        assert accepted == 0
    elif isinstance(told, Fragment):
        control = interface == LOOPBACK and told.source in CONTROLS and begins_with_port(told, CONTROL)
        assert accepted == WHOLE_LENGTH or control
    elif isinstance(told, Segment) and is_control(told) and interface == LOOPBACK:
        assert accepted == 0 or is_coarse(packet)
    elif isinstance(told, Segment):
        if needs_payload(told, ports, responder_whole, kept):
            assert accepted == WHOLE_LENGTH
        if needs_headers(told, ports, kept):
            cut = decode(memoryview(packet)[:accepted], len(packet), link)
            assert isinstance(cut, Segment)
            assert cut._replace(payload=b"") == told._replace(payload=b"")


def is_control(segment: Segment) -> bool:
    return CONTROL in (segment.source_port, segment.destination_port) and segment.source in CONTROLS


def begins_with_port(fragment: Fragment, port: int) -> bool:
    return fragment.offset == 0 and port in struct.unpack_from("!HH", fragment.payload)


def is_coarse(frame: bytes) -> bool:
    """Whether ports are not where the filter looks for them; loopback itself makes no such packets."""
    return frame[12:14] not in (b"\x08\x00", b"\x86\xdd") or (frame[12:14] == b"\x86\xdd" and frame[20] != 6)


def needs_payload(segment: Segment, ports: frozenset[int], responder_whole: bool, kept: int) -> bool:
    to = segment.destination_port in ports and connection_class(segment.source_port) < kept
    of = segment.source_port in ports and connection_class(segment.destination_port) < kept
    return to or (of and responder_whole)


def needs_headers(segment: Segment, ports: frozenset[int], kept: int) -> bool:
    if needs_payload(segment, ports, True, kept):
        return True
    return bool({segment.source_port, segment.destination_port} & ports and segment.flags & (SYN | FIN | RST))


@pytest.mark.parametrize("kept", [0, 1, 77, 255])
def test_kernel_computes_the_class_of_every_port_as_we_do(kept):
    """In 32 bits and without a sign: 65,535 times 40,503 takes all of them."""
    shedding = program(frozenset({80}), False, kept)
    of = {bpf.PACKET_TYPE: 0, bpf.INTERFACE: ETH0, bpf.HARDWARE_TYPE: 1}

    for port in range(0, 65_536, 89):
        packet = packets.ethernet(packets.ipv4(*ADDRESSES[4][1:], packets.tcp(port, 80)))
        expected = WHOLE_LENGTH if connection_class(port) < kept or port == 80 else 0
        assert bpf.run(shedding, packet, of) == expected or port == 80


def test_classes_are_of_the_same_size():
    """Of Linux's ports for outgoing connections, whichever of them a client takes: every other one, or all."""
    for step in (1, 2):
        classes = [connection_class(port) for port in range(32_768, 61_000, step)]
        counts = [classes.count(each) for each in range(ALL_KEPT)]
        assert max(counts) < 1.5 * len(classes) / ALL_KEPT
        assert min(counts) > 0.5 * len(classes) / ALL_KEPT


# Ranges that cover ports.


@given(ports=st.sets(st.integers(0, 65_535), min_size=1, max_size=50), most=st.integers(1, 60))
def test_ranges_cover_all_ports_and_begin_and_end_with_one(ports, most):
    ranges = cover(ports, most)

    assert len(ranges) <= most
    assert all(any(first <= port <= last for first, last in ranges) for port in ports)
    assert all(first in ports and last in ports for first, last in ranges)
    assert ranges == sorted(ranges)
    if most >= len(ports):
        assert sum(last - first + 1 for first, last in ranges) == len(ports)


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        pytest.param(4, [(80, 80), (443, 443), (8080, 8081)], id="neighbours are one range anyway"),
        pytest.param(2, [(80, 443), (8080, 8081)], id="the widest gap is left out"),
        pytest.param(1, [(80, 8081)], id="one range"),
    ],
)
def test_ranges(most, expected):
    assert cover({8081, 80, 443, 8080}, most) == expected
