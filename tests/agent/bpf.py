"""An interpreter of classic BPF with the ancillary loads of Linux (linux/filter.h), to judge filters packet by packet.

libpcap's own knows no ancillary loads, and the kernel's judges only what is really sent; `test_capture` asks that one.
"""

import operator
from collections.abc import Callable, Sequence

from podmirror_agent.filters import Instruction

ANCILLARY = 0xFFFFF000
PACKET_TYPE, INTERFACE, HARDWARE_TYPE = 4, 8, 28

_SIZES = {0x00: 4, 0x08: 2, 0x10: 1}
_ARITHMETIC: dict[int, Callable[[int, int], int]] = {
    0x00: operator.add,
    0x10: operator.sub,
    0x20: operator.mul,
    0x30: operator.floordiv,
    0x40: operator.or_,
    0x50: operator.and_,
    0x60: operator.lshift,
    0x70: operator.rshift,
    0xA0: operator.xor,
}
_TESTS: dict[int, Callable[[int, int], bool]] = {
    0x10: operator.eq,
    0x20: operator.gt,
    0x30: operator.ge,
    0x40: lambda a, b: bool(a & b),
}


def run(program: Sequence[Instruction], packet: bytes, of: dict[int, int]) -> int:
    """Give how many bytes of a packet a program accepts; `of` holds what the ancillary loads give."""
    a = x = 0
    memory = [0] * 16
    counter = 0
    while True:
        code, if_true, if_false, k = program[counter]
        counter += 1
        kind, operand = code & 0x07, x if code & 0x08 else k
        try:
            if kind == 0x00:
                a = _load(code, k, x, packet, memory, of)
            elif kind == 0x01:
                x = 4 * (packet[k] & 0x0F) if code & 0xE0 == 0xA0 else _load(code, k, x, packet, memory, of)
        except IndexError:
            return 0  # beyond the packet
        if kind == 0x02:
            memory[k] = a
        elif kind == 0x03:
            memory[k] = x
        elif kind == 0x04:
            a = _ARITHMETIC[code & 0xF0](a, operand) & 0xFFFFFFFF
        elif kind == 0x05 and code & 0xF0 == 0:
            counter += k
        elif kind == 0x05:
            counter += if_true if _TESTS[code & 0xF0](a, operand) else if_false
        elif kind == 0x06:
            return a if code & 0x18 == 0x10 else k
        elif kind == 0x07:
            a, x = (x, x) if code & 0x80 else (a, a)


def _load(code: int, k: int, x: int, packet: bytes, memory: list[int], of: dict[int, int]) -> int:
    mode = code & 0xE0
    if mode == 0x00:
        return k
    if mode == 0x60:
        return memory[k]
    if mode == 0x20 and k >= ANCILLARY:
        return of[k - ANCILLARY]
    assert mode in (0x20, 0x40), f"load {code:#x}"
    start, size = k + (x if mode == 0x40 else 0), _SIZES[code & 0x18]
    if start + size > len(packet):
        raise IndexError
    return int.from_bytes(packet[start : start + size], "big")
