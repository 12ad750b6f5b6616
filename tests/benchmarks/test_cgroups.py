import pytest

from benchmarks.cgroups import linear_weight


@pytest.mark.parametrize(("shares", "weight"), [(2, 1), (102, 4), (1024, 39), (2000, 77), (262144, 10000)])
def test_weights_of_older_runtimes(shares: int, weight: int) -> None:
    assert linear_weight(shares) == weight
