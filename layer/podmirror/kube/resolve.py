"""From a target to the pod that stands for it."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, NoReturn

from podmirror.errors import NotStarted
from podmirror.kube.cluster import Cluster, Refusal
from podmirror.kube.hazards import lacks_net_raw
from podmirror.kube.surroundings import UNKNOWN, Surroundings, look_around
from podmirror.target import Kind, Target

_STATIC_ANNOTATION = "kubernetes.io/config.mirror"


@dataclass(frozen=True, slots=True)
class ResolvedTarget:
    """A pod to inject an agent into."""

    namespace: str
    pod: str
    node: str
    container: str | None
    """The container that the user named."""
    uid: str = ""
    container_id: str | None = None
    """Of a container that runs, the named one if one was named, as the status has it; None if none runs."""
    static: bool = False
    """A static pod, which takes no ephemeral containers (kubernetes pull request 114086)."""
    lacks_net_raw: bool = False
    """Its runtime's default capabilities are known to lack NET_RAW."""
    surroundings: Surroundings = UNKNOWN

    def __str__(self) -> str:
        return f"pod {self.namespace}/{self.pod}"


async def resolve(cluster: Cluster, target: Target, *, host_network: bool = False) -> ResolvedTarget:
    """Find the target's pod: itself, or of a deployment the first that is ready, else the first that runs.

    A pod is fit when its sandbox runs, whatever its containers do: what reaches an app that crashes in a loop is worth seeing.

    Args:
        cluster: Where to look.
        target: What to look for, in the cluster's namespace.
        host_network: Admit a pod that shares its node's network, in which all of the node's traffic is visible.

    Raises:
        NotStarted: There is no such object, or no pod of it is fit.
    """
    try:
        pods = await _candidates(cluster, target)
    except Refusal as refusal:
        _explain(cluster, target, refusal)
    fit = [pod for pod in pods if not unfitness(pod)]
    if not fit:
        raise NotStarted(_none_fits(cluster, target, pods))
    pod = min(fit, key=lambda each: (not _is_ready(each), each.metadata.name))
    _check_container(target, pod)
    if pod.spec.host_network and not host_network:
        raise NotStarted(
            f"pod {cluster.namespace}/{pod.metadata.name} uses its node's network (hostNetwork), where the agent would see "
            "all of the node's traffic; give --allow-host-network if you mean that"
        )
    around = await look_around(cluster, pod)
    return ResolvedTarget(
        cluster.namespace,
        pod.metadata.name,
        pod.spec.node_name,
        target.container,
        uid=pod.metadata.uid,
        container_id=_running_container(pod, target.container),
        static=_STATIC_ANNOTATION in (pod.metadata.annotations or {}),
        lacks_net_raw=lacks_net_raw(pod),
        surroundings=around,
    )


def unfitness(pod: Any) -> str:  # kubernetes has no types
    """Say why no agent can be injected into a pod; nothing if one can."""
    if pod.metadata.deletion_timestamp is not None:
        return "is being deleted"
    if pod.status.phase in ("Succeeded", "Failed"):
        return f"has ended ({pod.status.phase})"
    if not pod.spec.node_name:
        return f"is not scheduled yet{_condition_message(pod, 'PodScheduled')}"
    if not pod.status.pod_ip:
        return "has no running sandbox yet"
    return ""


async def _candidates(cluster: Cluster, target: Target) -> list[Any]:
    if target.kind is Kind.POD:
        return [await cluster.call(cluster.core.read_namespaced_pod, target.name, cluster.namespace)]
    deployment = await cluster.call(cluster.apps.read_namespaced_deployment, target.name, cluster.namespace)
    pods = await cluster.call(
        cluster.core.list_namespaced_pod,
        cluster.namespace,
        label_selector=_selector(deployment.spec.selector),
    )
    return list(pods.items)


def _selector(selector: Any) -> str:  # kubernetes has no types
    """Write a LabelSelector as list calls take it (apimachinery pkg/apis/meta/v1/helpers.go, LabelSelectorAsSelector)."""
    terms = [f"{key}={value}" for key, value in (selector.match_labels or {}).items()]
    for each in selector.match_expressions or []:
        values = f"({','.join(each.values or [])})"
        terms.append(
            {
                "In": f"{each.key} in {values}",
                "NotIn": f"{each.key} notin {values}",
                "Exists": each.key,
                "DoesNotExist": f"!{each.key}",
            }[each.operator]
        )
    return ",".join(terms)


def _is_ready(pod: Any) -> bool:  # kubernetes has no types
    return any(each.type == "Ready" and each.status == "True" for each in pod.status.conditions or [])


def _condition_message(pod: Any, kind: str) -> str:  # kubernetes has no types
    message = next(
        (each.message for each in pod.status.conditions or [] if each.type == kind and each.message), ""
    )
    return f": {message}" if message else ""


def _running_container(pod: Any, wanted: str | None) -> str | None:  # kubernetes has no types
    running = {
        each.name: str(each.container_id)
        for each in pod.status.container_statuses or []
        if each.state is not None and each.state.running is not None and each.container_id
    }
    return running.get(wanted) if wanted is not None else next(iter(running.values()), None)


def _check_container(target: Target, pod: Any) -> None:  # kubernetes has no types
    names = [each.name for each in pod.spec.containers]
    if target.container is not None and target.container not in names:
        raise NotStarted(
            f"pod {pod.metadata.name} has no container {target.container!r}; it has {', '.join(names)}"
        )


def _none_fits(cluster: Cluster, target: Target, pods: list[Any]) -> str:
    where = f"in namespace {cluster.namespace!r}"
    if not pods:
        return f"{target.kind.value} {target.name!r} {where} has no pods; scale it up first"
    if target.kind is Kind.POD:
        return f"pod {target.name!r} {where} {unfitness(pods[0])}; choose another pod"
    reasons = "; ".join(f"{pod.metadata.name} {unfitness(pod)}" for pod in pods[:3])
    return f"{target.kind.value} {target.name!r} {where} has no pod to mirror: {reasons}"


def _explain(cluster: Cluster, target: Target, refusal: Refusal) -> NoReturn:
    what = f"{target.kind.value} {target.name!r} in namespace {cluster.namespace!r}"
    if refusal.status == HTTPStatus.NOT_FOUND:
        raise NotStarted(
            f"there is no {what} ({refusal.message}); "
            f"`kubectl get {target.kind.value}s -n {cluster.namespace}` lists what there is"
        ) from refusal
    if refusal.status == HTTPStatus.UNAUTHORIZED:
        raise NotStarted(
            f"the API server does not accept the credentials of context {cluster.context!r}: {refusal.message}; log in again"
        ) from refusal
    raise NotStarted(
        f"cannot look up {what}: {refusal.message}; ask your cluster's administrator to apply what `podmirror rbac` prints"
    ) from refusal
