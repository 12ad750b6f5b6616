"""Interfaces that are not Ethernet, and what the kernel's filter makes of packets there."""

import fcntl
import os
import select
import struct
import subprocess
import time
from collections.abc import Iterator

import pytest

from podmirror_agent.capture import Capture
from podmirror_agent.filters import HEADERS_LENGTH
from podmirror_agent.mirror import Interest
from podmirror_agent.packet import CapturedPacket, Way
from podmirror_agent.segment import Link, Segment, decode
from tests.agent import packets
from tests.agent.recorder import Recorder
from tests.namespaces import Namespaces, in_order

pytestmark = pytest.mark.namespaces

DEADLINE_SECONDS = 10.0
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
"""linux/if_tun.h."""


@pytest.fixture(params=[b"tun0"])
def tunnel(request: pytest.FixtureRequest, wire: Namespaces) -> Iterator[int]:
    """A tun device in the pod's namespace: what is written to the descriptor comes in there, from its IP header on."""
    if not os.access("/dev/net/tun", os.W_OK):
        pytest.skip("there is no /dev/net/tun")
    with wire.target.entered():
        descriptor = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH", request.param, _IFF_TUN | _IFF_NO_PI))
    subprocess.run(
        [*wire.command(wire.target, "ip", "link", "set", "dev"), os.fsdecode(request.param), "up"], check=True
    )
    yield descriptor
    os.close(descriptor)


def read(capture: Capture, wire: Namespaces, enough: int) -> list[tuple[CapturedPacket, Segment]]:
    """Read until so many TCP packets have come, and give copies of them, decoded.

    What else passes is left out: the kernel announces its multicast groups on every interface behind an IPv6 extension header,
    when it likes, and the filter cannot look past that.
    """
    found: list[tuple[CapturedPacket, Segment]] = []
    deadline = time.monotonic() + DEADLINE_SECONDS
    while len(found) < enough:
        left = deadline - time.monotonic()
        assert left > 0, f"not seen in time, only {found}"
        select.select([capture], [], [], left)
        with wire.target.entered():
            recorder = Recorder()
            for _ in capture.read_into(recorder, 0.0):
                for packet in recorder.packets:
                    copy = packet._replace(packet=memoryview(bytes(packet.packet)))
                    segment = decode(copy.packet, copy.wire_length, copy.link)
                    if isinstance(segment, Segment):
                        found.append((copy, segment))
                recorder.packets.clear()
    return found


def test_packets_of_a_tunnel_are_captured_from_their_ip_header_on(wire, tunnel):
    with wire.target.entered():
        capture = Capture(47_000, blocks=16)
    capture.set_interest(Interest(frozenset({80}), responder_bytes=False))
    v4 = packets.ipv4("192.0.2.1", "192.0.2.2", packets.tcp(40000, 80, payload=b"over a tunnel"))
    v6 = packets.ipv6("2001:db8::1", "2001:db8::2", packets.tcp(40000, 80, payload=b"over a tunnel"))
    other = packets.ipv4("192.0.2.1", "192.0.2.2", packets.tcp(40000, 81, payload=b"of another port"))
    answer = packets.ipv4("192.0.2.1", "192.0.2.2", packets.tcp(80, 40000, payload=bytes(1000)))

    with in_order():
        for packet in (other, v4, v6, answer):
            os.write(tunnel, packet)
    found = read(capture, wire, 3)
    capture.close()

    seen = [packet for packet, _ in found]
    segments = [segment for _, segment in found]
    assert {each.interface[1] for each in seen} == {"tun0"}
    assert {each.link for each in seen} == {Link.RAW}
    assert {each.way for each in seen} == {Way.INCOMING}
    assert [segment.payload for segment in segments[:2]] == [b"over a tunnel"] * 2
    assert len(seen[2].packet) == HEADERS_LENGTH
    assert segments[2].length == 1000


@pytest.mark.parametrize("tunnel", [b"tun\xff\xfe"], indirect=True)
def test_an_interface_whose_name_is_no_text_is_captured(wire, tunnel):
    with wire.target.entered():
        capture = Capture(47_000, blocks=16)
    capture.set_interest(Interest(frozenset({80})))

    os.write(tunnel, packets.ipv4("192.0.2.1", "192.0.2.2", packets.tcp(40000, 80, payload=b"hello")))
    ((packet, _),) = read(capture, wire, 1)
    capture.close()

    assert packet.interface[1] == r"tun\xff\xfe"
