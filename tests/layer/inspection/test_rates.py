"""Rates of exchanges."""

from podmirror.inspection.rates import Rates
from tests.layer.inspection.exchanges import exchange


def test_rates_are_told_over_the_last_seconds():
    rates = Rates()
    rates.sample(0.0)
    for _ in range(500):
        rates.receive(exchange())
    rates.sample(10.0)
    for _ in range(20):
        rates.receive(exchange(status=503))
    rates.sample(11.0)
    rates.sample(12.0)

    assert rates.text == "10.0 exchanges/s, 960 B/s; 520 exchanges in all, 20 with status 5xx"


def test_one_sample_tells_no_rate():
    rates = Rates()
    rates.sample(5.0)

    assert rates.text == "0.0 exchanges/s, 0 B/s; 0 exchanges in all"
