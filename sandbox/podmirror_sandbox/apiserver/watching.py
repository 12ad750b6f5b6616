"""Watches: the changes of objects as a stream of JSON lines.

A watch holds only the revision it has sent; what came after it is in the store's history. With a selector, an object that
begins to match is ADDED and one that ceases to is DELETED, whatever really happened to it.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from aiohttp import web

from podmirror_sandbox.apiserver.rest import selection, wants_table
from podmirror_sandbox.cluster.apierrors import ApiError
from podmirror_sandbox.cluster.tables import table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podmirror_sandbox.apiserver.paths import Target
    from podmirror_sandbox.cluster.objects import Object
    from podmirror_sandbox.cluster.registry import Registry
    from podmirror_sandbox.cluster.selectors import Predicate
    from podmirror_sandbox.cluster.store import Change

_LONGEST = 3600.0
"""How long a watch lasts when the client names no time; a real server ends them after 30 to 60 minutes."""

_INITIAL_EVENTS_END = "k8s.io/initial-events-end"


async def watch(request: web.Request, registry: Registry, target: Target) -> web.StreamResponse:
    """Stream changes until the time is over or the client is gone.

    Raises:
        ApiError: 400 for a query that cannot be read.
    """
    stream = _Watch(request, registry, target)
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    changed = asyncio.Event()
    unsubscribe = registry.store.subscribe(changed.set)
    try:
        async with asyncio.timeout(stream.timeout):
            while True:
                for event in stream.events():
                    await response.write(json.dumps(event).encode() + b"\n")
                if stream.is_over:
                    break
                await changed.wait()
                changed.clear()
    except TimeoutError:
        pass
    finally:
        unsubscribe()
    await response.write_eof()
    return response


class _Watch:
    """What one watch has sent and what it has still to send. No I/O."""

    def __init__(self, request: web.Request, registry: Registry, target: Target) -> None:
        query = request.query
        self.is_over = False
        self._matches: Predicate = selection(request, target)
        self._registry = registry
        self._target = target
        self._as_table = wants_table(request)
        self._columns_sent = False
        self._bookmark = query.get("sendInitialEvents") == "true"
        try:
            self.timeout = float(query.get("timeoutSeconds") or _LONGEST)
            start = int(query.get("resourceVersion") or 0)
        except ValueError as error:
            raise ApiError.bad_request(str(error)) from error
        self._initial = start == 0
        self._seen = registry.store.revision if self._initial else start

    def events(self) -> Iterator[Object]:
        """What there is to send now."""
        store, resource = self._registry.store, self._target.resource
        if self._initial:
            self._initial = False
            for item in store.all_of(resource, self._target.namespace):
                if self._matches(item):
                    yield self._event("ADDED", item)
            if self._bookmark:
                yield self._end_of_initial_events()
        try:
            changes = store.changes_since(self._seen)
        except ApiError as error:
            self.is_over = True
            yield {"type": "ERROR", "object": error.status()}
            return
        for change in changes:
            self._seen = change.revision
            in_namespace = self._target.namespace in ("", change.item["metadata"].get("namespace", ""))
            if change.resource is resource and in_namespace:
                kind = self._kind(change)
                if kind:
                    yield self._event(kind, change.item)

    def _kind(self, change: Change) -> str:
        """What a change is to this watch; empty when it is nothing."""
        before = change.previous is not None and self._matches(change.previous)
        after = change.kind != "DELETED" and self._matches(change.item)
        if before and after:
            return "MODIFIED"
        if after:
            return "ADDED"
        return "DELETED" if before else ""

    def _event(self, kind: str, item: Object) -> Object:
        if self._as_table:
            version = item["metadata"]["resourceVersion"]
            columns = not self._columns_sent
            self._columns_sent = True
            now = self._registry.clock()
            item = table(self._target.resource, [item], now, version, columns=columns)
        return {"type": kind, "object": item}

    def _end_of_initial_events(self) -> Object:
        metadata = {
            "resourceVersion": str(self._seen),
            "annotations": {_INITIAL_EVENTS_END: "true"},
        }
        resource = self._target.resource
        item = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
        return {"type": "BOOKMARK", "object": item}
