"""The documents by which clients learn what a server knows: /api, /apis, the groups, and as much OpenAPI as kubectl needs.

kubectl checks manifests on the server's side when OpenAPI v3 says that PATCH of a kind takes `fieldValidation`, and else
wants the complete schemas. So the v3 documents here say just that, and the v2 document is an empty one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from podmirror_sandbox.cluster.resources import RESOURCES, Resource

if TYPE_CHECKING:
    from podmirror_sandbox.cluster.objects import Object

VERSION: Object = {
    "major": "1",
    "minor": "36",
    "gitVersion": "v1.36.2-sandbox",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}

_GROUPS = sorted({(resource.group, resource.version) for resource in RESOURCES if resource.group})


def document(path: str, prefix: str) -> Object | None:
    """The discovery document at a path, or None when there is none.

    `prefix` stands before the path in the URLs of this server, which the index of OpenAPI v3 repeats.
    """
    parts = path.strip("/").split("/")
    if parts == ["version"]:
        return VERSION
    if parts == ["api"]:
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
    if parts == ["apis"]:
        groups = [_group(group, version) for group, version in _GROUPS]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    if parts == ["api", "v1"]:
        return _resources("", "v1")
    if parts[0] == "apis" and len(parts) == 2:
        versions = [version for group, version in _GROUPS if group == parts[1]]
        if versions:
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(parts[1], versions[0])}
    if parts[0] == "apis" and len(parts) == 3 and (parts[1], parts[2]) in _GROUPS:
        return _resources(parts[1], parts[2])
    if parts[0] == "openapi":
        return _openapi(parts[1:], prefix)
    return None


def _group(group: str, version: str) -> Object:
    entry = {"groupVersion": f"{group}/{version}", "version": version}
    return {"name": group, "versions": [entry], "preferredVersion": entry}


def _resources(group: str, version: str) -> Object:
    entries: list[Object] = []
    for resource in RESOURCES:
        if (resource.group, resource.version) == (group, version):
            entries += _entries(resource)
    group_version = f"{group}/{version}" if group else version
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": entries,
    }


def _entries(resource: Resource) -> list[Object]:
    entry: Object = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    entries = [entry]
    for name, kind, verbs in resource.subresources:
        subresource: Object = {
            "name": f"{resource.plural}/{name}",
            "singularName": "",
            "namespaced": resource.namespaced,
            "kind": kind,
            "verbs": list(verbs),
        }
        if kind == "Scale":
            subresource |= {"group": "autoscaling", "version": "v1"}
        entries.append(subresource)
    return entries


def _openapi(parts: list[str], prefix: str) -> Object | None:
    paths = ["api/v1", *(f"apis/{group}/{version}" for group, version in _GROUPS)]
    if parts == ["v2"]:
        return {"swagger": "2.0", "info": {"title": "podmirror sandbox", "version": "1"}, "paths": {}}
    if parts == ["v3"]:
        return {"paths": {path: {"serverRelativeURL": f"{prefix}/openapi/v3/{path}"} for path in paths}}
    path = "/".join(parts[1:])
    if parts[0] != "v3" or path not in paths:
        return None
    group, version = ("", "v1") if path == "api/v1" else (parts[2], parts[3])
    validation = {"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}
    operations = {}
    for resource in RESOURCES:
        if (resource.group, resource.version) == (group, version):
            kind = {"group": group, "version": version, "kind": resource.kind}
            scope = "/namespaces/{namespace}" if resource.namespaced else ""
            operations[f"/{path}{scope}/{resource.plural}/{{name}}"] = {
                "patch": {
                    "x-kubernetes-group-version-kind": kind,
                    "x-kubernetes-action": "patch",
                    "parameters": [validation],
                    "responses": {},
                }
            }
    info = {"title": "podmirror sandbox", "version": "1"}
    return {"openapi": "3.0.0", "info": info, "paths": operations, "components": {"schemas": {}}}
