"""Start an agent as a Job, and take it away again.

A Job that Pod Security or a quota forbids is created without an error: only its pod is refused, and that stands in the Job's
events. So they are read until there is a pod.
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass

from podmirror.errors import NotStarted
from podmirror.kube.cluster import Cluster, Refusal
from podmirror.kube.ephemeral import AgentSpec
from podmirror.kube.injected import InjectedAgent
from podmirror.kube.job import JobPlace, JobTarget, manifest, refusal_by_event
from podmirror.kube.resolve import ResolvedTarget
from podmirror.placement import Placement

POD_SECONDS = 20.0
"""For the Job controller to make the Job's pod, or to say why it cannot."""

_POLL_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class StartedJob:
    """A Job whose pod exists."""

    agent: InjectedAgent
    place: JobPlace

    async def remove(self) -> None:
        """Delete the Job; if that is not allowed or fails, Kubernetes does it soon after the agent has ended."""
        await _delete(self.agent.cluster, self.place)


async def start_job(
    cluster: Cluster, target: ResolvedTarget, spec: AgentSpec, placement: Placement
) -> StartedJob:
    """Create the Job and wait for its pod.

    Raises:
        NotStarted: The API server refused it or its pod; with its words. No Job is left.
    """
    if target.container_id is None:
        raise NotStarted(
            f"no container of {target} runs, so a Job on its node finds nothing to look for; wait until one does, or try "
            "--agent ephemeral"
        )
    namespace = placement.agent_namespace or target.namespace
    place = JobPlace(namespace, spec.name, spec.image, target.node)
    body = manifest(
        spec,
        JobTarget(target.namespace, target.pod, target.uid, target.node, target.container_id),
        namespace,
        privileged=placement.privileged,
        host_network=placement.host_network,
    )
    try:
        await cluster.call(cluster.batch.create_namespaced_job, namespace, body)
    except Refusal as refusal:
        raise _explained(place, refusal) from refusal
    try:
        pod = await _wait_for_pod(cluster, place)
    except BaseException:
        await _delete(cluster, place)
        raise
    return StartedJob(InjectedAgent(cluster, namespace, pod, spec), place)


async def _wait_for_pod(cluster: Cluster, place: JobPlace) -> str:
    deadline = time.monotonic() + POD_SECONDS
    unread = ""
    while time.monotonic() < deadline:
        try:
            pods = await cluster.call(
                cluster.core.list_namespaced_pod,
                place.namespace,
                label_selector=f"batch.kubernetes.io/job-name={place.name}",
            )
        except Refusal as refusal:
            raise NotStarted(
                f"cannot look for the pod of {place}: {refusal.message}; ask your cluster's administrator to apply what "
                "`podmirror rbac --agent job` prints"
            ) from refusal
        if pods.items:
            return str(pods.items[0].metadata.name)
        try:
            await _raise_if_refused(cluster, place)
        except Refusal as refusal:
            unread = f" ({refusal.message})"
        await asyncio.sleep(_POLL_SECONDS)
    raise NotStarted(
        f"{place} has no pod after {POD_SECONDS:g} s, and its events do not say why{unread}; "
        f"see `kubectl describe job {place.name} -n {place.namespace}`"
    )


async def _raise_if_refused(cluster: Cluster, place: JobPlace) -> None:
    events = await cluster.call(
        cluster.core.list_namespaced_event,
        place.namespace,
        field_selector=f"involvedObject.kind=Job,involvedObject.name={place.name}",
    )
    for event in events.items:
        words = refusal_by_event(event)
        if words:
            raise NotStarted(f"the pod of {place} was refused: {words}; {_next_step(words, place)}")


def _next_step(words: str, place: JobPlace) -> str:
    if "PodSecurity" in words:
        return (
            f"name a namespace that admits it with --agent-namespace, in which "
            f"pod-security.kubernetes.io/enforce is privileged; {place.namespace} can stay as it is"
        )
    if "quota" in words:
        return "ask for room in that quota, or name another namespace with --agent-namespace"
    return "name another namespace with --agent-namespace, or ask your cluster's administrator"


async def _delete(cluster: Cluster, place: JobPlace) -> None:
    with suppress(Refusal, NotStarted):
        await cluster.call(
            cluster.batch.delete_namespaced_job, place.name, place.namespace, propagation_policy="Background"
        )


def _explained(place: JobPlace, refusal: Refusal) -> NotStarted:
    words = (refusal.message.splitlines() or ["no reason was given"])[0]
    what = f"{place} could not be created: {words}"
    if refusal.reason == "NotFound":
        return NotStarted(f"{what}; create the namespace, or name another with --agent-namespace")
    if refusal.reason == "Forbidden" and " cannot " in words:
        return NotStarted(
            f"{what}; ask your cluster's administrator to apply what `podmirror rbac --agent job` prints"
        )
    if refusal.reason == "AlreadyExists":
        return NotStarted(f"{what}; give another --agent-name, or none")
    return NotStarted(what)
