"""tcpdump expressions, as libpcap compiles them, for the kernel filter and for packets of files."""

import ctypes
from typing import Any

from podmirror_agent.filters import DLT_RAW, Instruction, why_not
from podmirror_agent.packet import CapturedPacket
from podmirror_agent.packetfeed import LINKTYPES
from podmirror_agent.segment import Link


def compile_expression(expression: str, link: int) -> list[Instruction]:
    """Compile an expression for a link type (a DLT number).

    Raises:
        ValueError: libpcap does not take it, with its words.
    """
    compiled = _compile(expression, link)
    instructions = [(each.code, each.jt, each.jf, each.k) for each in compiled.bf_insns[: compiled.bf_len]]
    _free(compiled)
    return instructions


class OfflineFilter:
    """An expression that packets of a file must match."""

    def __init__(self, expression: str) -> None:
        self._expression = expression
        self._programs: dict[Link, Any] = {}
        """By kind of link; None where the expression asks for what such packets have not."""

    def why_not(self) -> str:
        """Say why the expression cannot be a filter; nothing if it can."""
        return why_not(compile_expression, self._expression)

    def matches(self, packet: CapturedPacket) -> bool:
        """Whether a packet is let through."""
        link, skipped = packet.link, 0
        if (
            link is Link.NULL
        ):  # its header is in somebody's byte order, which libpcap takes for this machine's
            link, skipped = Link.RAW, link.value[1]
        if link not in self._programs:
            try:
                number = DLT_RAW if link is Link.RAW else LINKTYPES[link]
                self._programs[link] = _compile(self._expression, number)
            except ValueError:
                self._programs[link] = None
        program = self._programs[link]
        if program is None:
            return False
        return _accepts(program, bytes(packet.packet[skipped:]), packet.wire_length - skipped)


def _accepts(program: Any, packet: bytes, wire_length: int) -> bool:
    from scapy.libs import winpcapy  # libpcap, on every system

    judge = winpcapy._lib.bpf_filter  # noqa: SLF001  # scapy does not name this function
    judge.restype = ctypes.c_uint
    return bool(judge(program.bf_insns, packet, ctypes.c_uint(wire_length), ctypes.c_uint(len(packet))))


def _compile(expression: str, link: int) -> Any:  # scapy has no types
    # scapy takes a third of a second to import, and only a capture or an expression needs it.
    from scapy.arch.common import compile_filter

    try:
        return compile_filter(expression, linktype=link)
    except Exception as error:  # scapy's own, which puts libpcap's words into brackets
        raise ValueError(str(error).partition("' (")[2].rstrip(") ") or str(error)) from error


def _free(compiled: Any) -> None:
    from scapy.arch.common import free_filter

    free_filter(compiled)
