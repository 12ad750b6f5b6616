from dataclasses import replace

from podmirror.compare.cost import per_gibibyte, per_million_packets
from podmirror.compare.figures import Mode
from podmirror.compare.spread import Unknown
from tests.layer.compare.samples import run


def test_rates():
    cost = replace(run(Mode.JOB).cost, cpu=0.5, seen_bytes=2.0**30, packets=500_000.0)

    assert per_gibibyte(cost) == 0.5
    assert per_million_packets(cost) == 1.0


def test_too_little_traffic_gives_no_rate():
    cost = replace(run(Mode.JOB).cost, seen_bytes=999_999.0, packets=999.0)

    assert isinstance(per_gibibyte(cost), Unknown)
    assert isinstance(per_million_packets(cost), Unknown)


def test_what_is_unknown_gives_no_rate():
    cost = replace(run(Mode.JOB).cost, cpu=Unknown("away"), packets=Unknown("gone"))

    assert per_gibibyte(cost) == Unknown("away")
    assert per_million_packets(cost) == Unknown("gone")
    assert per_million_packets(replace(cost, packets=4000.0)) == Unknown("away")
