"""From the pods of a target to those that an agent is put beside."""

from dataclasses import dataclass
from typing import Any

from podmirror.errors import NotStarted
from podmirror.kube.cluster import Cluster
from podmirror.kube.hazards import SIDECARS, lacks_net_raw
from podmirror.kube.surroundings import UNKNOWN, Surroundings, look_around
from podmirror.kube.workload import Workload
from podmirror.target import Kind, Target

_STATIC_ANNOTATION = "kubernetes.io/config.mirror"
_CONTAINER_ANNOTATION = "kubectl.kubernetes.io/default-container"


@dataclass(frozen=True, slots=True)
class ResolvedTarget:
    """A pod to put an agent beside."""

    namespace: str
    pod: str
    node: str
    container: str | None
    """The container that is meant, by the user's word or a guess."""
    uid: str = ""
    container_id: str | None = None
    """Of that container if it runs, as the pod's status has it; of any that runs if none is meant."""
    static: bool = False
    """A static pod, which takes no ephemeral containers (kubernetes pull request 114086)."""
    lacks_net_raw: bool = False
    """Its runtime's default capabilities are known to lack NET_RAW."""
    surroundings: Surroundings = UNKNOWN

    def __str__(self) -> str:
        return f"pod {self.namespace}/{self.pod}"


async def resolve(cluster: Cluster, target: Target, *, host_network: bool = False) -> ResolvedTarget:
    """Find the pod that stands for a target: the first that is ready, else the first that runs.

    Args:
        cluster: Where to look.
        target: What to look for, in the cluster's namespace.
        host_network: Admit a pod that shares its node's network, in which all of the node's traffic is visible.

    Raises:
        NotStarted: There is no such object, or no pod of it is fit.
    """
    pods = await (await Workload.find(cluster, target)).pods()
    return await admit(cluster, target, first_fit(cluster, target, pods), host_network=host_network)


def first_fit(cluster: Cluster, target: Target, pods: list[Any]) -> Any:  # kubernetes has no types
    """Give the first pod that is ready, else the first that is fit.

    A pod is fit when its sandbox runs, whatever its containers do: what reaches an app that crashes in a loop is worth seeing.

    Raises:
        NotStarted: None of them is fit.
    """
    fit = [pod for pod in pods if not unfitness(pod)]
    if not fit:
        raise NotStarted(_none_fits(cluster, target, pods))
    return min(fit, key=lambda each: (not is_ready(each), each.metadata.name))


async def admit(cluster: Cluster, target: Target, pod: Any, *, host_network: bool = False) -> ResolvedTarget:
    """Look at a fit pod and its node.

    Raises:
        NotStarted: It has no such container, shares its node's network, or no agent can run beside it.
    """
    container, guess = _choose_container(target, pod)
    if pod.spec.host_network and not host_network:
        raise NotStarted(
            f"pod {cluster.namespace}/{pod.metadata.name} uses its node's network (hostNetwork), where the agent would see "
            "all of the node's traffic; give --allow-host-network if you mean that"
        )
    around = await look_around(cluster, pod)
    if guess:
        around = Surroundings((*around.notes, guess), around.memory_limit)
    return ResolvedTarget(
        cluster.namespace,
        pod.metadata.name,
        pod.spec.node_name,
        container,
        uid=pod.metadata.uid,
        container_id=_running_container(pod, container),
        static=_STATIC_ANNOTATION in (pod.metadata.annotations or {}),
        lacks_net_raw=lacks_net_raw(pod),
        surroundings=around,
    )


def unfitness(pod: Any) -> str:  # kubernetes has no types
    """Say why no agent can be put beside a pod; nothing if one can."""
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
    """Tell whether a pod is ready for traffic."""
    return any(each.type == "Ready" and each.status == "True" for each in pod.status.conditions or [])


def _choose_container(target: Target, pod: Any) -> tuple[str | None, str]:  # kubernetes has no types
    """Give the container that is meant, and what to say if that is a guess."""
    names = [each.name for each in pod.spec.containers]
    if target.container is not None:
        if target.container not in names:
            raise NotStarted(
                f"pod {pod.metadata.name} has no container {target.container!r}; it has {', '.join(names)}"
            )
        return target.container, ""
    annotated = (pod.metadata.annotations or {}).get(_CONTAINER_ANNOTATION)
    if annotated in names:
        return annotated, ""
    own = [name for name in names if name not in SIDECARS] or names
    if len(own) == 1:
        return own[0], ""
    return (
        own[0],
        f"container {own[0]} is taken for the one that is meant, of {', '.join(names)}; /container/NAME names another",
    )


def _running_container(pod: Any, wanted: str | None) -> str | None:  # kubernetes has no types
    """Give the ID of the container that is meant, if it runs, else of any: they share the pod's network."""
    running = {
        each.name: str(each.container_id)
        for each in pod.status.container_statuses or []
        if each.state is not None and each.state.running is not None and each.container_id
    }
    return running.get(wanted or "") or next(iter(running.values()), None)


def _condition_message(pod: Any, kind: str) -> str:  # kubernetes has no types
    message = next(
        (each.message for each in pod.status.conditions or [] if each.type == kind and each.message), ""
    )
    return f": {message}" if message else ""


def _none_fits(cluster: Cluster, target: Target, pods: list[Any]) -> str:
    where = f"in namespace {cluster.namespace!r}"
    if not pods:
        return f"{target.kind.value} {target.name!r} {where} has no pods; scale it up first"
    if target.kind is Kind.POD:
        return f"pod {target.name!r} {where} {unfitness(pods[0])}; choose another pod"
    reasons = "; ".join(f"{pod.metadata.name} {unfitness(pod)}" for pod in pods[:3])
    return f"{target.kind.value} {target.name!r} {where} has no pod to mirror: {reasons}"
