"""Rates and totals, told from samples."""

import pytest

from podmirror.forwarding import Outcome
from podmirror.stats import QUIET_SECONDS, AgentLoad, Sample, amount, figures, line
from tests.layer.ledgers import ledger_of


def sample(now: float, *outcomes: Outcome, open_connections: int = 0, cpu: float | None = None, **agent: int):
    return Sample(now, ledger_of(*outcomes, **agent), open_connections, cpu)


def test_rates_are_told_from_the_difference_and_totals_from_the_end():
    before = sample(10.0, Outcome.WHOLE)
    after = sample(
        12.0, *[Outcome.WHOLE] * 6, Outcome.OPEN, open_connections=1, cpu=0.123, waiting_bytes=2500
    )

    assert figures(before, after) == [
        ("now", "3.0 connections/s, 123 B/s"),
        ("delivered", "7 connections (1 open), 287 B"),
        ("lost", "0 connections, 0 B"),
        ("agent", "12.3 % CPU, 2.5 kB waiting"),
    ]


def test_losses_are_told():
    after = sample(1.0, Outcome.GAP, Outcome.CUT, kernel_drops=1234, shed_connections=2, shed_bytes=900)

    assert dict(figures(sample(0.0), after))["lost"] == (
        "4 connections, 2.0 kB, 1,234 packets dropped by the kernel"
    )


def test_bytes_that_were_not_taken_after_all_make_no_negative_rate():
    assert dict(figures(sample(0.0, Outcome.WHOLE), sample(1.0)))["now"] == "0.0 connections/s, 0 B/s"


def test_two_samples_of_one_moment_divide_by_nothing():
    one = sample(1.0, Outcome.WHOLE)

    assert line(one, one) == (
        "now: 0.0 connections/s, 0 B/s; delivered: 1 connections (0 open), 41 B; lost: 0 connections, 0 B; "
        "agent: quiet, 0 B waiting"
    )


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1_234_567, "1.2 MB"),
        (5e9, "5.0 GB"),
        (5e12, "5.0 TB"),
        (5e15, "5,000.0 TB"),
    ],
)
def test_amounts(size, text):
    assert amount(size) == text


def test_the_agents_load_is_told_from_its_last_two_reports():
    load = AgentLoad()
    assert load.cores(0.0) is None
    load.receive_report(1.0, 5_000_000_000)
    assert load.cores(1.0) is None
    load.receive_report(3.0, 5_500_000_000)

    assert load.cores(3.0) == pytest.approx(0.25)
    load.receive_report(3.0, 5_500_000_000)  # seen again
    assert load.cores(3.5) == pytest.approx(0.25)


def test_an_agent_without_news_is_quiet():
    load = AgentLoad()
    load.receive_report(1.0, 0)
    load.receive_report(2.0, 10**9)

    assert load.cores(2.0 + QUIET_SECONDS) == 1.0
    assert load.cores(2.1 + QUIET_SECONDS) is None
