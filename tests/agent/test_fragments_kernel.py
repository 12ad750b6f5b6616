"""The same fragments for us and for a real kernel: what it puts together, and only that, is put together here.

The kernel's word is a raw socket's: fragments are put together before it is given a packet (raw(7)).
"""

import select
import socket
import struct
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from podmirror_agent.budget import Budget
from podmirror_agent.fragments import Fragments
from podmirror_agent.segment import Fragment, Link, Segment, decode
from tests.agent import packets
from tests.fuzzing import examples
from tests.namespaces import CLIENT_ADDRESSES, TARGET_ADDRESSES, Namespaces, in_order

pytestmark = pytest.mark.namespaces

DEADLINE_SECONDS = 10.0
PORT, MARKER_PORT = 40_000, 40_001
EIGHTS = 8
"""Eighths of bytes that the whole packet has."""


class Kernel:
    """Takes IP packets on the client's end of the wire, and says what the pod's end made of them."""

    def __init__(self, wire: Namespaces) -> None:
        with wire.client.entered():
            self._out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            self._out.bind(("eth0", 0))
        with wire.target.entered():
            for setting in ("ipv4/ipfrag_high_thresh", "ipv6/ip6frag_high_thresh"):
                # What is left over waits for a minute, and must not keep others out.
                (Path("/proc/sys/net") / setting).write_text(str(1 << 30))
            self._raw = {
                4: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP),
                6: socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_TCP),
            }
        self._identification = 0

    def close(self) -> None:
        for each in (self._out, *self._raw.values()):
            each.close()

    def next_identification(self) -> int:
        """Give one that no packet had before: what it left over may still be waiting."""
        self._identification += 1
        return self._identification

    def put_together(self, family: int, sent: list[bytes]) -> list[bytes]:
        """Send packets, and give the TCP segments that came of them."""
        marker = ip_packet(family, packets.tcp(MARKER_PORT, PORT), checksum=True)
        with in_order():
            for packet in [*sent, marker]:
                self._out.send(packets.ethernet(packet))
        came = []
        while True:
            ready, _, _ = select.select([self._raw[family]], [], [], DEADLINE_SECONDS)
            assert ready, "the marker did not come"
            packet = self._raw[family].recv(65_535)
            segment = packet[(packet[0] & 0x0F) * 4 :] if family == 4 else packet
            if len(segment) < 20:
                continue  # no TCP segment
            source_port, destination_port = struct.unpack_from("!HH", segment)
            if source_port == MARKER_PORT:
                return came
            if destination_port == PORT:
                came.append(segment)


@pytest.fixture(scope="module")
def kernel(wire: Namespaces) -> Iterator[Kernel]:
    kernel = Kernel(wire)
    yield kernel
    kernel.close()


def ip_packet(
    family: int,
    payload: bytes,
    *,
    checksum: bool = False,
    offset: int = 0,
    more: bool = False,
    number: int = 0,
) -> bytes:
    hosts = CLIENT_ADDRESSES[family == 6], TARGET_ADDRESSES[family == 6]
    if family == 6:
        if checksum:
            return packets.ipv6(*hosts, payload)
        header = struct.pack("!BxHI", 6, offset | more, number)
        return packets.ipv6(*hosts, header + payload, following=44)
    packet = bytearray(packets.ipv4(*hosts, payload, fragment=offset // 8 | 0x2000 * more))
    packet[4:6] = struct.pack("!H", number)
    words = struct.unpack("!10H", packet[:20])
    total = sum(words)
    total = (total & 0xFFFF) + (total >> 16)
    packet[10:12] = struct.pack("!H", ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF)
    return bytes(packet)


Cut = tuple[int, int, bool]
"""Offset, length (both in bytes) and whether more follow."""

cuts = st.lists(
    st.tuples(
        st.integers(0, EIGHTS).map(lambda eights: eights * 8),
        st.integers(0, EIGHTS).map(lambda eights: eights * 8) | st.integers(1, EIGHTS * 8),
        st.booleans(),
    ),
    min_size=1,
    max_size=4,
)


@st.composite
def partitions(draw: st.DrawFn) -> list[Cut]:
    """A packet cut cleanly, in any order, with some fragments twice and perhaps something that does not fit."""
    edges = sorted(draw(st.sets(st.integers(1, EIGHTS - 1), max_size=5)))
    places = [0, *(each * 8 for each in edges), EIGHTS * 8 - draw(st.integers(0, 7))]
    clean = [(start, end - start, end != places[-1]) for start, end in pairwise(places)]
    twice = draw(st.lists(st.sampled_from(clean), max_size=2))
    return draw(st.permutations([*clean, *twice, *draw(st.just([]) | cuts)]))


@settings(
    max_examples=examples(150),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(family=st.sampled_from([4, 6]), told=partitions() | cuts)
@example(family=4, told=[(32, 32, False), (0, 16, True), (16, 16, True)])
@example(
    family=4, told=[(16, 16, True), (0, 16, True), (0, 32, True), (32, 32, False)]
)  # over two runs: overlap
@example(
    family=4, told=[(0, 16, True), (16, 16, True), (0, 32, True), (32, 32, False)]
)  # within one: duplicate
@example(family=4, told=[(0, 37, True), (32, 32, False)])  # IPv4 rounds down
@example(family=6, told=[(0, 37, True), (32, 32, False), (0, 32, True)])  # and IPv6 ignores
@example(family=6, told=[(0, 16, True), (16, 48, False)])  # not even the TCP header in the first
@example(family=4, told=[(0, 16, True), (16, 0, True), (16, 48, False)])  # an empty one spoils it
@example(family=4, told=[(32, 16, False), (48, 16, True), (0, 32, True)])  # as does one beyond the last
@example(family=6, told=[(0, 24, True), (0, 0, True), (24, 40, False)])  # of IPv6, not in front
@example(family=4, told=[(0, 64, False)])
def test_kernel_puts_the_same_together(kernel, family, told):
    number = kernel.next_identification()
    whole = packets.tcp(50_000, PORT, payload=bytes(EIGHTS * 24))
    sent = []
    for index, (offset, length, more) in enumerate(told):
        payload = bytearray(whole[offset : offset + length])
        for place in range(length):
            if offset + place >= 20:  # whose byte it is shows
                payload[place] = index + 1
        sent.append(ip_packet(family, bytes(payload), offset=offset, more=more, number=number))
    fragments = Fragments(Budget(1 << 30), verifies_checksums=False)  # as a raw socket
    ours = []
    for packet in sent:
        fragment = decode(memoryview(packet), len(packet), Link.RAW)
        if isinstance(fragment, Fragment):
            ours.append(fragments.receive_fragment(fragment, None, 0.0))
        else:  # it is all of its packet
            ours.append(fragment)

    theirs = kernel.put_together(family, sent)

    segments = [each for each in ours if isinstance(each, Segment)]
    assert [each.payload for each in segments] == [each[20:] for each in theirs]
