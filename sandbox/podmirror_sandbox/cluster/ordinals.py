"""StatefulSets and DaemonSets: pods that keep their name, and a pod on the one node that there is.

A changed template replaces a StatefulSet's pods from the last to the first, each when all others are ready.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from podmirror_sandbox.cluster.deployments import pod_from_template, template_hash
from podmirror_sandbox.cluster.events import record
from podmirror_sandbox.cluster.objects import (
    Object,
    is_controlled_by,
    is_deleting,
    labels_of,
    name_of,
    namespace_of,
)
from podmirror_sandbox.cluster.phases import is_finished, is_ready
from podmirror_sandbox.cluster.resources import DAEMON_SETS, PODS, STATEFUL_SETS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podmirror_sandbox.cluster.registry import Registry
    from podmirror_sandbox.cluster.resources import Resource

REVISION_LABEL = "controller-revision-hash"


def reconcile_stateful_sets(registry: Registry) -> None:
    """Make missing pods in order, delete surplus and outdated ones from the last on, and report."""
    for owner in registry.store.all_of(STATEFUL_SETS):
        pods = {name_of(pod): pod for pod in _pods_of(registry, owner)}
        wanted = [f"{name_of(owner)}-{ordinal}" for ordinal in range(owner["spec"]["replicas"])]
        surplus = [pod for name, pod in pods.items() if name not in wanted]
        if surplus:
            _delete_last(registry, surplus)
        elif missing := [name for name in wanted if name not in pods]:
            if all(is_ready(pod) for pod in pods.values()):  # in order, each when those before are ready
                _create(registry, STATEFUL_SETS, owner, name=missing[0])
        elif all(is_ready(pod) for pod in pods.values()):
            _delete_last(registry, _outdated(owner, pods.values()))
        ready = sum(is_ready(pod) for pod in pods.values())
        status = {"replicas": len(pods), "readyReplicas": ready, "availableReplicas": ready}
        registry.set_status(STATEFUL_SETS, owner, status)


def reconcile_daemon_sets(registry: Registry) -> None:
    """Make the node's pod, replace an outdated one, and report."""
    for owner in registry.store.all_of(DAEMON_SETS):
        pods = _pods_of(registry, owner)
        if not pods:
            pods = [_create(registry, DAEMON_SETS, owner)]
        _delete_last(registry, _outdated(owner, pods))
        ready = sum(is_ready(pod) for pod in pods)
        status = {
            "currentNumberScheduled": 1,
            "desiredNumberScheduled": 1,
            "numberMisscheduled": 0,
            "numberReady": ready,
            "numberAvailable": ready,
        }
        registry.set_status(DAEMON_SETS, owner, status)


def _pods_of(registry: Registry, owner: Object) -> list[Object]:
    """Give its pods, those that are going included: nothing takes their name before they are gone."""
    return [
        pod
        for pod in registry.store.all_of(PODS, namespace_of(owner))
        if is_controlled_by(pod, owner) and not is_finished(pod)
    ]


def _outdated(owner: Object, pods: Iterable[Object]) -> list[Object]:
    wanted = template_hash(owner["spec"]["template"])
    return [pod for pod in pods if labels_of(pod).get(REVISION_LABEL) != wanted]


def _delete_last(registry: Registry, pods: list[Object]) -> None:
    if pods and not any(is_deleting(pod) for pod in pods):
        last = max(pods, key=lambda pod: (len(name_of(pod)), name_of(pod)))
        registry.delete(PODS, namespace_of(last), name_of(last))


def _create(registry: Registry, resource: Resource, owner: Object, *, name: str = "") -> Object:
    pod = pod_from_template(owner, owner["spec"]["template"])
    pod["metadata"]["labels"][REVISION_LABEL] = template_hash(owner["spec"]["template"])
    if name:
        del pod["metadata"]["generateName"]
        pod["metadata"]["name"] = name
        pod["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"] = name
    created = registry.create(PODS, namespace_of(owner), pod)
    source = f"{resource.kind.lower()}-controller"
    record(registry, owner, "SuccessfulCreate", f"Created pod: {name_of(created)}", source=source)
    return created
