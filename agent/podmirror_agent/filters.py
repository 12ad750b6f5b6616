"""Which packets the kernel lets through to the capture.

The kernel filter is a superset of what is subscribed; `connections` makes the exact match. It must let pass what it cannot
judge, because classic BPF, as libpcap compiles it, looks for ports at fixed places: IP fragments (only the first carries the
ports), IPv6 extension headers, and VLAN tags that are still in the packet.

The agent's own control connection is left out here already, or the mirrored bytes would be captured again on their way through
loopback. It is matched on loopback addresses only: a client elsewhere may well use the same port number.
"""

DROP_ALL = ((0x06, 0, 0, 0),)
"""One instruction, `ret #0`: accept no byte of any packet (linux/bpf_common.h: BPF_RET | BPF_K)."""

ACCEPT_LENGTH = 0x40000
"""What an accepting filter lets through, in bytes: libpcap's own default (MAXIMUM_SNAPLEN), since scapy's 65,535 would cut
super-packets short without a word."""

_RETURN_CONSTANT = 0x06

Instruction = tuple[int, int, int, int]
"""struct sock_filter of linux/filter.h: code, jump if true, jump if false, constant."""

_FRAGMENT = "(ip[6:2] & 0x3fff != 0 and ip proto 6)"
_EXTENDED = "(ip6[6] = 0 or ip6[6] = 43 or ip6[6] = 44 or ip6[6] = 51 or ip6[6] = 60)"
"""The next header is hop-by-hop, routing, fragment, authentication or destination options."""


def expression(ports: frozenset[int], control_port: int) -> str:
    """Give the tcpdump expression for these ports of the pod; at least one."""
    ported = " or ".join(f"tcp port {port}" for port in sorted(ports))
    wanted = f"{ported} or {_FRAGMENT} or {_EXTENDED}"
    control = f"(tcp port {control_port} and (host 127.0.0.1 or host ::1))"
    # `vlan` shifts the offsets of all that follows it, so it stands last.
    return f"(({wanted}) and not {control}) or (vlan and ({wanted}))"


def raise_accept_length(instructions: list[Instruction]) -> list[Instruction]:
    """Let accepted packets through whole, whatever length the compiler chose."""
    return [
        (code, jump_true, jump_false, ACCEPT_LENGTH if code == _RETURN_CONSTANT and constant else constant)
        for code, jump_true, jump_false, constant in instructions
    ]


def connection_class(port: int) -> int:
    """Give the class of a connection, 0 to 255, from its initiator's port: what decides which connections are shed."""
    return ((port * 40503) >> 8) & 255
