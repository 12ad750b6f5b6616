"""Controllers that create pods, and are told that they may not."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from podmirror_sandbox.cluster.apierrors import ApiError
from podmirror_sandbox.cluster.events import record
from podmirror_sandbox.cluster.objects import (
    Object,
    name_of,
    namespace_of,
    owner_reference,
    seconds_after,
    uid_of,
)
from podmirror_sandbox.cluster.resources import EVENTS, PODS

if TYPE_CHECKING:
    from datetime import datetime

    from podmirror_sandbox.cluster.registry import Registry

LONGEST_DELAY = 60.0
"""Seconds between tries; the first is repeated after one, and each later one after twice as long."""


def create_pod(registry: Registry, owner: Object, *, source: str) -> Object | None:
    """Create a pod of the owner's template, and tell of it by an event.

    Returns:
        The pod; None if it was refused, now or so short a time ago that it is not tried again yet.
    """
    due = next_try(registry, owner)
    if due is not None and registry.clock() < due:
        return None
    try:
        pod = registry.create(PODS, namespace_of(owner), pod_from_template(owner, owner["spec"]["template"]))
    except ApiError as error:
        record(
            registry, owner, "FailedCreate", f"Error creating: {error.message}", warning=True, source=source
        )
        return None
    record(registry, owner, "SuccessfulCreate", f"Created pod: {name_of(pod)}", source=source)
    return pod


def next_try(registry: Registry, owner: Object) -> datetime | None:
    """When creating a pod is tried again; None if no try has failed. The events are all that is known of tries."""
    failed = [
        event
        for event in registry.store.all_of(EVENTS, namespace_of(owner))
        if event["reason"] == "FailedCreate" and event["involvedObject"].get("uid") == uid_of(owner)
    ]
    if not failed:
        return None
    tries = sum(event["count"] for event in failed)
    delay = min(2.0 ** min(tries - 1, 10), LONGEST_DELAY)
    return seconds_after(max(event["lastTimestamp"] for event in failed), delay)


def pod_from_template(owner: Object, template: Object) -> Object:
    """A pod that `owner` controls."""
    metadata = {
        "generateName": f"{name_of(owner)}-",
        "labels": dict(template["metadata"].get("labels") or {}),
        "annotations": dict(template["metadata"].get("annotations") or {}),
        "ownerReferences": [owner_reference(owner)],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": copy.deepcopy(template["spec"])}
