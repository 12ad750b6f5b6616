from __future__ import annotations

import pytest

from podmirror_sandbox.cluster.apierrors import ApiError
from podmirror_sandbox.cluster.patches import json_patch, merge_patch, strategic_merge_patch


def test_merge_patch_replaces_lists_and_removes_nulls() -> None:
    before = {"a": {"b": 1, "c": 2}, "list": [1, 2]}
    assert merge_patch(before, {"a": {"b": None}, "list": [3]}) == {"a": {"c": 2}, "list": [3]}
    assert before == {"a": {"b": 1, "c": 2}, "list": [1, 2]}


def test_strategic_merge_appends_and_merges_by_name() -> None:
    before = {"containers": [{"name": "a", "image": "x", "env": [{"name": "E", "value": "1"}]}]}
    patch = {"containers": [{"name": "b", "image": "y"}, {"name": "a", "env": [{"name": "F", "value": "2"}]}]}
    env = [{"name": "E", "value": "1"}, {"name": "F", "value": "2"}]
    expected = [{"name": "a", "image": "x", "env": env}, {"name": "b", "image": "y"}]
    assert strategic_merge_patch(before, patch) == {"containers": expected}


def test_strategic_merge_deletes_an_element() -> None:
    before = {"containers": [{"name": "a"}, {"name": "b"}]}
    patch = {"containers": [{"name": "a", "$patch": "delete"}]}
    assert strategic_merge_patch(before, patch) == {"containers": [{"name": "b"}]}


def test_strategic_merge_replaces_where_asked_to() -> None:
    assert strategic_merge_patch({"a": 1}, {"$patch": "replace", "b": 2}) == {"b": 2}
    before = {"containers": [{"name": "a"}]}
    patch = {"containers": [{"name": "b"}, {"$patch": "replace"}]}
    assert strategic_merge_patch(before, patch) == {"containers": [{"name": "b"}]}


def test_strategic_merge_orders_as_told() -> None:
    before = {"containers": [{"name": "a"}, {"name": "b"}]}
    order = [{"name": "c"}, {"name": "b"}, {"name": "a"}]
    patch = {"$setElementOrder/containers": order, "containers": [{"name": "c"}]}
    names = [entry["name"] for entry in strategic_merge_patch(before, patch)["containers"]]
    assert names == ["c", "b", "a"]


def test_strategic_merge_follows_retain_keys() -> None:
    assert strategic_merge_patch({"a": 1, "b": 2}, {"$retainKeys": ["b"], "c": 3}) == {"b": 2, "c": 3}


def test_strategic_merge_of_a_service_keys_ports_by_port() -> None:
    before = {"ports": [{"port": 80, "name": "x"}]}
    patch = {"ports": [{"port": 81}]}
    assert strategic_merge_patch(before, patch) == {"ports": [{"port": 80, "name": "x"}, {"port": 81}]}


def test_strategic_merge_without_the_key_is_an_error() -> None:
    with pytest.raises(ApiError, match="does not contain declared merge key: name"):
        strategic_merge_patch({"containers": []}, {"containers": [{"image": "x"}]})


def test_finalizers_are_united_and_taken_out() -> None:
    before = {"finalizers": ["a", "b"]}
    assert strategic_merge_patch(before, {"finalizers": ["b", "c"]}) == {"finalizers": ["a", "b", "c"]}
    assert strategic_merge_patch(before, {"$deleteFromPrimitiveList/finalizers": ["a"]}) == {
        "finalizers": ["b"]
    }


def test_json_patch_operations() -> None:
    operations = [
        {"op": "test", "path": "/a/0", "value": 1},
        {"op": "add", "path": "/a/-", "value": 3},
        {"op": "replace", "path": "/x~1y", "value": 9},
        {"op": "copy", "from": "/a/0", "path": "/b"},
        {"op": "move", "from": "/a/1", "path": "/c"},
        {"op": "remove", "path": "/d"},
    ]
    before = {"a": [1, 2], "x/y": 8, "d": 0}
    assert json_patch(before, operations) == {"a": [1, 3], "x/y": 9, "b": 1, "c": 2}


def test_json_patch_that_does_not_fit_is_invalid() -> None:
    for operation in (
        {"op": "remove", "path": "/z"},
        {"op": "test", "path": "/a", "value": 2},
        {"op": "x", "path": ""},
    ):
        with pytest.raises(ApiError) as caught:
            json_patch({"a": 1}, [operation])
        assert caught.value.code == 422
