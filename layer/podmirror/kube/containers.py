"""Which container of a pod is meant, where the user named none. No I/O.

A pod's containers share one network namespace, so the choice changes nothing of what is seen. A Job agent finds that
namespace by the container, and the user should know whose traffic it is said to be.
"""

from collections.abc import Iterable
from typing import Any

from podmirror.errors import NotStarted

DEFAULT_ANNOTATION = "kubectl.kubernetes.io/default-container"
"""What kubectl goes by (kubectl pkg/cmd/util/podcmd/podcmd.go)."""

SIDECARS = frozenset(
    {
        "aws-sigv4-proxy",
        "cloud-sql-proxy",
        "cloudsql-proxy",
        "consul-connect-envoy-sidecar",
        "consul-dataplane",
        "daprd",
        "datadog-agent",
        "envoy",
        "envoy-sidecar",
        "fluent-bit",
        "fluentd",
        "gke-gcsfuse-sidecar",
        "istio-proxy",
        "jaeger-agent",
        "kuma-sidecar",
        "linkerd-debug",
        "linkerd-proxy",
        "otc-container",
        "queue-proxy",
        "vault-agent",
        "xray-daemon",
    }
)
"""Names that meshes and injectors give to the containers that they put beside an app, as their documentation has them."""


def staying(spec: Any) -> list[Any]:  # kubernetes has no types
    """Give the containers of a pod that run for as long as it does: an init container that restarts always is a sidecar."""
    return [
        *spec.containers,
        *(each for each in spec.init_containers or [] if each.restart_policy == "Always"),
    ]


def statuses(pod: Any) -> list[Any]:  # kubernetes has no types
    """Give what is known of a pod's containers, init containers behind the others; nothing of ephemeral ones."""
    return [*(pod.status.container_statuses or []), *(pod.status.init_container_statuses or [])]


def target_port(service_port: Any, pods: Iterable[Any]) -> int | str:  # kubernetes has no types
    """Give the pods' port that a Service sends a port of its own to; its name if no pod declares that."""
    target: int | str = service_port.target_port or service_port.port
    declared = (port for pod in pods for each in staying(pod.spec) for port in each.ports or [])
    return next((int(port.container_port) for port in declared if port.name == target), target)


def choose_container(named: str | None, pod: Any) -> tuple[str, str]:  # kubernetes has no types
    """Give the name of the container that is meant, and what is to be said about that; nothing if it is clear.

    Raises:
        NotStarted: The pod has no container of the name that the user gave.
    """
    names: list[str] = [each.name for each in pod.spec.containers]
    if named is not None:
        there = [each.name for each in staying(pod.spec)]
        if named in there:
            return named, ""
        raise NotStarted(f"pod {pod.metadata.name} has no container {named!r}; it has {', '.join(there)}")
    annotated = str((pod.metadata.annotations or {}).get(DEFAULT_ANNOTATION, ""))
    if annotated in names:
        return annotated, ""
    apps = [name for name in names if name not in SIDECARS] or names
    if len(names) == 1:
        return names[0], ""
    others = ", ".join(name for name in names if name != apps[0])
    why = "which is no known sidecar" if len(apps) == 1 else "the first that is no known sidecar"
    return apps[0], (
        f"container {apps[0]} of pod {pod.metadata.name} is taken for the app, {why} (there is also {others}); "
        "add /container/NAME to the target to name another"
    )
