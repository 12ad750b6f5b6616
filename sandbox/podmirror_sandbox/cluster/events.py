"""Events: what controllers and the kubelet tell about an object, as `kubectl describe` shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podmirror_sandbox.cluster.objects import (
    Object,
    name_of,
    namespace_of,
    random_suffix,
    timestamp,
    uid_of,
)
from podmirror_sandbox.cluster.resources import EVENTS

if TYPE_CHECKING:
    from podmirror_sandbox.cluster.registry import Registry

KEPT = 500
"""How many events are kept: a real cluster forgets them after an hour."""


def record(
    registry: Registry,
    item: Object,
    reason: str,
    message: str,
    *,
    warning: bool = False,
    source: str = "kubelet",
    field_path: str = "",
) -> None:
    """Store an event about an object, or count up the one that says the same.

    Args:
        registry: Where.
        item: The object.
        reason: In one word.
        message: In words.
        warning: Whether it is a warning.
        source: Who says so.
        field_path: The part of the object that it is about, as the kubelet names a container's; the whole if empty.
    """
    store = registry.store
    namespace = namespace_of(item) or "default"
    now = timestamp(registry.clock())
    events = store.all_of(EVENTS, namespace)
    for event in events:
        involved = event["involvedObject"]
        same = involved.get("uid") == uid_of(item) and involved.get("fieldPath", "") == field_path
        if same and event["reason"] == reason and event["message"] == message:
            store.put(EVENTS, {**event, "count": event["count"] + 1, "lastTimestamp": now})
            return
    if len(events) >= KEPT:
        oldest = min(events, key=lambda event: int(event["metadata"]["resourceVersion"]))
        store.remove(EVENTS, namespace, name_of(oldest))
    name = f"{name_of(item)}.{random_suffix(16)}"
    metadata = {"name": name, "namespace": namespace, "uid": name, "creationTimestamp": now}
    involved = {
        "apiVersion": item["apiVersion"],
        "kind": item["kind"],
        "name": name_of(item),
        "namespace": namespace,
        "uid": uid_of(item),
    }
    if field_path:
        involved["fieldPath"] = field_path
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": metadata,
        "involvedObject": involved,
        "reason": reason,
        "message": message,
        "type": "Warning" if warning else "Normal",
        "source": {"component": source},
        "reportingComponent": source,
        "reportingInstance": "",
        "count": 1,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "eventTime": None,
    }
    store.put(EVENTS, event)
