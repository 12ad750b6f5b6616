from __future__ import annotations

from typing import Any

import pytest

from podmirror_sandbox.cluster.images import Image
from podmirror_sandbox.cluster.launch import (
    DEFAULT_CAPABILITIES,
    ConfigError,
    Launch,
    bounding_set,
    expand,
    plan_launch,
)


def plan(container: dict[str, Any], **spec: Any) -> Launch:
    metadata = {"name": "p", "namespace": "n", "uid": "u", "labels": {"a": "b"}}
    status = {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "::2"}]}
    pod = {"metadata": metadata, "spec": spec, "status": status}
    container = {"name": "c", "image": "x", "terminationMessagePath": "/t", **container}
    return plan_launch(pod, container, Image(("entry",)), {"BASE": "1"})


def test_environment_and_expansion() -> None:
    env = [
        {"name": "A", "value": "x"},
        {"name": "B", "value": "$(A)-$(NONE)-$$(A)"},
        {"name": "IPS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIPs"}}},
        {"name": "L", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a']"}}},
        {"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ]
    launch = plan({"env": env, "args": ["$(B)"]})
    assert launch.argv == ["entry", "x-$(NONE)-$(A)"]
    assert launch.env["IPS"] == "10.0.0.1,::2"
    assert (launch.env["L"], launch.env["N"], launch.env["BASE"], launch.env["HOSTNAME"]) == (
        "b",
        "p",
        "1",
        "p",
    )
    assert expand("$(A", {"A": "x"}) == "$(A"


def test_unknown_source_of_a_variable() -> None:
    with pytest.raises(ConfigError, match="no source"):
        plan({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {}}}]})


def test_capabilities() -> None:
    assert bounding_set({}) == DEFAULT_CAPABILITIES
    assert "NET_RAW" in DEFAULT_CAPABILITIES
    assert bounding_set({"privileged": True}) is None
    assert bounding_set({"capabilities": {"drop": ["ALL"], "add": ["NET_RAW"]}}) == frozenset({"NET_RAW"})
    assert bounding_set({"capabilities": {"add": ["SYS_ADMIN"]}}) == DEFAULT_CAPABILITIES | {"SYS_ADMIN"}
    assert bounding_set({"capabilities": {"drop": ["CAP_NET_RAW"]}}) == DEFAULT_CAPABILITIES - {"NET_RAW"}


def test_root_and_non_root() -> None:
    with pytest.raises(ConfigError, match="container has runAsNonRoot and image will run as root"):
        plan({"securityContext": {"runAsNonRoot": True}})
    with pytest.raises(ConfigError, match="breaks non-root policy"):
        plan({"securityContext": {"runAsNonRoot": True, "runAsUser": 0}})
    assert plan({}, securityContext={"runAsNonRoot": True, "runAsUser": 1000}).uid == 1000
    own = {"securityContext": {"runAsNonRoot": False, "runAsUser": 0, "allowPrivilegeEscalation": False}}
    launch = plan(own, securityContext={"runAsNonRoot": True, "runAsUser": 1000})
    assert (launch.uid, launch.no_new_privileges) == (0, True)
