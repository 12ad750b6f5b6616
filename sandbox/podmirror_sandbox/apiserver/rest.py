"""The verbs on objects: get, list, create, update, patch, delete. Watching is next door."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from aiohttp import web

from podmirror_sandbox.cluster.apierrors import ApiError
from podmirror_sandbox.cluster.objects import Object, name_of, namespace_of, uid_of
from podmirror_sandbox.cluster.patches import json_patch, merge_patch, strategic_merge_patch
from podmirror_sandbox.cluster.podsecurity import warning_of
from podmirror_sandbox.cluster.registry import DeleteOptions, Registry
from podmirror_sandbox.cluster.resources import PODS, SERVICE_ACCOUNTS, SERVICES
from podmirror_sandbox.cluster.selectors import Predicate, parse_field_selector, parse_label_selector
from podmirror_sandbox.cluster.tables import table

if TYPE_CHECKING:
    from collections.abc import Callable

    from podmirror_sandbox.apiserver.paths import Target

_PATCHES: dict[str, Callable[[Any, Any], Any]] = {
    "application/json-patch+json": json_patch,
    "application/merge-patch+json": merge_patch,
    "application/strategic-merge-patch+json": strategic_merge_patch,
}


# Of these the server answers a deletion with the object, of the others with a Status (`ReturnDeletedObject`).
_RETURNED_WHEN_DELETED = (PODS, SERVICES, SERVICE_ACCOUNTS)


class Rest:
    """Answers requests about stored objects."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._store = registry.store

    async def answer(self, request: web.Request, target: Target) -> web.Response:
        """Carry out one request.

        Raises:
            ApiError: when it is refused.
        """
        # HEAD is what some clients probe with, and is a GET without a body.
        verb = "GET" if request.method == "HEAD" else request.method
        if target.name:
            if verb == "GET":
                return self._get(request, target)
            if verb == "PUT":
                return await self._update(request, target)
            if verb == "PATCH":
                return await self._patch(request, target)
            if verb == "DELETE" and not target.subresource:
                return await self._delete(request, target)
        elif verb == "GET":
            return self._list(request, target)
        elif verb == "POST":
            return await self._create(request, target)
        elif verb == "DELETE":
            return await self._delete_all(request, target)
        message = "the server does not allow this method on the requested resource"
        raise ApiError(405, "MethodNotAllowed", message)

    def _get(self, request: web.Request, target: Target) -> web.Response:
        item = self._store.get(target.resource, target.namespace, target.name)
        return self._respond(request, target, item)

    def _list(self, request: web.Request, target: Target) -> web.Response:
        items = self._selected(request, target)
        version = str(self._store.revision)
        if wants_table(request):
            return web.json_response(table(target.resource, items, self._registry.clock(), version))
        return web.json_response(
            {
                "kind": f"{target.resource.kind}List",
                "apiVersion": target.resource.api_version,
                "metadata": {"resourceVersion": version},
                "items": items,
            }
        )

    async def _create(self, request: web.Request, target: Target) -> web.Response:
        body = await read_object(request)
        item = self._registry.create(target.resource, target.namespace, body, dry_run=is_dry_run(request))
        response = self._respond(request, target, item, status=201)
        warning = warning_of(self._store, target.resource, item)
        if warning:
            response.headers["Warning"] = f"299 - {json.dumps(warning)}"
        return response

    async def _update(self, request: web.Request, target: Target) -> web.Response:
        body = await read_object(request)
        return self._respond(request, target, self._write(request, target, body))

    async def _patch(self, request: web.Request, target: Target) -> web.Response:
        apply = _PATCHES.get(request.content_type)
        if apply is None:
            accepted = ", ".join(sorted(_PATCHES))
            message = "the body of the request was in an unknown format - accepted media types include: "
            raise ApiError(415, "UnsupportedMediaType", message + accepted)
        patch = await read_json(request)
        current = self._store.get(target.resource, target.namespace, target.name)
        shown = scale_of(current) if target.subresource == "scale" else current
        return self._respond(request, target, self._write(request, target, apply(shown, patch)))

    def _write(self, request: web.Request, target: Target, body: Object) -> Object:
        if target.subresource == "scale":
            current = self._store.get(target.resource, target.namespace, target.name)
            spec = {**current["spec"], "replicas": (body.get("spec") or {}).get("replicas", 0)}
            version = (body.get("metadata") or {}).get("resourceVersion")
            kept = version or current["metadata"]["resourceVersion"]
            metadata = {**current["metadata"], "resourceVersion": kept}
            body = {**current, "metadata": metadata, "spec": spec}
        subresource = "" if target.subresource == "scale" else target.subresource
        return self._registry.update(
            target.resource,
            target.namespace,
            body,
            name=target.name,
            subresource=subresource,
            dry_run=is_dry_run(request),
        )

    async def _delete(self, request: web.Request, target: Target) -> web.Response:
        options = await _delete_options(request)
        item = self._registry.delete(
            target.resource, target.namespace, target.name, options, dry_run=is_dry_run(request)
        )
        if target.resource in _RETURNED_WHEN_DELETED:
            return web.json_response(item)
        details = {"name": name_of(item), "kind": target.resource.plural, "uid": uid_of(item)}
        if target.resource.group:
            details["group"] = target.resource.group
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        return web.json_response({**status, "details": details})

    async def _delete_all(self, request: web.Request, target: Target) -> web.Response:
        options = await _delete_options(request)
        listed = self._list(request, target)
        for item in self._selected(request, target):
            self._registry.delete(
                target.resource, namespace_of(item), name_of(item), options, dry_run=is_dry_run(request)
            )
        return listed

    def _selected(self, request: web.Request, target: Target) -> list[Object]:
        matches = selection(request, target)
        return [item for item in self._store.all_of(target.resource, target.namespace) if matches(item)]

    def _respond(
        self, request: web.Request, target: Target, item: Object, *, status: int = 200
    ) -> web.Response:
        if target.subresource == "scale":
            item = scale_of(item)
        elif wants_table(request):
            version = item["metadata"].get("resourceVersion", "")
            item = table(target.resource, [item], self._registry.clock(), version)
        return web.json_response(item, status=status)


def selection(request: web.Request, target: Target) -> Predicate:
    """What the selectors of a request let through.

    Raises:
        ApiError: 400 when one cannot be read.
    """
    by_label = parse_label_selector(request.query.get("labelSelector", ""))
    by_field = parse_field_selector(request.query.get("fieldSelector", ""))
    # A watch or list of one object is how `kubectl get pod x -w` asks.
    return lambda item: (
        by_label(item) and by_field(item) and (not target.name or name_of(item) == target.name)
    )


def wants_table(request: web.Request) -> bool:
    """Whether the client prefers rows to objects, as `kubectl get` does."""
    return "as=Table" in request.headers.get("Accept", "")


def is_dry_run(request: web.Request) -> bool:
    """Whether the request only asks what would happen.

    Raises:
        ApiError: 400 for a value that nobody defined.
    """
    value = request.query.get("dryRun", "")
    if value not in ("", "All"):
        raise ApiError.bad_request(f'dryRun: Unsupported value: "{value}": supported values: "All"')
    return value == "All"


def scale_of(item: Object) -> Object:
    """The Scale object that stands for a workload."""
    labels = (item["spec"].get("selector") or {}).get("matchLabels") or {}
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {field: item["metadata"][field] for field in kept},
        "spec": {"replicas": item["spec"]["replicas"]},
        "status": {
            "replicas": (item.get("status") or {}).get("replicas", 0),
            "selector": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        },
    }


async def read_json(request: web.Request) -> Any:
    """The body of a request.

    Raises:
        ApiError: 400 when it is not JSON.
    """
    body = await request.read()
    try:
        return json.loads(body)
    except ValueError as error:
        raise ApiError.bad_request(f"error decoding the body of the request: {error}") from error


async def read_object(request: web.Request) -> Object:
    """The object in the body of a request.

    Raises:
        ApiError: 400 when there is none, 415 when it is in another format.
    """
    if request.content_type not in ("application/json", "application/octet-stream"):
        # Clients that speak protobuf, as `kubectl create deployment` does, are told what to do instead.
        message = "the body of the request was in an unknown format - accepted media types include: "
        message += "application/json (the sandbox reads no protobuf: write a manifest, use kubectl create -f)"
        raise ApiError(415, "UnsupportedMediaType", message)
    item = await read_json(request)
    if not isinstance(item, dict):
        raise ApiError.bad_request("couldn't get version/kind; json parse error: the body is not an object")
    return item


async def _delete_options(request: web.Request) -> DeleteOptions:
    body = await read_json(request) if request.can_read_body else {}
    if not isinstance(body, dict):
        raise ApiError.bad_request("the body of a DELETE is a DeleteOptions object")
    preconditions = body.get("preconditions") or {}
    grace = body.get("gracePeriodSeconds", request.query.get("gracePeriodSeconds"))
    try:
        seconds = None if grace is None else int(grace)
    except ValueError as error:
        raise ApiError.bad_request(f"gracePeriodSeconds: {error}") from error
    return DeleteOptions(
        grace_seconds=seconds,
        propagation=body.get("propagationPolicy") or request.query.get("propagationPolicy"),
        uid=preconditions.get("uid"),
        resource_version=preconditions.get("resourceVersion"),
    )
