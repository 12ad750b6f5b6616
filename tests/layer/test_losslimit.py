"""`--max-loss`: what is too much."""

import pytest

from podmirror.errors import UsageError
from podmirror.forwarding import Outcome
from podmirror.losslimit import LossLimit
from tests.layer.ledgers import ledger_of


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("0", LossLimit(0)),
        ("5", LossLimit(5)),
        ("0%", LossLimit(0, "percent")),
        ("1%", LossLimit(1, "percent")),
        ("0.1%", LossLimit(0.1, "percent")),
        ("100%", LossLimit(100, "percent")),
        ("0B", LossLimit(0, "bytes")),
        ("10kB", LossLimit(10_000, "bytes")),
        ("10KB", LossLimit(10_000, "bytes")),
        ("1MiB", LossLimit(1 << 20, "bytes")),
        ("1.5GB", LossLimit(1_500_000_000, "bytes")),
    ],
)
def test_limits(text, limit):
    assert LossLimit.parse(text) == limit


@pytest.mark.parametrize(
    "text",
    [
        "",
        "%",
        "-1",
        "-1%",
        "nan",
        "nan%",
        "inf",
        "5%%",
        "% 5",
        "five",
        "1/2",
        "1e3",
        "B",
        "1 MB",
        "1mb",
        "5B%",
        "1TB",
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(UsageError, match="write a number of connections, a percentage of them"):
        LossLimit.parse(text)


@pytest.mark.parametrize(
    ("limit", "lost", "whole", "exceeded"),
    [
        ("0", 0, 3, False),
        ("0", 1, 3, True),
        ("2", 2, 0, False),
        ("2", 3, 0, True),
        ("25%", 1, 3, False),
        ("24%", 1, 3, True),
        ("0%", 1, 1000, True),
        ("0%", 0, 0, False),
        ("100%", 4, 0, False),
    ],
)
def test_a_limit_is_the_most_that_may_be_lost(limit, lost, whole, exceeded):
    ledger = ledger_of(*[Outcome.GAP] * lost, *[Outcome.WHOLE] * whole)

    assert bool(LossLimit.parse(limit).excess(ledger)) is exceeded


@pytest.mark.parametrize(
    ("limit", "excess"),
    [("99B", "100 bytes were lost, over --max-loss"), ("100B", ""), ("1kB", "")],
)
def test_a_limit_in_bytes(limit, excess):
    assert LossLimit.parse(limit).excess(ledger_of(Outcome.GAP)) == excess


@pytest.mark.parametrize("limit", ["0", "0%", "0B"])
@pytest.mark.parametrize("agent", [{"kernel_drops": 1}, {"untracked": 1}, {"fragments_lost": 1}])
def test_a_limit_of_nothing_is_not_kept_where_nobody_can_tell(limit, agent):
    assert "cannot rule out" in LossLimit.parse(limit).excess(ledger_of(Outcome.WHOLE, **agent))


def test_shed_connections_count_as_lost():
    ledger = ledger_of(Outcome.WHOLE, shed_connections=3, shed_bytes=5000)

    assert LossLimit.parse("2").excess(ledger) == "3 of 4 connections lost bytes, over --max-loss"
    assert LossLimit.parse("1kB").excess(ledger)
