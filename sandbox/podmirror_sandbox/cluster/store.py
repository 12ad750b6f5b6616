"""The objects of the cluster and the history of their changes: what etcd and the watch cache are to a real one.

Theory of operation: one counter, the revision, numbers every change. Each object carries the revision of its last change
as `metadata.resourceVersion`. Changes are kept in a bounded history; a watcher holds nothing but the revision it has
seen, and asks for what came after it. So a slow watcher costs no memory: when the history no longer reaches back to it,
it is told that its revision expired, as by a real server, and lists again.

The store knows no rules: those are the registry's.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from podmirror_sandbox.cluster.apierrors import ApiError
from podmirror_sandbox.cluster.objects import Object, name_of, namespace_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from podmirror_sandbox.cluster.resources import Resource

HISTORY = 8192
"""How many changes are kept: hours of a busy sandbox, and a few tens of megabytes at the very most."""


@dataclass(frozen=True)
class Change:
    """One change of one object."""

    revision: int
    kind: str
    """`ADDED`, `MODIFIED` or `DELETED`, as in watch events."""
    resource: Resource
    item: Object
    previous: Object | None


class Store:
    """All objects by resource, namespace and name."""

    def __init__(self, history: int = HISTORY) -> None:
        self.revision = 1
        self._objects: dict[Resource, dict[tuple[str, str], Object]] = {}
        self._history: deque[Change] = deque(maxlen=history)
        self._listeners: set[Callable[[], None]] = set()

    def find(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """The object, or None."""
        return self._objects.get(resource, {}).get((namespace, name))

    def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """The object.

        Raises:
            ApiError: 404 when there is none.
        """
        item = self.find(resource, namespace, name)
        if item is None:
            raise ApiError.not_found(resource, name)
        return item

    def all_of(self, resource: Resource, namespace: str = "") -> list[Object]:
        """All objects of one namespace, or of all of them, in the order of their names."""
        table = self._objects.get(resource, {})
        return [item for key, item in sorted(table.items()) if not namespace or key[0] == namespace]

    def put(self, resource: Resource, item: Object) -> Object:
        """Store an object under its name, new or not, and return it with its new revision."""
        key = (namespace_of(item), name_of(item))
        table = self._objects.setdefault(resource, {})
        previous = table.get(key)
        self.revision += 1
        stored = {**item, "metadata": {**item["metadata"], "resourceVersion": str(self.revision)}}
        table[key] = stored
        self._record(Change(self.revision, "MODIFIED" if previous else "ADDED", resource, stored, previous))
        return stored

    def remove(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """Forget an object; return its last state, or None when it was not there."""
        previous = self._objects.get(resource, {}).pop((namespace, name), None)
        if previous is None:
            return None
        self.revision += 1
        last = {**previous, "metadata": {**previous["metadata"], "resourceVersion": str(self.revision)}}
        self._record(Change(self.revision, "DELETED", resource, last, previous))
        return last

    def changes_since(self, revision: int) -> list[Change]:
        """Every change after a revision, oldest first.

        Raises:
            ApiError: 410 when the history does not reach back that far.
        """
        oldest = self._history[0].revision if self._history else self.revision + 1
        if revision + 1 < oldest and self._history.maxlen == len(self._history):
            raise ApiError.expired(revision, oldest)
        # Revisions are consecutive, so the place of a change in the history follows from its number.
        return list(islice(self._history, max(0, revision + 1 - oldest), None))

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after every change; returns how to stop that."""
        self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)

    def _record(self, change: Change) -> None:
        self._history.append(change)
        for listener in tuple(self._listeners):
            listener()
