"""Filters are compiled by libpcap, as the agent does it, and judged packet by packet."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podmirror_agent import filters
from podmirror_agent.expressions import compile_expression
from podmirror_agent.filters import DROP_ALL, HEADERS_LENGTH, WHOLE_LENGTH, Instruction, connection_class
from tests.agent import bpf, packets

CONTROL, LOOPBACK, ETH0, TUNNEL = 47_000, 1, 2, 3
V4 = ("10.0.0.1", "10.0.0.2")
V6 = ("2001:db8::1", "2001:db8::2")

HOST, OUTGOING = 0, 4
_HARDWARE = {LOOPBACK: 772, ETH0: 1, TUNNEL: 65_534}


class Program:
    """A compiled filter. `judge` gives how many bytes of a packet it accepts; 0 drops it."""

    def __init__(self, instructions: list[Instruction]) -> None:
        self.instructions = instructions

    def judge(self, packet: bytes, interface: int = ETH0, packet_type: int = HOST) -> int:
        of = {bpf.PACKET_TYPE: packet_type, bpf.INTERFACE: interface, bpf.HARDWARE_TYPE: _HARDWARE[interface]}
        return bpf.run(self.instructions, packet, of)


def compiled(*ports: int, responder_whole: bool = True, kept: int = 256, **further) -> Program:
    return Program(
        filters.program(
            compile_expression,
            frozenset(ports),
            CONTROL,
            LOOPBACK,
            responder_whole=responder_whole,
            kept=kept,
            **further,
        )
    )


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
    assert program.judge(build(40000, port)) == WHOLE_LENGTH
    assert program.judge(build(port, 40000)) == WHOLE_LENGTH


@pytest.mark.parametrize("build", [over_ipv4, over_ipv6])
def test_other_ports_do_not_pass(program, build):
    assert program.judge(build(40000, 81)) == 0
    assert program.judge(build(443, 40000)) == 0


def test_port_is_found_behind_ipv4_options(program):
    assert program.judge(over_ipv4(40000, 80, options=b"\x01" * 8)) == WHOLE_LENGTH
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
    assert program.judge(over_ipv4(40000, 81, fragment=fragment)) == WHOLE_LENGTH


@pytest.mark.parametrize("extension", [0, 43, 44, 51, 60])
def test_ipv6_extension_headers_pass_whatever_is_behind_them(program, extension):
    packet = packets.ipv6(*V6, b"\x06\x00" + bytes(6) + packets.tcp(40000, 81), following=extension)

    assert program.judge(packets.ethernet(packet)) == WHOLE_LENGTH


@pytest.mark.parametrize("build", [packets.ipv4, packets.ipv6])
@pytest.mark.parametrize("tags", [((0x8100, 5),), ((0x88A8, 7), (0x8100, 5))], ids=["one", "two"])
def test_tagged_packets_pass_whatever_their_port(program, build, tags):
    hosts = V4 if build is packets.ipv4 else V6

    for ports in ((40000, 80), (8080, 40000), (40000, 81)):
        packet = packets.ethernet(build(*hosts, packets.tcp(*ports)), tags=tags)
        assert program.judge(packet) == WHOLE_LENGTH


@pytest.mark.parametrize("tags", [((0x8100, 5),), ((0x88A8, 7), (0x8100, 5))], ids=["one", "two"])
def test_tagged_packets_of_other_protocols_do_not_pass(program, tags):
    datagram = bytes(8) + b"a datagram"

    for packet in (packets.ipv4(*V4, datagram, protocol=17), packets.ipv6(*V6, datagram, following=17)):
        assert program.judge(packets.ethernet(packet, tags=tags)) == 0
    assert program.judge(packets.ethernet(bytes(46), ethertype=0x0806, tags=tags)) == 0


def test_tagged_fragments_and_extension_headers_pass(program):
    tags = ((0x8100, 5),)
    fragment = packets.ipv4(*V4, packets.tcp(40000, 81), fragment=0x2000)
    extended = packets.ipv6(*V6, b"\x06\x00" + bytes(6) + packets.tcp(40000, 81), following=60)

    assert program.judge(packets.ethernet(fragment, tags=tags)) == WHOLE_LENGTH
    assert program.judge(packets.ethernet(extended, tags=tags)) == WHOLE_LENGTH


LOOPBACKS = [
    (over_ipv4, ("127.0.0.1", "127.0.0.1")),
    (over_ipv6, ("::1", "::1")),
]


@pytest.mark.parametrize(("build", "hosts"), LOOPBACKS, ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("port", [50_000, 80], ids=["client elsewhere", "client on a subscribed port"])
def test_control_connection_does_not_pass(program, build, hosts, port):
    assert program.judge(build(port, CONTROL, hosts), LOOPBACK) == 0
    assert program.judge(build(CONTROL, port, hosts), LOOPBACK) == 0


@pytest.mark.parametrize(("build", "hosts"), LOOPBACKS, ids=["IPv4", "IPv6"])
def test_control_connection_does_not_pass_even_if_its_port_is_subscribed(build, hosts):
    assert compiled(CONTROL).judge(build(50_000, CONTROL, hosts), LOOPBACK) == 0


@pytest.mark.parametrize("build", [over_ipv4, over_ipv6])
def test_remote_client_whose_port_is_that_of_the_control_connection_passes(program, build):
    assert program.judge(build(CONTROL, 80)) == WHOLE_LENGTH
    assert program.judge(build(80, CONTROL)) == WHOLE_LENGTH


@pytest.mark.parametrize("build", [over_ipv4, over_ipv6])
def test_pod_that_calls_itself_from_the_port_of_the_control_connection_passes(program, build):
    """Through loopback, but with the pod's own address."""
    assert program.judge(build(CONTROL, 80), LOOPBACK) == WHOLE_LENGTH
    assert program.judge(build(80, CONTROL), LOOPBACK) == WHOLE_LENGTH


@pytest.mark.parametrize(("build", "hosts"), LOOPBACKS, ids=["IPv4", "IPv6"])
def test_subscribed_port_on_loopback_passes(program, build, hosts):
    assert program.judge(build(50_000, 80, hosts), LOOPBACK) == WHOLE_LENGTH


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


def test_whole_is_more_than_the_largest_super_packet():
    assert WHOLE_LENGTH == 262_144


# Two lengths.


@pytest.mark.parametrize("build", [over_ipv4, over_ipv6])
def test_packets_of_the_responder_are_cut_while_nobody_wants_their_bytes(build):
    program = compiled(80, responder_whole=False)

    assert program.judge(build(40000, 80)) == WHOLE_LENGTH
    assert program.judge(build(80, 40000)) == HEADERS_LENGTH
    assert program.judge(build(81, 40000)) == 0


def test_what_cannot_be_judged_is_never_cut():
    program = compiled(80, responder_whole=False)
    tagged = packets.ethernet(packets.ipv4(*V4, packets.tcp(80, 40000)), tags=((0x8100, 5),))

    assert program.judge(over_ipv4(80, 40000, fragment=0x2000)) == WHOLE_LENGTH
    assert program.judge(tagged) == WHOLE_LENGTH


def test_control_connection_does_not_pass_cut_either():
    program = compiled(80, responder_whole=False, kept=10)

    for port in (80, 50_000):
        assert program.judge(over_ipv4(CONTROL, port, ("127.0.0.1", "127.0.0.1")), LOOPBACK) == 0
        assert program.judge(over_ipv4(port, CONTROL, ("127.0.0.1", "127.0.0.1")), LOOPBACK) == 0


def test_headers_that_can_be_decoded_fit_into_what_is_accepted():
    tcp = packets.tcp(80, 40000, options=b"\x01" * 40)
    longest = packets.ethernet(packets.ipv4(*V4, tcp, options=b"\x01" * 40))

    assert len(longest) + 2 * 4 <= HEADERS_LENGTH


# Interfaces.


@pytest.mark.parametrize("responder_whole", [True, False])
def test_loopback_shows_each_packet_once(responder_whole):
    program = compiled(80, responder_whole=responder_whole)
    packet = over_ipv4(40000, 80, ("127.0.0.1", "127.0.0.1"))

    assert program.judge(packet, LOOPBACK, HOST) == WHOLE_LENGTH
    assert program.judge(packet, LOOPBACK, OUTGOING) == 0


def test_what_goes_out_on_other_interfaces_passes(program):
    assert program.judge(over_ipv4(80, 40000), ETH0, OUTGOING) == WHOLE_LENGTH


def test_interfaces_without_an_ethernet_header(program):
    for packet in (packets.ipv4(*V4, packets.tcp(40000, 80)), packets.ipv6(*V6, packets.tcp(40000, 80))):
        assert program.judge(packet, TUNNEL) == WHOLE_LENGTH
    assert program.judge(packets.ipv4(*V4, packets.tcp(40000, 81)), TUNNEL) == 0
    assert (
        compiled(80, responder_whole=False).judge(packets.ipv4(*V4, packets.tcp(80, 9)), TUNNEL)
        == HEADERS_LENGTH
    )


# Shedding.


@given(
    port=st.integers(1, 65_535),
    kept=st.sampled_from([0, 1, 128, 255]),
    answer=st.booleans(),
    six=st.booleans(),
    flags=st.sampled_from(["A", "PA", "S", "SA", "FA", "R", "RA"]),
)
def test_of_a_shed_connection_only_beginning_and_end_pass(port, kept, answer, six, flags):
    program = compiled_for(kept)
    ports = (80, port) if answer else (port, 80)
    tcp = packets.tcp(*ports, flags=flags)
    packet = packets.ethernet(packets.ipv6(*V6, tcp) if six else packets.ipv4(*V4, tcp))

    shed = connection_class(port) >= kept
    if shed and port != 80:
        assert program.judge(packet) == (HEADERS_LENGTH if set(flags) & set("SFR") else 0)
    elif port != 80:
        assert program.judge(packet) == (HEADERS_LENGTH if answer else WHOLE_LENGTH)


_compiled: dict[int, Program] = {}


def compiled_for(kept: int) -> Program:
    if kept not in _compiled:
        _compiled[kept] = compiled(80, responder_whole=False, kept=kept)
    return _compiled[kept]


DATAGRAM = packets.ethernet(packets.ipv4(*V4, b"\0\x35\0\x35" + bytes(8), protocol=17))
ARP = packets.ethernet(bytes(46), ethertype=0x0806)


def test_every_packet_passes_where_packets_are_wanted():
    program = compiled(80, packets=True)

    for packet in (over_ipv4(40000, 81), over_ipv6(40000, 80), DATAGRAM, ARP, b"any"):
        assert program.judge(packet) == WHOLE_LENGTH
        assert program.judge(packet, TUNNEL) == WHOLE_LENGTH


@pytest.mark.parametrize(("build", "hosts"), LOOPBACKS, ids=["IPv4", "IPv6"])
def test_control_connection_does_not_pass_where_packets_are_wanted(build, hosts):
    program = compiled(80, packets=True)

    assert program.judge(build(50_000, CONTROL, hosts), LOOPBACK) == 0
    assert program.judge(build(CONTROL, 50_000, hosts), LOOPBACK) == 0
    assert program.judge(build(50_000, 50_001, hosts), LOOPBACK) == WHOLE_LENGTH
    assert program.judge(build(50_000, 50_001, hosts), LOOPBACK, OUTGOING) == 0


def test_others_pass_cut_to_their_headers():
    program = compiled(80, others=True)

    assert program.judge(DATAGRAM) == program.judge(ARP) == HEADERS_LENGTH
    assert program.judge(over_ipv4(40000, 81)) == 0
    assert program.judge(over_ipv4(40000, 80)) == WHOLE_LENGTH


@pytest.mark.parametrize("wish", [{}, {"others": True}, {"packets": True}], ids=str)
def test_expression_narrows_what_passes(wish):
    hosts = (V4[0], "10.0.0.9")
    program, narrowed = compiled(80, **wish), compiled(80, expression="host 10.0.0.9 or ip6", **wish)

    for packet in (over_ipv4(40000, 80), over_ipv4(40000, 81), DATAGRAM, ARP):
        assert narrowed.judge(packet) == 0
        assert narrowed.judge(packet[14:], TUNNEL) == 0
    for packet in (over_ipv4(40000, 80, hosts), over_ipv6(40000, 80), over_ipv4(40000, 81, hosts)):
        assert narrowed.judge(packet) == program.judge(packet)
        assert narrowed.judge(packet[14:], TUNNEL) == program.judge(packet[14:], TUNNEL)


def test_expression_about_ethernet_lets_nothing_of_tunnels_pass():
    program = compiled(80, expression="ether src 02:00:00:00:00:01")

    assert program.judge(over_ipv4(40000, 80)) == WHOLE_LENGTH
    assert program.judge(over_ipv4(40000, 80)[14:], TUNNEL) == 0


def test_control_connection_does_not_pass_by_an_expression():
    program = compiled(80, packets=True, expression=f"tcp port {CONTROL}")

    assert program.judge(over_ipv4(50_000, CONTROL, ("127.0.0.1", "127.0.0.1")), LOOPBACK) == 0


def test_ports_are_left_to_user_space_beside_a_long_expression():
    expression = " or ".join(f"port {port}" for port in range(50, 70))
    assert not filters.why_not(compile_expression, expression)

    program = compiled(80, expression=expression, kept=100, others=True, responder_whole=False)

    assert filters.charge(program.instructions) <= filters.MAX_CHARGE
    assert program.judge(over_ipv4(40000, 60)) == WHOLE_LENGTH
    assert program.judge(over_ipv4(40000, 80)) == 0


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        (
            "tcp portt 80",
            "libpcap does not take the filter 'tcp portt 80': can't parse filter expression: syntax error",
        ),
        ("port 70000", "libpcap does not take the filter 'port 70000': illegal port number 70000 > 65535"),
        (" or ".join(f"host 10.0.0.{host}" for host in range(250)), "is too long for the kernel"),
    ],
    ids=["grammar", "value", "length"],
)
def test_expression_that_cannot_be_a_filter_is_explained(expression, words):
    assert words in filters.why_not(compile_expression, expression)
