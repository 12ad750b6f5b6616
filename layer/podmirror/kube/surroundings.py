"""What a pod and its node say that matters to an agent: read once, when the pod has been chosen."""

from dataclasses import dataclass
from typing import Any

from podmirror.errors import NotStarted
from podmirror.kube.cluster import Cluster, Refusal, parse_quantity
from podmirror.kube.hazards import notes_of, refusal_of
from podmirror.kube.headroom import pod_limit


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where an agent would be."""

    notes: tuple[str, ...] = ()
    """To be said aloud."""
    memory_limit: int | None = None
    """Bytes that the pod may take; None for no limit."""


UNKNOWN = Surroundings()
"""Of a pod that nobody looked at."""


async def look_around(cluster: Cluster, pod: Any) -> Surroundings:
    """Look at a pod and its node.

    Raises:
        NotStarted: No agent can run beside this pod.
    """
    refusal = refusal_of(pod, await node_of(cluster, pod))
    if refusal:
        raise NotStarted(f"pod {pod.metadata.namespace}/{pod.metadata.name} {refusal}; choose another pod")
    return Surroundings(tuple(notes_of(pod)), memory_limit(pod))


async def node_of(cluster: Cluster, pod: Any) -> Any:
    """Read the node of a pod; None without the permission, which is good to have but not needed."""
    try:
        return await cluster.call(cluster.core.read_node, pod.spec.node_name)
    except (Refusal, NotStarted):
        return None


def memory_limit(pod: Any) -> int | None:
    """Give the memory limit of a pod in bytes; None if it has none."""
    sidecars = [each for each in pod.spec.init_containers or [] if each.restart_policy == "Always"]
    limits = [_memory(each.resources) for each in (*pod.spec.containers, *sidecars)]
    return pod_limit(_memory(pod.spec.resources), limits)


def _memory(resources: Any) -> int | None:
    given = ((resources.limits if resources is not None else None) or {}).get("memory")
    return int(parse_quantity(given)) if given is not None else None
