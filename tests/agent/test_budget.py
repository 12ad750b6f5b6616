import pytest
from hypothesis import given
from hypothesis import strategies as st

from podmirror_agent.budget import Budget


def test_bytes_are_held_until_they_are_given_back():
    budget = Budget(10)

    assert budget.take(4)
    assert budget.take(6)
    assert budget.held == 10
    budget.give(4)
    assert budget.held == 6


def test_nothing_is_reserved_beyond_the_limit():
    budget = Budget(10)
    budget.take(4)

    assert not budget.take(7)
    assert budget.held == 4


def test_nothing_at_all_always_fits():
    budget = Budget(0)

    assert budget.take(0)
    assert not budget.take(1)


def test_giving_back_more_than_was_taken_is_a_fault_of_ours():
    budget = Budget(10)
    budget.take(1)

    with pytest.raises(AssertionError):
        budget.give(2)


@given(st.lists(st.integers(0, 50), max_size=30))
def test_held_is_what_was_granted_and_never_over_the_limit(sizes):
    budget = Budget(100)
    granted = [size for size in sizes if budget.take(size)]

    assert budget.held == sum(granted) <= 100
    for size in granted:
        budget.give(size)
    assert budget.held == 0
