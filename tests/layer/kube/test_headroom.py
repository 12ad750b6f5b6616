import pytest

from podmirror.errors import NotStarted
from podmirror.kube.headroom import (
    BASE_MEBIBYTES,
    DEFAULT_MEBIBYTES,
    LEAST_MEBIBYTES,
    MEBIBYTE,
    agent_budget,
    pod_limit,
)


@pytest.mark.parametrize(
    ("pod", "containers", "limit"),
    [(None, [1, 2], 3), (None, [1, None], None), (None, [], None), (7, [1, None], 7), (7, [1, 2], 7)],
)
def test_a_pod_is_limited_by_itself_or_by_all_of_its_containers(pod, containers, limit):
    assert pod_limit(pod, containers) == limit


def test_without_a_limit_the_budget_is_the_default():
    assert agent_budget(None) == DEFAULT_MEBIBYTES


@pytest.mark.parametrize(("mebibytes", "budget"), [(100, 4), (128, 18), (220, 64), (4096, 64)])
def test_the_agent_takes_no_more_than_half(mebibytes, budget):
    assert agent_budget(mebibytes * MEBIBYTE) == budget
    assert 2 * (budget + BASE_MEBIBYTES) <= mebibytes


def test_where_the_least_does_not_fit_the_refusal_says_what_would():
    least = 2 * (BASE_MEBIBYTES + LEAST_MEBIBYTES)

    with pytest.raises(NotStarted, match=f"limit is {least - 1} MiB.*raise the limit to {least} MiB"):
        agent_budget((least - 1) * MEBIBYTE)
