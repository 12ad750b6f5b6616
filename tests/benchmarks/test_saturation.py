import pytest

from benchmarks.saturation import highest, is_whole

GOOD = {"drops": 0.0, "seen_share": 1.0, "core_share": 0.9, "delivered_share": 1.0, "rate_share": 1.0}


class Bench:
    """Survives the steps below a limit, and notes which were tried."""

    def __init__(self, limit: int, *, load_limit: int = 100) -> None:
        self.limit = limit
        self.load_limit = load_limit
        self.tried: list[int] = []

    def measure(self, step: int) -> dict[str, float]:
        self.tried.append(step)
        reached = 1.0 if step < self.load_limit else 0.5
        return GOOD | {"drops": float(step >= self.limit), "rate_share": reached, "rate": step * 10 * reached}


@pytest.mark.parametrize("limit", range(10))
@pytest.mark.parametrize("first", [None, *range(9)])
def test_the_highest_step_without_loss_is_found(limit: int, first: int | None) -> None:
    bench = Bench(limit)

    found = highest(9, bench.measure, first)

    assert found == {"step": limit - 1, "rate": max(0, limit - 1) * 10, "bounded_by_load": 0}
    assert len(bench.tried) == len(set(bench.tried))


def test_a_guess_that_is_right_takes_two_measurements() -> None:
    bench = Bench(6)

    highest(9, bench.measure, 5)

    assert bench.tried == [5, 6]


def test_a_step_that_the_load_does_not_reach_ends_the_climb_and_says_so() -> None:
    found = highest(9, Bench(100, load_limit=7).measure)

    assert found == {"step": 6, "rate": 60, "bounded_by_load": 1}


@pytest.mark.parametrize(
    "fault", [{"drops": 1.0}, {"seen_share": 0.99}, {"delivered_share": 0.99}, {"core_share": 1.01}]
)
def test_loss_and_falling_behind_are_no_lasting_rate(fault: dict[str, float]) -> None:
    assert is_whole(GOOD)
    assert not is_whole(GOOD | fault)
