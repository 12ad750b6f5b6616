"""Filters are compiled by libpcap, as the agent does it, and judged by libpcap's interpreter, packet by packet."""

import ctypes
import ctypes.util
import struct

import pytest

from podmirror_agent.capture import _compile
from podmirror_agent.filters import (
    ACCEPT_LENGTH,
    DROP_ALL,
    Instruction,
    expression,
    raise_accept_length,
)
from tests.agent import packets

CONTROL = 47_000
V4 = ("10.0.0.1", "10.0.0.2")
V6 = ("2001:db8::1", "2001:db8::2")


class Program:
    """A compiled filter. `judge` gives how many bytes of a packet it accepts; 0 drops it."""

    def __init__(self, instructions: list[Instruction]) -> None:
        self.instructions = instructions
        self._code = b"".join(struct.pack("@HBBI", *instruction) for instruction in instructions)
        self._libpcap = ctypes.CDLL(ctypes.util.find_library("pcap"))
        self._libpcap.bpf_filter.restype = ctypes.c_uint

    def judge(self, packet: bytes) -> int:
        return self._libpcap.bpf_filter(self._code, packet, len(packet), len(packet))


def compiled(*ports: int) -> Program:
    return Program(_compile(expression(frozenset(ports), CONTROL)))


@pytest.fixture(scope="module")
def program() -> Program:
    return compiled(80, 8080)


def over_ipv4(source_port: int, destination_port: int, hosts=V4, **fields) -> bytes:
    return packets.ethernet(packets.ipv4(*hosts, packets.tcp(source_port, destination_port), **fields))


def over_ipv6(source_port: int, destination_port: int, hosts=V6) -> bytes:
    return packets.ethernet(packets.ipv6(*hosts, packets.tcp(source_port, destination_port)))


@pytest.mark.parametrize("port", [80, 8080])
@pytest.mark.parametrize("build", [over_ipv4, over_ipv6])
def test_both_directions_of_a_subscribed_port_pass(program, build, port):
    assert program.judge(build(40000, port)) == ACCEPT_LENGTH
    assert program.judge(build(port, 40000)) == ACCEPT_LENGTH


@pytest.mark.parametrize("build", [over_ipv4, over_ipv6])
def test_other_ports_do_not_pass(program, build):
    assert program.judge(build(40000, 81)) == 0
    assert program.judge(build(443, 40000)) == 0


def test_port_is_found_behind_ipv4_options(program):
    assert program.judge(over_ipv4(40000, 80, options=b"\x01" * 8)) == ACCEPT_LENGTH
    assert program.judge(over_ipv4(40000, 81, options=b"\x01" * 8)) == 0


@pytest.mark.parametrize("protocol", [17, 1, 132])
def test_other_protocols_do_not_pass(program, protocol):
    assert program.judge(over_ipv4(40000, 80, protocol=protocol)) == 0
    assert program.judge(over_ipv4(40000, 80, protocol=protocol, fragment=0x2000)) == 0


def test_udp_over_ipv6_does_not_pass(program):
    assert program.judge(packets.ethernet(packets.ipv6(*V6, packets.tcp(40000, 80), following=17))) == 0


def test_arp_does_not_pass(program):
    assert program.judge(packets.ethernet(bytes(46), ethertype=0x0806)) == 0


@pytest.mark.parametrize("fragment", [0x2000, 0x2010, 0x0010], ids=["first", "middle", "last"])
def test_ipv4_fragments_pass_whatever_their_port(program, fragment):
    assert program.judge(over_ipv4(40000, 81, fragment=fragment)) == ACCEPT_LENGTH


@pytest.mark.parametrize("extension", [0, 43, 44, 51, 60])
def test_ipv6_extension_headers_pass_whatever_is_behind_them(program, extension):
    packet = packets.ipv6(*V6, b"\x06\x00" + bytes(6) + packets.tcp(40000, 81), following=extension)

    assert program.judge(packets.ethernet(packet)) == ACCEPT_LENGTH


@pytest.mark.parametrize("build", [packets.ipv4, packets.ipv6])
def test_tagged_packets_of_a_subscribed_port_pass(program, build):
    hosts = V4 if build is packets.ipv4 else V6
    tags = ((0x8100, 5),)

    assert program.judge(packets.ethernet(build(*hosts, packets.tcp(40000, 80)), tags=tags)) == ACCEPT_LENGTH
    assert (
        program.judge(packets.ethernet(build(*hosts, packets.tcp(8080, 40000)), tags=tags)) == ACCEPT_LENGTH
    )
    assert program.judge(packets.ethernet(build(*hosts, packets.tcp(40000, 81)), tags=tags)) == 0


def test_tagged_fragments_and_extension_headers_pass(program):
    tags = ((0x8100, 5),)
    fragment = packets.ipv4(*V4, packets.tcp(40000, 81), fragment=0x2000)
    extended = packets.ipv6(*V6, b"\x06\x00" + bytes(6) + packets.tcp(40000, 81), following=60)

    assert program.judge(packets.ethernet(fragment, tags=tags)) == ACCEPT_LENGTH
    assert program.judge(packets.ethernet(extended, tags=tags)) == ACCEPT_LENGTH


LOOPBACKS = [
    (over_ipv4, ("127.0.0.1", "127.0.0.1")),
    (over_ipv6, ("::1", "::1")),
]


@pytest.mark.parametrize(("build", "hosts"), LOOPBACKS, ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("port", [50_000, 80], ids=["client elsewhere", "client on a subscribed port"])
def test_control_connection_does_not_pass(program, build, hosts, port):
    assert program.judge(build(port, CONTROL, hosts)) == 0
    assert program.judge(build(CONTROL, port, hosts)) == 0


@pytest.mark.parametrize(("build", "hosts"), LOOPBACKS, ids=["IPv4", "IPv6"])
def test_control_connection_does_not_pass_even_if_its_port_is_subscribed(build, hosts):
    assert compiled(CONTROL).judge(build(50_000, CONTROL, hosts)) == 0


@pytest.mark.parametrize("build", [over_ipv4, over_ipv6])
def test_remote_client_whose_port_is_that_of_the_control_connection_passes(program, build):
    assert program.judge(build(CONTROL, 80)) == ACCEPT_LENGTH
    assert program.judge(build(80, CONTROL)) == ACCEPT_LENGTH


@pytest.mark.parametrize(("build", "hosts"), LOOPBACKS, ids=["IPv4", "IPv6"])
def test_subscribed_port_on_loopback_passes(program, build, hosts):
    assert program.judge(build(50_000, 80, hosts)) == ACCEPT_LENGTH


def test_packet_that_ends_before_its_ports_does_not_pass(program):
    packet = over_ipv4(40000, 80)

    for length in range(14 + 20 + 4):
        assert program.judge(packet[:length]) == 0


def test_many_ports():
    ports = range(1000, 1100)
    program = compiled(*ports)

    assert all(program.judge(over_ipv4(40000, port)) for port in ports)
    assert program.judge(over_ipv4(40000, 1100)) == 0


def test_drop_all_drops_all():
    assert Program(list(DROP_ALL)).judge(over_ipv4(40000, 80)) == 0


def test_every_accepting_return_lets_the_whole_packet_through(program):
    returns = [constant for code, _, _, constant in program.instructions if code == 0x06]

    assert set(returns) == {0, 0x40000}


def test_accept_length_is_raised_and_nothing_else_changes():
    before = [(0x28, 0, 0, 12), (0x15, 0, 1, 0x0800), (0x06, 0, 0, 65_535), (0x06, 0, 0, 0)]

    assert raise_accept_length(before) == [*before[:2], (0x06, 0, 0, 0x40000), (0x06, 0, 0, 0)]


def test_accept_length_is_above_the_largest_super_packet():
    assert ACCEPT_LENGTH == 262_144


def test_expression_reads_the_same_whatever_the_order_of_ports():
    assert expression(frozenset({80, 8080}), CONTROL) == expression(frozenset({8080, 80}), CONTROL)
