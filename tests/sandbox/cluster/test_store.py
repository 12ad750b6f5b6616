from __future__ import annotations

import pytest

from podmirror_sandbox.cluster.apierrors import ApiError
from podmirror_sandbox.cluster.resources import PODS
from podmirror_sandbox.cluster.store import Store


def item(name: str) -> dict[str, object]:
    return {"metadata": {"name": name, "namespace": "n"}}


def test_changes_are_numbered_and_kept() -> None:
    store = Store()
    start = store.revision
    store.put(PODS, item("a"))
    store.put(PODS, item("a"))
    store.remove(PODS, "n", "a")
    changes = store.changes_since(start)
    assert [change.kind for change in changes] == ["ADDED", "MODIFIED", "DELETED"]
    assert [change.revision for change in changes] == [start + 1, start + 2, start + 3]
    assert changes[2].item["metadata"]["resourceVersion"] == str(start + 3)
    assert store.changes_since(start + 2) == changes[2:]
    assert store.changes_since(store.revision) == []


def test_history_is_bounded_and_says_so() -> None:
    store = Store(history=2)
    for name in "abc":
        store.put(PODS, item(name))
    assert len(store.changes_since(2)) == 2
    with pytest.raises(ApiError) as caught:
        store.changes_since(1)
    assert (caught.value.code, caught.value.reason) == (410, "Expired")


def test_removing_what_is_not_there() -> None:
    assert Store().remove(PODS, "n", "a") is None


def test_listeners_hear_of_changes_until_they_leave() -> None:
    store, heard = Store(), []
    leave = store.subscribe(lambda: heard.append(store.revision))
    store.put(PODS, item("a"))
    leave()
    store.put(PODS, item("b"))
    assert heard == [2]
