"""From a target to the pod that stands for it."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, NoReturn

from podmirror.errors import NotStarted
from podmirror.kube.cluster import Cluster, Refusal
from podmirror.kube.containers import choose_container, statuses
from podmirror.kube.hazards import lacks_net_raw
from podmirror.kube.surroundings import UNKNOWN, Surroundings, look_around
from podmirror.kube.workloads import Workload, find_workload
from podmirror.target import Kind, Target

_STATIC_ANNOTATION = "kubernetes.io/config.mirror"


@dataclass(frozen=True, slots=True)
class ResolvedTarget:
    """A pod to inject an agent into."""

    namespace: str
    pod: str
    node: str
    container: str | None
    """The container that is meant."""
    uid: str = ""
    container_id: str | None = None
    """Of that container if it runs, as the pod's status has it, else of any that does: they share the pod's network."""
    static: bool = False
    """A static pod, which takes no ephemeral containers (kubernetes pull request 114086)."""
    lacks_net_raw: bool = False
    """Its runtime's default capabilities are known to lack NET_RAW."""
    surroundings: Surroundings = UNKNOWN
    note: str = ""
    """What is to be said about the choice of the container."""

    def __str__(self) -> str:
        return f"pod {self.namespace}/{self.pod}"


async def resolve(cluster: Cluster, target: Target, *, host_network: bool = False) -> ResolvedTarget:
    """Find the target's pod: itself, or of a workload the first that is ready, else the first that runs.

    A pod is fit when its sandbox runs, whatever its containers do: what reaches an app that crashes in a loop is worth seeing.

    Args:
        cluster: Where to look.
        target: What to look for, in the cluster's namespace.
        host_network: Admit a pod that shares its node's network, in which all of the node's traffic is visible.

    Raises:
        NotStarted: There is no such object, or no pod of it is fit.
    """
    workload = await look_up(cluster, target)
    return await place_in(cluster, target, fit_pods(cluster, target, workload)[0], host_network=host_network)


async def look_up(cluster: Cluster, target: Target) -> Workload:
    """Find all of the target's pods.

    Raises:
        NotStarted: There is no such object, or it may not be seen.
    """
    try:
        return await find_workload(cluster, target)
    except Refusal as refusal:
        _explain(cluster, target, refusal)


def fit_pods(cluster: Cluster, target: Target, workload: Workload) -> list[Any]:
    """Give those pods that can be mirrored, the best first: those that are ready, by name.

    Raises:
        NotStarted: There is none, and why.
    """
    fit = [pod for pod in workload.pods if not unfitness(pod)]
    if not fit:
        raise NotStarted(_none_fits(cluster, target, workload))
    return sorted(fit, key=lambda each: (not is_ready(each), each.metadata.name))


async def place_in(cluster: Cluster, target: Target, pod: Any, *, host_network: bool) -> ResolvedTarget:
    """Settle what there is to settle about a pod that was chosen.

    Raises:
        NotStarted: It has no such container, shares its node's network without the user's consent, or no agent can run there.
    """
    container, note = choose_container(target.container, pod)
    if pod.spec.host_network and not host_network:
        raise NotStarted(
            f"pod {cluster.namespace}/{pod.metadata.name} uses its node's network (hostNetwork), where the agent would see "
            "all of the node's traffic; give --allow-host-network if you mean that"
        )
    return ResolvedTarget(
        cluster.namespace,
        pod.metadata.name,
        pod.spec.node_name,
        container,
        uid=pod.metadata.uid,
        container_id=running_container(pod, container),
        static=_STATIC_ANNOTATION in (pod.metadata.annotations or {}),
        lacks_net_raw=lacks_net_raw(pod),
        surroundings=await look_around(cluster, pod),
        note=note,
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


def is_ready(pod: Any) -> bool:  # kubernetes has no types
    """Whether the pod serves, as the kubelet sees it."""
    return any(each.type == "Ready" and each.status == "True" for each in pod.status.conditions or [])


def running_container(pod: Any, wanted: str | None) -> str | None:  # kubernetes has no types
    """Give the ID of a container that runs: of the one that is wanted, else of any; None if none does.

    A sidecar may run while the others crash, and an init container before they start: they have the same network.
    """
    running = {
        each.name: str(each.container_id)
        for each in statuses(pod)
        if each.state is not None and each.state.running is not None and each.container_id
    }
    return running.get(wanted or "") or next(iter(running.values()), None)


def _condition_message(pod: Any, kind: str) -> str:  # kubernetes has no types
    message = next(
        (each.message for each in pod.status.conditions or [] if each.type == kind and each.message), ""
    )
    return f": {message}" if message else ""


def _none_fits(cluster: Cluster, target: Target, workload: Workload) -> str:
    where = f"in namespace {cluster.namespace!r}"
    pods = workload.pods
    if workload.selection.ended:
        return f"{workload.selection.ended}, so there is nothing to mirror; run it again first"
    if not pods and target.kind is Kind.LABEL:
        return (
            f"no pod {where} has the labels {target.name}; "
            f"`kubectl get pods --show-labels -n {cluster.namespace}` lists what there is"
        )
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
            f"`podmirror ls --type {target.kind.value} -n {cluster.namespace}` lists what there is"
        ) from refusal
    if refusal.status == HTTPStatus.UNAUTHORIZED:
        raise NotStarted(
            f"the API server does not accept the credentials of context {cluster.context!r}: {refusal.message}; log in again"
        ) from refusal
    raise NotStarted(
        f"cannot look up {what}: {refusal.message}; ask your cluster's administrator to apply what `podmirror rbac` prints"
    ) from refusal
