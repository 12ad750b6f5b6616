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
loopback. It is matched on loopback addresses of the loopback interface only: a client elsewhere may well use the same port
number.

The program must be small. The kernel charges it to the socket in the longer form that it is translated to, and while a filter
replaces another both are charged (sk_filter_charge in net/core/filter.c), within net.core.optmem_max: 20,480 bytes before Linux
6.8. What is rare is therefore matched coarsely (tags in the packet: no ports; tunnels: nothing shed), and a program that would
still be too large takes ports that are near each other as one range.
"""

from collections.abc import Callable, Iterable
from itertools import pairwise

from podmirror_agent.governor import ALL_KEPT
from podmirror_wire.values import EVERY_PORT

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

MAX_CHARGE = 10_100
"""Bytes that a program may cost in the kernel: two of them at a time, and some tolerance, in the 20,480 of net.core.optmem_max
before Linux 6.8."""

MAX_EXPRESSION_CHARGE = 6_000
"""What of that a user's expression may take. Where the rest is not enough for the ports, they are told apart in user space."""

_NAMED_LENGTH = 80
"""Characters of an expression that are named in a refusal."""

MAX_RANGES = 128
"""Of ports, to begin with: no program with more would be small enough, and libpcap takes ever longer for each."""

_RETURN, _LOAD, _JUMP, _JUMP_IF_EQUAL = 0x06, 0x20, 0x05, 0x15
"""BPF_RET | BPF_K, BPF_LD | BPF_W | BPF_ABS, BPF_JMP | BPF_JA and BPF_JMP | BPF_JEQ | BPF_K of linux/bpf_common.h."""

_WHOLE: tuple[Instruction, ...] = ((0x06, 0, 0, WHOLE_LENGTH),)
"""One instruction: accept any packet."""

_ANCILLARY = 0xFFFFF000
_PACKET_TYPE, _INTERFACE, _HARDWARE_TYPE = _ANCILLARY + 4, _ANCILLARY + 8, _ANCILLARY + 28
"""SKF_AD_OFF with SKF_AD_PKTTYPE, SKF_AD_IFINDEX and SKF_AD_HATYPE of linux/filter.h: not in the packet, but of it."""

_OUTGOING = 4
"""PACKET_OUTGOING of linux/if_packet.h."""

_ETHERNET = 1
"""ARPHRD_ETHER of linux/if_arp.h."""

_EXTENDED = "(ip6[6] = 0 or ip6[6] = 43 or ip6[6] = 44 or ip6[6] = 51 or ip6[6] = 60)"
"""The next header is hop-by-hop, routing, fragment, authentication or destination options."""

_TAGGED = "(vlan and (ip proto 6 or (ip6 and ip6[6] != 17)))"
"""TCP behind a tag that is still in the packet: Linux takes the outer one off before a capture sees it (skb_vlan_untag), so
this is for a second one, and for what goes out through a card that cannot insert tags."""

_ENDS = "((ip and tcp[13] & 7 != 0) or (ip6 and ip6[53] & 7 != 0))"
"""FIN, SYN or RST is set."""

_SOURCE, _DESTINATION = ("tcp[0:2]", "ip6[40:2]"), ("tcp[2:2]", "ip6[42:2]")
"""Places of the ports in IPv4 and IPv6."""

_Ranges = list[tuple[int, int]]


def program(
    compiler: Compiler,
    ports: frozenset[int],
    control_port: int,
    loopback: int,
    *,
    responder_whole: bool,
    kept: int = ALL_KEPT,
    packets: bool = False,
    others: bool = False,
    expression: str = "",
) -> list[Instruction]:
    """Put the filter together for these ports of the pod; at least one.

    Args:
        compiler: Compiles its parts.
        ports: That are subscribed; `EVERY_PORT` stands for all.
        control_port: The agent's own.
        loopback: Index of the loopback interface.
        responder_whole: Whether packets from those ports are wanted whole.
        kept: How many of the 256 classes of connections are mirrored; of the others only beginnings and ends pass.
        packets: Whether every packet passes, whatever its port and its protocol.
        others: Whether packets that are not TCP pass, too, cut to their headers.
        expression: What a packet must match besides, one that `why_not` has nothing against; empty for anything.
    """
    everything = list(_WHOLE)
    if packets:
        return _joined(compiler, (everything, everything), control_port, loopback, expression)
    most = MAX_RANGES
    while True:
        ranges = [(0, 0xFFFF)] if EVERY_PORT in ports else cover(ports, most)
        parts = _parts(compiler, ranges, responder_whole, kept, others)
        made = _joined(compiler, parts, control_port, loopback, expression)
        if charge(made) <= MAX_CHARGE:
            return made
        if (
            len(ranges) == 1
        ):  # beside a long expression: what of its packets is of no port is sorted out in user space
            return _joined(compiler, (everything, everything), control_port, loopback, expression)
        most = len(ranges) * 3 // 4


def why_not(compiler: Compiler, expression: str) -> str:
    """Say why an expression cannot be a filter; nothing if it can."""
    try:
        cost = sum(charge(_gate(compiler, expression, link)) for link in (DLT_ETHERNET, DLT_RAW))
    except ValueError as error:
        return f"libpcap does not take the filter '{_short(expression)}': {error}"
    if cost > MAX_EXPRESSION_CHARGE:
        return (
            f"the filter '{_short(expression)}' is too long for the kernel: its program takes {cost:,} bytes there, "
            f"of at most {MAX_EXPRESSION_CHARGE:,}"
        )
    return ""


def _short(expression: str) -> str:
    return expression if len(expression) <= _NAMED_LENGTH else f"{expression[:_NAMED_LENGTH]}..."


def connection_class(port: int) -> int:
    """Give the class of a connection, 0 to 255, from its initiator's port: what decides which connections are shed."""
    return ((port * 40503) >> 8) & 255


def cover(ports: Iterable[int], most: int) -> list[tuple[int, int]]:
    """Cover ports, at least one, with at most so many ranges (first, last), leaving out as many others as can be."""
    ordered = sorted(ports)
    gaps = sorted(((after - before, before, after) for before, after in pairwise(ordered)), reverse=True)
    edges = sorted((before, after) for gap, before, after in gaps[: most - 1] if gap > 1)
    firsts = [ordered[0], *(after for _, after in edges)]
    lasts = [*(before for before, _ in edges), ordered[-1]]
    return list(zip(firsts, lasts, strict=True))


def charge(instructions: list[Instruction]) -> int:
    """Estimate what a program costs in the kernel, in bytes, as measured with Linux 6.18 and rounded up.

    The kernel translates each instruction into some of 8 bytes: a load from the packet into those that read from its
    first, contiguous part and, failing that, call a function (convert_bpf_ld_abs in net/core/filter.c).
    """
    return 144 + sum(_cost(*each) for each in instructions)


def _cost(code: int, if_true: int, if_false: int, constant: int) -> int:
    if code & 0x07 <= 0x01:  # BPF_LD and BPF_LDX
        mode = code & 0xE0
        if mode == 0x20:
            return 32 if constant >= _ANCILLARY else 120
        return {0x40: 80, 0xA0: 160}.get(mode, 8)  # BPF_IND, BPF_MSH; constants and memory
    if (
        code & 0x07 == 0x05
    ):  # BPF_JMP: what jumps both ways takes two, and a constant with the sign bit another
        opposite = code & 0xF0 != 0x40  # BPF_JSET has none
        return 8 + 8 * bool(if_false and (if_true or not opposite)) + 8 * (constant >> 31)
    return 16 if code & 0x07 == 0x06 else 8  # BPF_RET takes two


def _parts(
    compiler: Compiler, ranges: _Ranges, responder_whole: bool, kept: int, others: bool
) -> tuple[list[Instruction], list[Instruction]]:
    """Give the programs for interfaces with an Ethernet header and without."""
    to, of = (_SOURCE, _DESTINATION), (_DESTINATION, _SOURCE)  # initiator's and responder's port
    parts = []
    for link, classes in ((DLT_ETHERNET, kept), (DLT_RAW, ALL_KEPT)):
        ways = (to, of) if responder_whole else (to,)
        whole = (
            f"{_ipv4(ranges, ways, classes, fragments=True)} or {_ipv6(ranges, ways, classes, extended=True)}"
        )
        if link == DLT_ETHERNET:
            # Each `vlan` shifts the offsets of all that follows it, so they stand last: one tag, and two.
            whole = f"{whole} or {_TAGGED} or {_TAGGED}"
        cut = [] if responder_whole else [_ipv4(ranges, (of,), classes), _ipv6(ranges, (of,), classes)]
        if classes < ALL_KEPT:
            any_port = " or ".join(f"tcp portrange {first}-{last}" for first, last in ranges)
            cut.append(f"(({any_port}) and {_ENDS})")
        if others:
            cut.append("(not tcp)")
        part = _accept(compiler(whole, link), WHOLE_LENGTH)
        if cut:
            part = _else(part) + _accept(compiler(" or ".join(cut), link), HEADERS_LENGTH)
        parts.append(part)
    return parts[0], parts[1]


def _gate(compiler: Compiler, expression: str, link: int) -> list[Instruction]:
    """Give a program that goes on behind itself where the expression accepts a packet, and drops it where it does not."""
    if not expression:
        return []
    try:
        instructions = compiler(expression, link)
    except ValueError:
        if link == DLT_ETHERNET:
            raise
        return list(DROP_ALL)  # it asks for what a packet without an Ethernet header has not
    return _leave(instructions, accepted=True)


def _joined(
    compiler: Compiler,
    parts: tuple[list[Instruction], list[Instruction]],
    control_port: int,
    loopback: int,
    expression: str,
) -> list[Instruction]:
    """Put what stands before the programs of either kind of interface in its place."""
    ethernet = _gate(compiler, expression, DLT_ETHERNET) + parts[0]
    raw = _gate(compiler, expression, DLT_RAW) + parts[1]
    control = f"tcp port {control_port} and (src host 127.0.0.1 or src host ::1)"
    by_hardware = [
        (_LOAD, 0, 0, _HARDWARE_TYPE),
        (_JUMP_IF_EQUAL, 1, 0, _ETHERNET),
        (_JUMP, 0, 0, len(ethernet)),
    ]
    on_loopback = [
        (_LOAD, 0, 0, _PACKET_TYPE),
        (_JUMP_IF_EQUAL, 0, 1, _OUTGOING),
        *DROP_ALL,
        *_accept(_else(compiler(control, DLT_ETHERNET), len(by_hardware)), 0),
    ]
    return [
        (_LOAD, 0, 0, _INTERFACE),
        (_JUMP_IF_EQUAL, 1, 0, loopback),
        (_JUMP, 0, 0, len(on_loopback)),
        *on_loopback,
        *by_hardware,
        *ethernet,
        *raw,
    ]


_Way = tuple[tuple[str, str], tuple[str, str]]


def _ipv4(ranges: _Ranges, ways: Iterable[_Way], kept: int, *, fragments: bool = False) -> str:
    wanted = ["ip[6:2] & 0x3fff != 0"] if fragments else []
    wanted += [_ported(ranges, initiator[0], responder[0], kept) for initiator, responder in ways]
    return f"(ip and ip[9] = 6 and ({' or '.join(wanted)}))"


def _ipv6(ranges: _Ranges, ways: Iterable[_Way], kept: int, *, extended: bool = False) -> str:
    ported = (_ported(ranges, initiator[1], responder[1], kept) for initiator, responder in ways)
    wanted = f"(ip6[6] = 6 and ({' or '.join(ported)}))"
    return f"(ip6 and ({wanted} or {_EXTENDED}))" if extended else f"(ip6 and {wanted})"


def _ported(ranges: _Ranges, initiator: str, responder: str, kept: int) -> str:
    """Say that the responder's port, at its place, is in a range, and the initiator's of a class that is mirrored."""
    found = " or ".join(
        f"{responder} = {first}" if first == last else f"({responder} >= {first} and {responder} <= {last})"
        for first, last in ranges
    )
    if kept >= ALL_KEPT:
        return f"({found})"
    return f"(({found}) and ((({initiator} * 40503) >> 8) & 255) < {kept})"


def _accept(instructions: list[Instruction], length: int) -> list[Instruction]:
    """Accept so many bytes where the compiler accepts any number of them."""
    return [
        (code, if_true, if_false, length if code == _RETURN and constant else constant)
        for code, if_true, if_false, constant in instructions
    ]


def _else(instructions: list[Instruction], further: int = 0) -> list[Instruction]:
    """Go on behind the program, or so many instructions further, where it rejects."""
    return _leave(instructions, accepted=False, further=further)


def _leave(instructions: list[Instruction], *, accepted: bool, further: int = 0) -> list[Instruction]:
    """Go on behind the program where it accepts, or where it rejects, in place of returning."""
    return [
        (_JUMP, 0, 0, len(instructions) - index - 1 + further)
        if code == _RETURN and bool(constant) is accepted
        else (code, true, false, constant)
        for index, (code, true, false, constant) in enumerate(instructions)
    ]
