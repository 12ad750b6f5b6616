import pytest

from benchmarks.rows import Row, mean_with_interval, percentile, ratios, short, spread, values_of


def row(subject: str, repeat: int, **values: float) -> Row:
    return Row("section", "load", subject, repeat, values)


def test_a_ratio_is_taken_within_its_repeat() -> None:
    rows = [
        row("agent", 0, cpu=4),
        row("tcpdump", 0, cpu=2),
        row("tcpdump", 1, cpu=1),
        row("agent", 1, cpu=5),
    ]

    assert ratios(rows, "agent", "tcpdump", "cpu") == [2, 5]


def test_a_repeat_without_the_other_or_with_a_zero_gives_no_ratio() -> None:
    rows = [
        row("agent", 0, cpu=4),
        row("agent", 1, cpu=4),
        row("tcpdump", 1, cpu=0),
        row("tcpdump", 2, cpu=1),
    ]

    assert ratios(rows, "agent", "tcpdump", "cpu") == []


def test_values_are_those_of_the_subject_that_has_them() -> None:
    rows = [row("agent", 0, cpu=4), row("agent", 1), row("tcpdump", 0, cpu=2)]

    assert values_of(rows, "agent", "cpu") == [4]


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ([], "-"),
        ([7], "7"),
        ([3, 3, 3], "3"),
        ([0.123, 12.34, 1234.5], "0.12/12.3/1,234"),
        ([1, 2, 4, 8], "1/3/8"),
    ],
)
def test_a_spread_is_minimum_median_and_maximum_in_about_three_digits(
    numbers: list[float], text: str
) -> None:
    assert spread(numbers) == text


@pytest.mark.parametrize(
    ("number", "text"), [(99.94, "99.9"), (99.96, "100"), (-12.34, "-12.3"), (1e6, "1,000,000")]
)
def test_a_number_is_short(number: float, text: str) -> None:
    assert short(number) == text


def test_an_interval_holds_the_mean_and_shrinks_with_more_numbers() -> None:
    few, many = [0.8, 0.9, 1.0, 1.1], [0.8, 0.9, 1.0, 1.1] * 10

    mean, low, high = mean_with_interval(few)
    _, narrow_low, narrow_high = mean_with_interval(many)

    assert mean == pytest.approx(0.95)
    assert 0.8 <= low < 0.95 < high <= 1.1
    assert low < narrow_low < narrow_high < high


def test_the_interval_of_equal_numbers_is_that_number() -> None:
    assert mean_with_interval([2.0, 2.0, 2.0]) == (2.0, 2.0, 2.0)


@pytest.mark.parametrize(("share", "number"), [(0.0, 1), (0.5, 50), (0.99, 99), (0.991, 100), (1.0, 100)])
def test_a_percentile_is_the_nearest_rank(share: float, number: float) -> None:
    assert percentile(list(range(100, 0, -1)), share) == number
