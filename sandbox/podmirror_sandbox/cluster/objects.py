"""The words every other module uses for Kubernetes objects, which are plain JSON here as they are on the wire."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

Object = dict[str, Any]
"""A Kubernetes object. Stored ones are never changed in place: a change stores a new one."""

Clock = Callable[[], datetime]
"""Where the time comes from, so that tests can say what time it is."""

# The alphabet of generated names, as apimachinery's `rand.String`: no vowels, so that no word appears by accident.
_NAME_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def timestamp(moment: datetime) -> str:
    """A `metav1.Time`: whole seconds, UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_timestamp(text: str) -> datetime:
    """The moment a `metav1.Time` names."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def seconds_after(text: str, seconds: float) -> datetime:
    """The moment some seconds after a `metav1.Time`."""
    return parse_timestamp(text) + timedelta(seconds=seconds)


def random_suffix(length: int = 5) -> str:
    """What the server appends to a `generateName`."""
    return "".join(random.choices(_NAME_ALPHABET, k=length))  # noqa: S311  # a name, not a secret


def name_of(item: Object) -> str:
    """`metadata.name`."""
    return str(item["metadata"]["name"])


def namespace_of(item: Object) -> str:
    """`metadata.namespace`, empty for what belongs to no namespace."""
    return str(item["metadata"].get("namespace", ""))


def uid_of(item: Object) -> str:
    """`metadata.uid`."""
    return str(item["metadata"]["uid"])


def labels_of(item: Object) -> dict[str, str]:
    """`metadata.labels`, never None."""
    return dict(item["metadata"].get("labels") or {})


def is_deleting(item: Object) -> bool:
    """Whether somebody asked for its deletion."""
    return "deletionTimestamp" in item["metadata"]


def owner_reference(owner: Object) -> Object:
    """The reference by which an object says that `owner` controls it."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": name_of(owner),
        "uid": uid_of(owner),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def is_controlled_by(item: Object, owner: Object) -> bool:
    """Whether `owner` is the controller of `item`."""
    references = item["metadata"].get("ownerReferences") or []
    return any(reference.get("controller") and reference["uid"] == uid_of(owner) for reference in references)


def condition(kind: str, status: bool, moment: datetime, **more: str) -> Object:
    """One entry of `status.conditions`."""
    text = "True" if status else "False"
    return {"type": kind, "status": text, "lastTransitionTime": timestamp(moment), **more}


def merge_conditions(old: list[Object], new: list[Object]) -> list[Object]:
    """New conditions, with the transition time of the old ones where the status did not change."""
    known = {entry["type"]: entry for entry in old}
    merged = []
    for entry in new:
        before = known.get(entry["type"])
        if before is not None and before["status"] == entry["status"]:
            kept = {"lastTransitionTime": before["lastTransitionTime"]}
            merged.append({**entry, **kept})
        else:
            merged.append(entry)
    return merged
