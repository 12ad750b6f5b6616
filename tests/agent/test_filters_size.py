"""Filters fit into what the kernel has for them, the old and the new one together, whatever is subscribed."""

import ctypes
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from podmirror_agent import filters
from podmirror_agent.expressions import compile_expression
from podmirror_agent.filters import DROP_ALL, MAX_CHARGE, Instruction, charge
from tests.namespaces import Namespaces

SO_ATTACH_FILTER = 26
OPTMEM_MAX = 20_480
"""Linux's default of net.core.optmem_max before 6.8, in bytes."""

SETS = {
    "one": frozenset({80}),
    "a few": frozenset({80, 443, 8080, 9090, 50_051}),
    "a hundred": frozenset(range(2000, 2700, 7)),
    "a thousand": frozenset(range(1, 65_000, 65)),
    "every one": frozenset(range(1, 65_536)),
}
INTERESTS = [(True, 256), (False, 256), (True, 77), (False, 77), (False, 0)]

each_set = pytest.mark.parametrize("ports", SETS.values(), ids=SETS)
each_interest = pytest.mark.parametrize(("responder_whole", "kept"), INTERESTS)


def program(ports: frozenset[int], responder_whole: bool, kept: int) -> list[Instruction]:
    return filters.program(compile_expression, ports, 47_000, 1, responder_whole=responder_whole, kept=kept)


@each_set
@each_interest
def test_program_is_small(ports, responder_whole, kept):
    made = program(ports, responder_whole, kept)

    assert charge(made) <= MAX_CHARGE
    assert len(made) <= 4096  # BPF_MAXINSNS


@pytest.fixture
def attach(wire: Namespaces) -> Iterator:
    """Attaches programs, one after the other, to a packet socket of a kernel that gives filters little room."""
    with wire.target.entered():
        setting = Path("/proc/sys/net/core/optmem_max")
        if not setting.exists():
            pytest.skip("this kernel has one net.core.optmem_max for all namespaces")
        before = setting.read_text()
        setting.write_text(str(OPTMEM_MAX))
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as packet_socket:

            def attach(instructions: list[Instruction]) -> None:
                code = b"".join(struct.pack("@HBBI", *each) for each in instructions)
                buffer = ctypes.create_string_buffer(code, len(code))
                head = struct.pack("@HxxxxxxP", len(instructions), ctypes.addressof(buffer))
                packet_socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, head)

            yield attach
        setting.write_text(before)


@pytest.mark.namespaces
@each_set
def test_filters_replace_each_other_in_a_kernel_that_gives_little_room(attach, ports):
    attach(list(DROP_ALL))
    for interest in [*INTERESTS, *reversed(INTERESTS)]:
        attach(program(ports, *interest))


@pytest.mark.namespaces
def test_test_would_see_a_program_that_is_too_large(attach):
    load = (0x28, 0, 0, 12)
    large = [load] * 100 + list(DROP_ALL)

    attach(large)
    with pytest.raises(OSError, match="Cannot allocate memory"):
        attach(large)
    assert charge(large) > MAX_CHARGE
