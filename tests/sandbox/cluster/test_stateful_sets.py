"""StatefulSets and DaemonSets on a store, with the test as the kubelet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from podmirror_sandbox.cluster.apierrors import ApiError
from podmirror_sandbox.cluster.controllers import reconcile
from podmirror_sandbox.cluster.resources import DAEMON_SETS, PODS, STATEFUL_SETS

if TYPE_CHECKING:
    from podmirror_sandbox.cluster.registry import Registry
    from podmirror_sandbox.cluster.resources import Resource

TEMPLATE = {
    "metadata": {"labels": {"app": "d"}},
    "spec": {"containers": [{"name": "c", "image": "x"}]},
}
SPEC = {"selector": {"matchLabels": {"app": "d"}}, "template": TEMPLATE}


def create(registry: Registry, resource: Resource, **spec: Any) -> None:
    registry.create(resource, "default", {"metadata": {"name": "d"}, "spec": {**SPEC, **spec}})
    reconcile(registry)


def restart(registry: Registry, resource: Resource) -> None:
    item = registry.store.get(resource, "default", "d")
    template = {
        **item["spec"]["template"],
        "metadata": {"labels": {"app": "d"}, "annotations": {"at": "now"}},
    }
    registry.update(resource, "default", {**item, "spec": {**item["spec"], "template": template}}, name="d")
    reconcile(registry)


def names(registry: Registry) -> list[str]:
    return [pod["metadata"]["name"] for pod in registry.store.all_of(PODS)]


def deleting(registry: Registry) -> list[str]:
    return [
        pod["metadata"]["name"]
        for pod in registry.store.all_of(PODS)
        if "deletionTimestamp" in pod["metadata"]
    ]


def make_ready(registry: Registry) -> None:
    for pod in registry.store.all_of(PODS):
        status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        registry.set_status(PODS, pod, status)
    reconcile(registry)


def end(registry: Registry, name: str) -> None:
    """What the kubelet does when the processes of a pod that is being deleted have ended."""
    registry.store.remove(PODS, "default", name)
    reconcile(registry)


def test_pods_of_a_stateful_set_come_in_order(registry: Registry) -> None:
    create(registry, STATEFUL_SETS, replicas=2)
    assert names(registry) == ["d-0"]
    make_ready(registry)
    assert names(registry) == ["d-0", "d-1"]
    make_ready(registry)

    pod = registry.store.get(PODS, "default", "d-1")
    assert pod["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"] == "d-1"
    assert pod["spec"]["nodeName"] == "node1"
    status = registry.store.get(STATEFUL_SETS, "default", "d")["status"]
    assert (status["replicas"], status["readyReplicas"], status["updatedReplicas"]) == (2, 2, 2)
    assert status["currentRevision"] == status["updateRevision"]


def test_or_all_at_once(registry: Registry) -> None:
    create(registry, STATEFUL_SETS, replicas=3, podManagementPolicy="Parallel")
    assert names(registry) == ["d-0", "d-1", "d-2"]


def test_a_new_template_replaces_the_pods_of_a_stateful_set_from_the_last(registry: Registry) -> None:
    create(registry, STATEFUL_SETS, replicas=2)
    for _ in range(2):
        make_ready(registry)
    before = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in registry.store.all_of(PODS)}
    restart(registry, STATEFUL_SETS)
    for name in ("d-1", "d-0"):
        assert deleting(registry) == [name]
        end(registry, name)
        assert deleting(registry) == []
        make_ready(registry)

    after = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in registry.store.all_of(PODS)}
    assert after.keys() == before.keys()
    assert not set(after.values()) & set(before.values())
    assert deleting(registry) == []


def test_a_stateful_set_shrinks_from_the_last(registry: Registry) -> None:
    create(registry, STATEFUL_SETS, replicas=2)
    for _ in range(2):
        make_ready(registry)
    item = registry.store.get(STATEFUL_SETS, "default", "d")
    registry.update(STATEFUL_SETS, "default", {**item, "spec": {**item["spec"], "replicas": 1}}, name="d")
    reconcile(registry)

    assert deleting(registry) == ["d-1"]


def test_a_daemon_set_has_a_pod_on_the_node_and_replaces_it(registry: Registry) -> None:
    create(registry, DAEMON_SETS)
    (before,) = names(registry)
    make_ready(registry)
    status = registry.store.get(DAEMON_SETS, "default", "d")["status"]
    assert (status["desiredNumberScheduled"], status["numberReady"]) == (1, 1)
    assert "replicas" not in registry.store.get(DAEMON_SETS, "default", "d")["spec"]

    restart(registry, DAEMON_SETS)
    assert deleting(registry) == [before]
    end(registry, before)
    (after,) = names(registry)
    assert after != before


def test_pods_are_replaced_on_deletion_only_if_that_is_asked_for(registry: Registry) -> None:
    create(registry, DAEMON_SETS, updateStrategy={"type": "OnDelete"})
    make_ready(registry)
    restart(registry, DAEMON_SETS)

    assert deleting(registry) == []


def test_a_pod_that_has_ended_is_replaced(registry: Registry) -> None:
    create(registry, STATEFUL_SETS)
    before = registry.store.get(PODS, "default", "d-0")
    registry.set_status(PODS, before, {"phase": "Failed"})
    reconcile(registry)

    assert registry.store.get(PODS, "default", "d-0")["metadata"]["uid"] != before["metadata"]["uid"]


@pytest.mark.parametrize("resource", [STATEFUL_SETS, DAEMON_SETS])
def test_a_selector_that_does_not_match_is_refused(registry: Registry, resource: Resource) -> None:
    with pytest.raises(ApiError, match="selector"):
        create(registry, resource, selector={"matchLabels": {"app": "other"}})
