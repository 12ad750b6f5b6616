"""What `kubectl get` prints: the server makes the columns, kubectl only sets them out (`as=Table`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from podmirror_sandbox.cluster.objects import Object, is_deleting, labels_of, name_of, parse_timestamp
from podmirror_sandbox.cluster.phases import is_ready
from podmirror_sandbox.cluster.resources import (
    CRON_JOBS,
    DAEMON_SETS,
    DEPLOYMENTS,
    EVENTS,
    JOBS,
    NAMESPACES,
    NODES,
    PODS,
    REPLICA_SETS,
    SERVICES,
    STATEFUL_SETS,
    Resource,
)

Row = Callable[[Object, datetime], list[Any]]


@dataclass(frozen=True)
class _Layout:
    columns: tuple[str, ...]
    """Those that begin with a plus sign show with `-o wide` only."""
    row: Row


def table(
    resource: Resource, items: list[Object], now: datetime, version: str, *, columns: bool = True
) -> Object:
    """A `meta.k8s.io/v1` Table of some objects; in a watch only the first one carries the columns."""
    layout = _LAYOUTS.get(resource, _PLAIN)
    definitions = [
        {
            "name": column.lstrip("+"),
            "type": "string",
            "format": "name" if column == "Name" else "",
            "description": "",
            "priority": int(column.startswith("+")),
        }
        for column in layout.columns
    ]
    rows = [{"cells": layout.row(item, now), "object": _partial(item)} for item in items]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": version},
        "columnDefinitions": definitions if columns else [],
        "rows": rows,
    }


def age(since: str | None, now: datetime) -> str:
    """How long ago, as kubectl prints it (`duration.HumanDuration`)."""
    if not since:
        return "<unknown>"
    seconds = max(0, int((now - parse_timestamp(since)).total_seconds()))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    return f"{hours}h" if hours < 48 else f"{days}d"


def pod_reason(pod: Object) -> str:
    """The STATUS column: the phase, or what is more telling (`printPod`)."""
    status = pod.get("status") or {}
    if is_deleting(pod):
        return "Terminating"
    sidecars = _sidecars(pod)
    for index, entry in enumerate(status.get("initContainerStatuses") or []):
        ended = entry["state"].get("terminated")
        # One that is not a sidecar is waited for to end, and so keeps the others back while it runs.
        if (entry["name"] in sidecars and entry.get("started")) or (ended and ended["exitCode"] == 0):
            continue
        waiting = (entry["state"].get("waiting") or {}).get("reason")
        if ended:
            return f"Init:{ended['reason']}"
        if waiting and waiting != "PodInitializing":
            return f"Init:{waiting}"
        return f"Init:{index}/{len(pod['spec']['initContainers'])}"
    reason = str(status.get("reason") or status.get("phase", "Unknown"))
    # The first container has the last word, as in printPod.
    for entry in reversed(status.get("containerStatuses") or []):
        state = entry["state"]
        if (state.get("waiting") or {}).get("reason"):
            reason = state["waiting"]["reason"]
        elif "terminated" in state:
            reason = state["terminated"]["reason"]
    return reason


def _sidecars(pod: Object) -> set[str]:
    entries = pod["spec"].get("initContainers") or []
    return {entry["name"] for entry in entries if entry.get("restartPolicy") == "Always"}


def _partial(item: Object) -> Object:
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": item["metadata"],
    }


def _age_of(item: Object, now: datetime) -> str:
    return age(item["metadata"].get("creationTimestamp"), now)


def _pod(pod: Object, now: datetime) -> list[Any]:
    status = pod.get("status") or {}
    sidecars = _sidecars(pod)
    beside = [entry for entry in status.get("initContainerStatuses") or [] if entry["name"] in sidecars]
    statuses = [*(status.get("containerStatuses") or []), *beside]
    ready = sum(entry["ready"] for entry in statuses)
    return [
        name_of(pod),
        f"{ready}/{len(pod['spec']['containers']) + len(sidecars)}",
        pod_reason(pod),
        sum(entry["restartCount"] for entry in statuses),
        _age_of(pod, now),
        status.get("podIP") or "<none>",
        pod["spec"].get("nodeName") or "<none>",
        "<none>",
        "<none>",
    ]


def _containers(item: Object) -> list[str]:
    entries = item["spec"]["template"]["spec"]["containers"]
    return [",".join(entry["name"] for entry in entries), ",".join(entry["image"] for entry in entries)]


def _selector(item: Object) -> str:
    labels = (item["spec"].get("selector") or {}).get("matchLabels") or {}
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items())) or "<none>"


def _deployment(item: Object, now: datetime) -> list[Any]:
    status = item.get("status") or {}
    return [
        name_of(item),
        f"{status.get('readyReplicas', 0)}/{item['spec']['replicas']}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        _age_of(item, now),
        *_containers(item),
        _selector(item),
    ]


def _replica_set(item: Object, now: datetime) -> list[Any]:
    status = item.get("status") or {}
    return [
        name_of(item),
        item["spec"]["replicas"],
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        _age_of(item, now),
        *_containers(item),
        _selector(item),
    ]


def _stateful_set(item: Object, now: datetime) -> list[Any]:
    ready = (item.get("status") or {}).get("readyReplicas", 0)
    return [name_of(item), f"{ready}/{item['spec']['replicas']}", _age_of(item, now), *_containers(item)]


def _daemon_set(item: Object, now: datetime) -> list[Any]:
    status = item.get("status") or {}
    fields = ("desiredNumberScheduled", "currentNumberScheduled", "numberReady")
    return [name_of(item), *(status.get(field, 0) for field in fields), _age_of(item, now)]


def _cron_job(item: Object, now: datetime) -> list[Any]:
    status, spec = item.get("status") or {}, item["spec"]
    last = status.get("lastScheduleTime")
    active = len(status.get("active") or [])
    since = age(last, now) if last else "<none>"
    return [name_of(item), spec["schedule"], str(spec["suspend"]), active, since, _age_of(item, now)]


def _job(item: Object, now: datetime) -> list[Any]:
    status = item.get("status") or {}
    true = {entry["type"] for entry in status.get("conditions") or [] if entry["status"] == "True"}
    state = next((kind for kind in ("Complete", "Failed") if kind in true), "Running")
    duration = ""
    if "startTime" in status:
        end = status.get("completionTime")
        duration = age(status["startTime"], parse_timestamp(end) if end else now)
    return [
        name_of(item),
        state,
        f"{status.get('succeeded', 0)}/{item['spec']['completions']}",
        duration,
        _age_of(item, now),
        *_containers(item),
        _selector(item),
    ]


def _namespace(item: Object, now: datetime) -> list[Any]:
    status = "Terminating" if is_deleting(item) else "Active"
    return [name_of(item), status, _age_of(item, now)]


def _node(item: Object, now: datetime) -> list[Any]:
    info = item["status"]["nodeInfo"]
    addresses = {entry["type"]: entry["address"] for entry in item["status"]["addresses"]}
    prefix = "node-role.kubernetes.io/"
    roles = [label.removeprefix(prefix) for label in labels_of(item) if label.startswith(prefix)]
    return [
        name_of(item),
        "Ready" if is_ready(item) else "NotReady",
        ",".join(roles) or "<none>",
        _age_of(item, now),
        info["kubeletVersion"],
        addresses.get("InternalIP", "<none>"),
        "<none>",
        info["osImage"],
        info["kernelVersion"],
        info["containerRuntimeVersion"],
    ]


def _event(item: Object, now: datetime) -> list[Any]:
    involved = item["involvedObject"]
    return [
        age(item.get("lastTimestamp"), now),
        item["type"],
        item["reason"],
        f"{involved['kind'].lower()}/{involved['name']}",
        item["message"],
        name_of(item),
    ]


def _service(item: Object, now: datetime) -> list[Any]:
    ports = [f"{port['port']}/{port.get('protocol', 'TCP')}" for port in item["spec"].get("ports") or []]
    labels = item["spec"].get("selector") or {}
    selector = ",".join(f"{key}={value}" for key, value in sorted(labels.items())) or "<none>"
    # There is no proxy and so no cluster IP, as with a headless Service.
    kind = item["spec"].get("type", "ClusterIP")
    return [name_of(item), kind, "None", "<none>", ",".join(ports) or "<none>", _age_of(item, now), selector]


def _plain(item: Object, now: datetime) -> list[Any]:
    return [name_of(item), _age_of(item, now)]


_PLAIN = _Layout(("Name", "Age"), _plain)
_LAYOUTS: dict[Resource, _Layout] = {
    PODS: _Layout(
        (
            "Name",
            "Ready",
            "Status",
            "Restarts",
            "Age",
            "+IP",
            "+Node",
            "+Nominated Node",
            "+Readiness Gates",
        ),
        _pod,
    ),
    DEPLOYMENTS: _Layout(
        ("Name", "Ready", "Up-to-date", "Available", "Age", "+Containers", "+Images", "+Selector"),
        _deployment,
    ),
    REPLICA_SETS: _Layout(
        ("Name", "Desired", "Current", "Ready", "Age", "+Containers", "+Images", "+Selector"),
        _replica_set,
    ),
    STATEFUL_SETS: _Layout(("Name", "Ready", "Age", "+Containers", "+Images"), _stateful_set),
    DAEMON_SETS: _Layout(("Name", "Desired", "Current", "Ready", "Age"), _daemon_set),
    CRON_JOBS: _Layout(("Name", "Schedule", "Suspend", "Active", "Last Schedule", "Age"), _cron_job),
    JOBS: _Layout(
        ("Name", "Status", "Completions", "Duration", "Age", "+Containers", "+Images", "+Selector"), _job
    ),
    NAMESPACES: _Layout(("Name", "Status", "Age"), _namespace),
    NODES: _Layout(
        (
            "Name",
            "Status",
            "Roles",
            "Age",
            "Version",
            "+Internal-IP",
            "+External-IP",
            "+OS-Image",
            "+Kernel-Version",
            "+Container-Runtime",
        ),
        _node,
    ),
    EVENTS: _Layout(("Last Seen", "Type", "Reason", "Object", "Message", "+Name"), _event),
    SERVICES: _Layout(("Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "+Selector"), _service),
}
