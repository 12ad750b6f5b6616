"""StatefulSets and DaemonSets: pods that have a place of their own, in an order or on a node.

A changed template replaces the pods in place, one at a time: a pod is deleted, and made anew when it is gone. A StatefulSet
goes from its last pod to its first, and its pods have the names of the ones before. Volume claims are accepted and not made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from podmirror_sandbox.cluster.deployments import template_hash
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
from podmirror_sandbox.cluster.podcreation import pod_from_template
from podmirror_sandbox.cluster.resources import DAEMON_SETS, NODES, PODS, STATEFUL_SETS

if TYPE_CHECKING:
    from podmirror_sandbox.cluster.registry import Registry

REVISION_LABEL = "controller-revision-hash"
POD_NAME_LABEL = "statefulset.kubernetes.io/pod-name"
INDEX_LABEL = "apps.kubernetes.io/pod-index"


def reconcile_stateful_sets(registry: Registry) -> None:
    """Make the next missing pod, delete the next surplus or old one, and report."""
    for stateful_set in registry.store.all_of(STATEFUL_SETS):
        pods = {name_of(pod): pod for pod in _pods_of(registry, stateful_set)}
        _replace_finished(registry, list(pods.values()))
        wanted = [f"{name_of(stateful_set)}-{index}" for index in range(stateful_set["spec"]["replicas"])]
        if not _make_next(registry, stateful_set, pods, wanted):
            surplus = [name for name in pods if name not in wanted]
            if surplus:
                _delete(registry, pods[max(surplus, key=_ordinal)])
            elif _may_roll(stateful_set):
                _roll_next(registry, stateful_set, [pods[name] for name in reversed(wanted)])
        _report_stateful_set(registry, stateful_set)


def reconcile_daemon_sets(registry: Registry) -> None:
    """Keep a pod on every node, of the newest template, and report."""
    nodes = [name_of(node) for node in registry.store.all_of(NODES)]
    for daemon_set in registry.store.all_of(DAEMON_SETS):
        pods = _pods_of(registry, daemon_set)
        _replace_finished(registry, pods)
        on_node = {pod["spec"].get("nodeName"): pod for pod in pods}
        for node in nodes:
            if node not in on_node:
                pod = _pod_of(daemon_set)
                pod["metadata"]["generateName"] = f"{name_of(daemon_set)}-"
                pod["spec"]["nodeName"] = node
                _create(registry, daemon_set, pod, "daemonset-controller")
        if _may_roll(daemon_set):
            _roll_next(registry, daemon_set, [on_node[node] for node in nodes if node in on_node])
        _report_daemon_set(registry, daemon_set, len(nodes))


def _pods_of(registry: Registry, owner: Object) -> list[Object]:
    pods = registry.store.all_of(PODS, namespace_of(owner))
    return [pod for pod in pods if is_controlled_by(pod, owner)]


def _replace_finished(registry: Registry, pods: list[Object]) -> None:
    for pod in pods:
        if is_finished(pod):
            _delete(registry, pod)


def _make_next(registry: Registry, stateful_set: Object, pods: dict[str, Object], wanted: list[str]) -> bool:
    """Make the first pod that is missing, once those before it are ready.

    Returns:
        Whether some are still to come, or to get ready.
    """
    at_once = stateful_set["spec"]["podManagementPolicy"] == "Parallel"
    complete = True
    for index, name in enumerate(wanted):
        if name not in pods:
            pod = _pod_of(stateful_set)
            del pod["metadata"]["generateName"]
            pod["metadata"]["name"] = name
            pod["metadata"]["labels"] |= {POD_NAME_LABEL: name, INDEX_LABEL: str(index)}
            pod["spec"]["hostname"] = name
            _create(registry, stateful_set, pod, "statefulset-controller")
        elif is_ready(pods[name]) and not is_deleting(pods[name]):
            continue
        complete = False
        if not at_once:
            break
    return not complete


def _may_roll(owner: Object) -> bool:
    return bool(owner["spec"]["updateStrategy"].get("type") != "OnDelete")


def _roll_next(registry: Registry, owner: Object, pods: list[Object]) -> None:
    """Delete the next pod of an old template, if all of the others serve."""
    if not all(is_ready(pod) and not is_deleting(pod) for pod in pods):
        return
    current = template_hash(owner["spec"]["template"])
    old = next((pod for pod in pods if labels_of(pod).get(REVISION_LABEL) != current), None)
    if old is not None:
        _delete(registry, old)


def _pod_of(owner: Object) -> Object:
    pod = pod_from_template(owner, owner["spec"]["template"])
    pod["metadata"]["labels"][REVISION_LABEL] = template_hash(owner["spec"]["template"])
    return pod


def _create(registry: Registry, owner: Object, pod: Object, source: str) -> None:
    created = registry.create(PODS, namespace_of(owner), pod)
    record(registry, owner, "SuccessfulCreate", f"Created pod: {name_of(created)}", source=source)


def _delete(registry: Registry, pod: Object) -> None:
    if not is_deleting(pod):
        registry.delete(PODS, namespace_of(pod), name_of(pod))


def _ordinal(name: str) -> int:
    return int(name.rpartition("-")[2])


def _report_stateful_set(registry: Registry, stateful_set: Object) -> None:
    pods = [pod for pod in _pods_of(registry, stateful_set) if not is_deleting(pod)]
    current = template_hash(stateful_set["spec"]["template"])
    updated = sum(labels_of(pod).get(REVISION_LABEL) == current for pod in pods)
    ready = sum(is_ready(pod) for pod in pods)
    old = [
        labels_of(pod).get(REVISION_LABEL, "")
        for pod in pods
        if labels_of(pod).get(REVISION_LABEL) != current
    ]
    name = name_of(stateful_set)
    status = {
        "observedGeneration": stateful_set["metadata"]["generation"],
        "replicas": len(pods),
        "readyReplicas": ready,
        "availableReplicas": ready,
        "currentReplicas": updated,
        "updatedReplicas": updated,
        "currentRevision": f"{name}-{old[0] if old else current}",
        "updateRevision": f"{name}-{current}",
        "collisionCount": 0,
    }
    registry.set_status(STATEFUL_SETS, stateful_set, status)


def _report_daemon_set(registry: Registry, daemon_set: Object, wanted: int) -> None:
    pods = [pod for pod in _pods_of(registry, daemon_set) if not is_deleting(pod)]
    current = template_hash(daemon_set["spec"]["template"])
    ready = sum(is_ready(pod) for pod in pods)
    status = {
        "observedGeneration": daemon_set["metadata"]["generation"],
        "currentNumberScheduled": len(pods),
        "desiredNumberScheduled": wanted,
        "numberAvailable": ready,
        "numberMisscheduled": 0,
        "numberReady": ready,
        "updatedNumberScheduled": sum(labels_of(pod).get(REVISION_LABEL) == current for pod in pods),
    }
    registry.set_status(DAEMON_SETS, daemon_set, status)
