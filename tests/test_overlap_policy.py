"""Where segments overlap with other contents, what is delivered is what a real Linux socket's recv() gives.

Linux joins a segment to a parked one that ends where it begins (tcp_ooo_try_coalesce), and from then on the two are one where
overlaps are decided. Which parked ones it tries depends on the shape of its tree, if several overlap there: (1, 3), (2, 4),
(3, 4) gives the third's byte at 3, and with the first two exchanged it does not. Such cases are left to the kernel.
"""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from podmirror_agent.segment import ACK, FIN, PSH
from podmirror_wire.values import CloseReason
from tests.fuzzing import examples
from tests.namespaces import why_not
from tests.rawpeer import RawPeer
from tests.rawstage import Stage, delivered, stage

pytestmark = [
    pytest.mark.namespaces,
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
]

SIZE = 48
Pieces = list[tuple[int, int]]
"""Where segments begin and end; each has contents of its own."""


@pytest.fixture(scope="module")
def real() -> Iterator[Stage]:
    with stage() as made:
        yield made


def contents(number: int, start: int, end: int) -> bytes:
    """Bytes that tell which segment they come from."""
    return bytes([(ord("A") + number) % 256]) * (end - start)


def play(peer: RawPeer, pieces: Pieces) -> None:
    """Send the pieces, then what no piece covers, and the very first byte last; then the FIN."""
    covered: set[int] = {0}
    for number, (start, end) in enumerate(pieces):
        peer.send(start, contents(number, start, end), flags=ACK | PSH)
        covered |= set(range(start, end))
    for position in sorted(set(range(SIZE)) - covered):
        peer.send(position, b".")
    if not any(start == 0 for start, _ in pieces):
        peer.send(0, b"-")
    peer.wait_for_acknowledgment(SIZE)
    peer.send(SIZE, flags=FIN | ACK)


def check(real: Stage, pieces: Pieces, family: int = 4) -> None:
    app, told = real.play(lambda peer: play(peer, pieces), family)

    assert app.end == "FIN"
    assert len(app.received) == SIZE
    assert delivered(told) == bytes(app.received)
    assert told.closed is not None
    assert told.closed.reason is CloseReason.FINISHED


@pytest.mark.parametrize("family", [4, 6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize(
    "pieces",
    [
        [(10, 20), (15, 25)],
        [(10, 20), (5, 15)],
        [(10, 20), (5, 25)],
        [(10, 20), (12, 18)],
        [(10, 20), (10, 20)],
        [(10, 20), (10, 25)],
        [(10, 20), (10, 15)],
        [(10, 20), (5, 20)],
        [(10, 20), (15, 20)],
        [(10, 20), (30, 40), (15, 35)],
        [(10, 20), (30, 40), (5, 45)],
        [(10, 20), (30, 40), (5, 35)],
        [(10, 20), (30, 40), (15, 45)],
        [(10, 15), (20, 25), (30, 35), (12, 32)],
        [(0, 10), (5, 15)],
        [(0, 10), (0, 10)],
        [(5, 10), (0, 8)],
        [(5, 10), (0, 10)],
        [(5, 10), (0, 20)],
        [(5, 10), (15, 20), (0, 18)],
        [(10, 20), (20, 30), (10, 25)],
        [(10, 20), (20, 30), (10, 35)],
        [(10, 20), (20, 30), (15, 25)],
        [(20, 30), (10, 20), (15, 25)],
    ],
    ids=str,
)
def test_overlap_of_a_few_segments(real: Stage, pieces: Pieces, family: int) -> None:
    check(real, pieces, family)


@st.composite
def piece(draw: st.DrawFn) -> tuple[int, int]:
    start = draw(st.integers(1, SIZE - 1))
    return start, draw(st.integers(start + 1, min(start + 20, SIZE)))


def joined(pieces: Pieces) -> bool:
    """Whether some piece begins where an earlier one ends."""
    return any(start == end for index, (start, _) in enumerate(pieces) for _, end in pieces[:index])


@given(pieces=st.lists(piece(), min_size=2, max_size=8).filter(lambda pieces: not joined(pieces)))
@settings(
    max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_overlap(real: Stage, pieces: Pieces) -> None:
    check(real, pieces)
