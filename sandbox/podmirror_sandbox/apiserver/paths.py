"""From a request's path to what it is about."""

from __future__ import annotations

from dataclasses import dataclass

from podmirror_sandbox.cluster.resources import Resource, by_path


@dataclass(frozen=True)
class Target:
    """What a path names: all objects of a kind, those of a namespace, one, or a part of one."""

    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""


def parse_path(path: str) -> Target | None:
    """What a path names, or None when the server has nothing there."""
    parts = path.strip("/").split("/")
    if parts[:2] == ["api", "v1"]:
        group, version, rest = "", "v1", parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    if not rest:
        return None
    namespace = ""
    # `namespaces/x/pods` is inside a namespace; `namespaces/x` is one; `namespaces/x/status` is a part of one.
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    resource = by_path(group, version, rest[0])
    if resource is None or len(rest) > 3 or "" in rest or (namespace and not resource.namespaced):
        return None
    name, subresource = [*rest[1:], "", ""][:2]
    if resource.namespaced and name and not namespace:
        return None
    known = {entry[0] for entry in resource.subresources}
    if subresource and subresource not in known:
        return None
    return Target(resource, namespace, name, subresource)
