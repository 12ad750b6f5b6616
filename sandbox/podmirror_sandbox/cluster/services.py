"""Services: which pods stand behind a name.

There is no kube-proxy and so no cluster IP. Instead EndpointSlices are kept as on a real cluster, and the node writes the
names of Services into the pods' /etc/hosts, each with the address of one ready pod.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from podmirror_sandbox.cluster.objects import (
    Object,
    is_deleting,
    labels_of,
    name_of,
    namespace_of,
    owner_reference,
    uid_of,
)
from podmirror_sandbox.cluster.phases import is_finished, is_ready
from podmirror_sandbox.cluster.resources import ENDPOINT_SLICES, PODS, SERVICES
from podmirror_sandbox.cluster.selectors import matches_selector

if TYPE_CHECKING:
    from podmirror_sandbox.cluster.registry import Registry
    from podmirror_sandbox.cluster.store import Store

SERVICE_NAME_LABEL = "kubernetes.io/service-name"


def pods_of(store: Store, service: Object) -> list[Object]:
    """The pods with an address that a Service selects."""
    selector = (service.get("spec") or {}).get("selector")
    if not selector:
        return []
    return [
        pod
        for pod in store.all_of(PODS, namespace_of(service))
        if matches_selector({"matchLabels": selector}, labels_of(pod))
        and (pod.get("status") or {}).get("podIP")
        and not is_finished(pod)
    ]


def reconcile_services(registry: Registry) -> None:
    """Keep one EndpointSlice for each Service."""
    for service in registry.store.all_of(SERVICES):
        if not (service.get("spec") or {}).get("selector"):
            continue
        namespace, name = namespace_of(service), f"{name_of(service)}-ipv4"
        current = registry.store.find(ENDPOINT_SLICES, namespace, name)
        contents = {
            "addressType": "IPv4",
            "endpoints": [_endpoint(pod) for pod in pods_of(registry.store, service)],
            "ports": [_port(port) for port in service["spec"].get("ports") or []],
        }
        metadata = {
            "name": name,
            "labels": {**labels_of(service), SERVICE_NAME_LABEL: name_of(service)},
            "ownerReferences": [owner_reference(service)],
        }
        if current is None:
            registry.create(ENDPOINT_SLICES, namespace, {"metadata": metadata, **contents})
        elif any(current[field] != value for field, value in contents.items()):
            registry.store.put(ENDPOINT_SLICES, {**current, **contents})


def hosts_file(store: Store) -> str:
    """The /etc/hosts of every pod: localhost, and each Service by its names."""
    lines = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"]
    for service in store.all_of(SERVICES):
        ready = [pod for pod in pods_of(store, service) if is_ready(pod)]
        if not ready:
            continue
        name, namespace = name_of(service), namespace_of(service)
        qualified = f"{name}.{namespace}"
        names = [qualified, f"{qualified}.svc", f"{qualified}.svc.cluster.local"]
        if namespace == "default":
            # The short name belongs to the caller's own namespace, and one file serves all of them.
            names.insert(0, name)
        lines += [f"{entry['ip']}\t{' '.join(names)}" for entry in ready[0]["status"]["podIPs"]]
    return "\n".join(lines) + "\n"


def _endpoint(pod: Object) -> Object:
    deleting = is_deleting(pod)
    reference = {
        "kind": "Pod",
        "namespace": namespace_of(pod),
        "name": name_of(pod),
        "uid": uid_of(pod),
    }
    serving = is_ready(pod)
    return {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {"ready": serving and not deleting, "serving": serving, "terminating": deleting},
        "nodeName": pod["spec"]["nodeName"],
        "targetRef": reference,
    }


def _port(port: Object) -> Object:
    target = port.get("targetPort", port["port"])
    # A named target port would need each pod's own port list; those Services show the Service's port.
    number = target if isinstance(target, int) else port["port"]
    return {"name": port.get("name", ""), "port": number, "protocol": port.get("protocol", "TCP")}
