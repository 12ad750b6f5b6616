from __future__ import annotations

import pytest

from podmirror_sandbox.cluster.apierrors import ApiError
from podmirror_sandbox.cluster.selectors import matches_selector, parse_field_selector, parse_label_selector


def labelled(**labels: str) -> dict[str, object]:
    return {"metadata": {"name": "x", "labels": labels}}


@pytest.mark.parametrize(
    "selector",
    [
        "",
        "app=web",
        "app==web",
        "app!=db",
        "app in (web, db)",
        "app notin (db),tier",
        "!canary",
        "tier,app = web",
    ],
)
def test_label_selector_matches(selector: str) -> None:
    assert parse_label_selector(selector)(labelled(app="web", tier="front"))


@pytest.mark.parametrize(
    "selector", ["app=db", "app!=web", "app in (db)", "canary", "!app", "app notin (web)"]
)
def test_label_selector_refuses(selector: str) -> None:
    assert not parse_label_selector(selector)(labelled(app="web"))


def test_unreadable_selector_is_a_bad_request() -> None:
    with pytest.raises(ApiError) as caught:
        parse_label_selector("a=b=c")
    assert caught.value.code == 400


def test_field_selector_compares_any_path() -> None:
    pod = {"metadata": {"name": "x"}, "status": {"phase": "Running"}}
    assert parse_field_selector("metadata.name=x,status.phase!=Failed")(pod)
    assert not parse_field_selector("spec.nodeName=node1")(pod)


def test_selector_object() -> None:
    expression = {"key": "tier", "operator": "In", "values": ["a", "b"]}
    selector = {"matchLabels": {"app": "web"}, "matchExpressions": [expression]}
    assert matches_selector(selector, {"app": "web", "tier": "a"})
    assert not matches_selector(selector, {"app": "web"})
    assert not matches_selector(None, {"app": "web"})
