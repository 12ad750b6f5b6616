"""What in a pod, or on its node, stands in an agent's way, or deserves a word. No I/O.

All of it is recognised from what the API server stores: specs, labels, annotations, statuses. `docs/kubernetes.md` says which
of it was tried on such a cluster and which was read in the documentation of the thing that is recognised.
"""

from collections.abc import Mapping
from typing import Any

from podmirror.kube.containers import statuses

_VIRTUAL_NODE_LABELS = {
    ("eks.amazonaws.com/compute-type", "fargate"): "AWS Fargate",
    ("type", "virtual-kubelet"): "a virtual kubelet",
}
"""Of nodes that are no machines (AWS EKS user guide, Fargate; virtual-kubelet node/nodeutil)."""


def refusal_of(pod: Any, node: Any = None) -> str:
    """Say why no agent can run beside a pod; nothing if one may.

    Args:
        pod: The pod.
        node: Its node, if that could be read.
    """
    if _system(pod, node) == "windows":
        return "runs on a Windows node, and the agent is a Linux program"
    provider = _virtual_provider(pod, node)
    if provider:
        return f"runs on {provider}, where no packets can be captured beside it"
    return ""


def notes_of(pod: Any) -> list[str]:
    """Give what should be said aloud about mirroring a pod."""
    notes = []
    mesh = mesh_of(pod)
    if mesh:
        notes.append(
            f"{mesh}: connections between pods are encrypted on the pod's interface and listed as tls; their plain bytes are "
            "captured on its loopback, from where they are delivered"
        )
    if "rollouts-pod-template-hash" in _metadata(pod)[1]:
        notes.append("the pod belongs to an Argo Rollout; a target rollout/NAME follows it to its next pod")
    if pod.spec.host_users is False:
        notes.append(
            "the pod has a user namespace of its own (hostUsers: false): NET_RAW holds in its network, and nowhere else"
        )
    return notes


def mesh_of(pod: Any) -> str:
    """Name the service mesh that a pod is in, and how; nothing if it is in none that is known."""
    annotations, _ = _metadata(pod)
    names = _container_names(pod)
    if "istio-proxy" in names or "sidecar.istio.io/status" in annotations:
        return "the pod has an Istio sidecar"
    if annotations.get("ambient.istio.io/redirection") == "enabled":
        return "the pod is in an Istio ambient mesh"
    if "linkerd-proxy" in names or "linkerd.io/proxy-version" in annotations:
        return "the pod has a Linkerd sidecar"
    return ""


def runtime_of(pod: Any) -> str:
    """Name the container runtime of a pod: `containerd`, `cri-o`, `docker`; nothing if no container has started."""
    for status in statuses(pod):
        if status.container_id:
            return str(status.container_id).partition("://")[0]
    return ""


def lacks_net_raw(pod: Any) -> bool:
    """Tell whether the default capabilities of a pod's runtime are known to lack NET_RAW.

    CRI-O's do since 1.18 (https://github.com/kubernetes/kubernetes/issues/118962); containerd's hold it (pkg/oci/spec.go).
    """
    return runtime_of(pod) == "cri-o"


def _metadata(pod: Any) -> tuple[Mapping[str, str], Mapping[str, str]]:
    return pod.metadata.annotations or {}, pod.metadata.labels or {}


def _container_names(pod: Any) -> set[str]:
    """Give all names: since Kubernetes 1.28 a sidecar may be an init container that stays."""
    return {each.name for each in (*pod.spec.containers, *(pod.spec.init_containers or []))}


def _system(pod: Any, node: Any) -> str:
    if node is not None:
        return str((node.metadata.labels or {}).get("kubernetes.io/os", ""))
    if pod.spec.os is not None:
        return str(pod.spec.os.name)
    return str((pod.spec.node_selector or {}).get("kubernetes.io/os", ""))


def _virtual_provider(pod: Any, node: Any) -> str:
    node_labels = (node.metadata.labels or {}) if node is not None else {}
    for (label, value), provider in _VIRTUAL_NODE_LABELS.items():
        if node_labels.get(label) == value:
            return provider
    name = pod.spec.node_name or ""
    if "eks.amazonaws.com/fargate-profile" in _metadata(pod)[1] or name.startswith("fargate-"):
        return "AWS Fargate"
    if name.startswith("virtual-node-aci") or (pod.spec.node_selector or {}).get("type") == "virtual-kubelet":
        return "a virtual kubelet"
    return ""
