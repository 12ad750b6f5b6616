import pytest
from hypothesis import given
from hypothesis import strategies as st

from podmirror.compare.spread import Spread, Unknown, quantile, spread


def test_unknown_figures_are_left_out():
    assert spread([3.0, Unknown("away"), 1.0, 2.0]) == Spread(1.0, 2.0, 3.0, 3)


def test_nothing_but_unknown_figures_is_unknown_for_the_first_reason():
    assert spread([Unknown("away"), Unknown("gone")]) == Unknown("away")
    assert spread([]) == Unknown("nothing was measured")


@pytest.mark.parametrize(
    ("other", "overlap"), [((2, 3), True), ((1.5, 4), True), ((2.1, 3), False), ((0, 0.9), False)]
)
def test_spreads_overlap(other, overlap):
    one = Spread(1.0, 1.5, 2.0, 2)
    two = Spread(other[0], other[0], other[1], 2)

    assert one.overlaps(two) is two.overlaps(one) is overlap


def test_quantiles_are_values_that_were_seen():
    values = [float(each) for each in range(100, 0, -1)]

    assert [quantile(values, share) for share in (0.5, 0.99, 1.0)] == [50.0, 99.0, 100.0]
    assert quantile([], 0.5) == Unknown("nothing was measured")


@given(st.lists(st.floats(0, 1e6), min_size=1), st.sampled_from([0.01, 0.5, 0.9, 0.99, 1.0]))
def test_so_many_do_not_exceed_a_quantile(values, share):
    found = quantile(values, share)

    assert found in values
    assert sum(each <= found for each in values) >= share * len(values) - 1e-9
