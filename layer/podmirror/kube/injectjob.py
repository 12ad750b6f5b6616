"""Start an agent as a Job, and take it away again.

A Job that Pod Security or a quota forbids is created without an error: only its pod is refused, and that stands in the Job's
events. So they are read until there is a pod. Where they may not be read, the Job's status still shows that its controller has
tried: it sets `startTime` once it has looked at the Job, and writes that behind its try to make the pod (syncJob in
pkg/controller/job/job_controller.go).
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from podmirror.errors import NotStarted
from podmirror.kube.cluster import Cluster, Refusal
from podmirror.kube.ephemeral import AgentSpec
from podmirror.kube.injected import InjectedAgent
from podmirror.kube.job import JobPlace, JobTarget, manifest, refusal_by_event, warnings_in
from podmirror.kube.resolve import ResolvedTarget
from podmirror.placement import Placement

POD_SECONDS = 20.0
"""For the Job controller to make the Job's pod, or to say why it cannot."""

UNTOLD_SECONDS = 2.0
"""For the pod of a Job whose events may not be read, once the server has warned or the controller has tried: the user should
hear of a refusal within five seconds."""

REMOVE_SECONDS = 3.0
"""For the server to delete a Job; Ctrl-C should not wait longer for it, and the Job goes by itself, only later."""

_POLL_SECONDS = 0.25

_APPLY = "ask your cluster's administrator to apply what `podmirror rbac --agent job` prints"


@dataclass(frozen=True, slots=True)
class StartedJob:
    """A Job whose pod exists."""

    agent: InjectedAgent
    place: JobPlace
    answered: float
    """When the API server had stored the Job, monotonic seconds."""

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
            f"no container of {target} runs, so a Job on its node finds nothing to look for",
            "wait until one does, or try --agent ephemeral",
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
    creating = asyncio.ensure_future(_create(cluster, place, body))
    try:
        # Not given up in the middle: the server may carry it out all the same, and then nobody would know of the Job.
        warnings = await asyncio.shield(creating)
        answered = time.monotonic()
        pod = await _wait_for_pod(cluster, place, warnings)
    except BaseException:
        await asyncio.wait({creating}, timeout=REMOVE_SECONDS)
        if creating.done() and creating.exception() is None:
            await _delete(cluster, place)
        raise
    return StartedJob(InjectedAgent(cluster, namespace, pod, spec), place, answered)


async def _create(cluster: Cluster, place: JobPlace, body: dict[str, Any]) -> list[str]:
    """Create the Job, and give what the server warns of."""
    try:
        _, _, headers = await cluster.call(
            cluster.batch.create_namespaced_job_with_http_info, place.namespace, body
        )
    except Refusal as refusal:
        raise _explained(place, refusal) from refusal
    return warnings_in(headers)


async def _wait_for_pod(cluster: Cluster, place: JobPlace, warnings: list[str]) -> str:
    began = time.monotonic()
    deadline = began + POD_SECONDS
    suspected = next((each for each in warnings if "PodSecurity" in each), "")
    unread = ""
    while time.monotonic() < deadline:
        try:
            pods = await cluster.call(
                cluster.core.list_namespaced_pod,
                place.namespace,
                label_selector=f"batch.kubernetes.io/job-name={place.name}",
            )
        except Refusal as refusal:
            raise NotStarted(f"cannot look for the pod of {place}: {refusal.message}", _APPLY) from refusal
        if pods.items:
            return str(pods.items[0].metadata.name)
        try:
            await _raise_if_refused(cluster, place)
        except Refusal as refusal:
            unread = refusal.message
            if suspected or await _was_tried(cluster, place):
                deadline = min(deadline, began + UNTOLD_SECONDS)
        await asyncio.sleep(_POLL_SECONDS)
    raise _without_pod(place, time.monotonic() - began, unread, suspected)


def _without_pod(place: JobPlace, seconds: float, unread: str, suspected: str) -> NotStarted:
    what = f"{place} has no pod after {seconds:.0f} s"
    if unread and suspected:
        return NotStarted(f"{what}, and the server warned that it {suspected}", _next_step(suspected, place))
    if unread:
        return NotStarted(
            f"{what}: a quota or a policy may refuse it, which its events tell, and they may not be read: {unread}",
            _APPLY,
        )
    return NotStarted(
        f"{what}, and its events do not say why",
        f"see `kubectl get events -n {place.namespace}`, and try again",
    )


async def _was_tried(cluster: Cluster, place: JobPlace) -> bool:
    """Whether the Job controller has tried to make the pod; False where that may not be read."""
    try:
        job = await cluster.call(cluster.batch.read_namespaced_job, place.name, place.namespace)
    except Refusal:
        return False
    return job.status.start_time is not None


async def _raise_if_refused(cluster: Cluster, place: JobPlace) -> None:
    events = await cluster.call(
        cluster.core.list_namespaced_event,
        place.namespace,
        field_selector=f"involvedObject.kind=Job,involvedObject.name={place.name}",
    )
    for event in events.items:
        words = refusal_by_event(event)
        if words:
            raise NotStarted(f"the pod of {place} was refused: {words}", _next_step(words, place))


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
    with suppress(Refusal, NotStarted, TimeoutError):
        async with asyncio.timeout(REMOVE_SECONDS):
            await cluster.call(
                cluster.batch.delete_namespaced_job,
                place.name,
                place.namespace,
                propagation_policy="Background",
            )


def _explained(place: JobPlace, refusal: Refusal) -> NotStarted:
    words = (refusal.message.splitlines() or ["no reason was given"])[0]
    what = f"{place} could not be created: {words}"
    if refusal.reason == "NotFound":
        return NotStarted(what, "create the namespace, or name another with --agent-namespace")
    if refusal.reason == "Forbidden" and " cannot " in words:
        return NotStarted(what, _APPLY)
    if refusal.reason == "AlreadyExists":
        return NotStarted(what, "give another --agent-name, or none")
    return NotStarted(what)
