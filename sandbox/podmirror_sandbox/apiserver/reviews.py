"""What a request asks for, as a permission; and the answers to clients who ask what they may do, and who they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podmirror_sandbox.cluster.authorization import ADMIN, Attributes, is_allowed
from podmirror_sandbox.cluster.resources import IDENTITY_REVIEWS, Resource

if TYPE_CHECKING:
    from aiohttp import web

    from podmirror_sandbox.apiserver.paths import Target
    from podmirror_sandbox.cluster.objects import Object
    from podmirror_sandbox.cluster.store import Store

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}
_UPGRADED = ("attach", "exec", "portforward")
"""Of these a WebSocket's GET needs `create`, too, since 1.35 (pkg/registry/core/pod/rest/subresources.go)."""


def attributes_of(request: web.Request, target: Target) -> list[Attributes]:
    """The permissions that a request takes."""
    verbs = [_verb(request, target)]
    if target.subresource in _UPGRADED and verbs == ["get"]:
        verbs.append("create")
    resource = target.resource
    return [
        Attributes(verb, resource.group, resource.plural, target.subresource, target.namespace, target.name)
        for verb in verbs
    ]


def _verb(request: web.Request, target: Target) -> str:
    if request.method in ("GET", "HEAD"):
        if request.query.get("watch") in ("true", "1"):
            return "watch"
        return "get" if target.name else "list"
    if request.method == "DELETE":
        return "delete" if target.name else "deletecollection"
    return _VERBS.get(request.method, request.method.lower())


def review(store: Store, user: str, resource: Resource, body: Object) -> Object:
    """The answer to "may I" or to "who am I"."""
    answer: Object = {
        "kind": resource.kind,
        "apiVersion": resource.api_version,
        "metadata": {"creationTimestamp": None},
    }
    if resource is IDENTITY_REVIEWS:
        groups = ["system:masters"] if user == ADMIN else []
        info = {"username": user, "uid": user, "groups": [*groups, "system:authenticated"]}
        return {**answer, "status": {"userInfo": info}}
    spec = body.get("spec") or {}
    wanted = spec.get("resourceAttributes") or {}
    asked = Attributes(
        verb=wanted.get("verb", ""),
        group=wanted.get("group", ""),
        resource=wanted.get("resource", ""),
        subresource=wanted.get("subresource", ""),
        namespace=wanted.get("namespace", ""),
        name=wanted.get("name", ""),
    )
    allowed = is_allowed(store, user, asked)
    return {**answer, "spec": spec, "status": {"allowed": allowed}}
