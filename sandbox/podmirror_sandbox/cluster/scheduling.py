"""The scheduler of a cluster with one node: a pod runs here, or it stays pending and says why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podmirror_sandbox.cluster.events import record
from podmirror_sandbox.cluster.objects import (
    Object,
    condition,
    is_deleting,
    labels_of,
    merge_conditions,
    name_of,
)
from podmirror_sandbox.cluster.resources import NODES, PODS
from podmirror_sandbox.cluster.selectors import matches_expression

if TYPE_CHECKING:
    from podmirror_sandbox.cluster.registry import Registry


def reconcile_scheduling(registry: Registry) -> None:
    """Give every new pod its node, or the reason why there is none."""
    nodes = registry.store.all_of(NODES)
    for pod in registry.store.all_of(PODS):
        if pod["spec"].get("nodeName") or is_deleting(pod):
            continue
        node = next((node for node in nodes if fits(pod["spec"], node)), None)
        if node is not None:
            registry.store.put(PODS, {**pod, "spec": {**pod["spec"], "nodeName": name_of(node)}})
            where = f"{pod['metadata']['namespace']}/{name_of(pod)} to {name_of(node)}"
            message = f"Successfully assigned {where}"
            record(registry, pod, "Scheduled", message, source="default-scheduler")
            continue
        message = f"0/{len(nodes)} nodes are available: {len(nodes)} node(s) didn't match Pod's node affinity/selector."
        status = pod["status"]
        old = status.get("conditions") or []
        if any(entry.get("message") == message for entry in old):
            continue
        entry = condition("PodScheduled", False, registry.clock(), reason="Unschedulable", message=message)
        registry.set_status(PODS, pod, {**status, "conditions": merge_conditions(old, [entry])})
        record(registry, pod, "FailedScheduling", message, warning=True, source="default-scheduler")


def fits(spec: Object, node: Object) -> bool:
    """Whether node selector and required node affinity allow this node. Resources are not counted."""
    labels = labels_of(node)
    wanted = spec.get("nodeSelector") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if not required:
        return True
    fields = {"metadata.name": name_of(node)}
    return any(
        all(matches_expression(entry, labels) for entry in term.get("matchExpressions") or [])
        and all(matches_expression(entry, fields) for entry in term.get("matchFields") or [])
        for term in required.get("nodeSelectorTerms") or []
    )
