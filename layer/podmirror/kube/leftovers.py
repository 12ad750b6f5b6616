"""The agents that there are: found by what they were started with, and ended where that is possible.

Nothing can remove an ephemeral container, and nobody but the layer that holds its secret can tell one to end. So agents of
others are told of with the time when they end by themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from itertools import pairwise
from typing import Any

from podmirror.errors import NotStarted
from podmirror.kube.cluster import Cluster, Refusal
from podmirror.kube.ephemeral import NAME_PREFIX, Phase, state_of

JOB_LABEL = ("app.kubernetes.io/name", "podmirror-agent")
"""On the Jobs of agents."""

DEFAULT_MAX_AGE = 8 * 3600.0
"""Seconds; the agent's own default of --max-age."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """An agent that is there."""

    kind: str
    """`ephemeral` or `job`."""
    namespace: str
    pod: str
    """Empty for a Job without a pod."""
    name: str
    image: str
    phase: Phase
    words: str
    """The kubelet's, or the Job's."""
    started: datetime | None
    ends: datetime | None
    """When it ends at the latest, if it runs."""
    ttl: float | None
    """Seconds that it outlives a lost session."""
    ports: tuple[int, ...] = ()

    def age(self, now: datetime) -> timedelta | None:
        """Give the time since its start; None if it has not started."""
        return now - self.started if self.started is not None else None


async def find_leftovers(cluster: Cluster, *, everywhere: bool) -> list[Leftover]:
    """Find the agents of a namespace, or of all.

    Raises:
        NotStarted: The pods may not be listed.
    """
    core, batch = cluster.core, cluster.batch
    try:
        if everywhere:
            pods = await cluster.call(core.list_pod_for_all_namespaces)
        else:
            pods = await cluster.call(core.list_namespaced_pod, cluster.namespace)
    except Refusal as refusal:
        step = "name a namespace with -n" if everywhere else "name another with -n, or see `podmirror rbac`"
        raise NotStarted(f"agents cannot be listed: {refusal.message}", step) from refusal
    found = [each for pod in pods.items for each in _ephemeral(pod)]
    try:
        if everywhere:
            jobs = await cluster.call(batch.list_job_for_all_namespaces)
        else:
            jobs = await cluster.call(batch.list_namespaced_job, cluster.namespace)
    except Refusal as refusal:
        if refusal.status != HTTPStatus.FORBIDDEN:
            raise NotStarted(f"agents cannot be listed: {refusal.message}") from refusal
        return found  # who may not list Jobs has started none
    return found + [_job(each, pods.items) for each in jobs.items if _is_ours(each)]


async def remove_job(cluster: Cluster, leftover: Leftover) -> None:
    """Delete a Job and its pod.

    Raises:
        NotStarted: It may not be deleted.
    """
    try:
        await cluster.call(
            cluster.batch.delete_namespaced_job,
            leftover.name,
            leftover.namespace,
            propagation_policy="Background",  # the default leaves the pod behind
        )
    except Refusal as refusal:
        if refusal.status != HTTPStatus.NOT_FOUND:
            raise NotStarted(
                f"job {leftover.namespace}/{leftover.name} cannot be removed: {refusal.message}"
            ) from refusal


def _ephemeral(pod: Any) -> list[Leftover]:  # kubernetes has no types
    return [_container(pod, each) for each in pod.spec.ephemeral_containers or [] if _is_agent(each)]


def _is_agent(container: Any) -> bool:
    """Recognise an agent: by its name, or, as that can be chosen, by the argument that no other program is given."""
    return container.name.startswith(NAME_PREFIX) or "--verifier" in (container.args or [])


def _container(pod: Any, container: Any) -> Leftover:
    state = state_of(pod, container.name)
    statuses = pod.status.ephemeral_container_statuses or []
    status = next((each.state for each in statuses if each.name == container.name), None)
    running = (status.running or status.terminated) if status is not None else None
    started = running.started_at if running is not None else None
    arguments: Sequence[str] = container.args or []
    max_age = timedelta(seconds=float(_argument(arguments, "--max-age") or DEFAULT_MAX_AGE))
    ttl = _argument(arguments, "-t")
    return Leftover(
        kind="ephemeral",
        namespace=pod.metadata.namespace,
        pod=pod.metadata.name,
        name=container.name,
        image=container.image,
        phase=state.phase,
        words=state.words,
        started=started,
        ends=started + max_age if started is not None and state.phase is Phase.RUNNING else None,
        ttl=float(ttl) if ttl else None,
        ports=tuple(int(each) for each in (_argument(arguments, "--ports") or "").split(",") if each),
    )


def _is_ours(job: Any) -> bool:
    label, value = JOB_LABEL
    return (job.metadata.labels or {}).get(label) == value or job.metadata.name.startswith(NAME_PREFIX)


def _job(job: Any, pods: Sequence[Any]) -> Leftover:
    def owns(pod: Any) -> bool:
        return any(each.uid == job.metadata.uid for each in pod.metadata.owner_references or [])

    container = job.spec.template.spec.containers[0]
    started = job.status.start_time
    phase, words = _progress(job)
    deadline = job.spec.active_deadline_seconds
    running = phase is not Phase.ENDED and started is not None and deadline is not None
    ttl = _argument(container.args or [], "-t")
    return Leftover(
        kind="job",
        namespace=job.metadata.namespace,
        pod=next((pod.metadata.name for pod in pods if owns(pod)), ""),
        name=job.metadata.name,
        image=container.image,
        phase=phase,
        words=words,
        started=started,
        ends=started + timedelta(seconds=deadline) if running else None,
        ttl=float(ttl) if ttl else None,
    )


def _progress(job: Any) -> tuple[Phase, str]:
    for each in job.status.conditions or []:
        if each.type in ("Complete", "Failed") and each.status == "True":
            return Phase.ENDED, each.message or each.type
    return (Phase.RUNNING, "") if job.status.ready else (Phase.COMING, "no pod of it is ready")


def _argument(arguments: Sequence[str], name: str) -> str | None:
    """Give what follows a flag."""
    for flag, value in pairwise(arguments):
        if flag == name:
            return value
    return None
