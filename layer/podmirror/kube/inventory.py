"""What there is in a namespace that could be mirrored."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from podmirror.kube.cluster import Cluster, Refusal
from podmirror.kube.containers import staying, target_port


@dataclass(frozen=True, slots=True)
class Entry:
    """One target."""

    kind: str
    name: str
    ready: int
    """Pods that are ready."""
    wanted: int
    """Pods that there should be."""
    containers: tuple[str, ...]
    ports: tuple[str, ...]

    @property
    def target(self) -> str:
        """What to give to -t."""
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True)
class Inventory:
    """What was found, and what could not be looked at."""

    entries: list[Entry]
    refusals: list[str]


Reader = Callable[[Cluster], Awaitable[list[Entry]]]


async def take_inventory(cluster: Cluster, kinds: Iterable[str]) -> Inventory:
    """List targets of some kinds.

    A kind that may not be listed is told of and leaves the others be.

    Raises:
        NotStarted: The API server cannot be reached.
    """
    entries: list[Entry] = []
    refusals: list[str] = []
    wanted = list(kinds)
    outcomes = await asyncio.gather(*(_read(cluster, kind) for kind in wanted))
    for outcome in outcomes:
        if isinstance(outcome, Refusal):
            if (
                outcome.status != HTTPStatus.NOT_FOUND
            ):  # else the cluster does not know this kind, as rollouts without Argo
                refusals.append(outcome.message)
        else:
            entries += outcome
    return Inventory(entries, refusals)


async def _read(cluster: Cluster, kind: str) -> list[Entry] | Refusal:
    try:
        return await _READERS[kind](cluster)
    except Refusal as refusal:
        return refusal


async def _pods(cluster: Cluster) -> list[Entry]:
    pods = await cluster.call(cluster.core.list_namespaced_pod, cluster.namespace)
    return [
        Entry("pod", pod.metadata.name, int(_is_ready(pod)), 1, *_shape(pod.spec))
        for pod in pods.items
        if pod.status.phase not in ("Succeeded", "Failed")
    ]


async def _deployments(cluster: Cluster) -> list[Entry]:
    found = await cluster.call(cluster.apps.list_namespaced_deployment, cluster.namespace)
    return [_replicated("deployment", each) for each in found.items]


async def _stateful_sets(cluster: Cluster) -> list[Entry]:
    found = await cluster.call(cluster.apps.list_namespaced_stateful_set, cluster.namespace)
    return [_replicated("statefulset", each) for each in found.items]


async def _replica_sets(cluster: Cluster) -> list[Entry]:
    found = await cluster.call(cluster.apps.list_namespaced_replica_set, cluster.namespace)
    return [_replicated("replicaset", each) for each in found.items if each.spec.replicas]


async def _daemon_sets(cluster: Cluster) -> list[Entry]:
    found = await cluster.call(cluster.apps.list_namespaced_daemon_set, cluster.namespace)
    return [
        Entry(
            "daemonset",
            each.metadata.name,
            each.status.number_ready or 0,
            each.status.desired_number_scheduled or 0,
            *_shape(each.spec.template.spec),
        )
        for each in found.items
    ]


async def _jobs(cluster: Cluster) -> list[Entry]:
    found = await cluster.call(cluster.batch.list_namespaced_job, cluster.namespace)
    return [
        Entry(
            "job",
            each.metadata.name,
            each.status.ready or 0,
            each.status.active or 0,
            *_shape(each.spec.template.spec),
        )
        for each in found.items
        if each.status.active
    ]


async def _cron_jobs(cluster: Cluster) -> list[Entry]:
    found = await cluster.call(cluster.batch.list_namespaced_cron_job, cluster.namespace)
    entries = []
    for each in found.items:
        active = len(each.status.active or [])
        shape = _shape(each.spec.job_template.spec.template.spec)
        entries.append(Entry("cronjob", each.metadata.name, active, active, *shape))
    return entries


async def _services(cluster: Cluster) -> list[Entry]:
    found = await cluster.call(cluster.core.list_namespaced_service, cluster.namespace)
    pods = (await cluster.call(cluster.core.list_namespaced_pod, cluster.namespace)).items
    entries = []
    for each in found.items:
        selector = each.spec.selector or {}
        behind = [pod for pod in pods if selector and selector.items() <= (pod.metadata.labels or {}).items()]
        containers = _shape(behind[0].spec)[0] if behind else ()
        ports = tuple(_port(target_port(port, behind), port.protocol) for port in each.spec.ports or [])
        ready = sum(map(_is_ready, behind))
        entries.append(Entry("service", each.metadata.name, ready, len(behind), containers, ports))
    return entries


async def _rollouts(cluster: Cluster) -> list[Entry]:
    found: Any = await cluster.call(
        cluster.custom.list_namespaced_custom_object, "argoproj.io", "v1alpha1", cluster.namespace, "rollouts"
    )
    entries = []
    for each in found["items"]:
        containers = each["spec"].get("template", {}).get("spec", {}).get("containers", [])
        names = tuple(container["name"] for container in containers)
        ports = tuple(
            str(port["containerPort"]) for container in containers for port in container.get("ports", [])
        )
        ready, wanted = each.get("status", {}).get("readyReplicas", 0), each["spec"].get("replicas", 1)
        entries.append(Entry("rollout", each["metadata"]["name"], ready, wanted, names, ports))
    return entries


_READERS: dict[str, Reader] = {
    "deployment": _deployments,
    "statefulset": _stateful_sets,
    "daemonset": _daemon_sets,
    "replicaset": _replica_sets,
    "job": _jobs,
    "cronjob": _cron_jobs,
    "service": _services,
    "rollout": _rollouts,
    "pod": _pods,
}


def _replicated(kind: str, workload: Any) -> Entry:  # kubernetes has no types
    return Entry(
        kind,
        workload.metadata.name,
        workload.status.ready_replicas or 0,
        workload.spec.replicas or 0,
        *_shape(workload.spec.template.spec),
    )


def _shape(spec: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:  # kubernetes has no types
    """Give the names of the containers that stay, and the ports that they declare."""
    containers = staying(spec)
    ports = tuple(
        _port(port.container_port, port.protocol) for each in containers for port in each.ports or []
    )
    return tuple(each.name for each in containers), ports


def _port(port: int | str, protocol: str | None) -> str:
    """Write a port as it can be given to -p; one that is not TCP cannot."""
    return str(port) if protocol in (None, "TCP") else f"{port}/{protocol}"


def _is_ready(pod: Any) -> bool:  # kubernetes has no types
    return any(each.type == "Ready" and each.status == "True" for each in pod.status.conditions or [])
