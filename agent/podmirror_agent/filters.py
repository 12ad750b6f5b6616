"""Which packets the kernel lets through to the capture, and how much of each.

Theory of operation. The kernel filter is a superset of what is subscribed; `connections` makes the exact match. It must let
pass what it cannot judge, because classic BPF, as libpcap compiles it, looks for ports at fixed places: IP fragments (only the
first carries the ports), IPv6 extension headers, and VLAN tags that are still in the packet.

One program is put together from several that libpcap compiles. A few instructions go first: they drop what a loopback interface
shows twice, and send packets of interfaces without an Ethernet header (tunnels) to a program of their own. For either kind of
interface a first part accepts packets whole, and what it would reject goes on to a second, which accepts packets cut to their
headers: those of the responder, while nobody wants its bytes. That second part also lets pass where shed connections begin and
end; by those their bytes are counted.

The agent's own control connection is left out here already, or the mirrored bytes would be captured again on their way through
loopback. It is matched on loopback addresses only: a client elsewhere may well use the same port number.
"""

from collections.abc import Callable, Iterable

from podmirror_agent.governor import ALL_KEPT

Instruction = tuple[int, int, int, int]
"""struct sock_filter of linux/filter.h: code, jump if true, jump if false, constant."""

Compiler = Callable[[str, int], list[Instruction]]
"""Compiles a tcpdump expression for a link type (a DLT number of pcap/dlt.h)."""

DLT_ETHERNET, DLT_RAW = 1, 12

DROP_ALL: tuple[Instruction, ...] = ((0x06, 0, 0, 0),)
"""One instruction, `ret #0`: accept no byte of any packet (linux/bpf_common.h: BPF_RET | BPF_K)."""

WHOLE_LENGTH = 0x40000
"""What is accepted of a packet that is wanted whole, in bytes: libpcap's own default (MAXIMUM_SNAPLEN), since scapy's 65,535
would cut super-packets short without a word."""

HEADERS_LENGTH = 160
"""And of one of which only the headers are: Ethernet 14, two VLAN tags 8, IPv4 with options 60, TCP with options 60, rounded
up."""

_RETURN, _LOAD, _JUMP, _JUMP_IF_EQUAL = 0x06, 0x20, 0x05, 0x15
"""BPF_RET | BPF_K, BPF_LD | BPF_W | BPF_ABS, BPF_JMP | BPF_JA and BPF_JMP | BPF_JEQ | BPF_K of linux/bpf_common.h."""

_PACKET_TYPE, _INTERFACE, _HARDWARE_TYPE = 0xFFFFF000 + 4, 0xFFFFF000 + 8, 0xFFFFF000 + 28
"""SKF_AD_OFF with SKF_AD_PKTTYPE, SKF_AD_IFINDEX and SKF_AD_HATYPE of linux/filter.h: not in the packet, but of it."""

_OUTGOING = 4
"""PACKET_OUTGOING of linux/if_packet.h."""

_ETHERNET, _LOOPBACK = 1, 772
"""ARPHRD_ETHER and ARPHRD_LOOPBACK of linux/if_arp.h."""

_FRAGMENT = "(ip[6:2] & 0x3fff != 0 and ip proto 6)"
_EXTENDED = "(ip6[6] = 0 or ip6[6] = 43 or ip6[6] = 44 or ip6[6] = 51 or ip6[6] = 60)"
"""The next header is hop-by-hop, routing, fragment, authentication or destination options."""

_ENDS = "((ip and tcp[13] & 7 != 0) or (ip6 and ip6[53] & 7 != 0))"
"""FIN, SYN or RST is set."""


def program(
    compiler: Compiler,
    ports: frozenset[int],
    control_port: int,
    loopback: int,
    *,
    responder_whole: bool,
    kept: int = ALL_KEPT,
) -> list[Instruction]:
    """Put the filter together for these ports of the pod; at least one.

    Args:
        compiler: Compiles its parts.
        ports: That are subscribed.
        control_port: The agent's own.
        loopback: Index of the loopback interface.
        responder_whole: Whether packets from those ports are wanted whole.
        kept: How many of the 256 classes of connections are mirrored; of the others only beginnings and ends pass.
    """
    cut = _headers(ports, control_port, responder_whole, kept)
    parts = []
    for link in (DLT_ETHERNET, DLT_RAW):
        whole = _whole(ports, control_port, link, responder_whole, kept)
        part = _accept(compiler(whole, link), WHOLE_LENGTH)
        parts.append(_either(part, _accept(compiler(cut, link), HEADERS_LENGTH)) if cut else part)
    ethernet, raw = parts
    return [
        (_LOAD, 0, 0, _PACKET_TYPE),
        (_JUMP_IF_EQUAL, 0, 3, _OUTGOING),
        (_LOAD, 0, 0, _INTERFACE),
        (_JUMP_IF_EQUAL, 0, 1, loopback),
        *DROP_ALL,
        (_LOAD, 0, 0, _HARDWARE_TYPE),
        (_JUMP_IF_EQUAL, 2, 0, _ETHERNET),
        (_JUMP_IF_EQUAL, 1, 0, _LOOPBACK),
        (_JUMP, 0, 0, len(ethernet)),
        *ethernet,
        *raw,
    ]


def connection_class(port: int) -> int:
    """Give the class of a connection, 0 to 255, from its initiator's port: what decides which connections are shed."""
    return ((port * 40503) >> 8) & 255


def _whole(ports: Iterable[int], control_port: int, link: int, responder_whole: bool, kept: int) -> str:
    plain = [_to(ports, kept), _FRAGMENT, _EXTENDED]
    if responder_whole:
        plain.append(_from(ports, kept))
    expression = f"(({' or '.join(plain)}) and not {_control(control_port)})"
    if link == DLT_RAW:
        return expression
    tagged = f"({' or '.join(f'tcp port {port}' for port in sorted(ports))} or {_FRAGMENT} or {_EXTENDED})"
    # Each `vlan` shifts the offsets of all that follows it, so they stand last: one tag, and two.
    return f"{expression} or (vlan and {tagged}) or (vlan and {tagged})"


def _headers(ports: Iterable[int], control_port: int, responder_whole: bool, kept: int) -> str:
    wanted = [] if responder_whole else [_from(ports, kept)]
    if kept < ALL_KEPT:
        any_port = " or ".join(f"tcp port {port}" for port in sorted(ports))
        wanted.append(f"(({any_port}) and {_ENDS})")
    return f"({' or '.join(wanted)}) and not {_control(control_port)}" if wanted else ""


def _to(ports: Iterable[int], kept: int) -> str:
    expression = " or ".join(f"tcp dst port {port}" for port in sorted(ports))
    return f"(({expression}){_of_kept('tcp[0:2]', 'ip6[40:2]', kept)})"


def _from(ports: Iterable[int], kept: int) -> str:
    expression = " or ".join(f"tcp src port {port}" for port in sorted(ports))
    return f"(({expression}){_of_kept('tcp[2:2]', 'ip6[42:2]', kept)})"


def _of_kept(port: str, port_ipv6: str, kept: int) -> str:
    """Say that the initiator's port, at these places, is of a class that is mirrored: `connection_class`."""
    if kept >= ALL_KEPT:
        return ""
    return " and (" + " or ".join(
        f"({family} and ((({place} * 40503) >> 8) & 255) < {kept})"
        for family, place in (("ip", port), ("ip6", port_ipv6))
    ) + ")"  # fmt: skip


def _control(port: int) -> str:
    return f"(tcp port {port} and (host 127.0.0.1 or host ::1))"


def _accept(instructions: list[Instruction], length: int) -> list[Instruction]:
    """Accept so many bytes where the compiler accepts any number of them."""
    return [
        (code, if_true, if_false, length if code == _RETURN and constant else constant)
        for code, if_true, if_false, constant in instructions
    ]


def _either(first: list[Instruction], second: list[Instruction]) -> list[Instruction]:
    """Go on with the second program where the first rejects."""
    joined = [
        (_JUMP, 0, 0, len(first) - index - 1)
        if (code, constant) == (_RETURN, 0)
        else (code, true, false, constant)
        for index, (code, true, false, constant) in enumerate(first)
    ]
    return joined + second
