import pytest

from podmirror.compare import words
from podmirror.compare.spread import Spread, Unknown


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0000123, "12 µs"), (0.00123, "1.23 ms"), (0.5, "500 ms"), (12.345, "12.35 s"), (-0.002, "-2 ms")],
)
def test_times(value, text):
    assert words.seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(12, "12 B"), (2048, "2.0 KiB"), (5 << 20, "5.0 MiB"), (3 << 30, "3.0 GiB")]
)
def test_sizes(value, text):
    assert words.size(value) == text


def test_a_spread_is_told_where_there_is_one():
    assert words.spread(Spread(0.1, 0.2, 0.3, 3), words.seconds) == "200 ms (100 ms to 300 ms)"
    assert words.spread(Spread(0.2, 0.2, 0.2, 3), words.seconds) == "200 ms"
    assert words.spread(Unknown("it was away"), words.seconds) == "unknown: it was away"


def test_counts():
    assert words.counted(1, "entry", "entries") == "1 entry"
    assert words.counted(1200, "run") == "1,200 runs"
