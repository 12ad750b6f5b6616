"""What is in a cluster before anybody adds anything: namespaces, and the node."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from podmirror_sandbox.cluster.apierrors import ApiError
from podmirror_sandbox.cluster.objects import Object, condition
from podmirror_sandbox.cluster.resources import NAMESPACES, NODES, by_kind

if TYPE_CHECKING:
    from podmirror_sandbox.cluster.registry import Registry


def bootstrap(registry: Registry, node_name: str, address: str, version: str) -> None:
    """Create it."""
    for name in ("default", "kube-system"):
        registry.create(NAMESPACES, "", {"metadata": {"name": name}})
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    labels = {
        "kubernetes.io/arch": architecture,
        "kubernetes.io/hostname": node_name,
        "kubernetes.io/os": "linux",
        "node-role.kubernetes.io/control-plane": "",
    }
    ready = condition("Ready", True, registry.clock(), reason="KubeletReady", message="the sandbox is ready")
    status = {
        "conditions": [ready],
        "addresses": [
            {"type": "InternalIP", "address": address},
            {"type": "Hostname", "address": node_name},
        ],
        "nodeInfo": {
            "architecture": architecture,
            # The official client refuses a node without any of these.
            "bootID": "sandbox",
            "kubeProxyVersion": "",
            "machineID": "sandbox",
            "systemUUID": "sandbox",
            "containerRuntimeVersion": "containerd://sandbox",
            "kernelVersion": platform.release(),
            "kubeletVersion": version,
            "operatingSystem": "linux",
            "osImage": "podmirror sandbox",
        },
        "capacity": {"pods": "250"},
        "allocatable": {"pods": "250"},
    }
    node = {"metadata": {"name": node_name, "labels": labels}, "spec": {}, "status": status}
    registry.create(NODES, "", node)


def apply_manifest(registry: Registry, item: Object) -> None:
    """Create one object of a manifest, or the items of a List.

    Raises:
        ApiError: what the API server would refuse with.
    """
    if item.get("kind") == "List":
        for entry in item.get("items") or []:
            apply_manifest(registry, entry)
        return
    resource = by_kind(item.get("apiVersion", ""), item.get("kind", ""))
    if resource is None:
        described = f'"{item.get("kind")}" in version "{item.get("apiVersion")}"'
        raise ApiError.bad_request(f"no matches for kind {described}")
    namespace = (item.get("metadata") or {}).get("namespace") or "default"
    registry.create(resource, namespace if resource.namespaced else "", item)
