"""The controllers on a store, with the test as the kubelet and the clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from podmirror_sandbox.cluster.controllers import reconcile
from podmirror_sandbox.cluster.registry import DeleteOptions
from podmirror_sandbox.cluster.resources import (
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    EVENTS,
    JOBS,
    PODS,
    REPLICA_SETS,
    SERVICES,
)
from podmirror_sandbox.cluster.services import hosts_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from podmirror_sandbox.cluster.registry import Registry

CONTAINERS = [{"name": "c", "image": "x"}]


def create_deployment(registry: Registry, replicas: int = 1) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": CONTAINERS}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "d"}}, "template": template}
    item = registry.create(DEPLOYMENTS, "default", {"metadata": {"name": "d"}, "spec": spec})
    reconcile(registry)
    return item


def create_job(registry: Registry, **spec: Any) -> None:
    template = {"spec": {"restartPolicy": "Never", "containers": CONTAINERS}}
    registry.create(JOBS, "default", {"metadata": {"name": "j"}, "spec": {"template": template, **spec}})
    reconcile(registry)


def pods(registry: Registry) -> list[dict[str, Any]]:
    return [pod for pod in registry.store.all_of(PODS) if "deletionTimestamp" not in pod["metadata"]]


def names(registry: Registry) -> list[str]:
    return [pod["metadata"]["name"] for pod in pods(registry)]


def finished(registry: Registry) -> dict[str, str]:
    conditions = registry.store.get(JOBS, "default", "j")["status"].get("conditions", [])
    return {entry["type"]: entry["reason"] for entry in conditions}


def test_deployment_makes_pods_through_a_replica_set(registry: Registry) -> None:
    create_deployment(registry, replicas=2)
    (replica_set,) = registry.store.all_of(REPLICA_SETS)
    template_hash = replica_set["metadata"]["labels"]["pod-template-hash"]
    assert replica_set["metadata"]["name"] == f"d-{template_hash}"
    assert len(pods(registry)) == 2
    for pod in pods(registry):
        assert pod["metadata"]["name"].startswith(f"d-{template_hash}-")
        assert pod["metadata"]["labels"]["pod-template-hash"] == template_hash
        assert pod["spec"]["nodeName"] == "node1"


def test_deployment_replaces_deleted_pods(registry: Registry) -> None:
    create_deployment(registry)
    (name,) = names(registry)
    registry.delete(PODS, "default", name)
    reconcile(registry)
    (replacement,) = names(registry)
    assert replacement != name


def test_deployment_scales_and_reports(registry: Registry, set_pod_state: Callable[..., None]) -> None:
    item = create_deployment(registry)
    item = {**item, "spec": {**item["spec"], "replicas": 3}, "metadata": {"name": "d"}}
    registry.update(DEPLOYMENTS, "default", item, name="d")
    reconcile(registry)
    for name in names(registry):
        set_pod_state(name, "Running", ready=True)
    reconcile(registry)
    status = registry.store.get(DEPLOYMENTS, "default", "d")["status"]
    assert (status["replicas"], status["readyReplicas"], status["observedGeneration"]) == (3, 3, 2)
    item["spec"]["replicas"] = 0
    registry.update(DEPLOYMENTS, "default", item, name="d")
    reconcile(registry)
    assert pods(registry) == []


def test_new_template_rolls_when_the_new_pods_are_ready(
    registry: Registry, set_pod_state: Callable[..., None]
) -> None:
    item = create_deployment(registry)
    (old,) = names(registry)
    set_pod_state(old, "Running", ready=True)
    item["spec"]["template"]["metadata"]["annotations"] = {"kubectl.kubernetes.io/restartedAt": "now"}
    registry.update(DEPLOYMENTS, "default", {**item, "metadata": {"name": "d"}}, name="d")
    reconcile(registry)
    (new,) = set(names(registry)) - {old}
    set_pod_state(new, "Running", ready=True)
    reconcile(registry)
    assert names(registry) == [new]
    assert len(registry.store.all_of(REPLICA_SETS)) == 2


def test_recreate_ends_the_old_pods_first(registry: Registry) -> None:
    item = create_deployment(registry)
    (old,) = names(registry)
    item["spec"]["strategy"] = {"type": "Recreate"}
    item["spec"]["template"]["spec"]["containers"][0]["image"] = "y"
    registry.update(DEPLOYMENTS, "default", {**item, "metadata": {"name": "d"}}, name="d")
    reconcile(registry)
    assert old not in names(registry)


def test_deleting_a_deployment_takes_all_with_it(registry: Registry) -> None:
    create_deployment(registry)
    registry.delete(DEPLOYMENTS, "default", "d")
    reconcile(registry)
    assert registry.store.all_of(REPLICA_SETS) == []
    assert pods(registry) == []


def test_job_completes(registry: Registry, set_pod_state: Callable[..., None]) -> None:
    create_job(registry)
    (pod,) = pods(registry)
    assert pod["metadata"]["labels"]["job-name"] == "j"
    assert pod["metadata"]["labels"]["batch.kubernetes.io/job-name"] == "j"
    set_pod_state(pod["metadata"]["name"], "Succeeded")
    reconcile(registry)
    assert finished(registry) == {
        "SuccessCriteriaMet": "CompletionsReached",
        "Complete": "CompletionsReached",
    }
    assert registry.store.get(JOBS, "default", "j")["status"]["succeeded"] == 1


def test_job_retries_up_to_its_limit(registry: Registry, set_pod_state: Callable[..., None]) -> None:
    create_job(registry, backoffLimit=1)
    for expected in ({}, {"FailureTarget": "BackoffLimitExceeded", "Failed": "BackoffLimitExceeded"}):
        name = next(pod["metadata"]["name"] for pod in pods(registry) if pod["status"]["phase"] == "Pending")
        set_pod_state(name, "Failed")
        reconcile(registry)
        assert finished(registry) == expected
    assert registry.store.get(JOBS, "default", "j")["status"]["failed"] == 2


def test_job_ends_at_its_deadline(registry: Registry, clock: Any, set_pod_state: Callable[..., None]) -> None:
    create_job(registry, activeDeadlineSeconds=30)
    (name,) = names(registry)
    set_pod_state(name, "Running", ready=True)
    clock.advance(29)
    assert reconcile(registry) is not None
    assert finished(registry) == {}
    clock.advance(1)
    reconcile(registry)
    assert finished(registry)["Failed"] == "DeadlineExceeded"
    assert pods(registry) == []


def test_job_goes_when_its_time_to_live_is_over(
    registry: Registry, clock: Any, set_pod_state: Callable[..., None]
) -> None:
    create_job(registry, ttlSecondsAfterFinished=10)
    set_pod_state(names(registry)[0], "Succeeded")
    reconcile(registry)
    clock.advance(9)
    reconcile(registry)
    assert registry.store.all_of(JOBS)
    clock.advance(1)
    reconcile(registry)
    assert registry.store.all_of(JOBS) == []
    assert registry.store.all_of(PODS) == []


@pytest.mark.parametrize(
    ("spec", "scheduled"),
    [
        ({"nodeSelector": {"kubernetes.io/os": "linux"}}, True),
        ({"nodeSelector": {"kubernetes.io/os": "windows"}}, False),
        ({"affinity": ("node1",)}, True),
        ({"affinity": ("node2",)}, False),
    ],
)
def test_scheduling(registry: Registry, spec: dict[str, Any], scheduled: bool) -> None:
    if "affinity" in spec:
        field = {"key": "metadata.name", "operator": "In", "values": list(spec["affinity"])}
        terms = {"nodeSelectorTerms": [{"matchFields": [field]}]}
        required = {"requiredDuringSchedulingIgnoredDuringExecution": terms}
        spec = {"affinity": {"nodeAffinity": required}}
    registry.create(PODS, "default", {"metadata": {"name": "p"}, "spec": {"containers": CONTAINERS, **spec}})
    reconcile(registry)
    pod = registry.store.get(PODS, "default", "p")
    assert ("nodeName" in pod["spec"]) is scheduled
    if not scheduled:
        assert pod["status"]["conditions"][0]["reason"] == "Unschedulable"
        assert [event["reason"] for event in registry.store.all_of(EVENTS)] == ["FailedScheduling"]


def test_services_name_their_ready_pods(registry: Registry) -> None:
    spec = {"selector": {"app": "d"}, "ports": [{"port": 80, "targetPort": 8080}]}
    registry.create(SERVICES, "default", {"metadata": {"name": "s"}, "spec": spec})
    create_deployment(registry)
    (pod,) = pods(registry)
    conditions = [{"type": "Ready", "status": "True"}]
    addresses = [{"ip": "10.244.0.9"}, {"ip": "fd00::9"}]
    status = {"phase": "Running", "conditions": conditions, "podIP": "10.244.0.9", "podIPs": addresses}
    registry.set_status(PODS, pod, status)
    reconcile(registry)
    (entry,) = registry.store.all_of(ENDPOINT_SLICES)
    assert entry["endpoints"][0]["addresses"] == ["10.244.0.9"]
    assert entry["ports"] == [{"name": "", "port": 8080, "protocol": "TCP"}]
    assert "fd00::9\ts s.default s.default.svc s.default.svc.cluster.local" in hosts_file(registry.store)


def test_nothing_to_do_changes_nothing(registry: Registry) -> None:
    create_deployment(registry)
    before = registry.store.revision
    reconcile(registry)
    assert registry.store.revision == before


def test_orphaned_replica_sets_stay(registry: Registry) -> None:
    create_deployment(registry)
    registry.delete(DEPLOYMENTS, "default", "d", DeleteOptions(propagation="Orphan"))
    reconcile(registry)
    assert len(registry.store.all_of(REPLICA_SETS)) == 1
    assert len(pods(registry)) == 1
