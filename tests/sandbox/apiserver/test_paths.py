from __future__ import annotations

import pytest

from podmirror_sandbox.apiserver.discovery import document
from podmirror_sandbox.apiserver.paths import Target, parse_path
from podmirror_sandbox.cluster.resources import DEPLOYMENTS, NAMESPACES, PODS


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/api/v1/pods", Target(PODS)),
        ("/api/v1/namespaces", Target(NAMESPACES)),
        ("/api/v1/namespaces/x", Target(NAMESPACES, name="x")),
        ("/api/v1/namespaces/x/pods", Target(PODS, "x")),
        ("/api/v1/namespaces/x/pods/y/log", Target(PODS, "x", "y", "log")),
        ("/apis/apps/v1/namespaces/x/deployments/y/scale", Target(DEPLOYMENTS, "x", "y", "scale")),
    ],
)
def test_paths_that_name_something(path: str, target: Target) -> None:
    assert parse_path(path) == target


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api/v1",
        "/api/v1/nothing",
        "/api/v2/pods",
        "/api/v1/namespaces/x/pods/y/nothing",
        "/api/v1/pods/y",
        "/api/v1/namespaces/x/nodes",
        "/api/v1/namespaces/x/pods/y/log/z",
        "/apis/apps/v1/pods",
    ],
)
def test_paths_that_name_nothing(path: str) -> None:
    assert parse_path(path) is None


def test_discovery_documents() -> None:
    core = document("/api/v1", "")
    assert core is not None
    assert "pods/ephemeralcontainers" in {entry["name"] for entry in core["resources"]}
    groups = document("/apis", "")
    assert groups is not None
    assert {"apps", "batch", "authorization.k8s.io"} <= {group["name"] for group in groups["groups"]}
    for group in groups["groups"]:
        version = group["preferredVersion"]["groupVersion"]
        for path in (f"/apis/{group['name']}", f"/apis/{version}", f"/openapi/v3/apis/{version}"):
            assert document(path, "") is not None
    assert document("/apis/nothing", "") is None
    assert document("/openapi/v3/api/v2", "") is None


def test_openapi_index_leads_back_to_this_server() -> None:
    index = document("/openapi/v3", "/prefix")
    assert index is not None
    assert index["paths"]["api/v1"] == {"serverRelativeURL": "/prefix/openapi/v3/api/v1"}
