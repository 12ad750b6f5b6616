"""What quotas leave room for, and a Job that finds none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from podmirror_sandbox.cluster.apierrors import ApiError
from podmirror_sandbox.cluster.controllers import reconcile
from podmirror_sandbox.cluster.resources import DEPLOYMENTS, EVENTS, JOBS, PODS, RESOURCE_QUOTAS

if TYPE_CHECKING:
    from collections.abc import Callable

    from podmirror_sandbox.cluster.registry import Registry
    from tests.sandbox.conftest import FakeClock


def limit(registry: Registry, **hard: str) -> None:
    registry.create(RESOURCE_QUOTAS, "default", {"metadata": {"name": "q"}, "spec": {"hard": hard}})


def create(registry: Registry, name: str, **resources: Any) -> None:
    entry = {"name": name, "image": "x", "resources": resources}
    registry.create(PODS, "default", {"metadata": {"name": name}, "spec": {"containers": [entry]}})


def refusal(registry: Registry, name: str, **resources: Any) -> str:
    with pytest.raises(ApiError) as refused:
        create(registry, name, **resources)
    assert refused.value.code == 403
    return refused.value.message


def test_what_exceeds_a_quota_is_refused_with_the_sums(registry: Registry) -> None:
    limit(registry, **{"requests.memory": "32Mi"})
    create(registry, "a", requests={"memory": "16Mi"})

    assert refusal(registry, "x", requests={"memory": "128Mi"}) == (
        'pods "x" is forbidden: exceeded quota: q, requested: requests.memory=128Mi, used: requests.memory=16Mi, '
        "limited: requests.memory=32Mi"
    )
    create(registry, "b", limits={"memory": "16Mi"})


def test_what_a_quota_counts_must_be_said(registry: Registry) -> None:
    limit(registry, **{"requests.memory": "1Gi", "limits.memory": "1Gi"})

    assert refusal(registry, "x") == (
        'pods "x" is forbidden: failed quota: q: must specify limits.memory for: x; requests.memory for: x'
    )


@pytest.mark.parametrize(
    ("hard", "resources", "told"),
    [
        ({"pods": "1"}, {}, "requested: pods=1, used: pods=1, limited: pods=1"),
        ({"cpu": "1"}, {"requests": {"cpu": "600m"}}, "requested: cpu=600m, used: cpu=600m, limited: cpu=1"),
        ({"services": "0"}, {}, ""),
    ],
)
def test_what_is_counted(registry: Registry, hard: dict[str, str], resources: Any, told: str) -> None:
    create(registry, "first", **resources)
    limit(registry, **hard)
    if not told:
        create(registry, "x", **resources)
        return
    assert told in refusal(registry, "x", **resources)


def test_pods_that_have_ended_leave_their_room(
    registry: Registry, set_pod_state: Callable[..., None]
) -> None:
    limit(registry, pods="1")
    create(registry, "first")
    set_pod_state("first", "Succeeded")
    create(registry, "second")


# Controllers that are refused.


def refused(registry: Registry) -> list[str]:
    return [event["message"] for event in registry.store.all_of(EVENTS) if event["reason"] == "FailedCreate"]


def test_a_job_whose_pod_is_refused_is_there_and_says_why(registry: Registry, clock: FakeClock) -> None:
    limit(registry, pods="0")
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]}}
    registry.create(JOBS, "default", {"metadata": {"name": "j"}, "spec": {"template": template}})

    wakeup = reconcile(registry)

    (told,) = refused(registry)
    assert told.startswith('Error creating: pods "j-')
    assert told.endswith("exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0")
    assert wakeup is not None
    assert 0 < (wakeup - clock()).total_seconds() <= 1
    assert not registry.store.get(JOBS, "default", "j")["status"].get("active")

    clock.advance(2)
    reconcile(registry)
    assert len(refused(registry)) == 2

    registry.delete(RESOURCE_QUOTAS, "default", "q")
    reconcile(registry)
    assert not registry.store.all_of(PODS), "the next try comes later"
    clock.advance(4)
    reconcile(registry)
    assert len(registry.store.all_of(PODS)) == 1


def test_a_deployment_whose_pods_are_refused(registry: Registry) -> None:
    limit(registry, pods="1")
    template = {"metadata": {"labels": {"a": "d"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}
    spec = {"replicas": 3, "selector": {"matchLabels": {"a": "d"}}, "template": template}
    registry.create(DEPLOYMENTS, "default", {"metadata": {"name": "d"}, "spec": spec})

    reconcile(registry)

    assert len(registry.store.all_of(PODS)) == 1
    assert len(refused(registry)) == 1
