"""The three ways a PATCH can be written: JSON patch, merge patch and strategic merge patch.

Strategic merge differs from merge in its lists: those whose elements have a key (a container's name) are merged element
by element. Which list has which key stands in Kubernetes' Go types; `MERGE_KEYS` repeats those of the kinds that the
sandbox knows. Directives: `$patch: delete|replace` in an element or a map, `$setElementOrder/<list>` (kubectl apply
sends it), `$deleteFromPrimitiveList/<list>` and `$retainKeys`.
"""

from __future__ import annotations

import copy
from typing import Any

from podmirror_sandbox.cluster.apierrors import ApiError

MERGE_KEYS: dict[str, tuple[str, ...]] = {
    "conditions": ("type",),
    "containers": ("name",),
    "env": ("name",),
    "ephemeralContainers": ("name",),
    "hostAliases": ("ip",),
    "imagePullSecrets": ("name",),
    "initContainers": ("name",),
    "ownerReferences": ("uid",),
    # A list called `ports` is keyed by containerPort in a container and by port in a Service.
    "ports": ("containerPort", "port"),
    "topologySpreadConstraints": ("topologyKey",),
    "volumeDevices": ("devicePath",),
    "volumeMounts": ("mountPath",),
    "volumes": ("name",),
}
PRIMITIVE_LISTS = {"finalizers"}
"""Lists of plain values that strategic merge unites instead of replacing."""


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7386: maps are merged, null removes, all else replaces."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def strategic_merge_patch(target: Any, patch: Any) -> Any:
    """Merge with the lists of `MERGE_KEYS` merged by their keys."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    if patch.get("$patch") == "replace":
        return {key: copy.deepcopy(value) for key, value in patch.items() if key != "$patch"}
    if "$retainKeys" in patch:
        merged = {key: value for key, value in merged.items() if key in patch["$retainKeys"]}
    for key, value in patch.items():
        if key.startswith("$"):
            _follow_directive(merged, key, value)
        elif value is None:
            merged.pop(key, None)
        elif isinstance(value, list):
            merged[key] = _merge_list(key, merged.get(key) or [], value)
        else:
            merged[key] = strategic_merge_patch(merged.get(key), value)
    # The order is set last, because the lists it speaks of are complete only now.
    for key, order in patch.items():
        if key.startswith("$setElementOrder/"):
            _set_order(merged, key.partition("/")[2], order)
    return merged


def json_patch(target: Any, operations: Any) -> Any:
    """RFC 6902.

    Raises:
        ApiError: 422 when an operation cannot be applied.
    """
    result = copy.deepcopy(target)
    if not isinstance(operations, list):
        raise ApiError.bad_request("error decoding patch: a JSON patch is a list of operations")
    for operation in operations:
        try:
            result = _apply(result, operation)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            message = f"the server rejected our request due to an error in our request: {error}"
            raise ApiError(422, "Invalid", message) from error
    return result


def _merge_list(name: str, current: list[Any], patch: list[Any]) -> list[Any]:
    if name in PRIMITIVE_LISTS:
        return current + [value for value in patch if value not in current]
    key = _key_of(name, patch)
    if key is None:
        return copy.deepcopy(patch)
    if any(entry.get("$patch") == "replace" for entry in patch):
        return [copy.deepcopy(entry) for entry in patch if "$patch" not in entry]
    merged = list(current)
    for entry in patch:
        if key not in entry:
            message = f"map: {entry} does not contain declared merge key: {key}"
            raise ApiError(500, "InternalError", message)
        at = next((i for i, old in enumerate(merged) if old.get(key) == entry[key]), None)
        if entry.get("$patch") == "delete":
            if at is not None:
                merged.pop(at)
        elif at is None:
            # Merging into nothing rather than copying, so that nested directives are followed and do not stay.
            merged.append(strategic_merge_patch({}, entry))
        else:
            merged[at] = strategic_merge_patch(merged[at], entry)
    return merged


def _key_of(name: str, entries: list[Any]) -> str | None:
    keys = MERGE_KEYS.get(name)
    if keys is None or not all(isinstance(entry, dict) for entry in entries):
        return None
    return next((key for key in keys if any(key in entry for entry in entries)), keys[0])


def _follow_directive(merged: dict[str, Any], directive: str, value: Any) -> None:
    kind, _, name = directive.partition("/")
    if kind == "$deleteFromPrimitiveList":
        merged[name] = [entry for entry in merged.get(name) or [] if entry not in value]


def _set_order(merged: dict[str, Any], name: str, order: list[Any]) -> None:
    current = merged.get(name)
    if not isinstance(current, list) or not order:
        return
    key = _key_of(name, order)
    wanted = [entry.get(key) if key and isinstance(entry, dict) else entry for entry in order]

    def place(entry: Any) -> int:
        value = entry.get(key) if key and isinstance(entry, dict) else entry
        return wanted.index(value) if value in wanted else len(wanted)

    merged[name] = sorted(current, key=place)


def _apply(document: Any, operation: dict[str, Any]) -> Any:
    kind, path = operation["op"], operation["path"]
    if kind in ("copy", "move"):
        value = copy.deepcopy(_resolve(document, operation["from"]))
        if kind == "move":
            document = _apply(document, {"op": "remove", "path": operation["from"]})
        return _apply(document, {"op": "add", "path": path, "value": value})
    if kind == "test":
        if _resolve(document, path) != operation["value"]:
            raise ValueError(f"testing value {path} failed")
        return document
    if kind not in ("add", "remove", "replace"):
        raise ValueError(f"unexpected kind: {kind}")
    if path == "":
        return copy.deepcopy(operation.get("value"))
    parent_path, _, last = path.rpartition("/")
    parent, last = _resolve(document, parent_path), _unescape(last)
    if isinstance(parent, list):
        _apply_to_list(parent, kind, last, operation)
    elif kind == "add":
        parent[last] = copy.deepcopy(operation["value"])
    else:
        del parent[last]
        if kind == "replace":
            parent[last] = copy.deepcopy(operation["value"])
    return document


def _apply_to_list(parent: list[Any], kind: str, last: str, operation: dict[str, Any]) -> None:
    if kind == "add":
        parent.insert(len(parent) if last == "-" else int(last), copy.deepcopy(operation["value"]))
    elif kind == "remove":
        del parent[int(last)]
    else:
        parent[int(last)] = copy.deepcopy(operation["value"])


def _resolve(document: Any, path: str) -> Any:
    for part in path.split("/")[1:]:
        document = document[int(part)] if isinstance(document, list) else document[_unescape(part)]
    return document


def _unescape(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~")
