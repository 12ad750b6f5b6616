"""The garbage collector: what is owned by nobody any more goes."""

from __future__ import annotations

from podmirror_sandbox.cluster.objects import is_deleting, name_of, namespace_of, uid_of
from podmirror_sandbox.cluster.registry import DeleteOptions, Registry
from podmirror_sandbox.cluster.resources import STORED


def collect_garbage(registry: Registry) -> None:
    """Delete every object whose owners are all gone."""
    store = registry.store
    alive = {uid_of(item) for resource in STORED for item in store.all_of(resource)}
    for resource in STORED:
        for item in store.all_of(resource):
            owners = item["metadata"].get("ownerReferences") or []
            if owners and not is_deleting(item) and not any(owner["uid"] in alive for owner in owners):
                options = DeleteOptions(propagation="Background")
                registry.delete(resource, namespace_of(item), name_of(item), options)
