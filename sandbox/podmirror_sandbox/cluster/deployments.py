"""Deployments and ReplicaSets: as many pods as asked for, of the template asked for.

Both reconcilers look at the whole store and do what is missing; running them again with nothing to do changes nothing.
Rolling is simpler than the real one: all new pods are made at once, and the old ones go when the new ones are ready.
"""

from __future__ import annotations

import copy
import hashlib
import json
from typing import TYPE_CHECKING

from podmirror_sandbox.cluster.events import record
from podmirror_sandbox.cluster.objects import (
    Object,
    condition,
    is_controlled_by,
    is_deleting,
    labels_of,
    merge_conditions,
    name_of,
    namespace_of,
    owner_reference,
)
from podmirror_sandbox.cluster.phases import is_finished, is_ready
from podmirror_sandbox.cluster.podcreation import create_pod
from podmirror_sandbox.cluster.resources import DEPLOYMENTS, PODS, REPLICA_SETS

if TYPE_CHECKING:
    from podmirror_sandbox.cluster.registry import Registry

HASH_LABEL = "pod-template-hash"
REVISION_ANNOTATION = "deployment.kubernetes.io/revision"
_HASH_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def template_hash(template: Object) -> str:
    """Ten characters that are the same for the same template."""
    digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).digest()
    return "".join(_HASH_ALPHABET[byte % len(_HASH_ALPHABET)] for byte in digest[:10])


def reconcile_deployments(registry: Registry) -> None:
    """Make and scale the ReplicaSets of every Deployment, and report on it."""
    for deployment in registry.store.all_of(DEPLOYMENTS):
        sets = [
            entry
            for entry in registry.store.all_of(REPLICA_SETS, namespace_of(deployment))
            if is_controlled_by(entry, deployment)
        ]
        wanted = template_hash(deployment["spec"]["template"])
        current = next((entry for entry in sets if labels_of(entry).get(HASH_LABEL) == wanted), None)
        old = [entry for entry in sets if entry is not current]
        if current is None:
            current = _create_replica_set(registry, deployment, wanted, len(old) + 1)
        _roll(registry, deployment, current, old)
        _report_deployment(registry, deployment)


def reconcile_replica_sets(registry: Registry) -> None:
    """Make missing pods, delete surplus ones, and report."""
    for replica_set in registry.store.all_of(REPLICA_SETS):
        pods = [
            pod
            for pod in registry.store.all_of(PODS, namespace_of(replica_set))
            if is_controlled_by(pod, replica_set) and not is_deleting(pod) and not is_finished(pod)
        ]
        wanted = replica_set["spec"]["replicas"]
        for _ in range(wanted - len(pods)):
            create_pod(registry, replica_set, source="replicaset-controller")
        # Pods that are not ready go first, as on a real cluster, where more criteria follow.
        surplus = sorted(pods, key=is_ready)[: max(0, len(pods) - wanted)]
        for pod in surplus:
            registry.delete(PODS, namespace_of(pod), name_of(pod))
        ready = sum(is_ready(pod) for pod in pods)
        status = {
            "replicas": len(pods),
            "fullyLabeledReplicas": len(pods),
            "readyReplicas": ready,
            "availableReplicas": ready,
            "observedGeneration": replica_set["metadata"].get("generation", 1),
        }
        registry.set_status(REPLICA_SETS, replica_set, status)


def _create_replica_set(registry: Registry, deployment: Object, wanted: str, revision: int) -> Object:
    template = copy.deepcopy(deployment["spec"]["template"])
    labels = {**(template["metadata"].get("labels") or {}), HASH_LABEL: wanted}
    template["metadata"]["labels"] = labels
    selector = copy.deepcopy(deployment["spec"]["selector"])
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), HASH_LABEL: wanted}
    body = {
        "metadata": {
            "name": f"{name_of(deployment)}-{wanted}",
            "labels": labels,
            "annotations": {REVISION_ANNOTATION: str(revision)},
            "ownerReferences": [owner_reference(deployment)],
        },
        "spec": {"replicas": 0, "selector": selector, "template": template},
    }
    return registry.create(REPLICA_SETS, namespace_of(deployment), body)


def _roll(registry: Registry, deployment: Object, current: Object, old: list[Object]) -> None:
    wanted = deployment["spec"]["replicas"]
    recreate = deployment["spec"]["strategy"].get("type") == "Recreate"
    if recreate and any((entry.get("status") or {}).get("replicas") for entry in old):
        for entry in old:
            _scale(registry, deployment, entry, 0)
        return
    _scale(registry, deployment, current, wanted)
    if (current.get("status") or {}).get("readyReplicas", 0) >= wanted:
        for entry in old:
            _scale(registry, deployment, entry, 0)


def _scale(registry: Registry, deployment: Object, replica_set: Object, replicas: int) -> None:
    before = replica_set["spec"]["replicas"]
    if before == replicas:
        return
    body = {**replica_set, "spec": {**replica_set["spec"], "replicas": replicas}}
    registry.update(REPLICA_SETS, namespace_of(replica_set), body, name=name_of(replica_set))
    verb = "up" if replicas > before else "down"
    message = f"Scaled {verb} replica set {name_of(replica_set)} from {before} to {replicas}"
    record(registry, deployment, "ScalingReplicaSet", message, source="deployment-controller")


def _report_deployment(registry: Registry, deployment: Object) -> None:
    sets = [
        entry
        for entry in registry.store.all_of(REPLICA_SETS, namespace_of(deployment))
        if is_controlled_by(entry, deployment)
    ]
    current = template_hash(deployment["spec"]["template"])
    wanted = deployment["spec"]["replicas"]
    statuses = {labels_of(entry).get(HASH_LABEL): entry.get("status") or {} for entry in sets}
    replicas = sum(status.get("replicas", 0) for status in statuses.values())
    ready = sum(status.get("readyReplicas", 0) for status in statuses.values())
    updated = statuses.get(current, {}).get("replicas", 0)
    done = updated >= wanted and replicas == updated and ready >= wanted
    progress = "NewReplicaSetAvailable" if done else "ReplicaSetUpdated"
    available = ready >= wanted
    state = "MinimumReplicasAvailable" if available else "MinimumReplicasUnavailable"
    now = registry.clock()
    conditions = [
        condition("Available", available, now, reason=state),
        condition("Progressing", True, now, reason=progress),
    ]
    old = (deployment.get("status") or {}).get("conditions") or []
    status = {
        "observedGeneration": deployment["metadata"]["generation"],
        "replicas": replicas,
        "updatedReplicas": updated,
        "readyReplicas": ready,
        "availableReplicas": ready,
        "unavailableReplicas": max(0, wanted - ready),
        "conditions": merge_conditions(old, conditions),
    }
    registry.set_status(DEPLOYMENTS, deployment, {key: value for key, value in status.items() if value != 0})
