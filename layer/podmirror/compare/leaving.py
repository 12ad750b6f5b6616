"""What remains in the cluster after an agent's session, and for how long."""

import asyncio
import time
from http import HTTPStatus
from typing import Any

from podmirror.compare.figures import Leftovers
from podmirror.compare.spread import Figure, Unknown
from podmirror.errors import NotStarted
from podmirror.kube.cluster import Cluster, Refusal
from podmirror.kube.ephemeral import Phase, ephemeral_count, state_of
from podmirror.kube.resolve import ResolvedTarget

WATCH_SECONDS = 20.0
"""For what goes away to be gone; Kubernetes deletes a pod within its grace period, and an agent ends at once."""

_POLL_SECONDS = 0.1


async def look_behind(
    cluster: Cluster,
    target: ResolvedTarget,
    agent: str,
    said: float,
    *,
    job_namespace: str | None,
) -> Leftovers:
    """Watch an agent's things go.

    Args:
        cluster: Where.
        target: The pod.
        agent: Its name, and that of its Job.
        said: When it was told goodbye, monotonic seconds.
        job_namespace: Of its Job; None if it is in the pod.
    """
    ended: Figure = Unknown(f"it had not ended {WATCH_SECONDS:g} s after the goodbye")
    gone: Figure = Unknown("there was no Job") if job_namespace is None else ended
    while time.monotonic() < said + WATCH_SECONDS:
        try:
            if isinstance(ended, Unknown) and await _has_ended(cluster, target, agent, job_namespace):
                ended = time.monotonic() - said
            if (
                job_namespace
                and isinstance(gone, Unknown)
                and await _job_is_gone(cluster, agent, job_namespace)
            ):
                gone = time.monotonic() - said
        except (Refusal, NotStarted) as error:
            ended = gone = Unknown(str(error))
            break
        if not isinstance(ended, Unknown) and (job_namespace is None or not isinstance(gone, Unknown)):
            break
        await asyncio.sleep(_POLL_SECONDS)
    return Leftovers(await _entries(cluster, target, agent), ended, gone)


async def _entries(cluster: Cluster, target: ResolvedTarget, agent: str) -> tuple[int, int]:
    try:
        pod = await read_pod(cluster, target)
    except (Refusal, NotStarted):
        return -1, -1
    names = [each.name for each in pod.spec.ephemeral_containers or []]
    return ephemeral_count(pod), names.count(agent)


async def read_pod(cluster: Cluster, target: ResolvedTarget) -> Any:
    """Read the target."""
    return await cluster.call(cluster.core.read_namespaced_pod, target.pod, target.namespace)


async def _has_ended(cluster: Cluster, target: ResolvedTarget, agent: str, job_namespace: str | None) -> bool:
    if job_namespace is None:
        return state_of(await read_pod(cluster, target), agent).phase is Phase.ENDED
    pods = await cluster.call(
        cluster.core.list_namespaced_pod,
        job_namespace,
        label_selector=f"batch.kubernetes.io/job-name={agent}",
    )
    return not pods.items


async def _job_is_gone(cluster: Cluster, agent: str, namespace: str) -> bool:
    try:
        await cluster.call(cluster.batch.read_namespaced_job, agent, namespace)
    except Refusal as refusal:
        if refusal.status == HTTPStatus.NOT_FOUND:
            return True
        raise
    return False
