"""What each way of starting an agent would be answered, without starting one.

Each permission is asked about by an access review, and each write is sent as a dry run, which passes every admission step
(Pod Security, quotas, policy webhooks) and stores nothing.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from podmirror.errors import NotStarted
from podmirror.kube.access import denied
from podmirror.kube.cluster import Cluster, Refusal
from podmirror.kube.ephemeral import AgentSpec, patch
from podmirror.kube.hazards import lacks_net_raw
from podmirror.kube.job import JobTarget, manifest, warnings_in
from podmirror.kube.permissions import Access, AgentMode, needed
from podmirror.kube.resolve import resolve, unfitness
from podmirror.target import Target

ENFORCE_LABEL = "pod-security.kubernetes.io/enforce"


@dataclass
class Trial:
    """What one way of starting an agent would be answered."""

    name: str
    mode: AgentMode
    missing: list[Access] = field(default_factory=list)
    """Permissions that the user does not have."""
    refusals: list[str] = field(default_factory=list)
    """The server's words, or ours, for why it cannot work."""
    notes: list[str] = field(default_factory=list)

    @property
    def works(self) -> bool:
        """Whether nothing stands in the way."""
        return not self.refusals and all(each.optional for each in self.missing)

    @property
    def pod_security(self) -> bool:
        """Whether Pod Security stands in the way."""
        return any("PodSecurity" in each for each in self.refusals)


@dataclass(frozen=True, slots=True)
class Subject:
    """What is tried."""

    target: Target | None
    pod: Any  # kubernetes has no types
    """A pod that an agent would be added to; None if there is none to try."""
    spec: AgentSpec
    agent_namespace: str


async def try_all(cluster: Cluster, subject: Subject) -> list[Trial]:
    """Try every way, at once.

    Raises:
        NotStarted: The API server cannot be reached.
    """
    return list(
        await asyncio.gather(
            _try_ephemeral(cluster, subject, add_capabilities=True),
            _try_ephemeral(cluster, subject, add_capabilities=False),
            _try_job(cluster, subject),
        )
    )


async def _try_ephemeral(cluster: Cluster, subject: Subject, *, add_capabilities: bool) -> Trial:
    trial = Trial(
        "ephemeral, NET_RAW added" if add_capabilities else "ephemeral, default capabilities",
        AgentMode.EPHEMERAL,
    )
    await _find_missing(cluster, trial, subject)
    if not add_capabilities and subject.pod is not None and lacks_net_raw(subject.pod):
        trial.refusals.append("the node's runtime is CRI-O, whose default capabilities lack NET_RAW")
    if subject.pod is None:
        trial.notes.append("Pod Security and policies were not tried, for want of a pod")
        return trial
    try:
        await cluster.call(
            cluster.core.patch_namespaced_pod_ephemeralcontainers,
            subject.pod.metadata.name,
            cluster.namespace,
            patch(subject.spec, add_capabilities=add_capabilities),
            dry_run="All",
            _content_type="application/strategic-merge-patch+json",
        )
    except Refusal as refusal:
        _take_refusal(refusal, trial)
    return trial


async def _try_job(cluster: Cluster, subject: Subject) -> Trial:
    trial = Trial("job", AgentMode.JOB)
    await _find_missing(cluster, trial, subject)
    node = subject.pod.spec.node_name if subject.pod is not None else None
    container = _first_container_id(subject.pod)
    target = JobTarget(cluster.namespace, "none", "", node or "node", container)
    job = manifest(subject.spec, target, subject.agent_namespace)
    job["metadata"].pop("ownerReferences", None)
    warnings = await _dry_run_job(cluster, subject.agent_namespace, job, trial)
    template: dict[str, Any] = job["spec"]["template"]
    pod = {
        "metadata": {**template.get("metadata", {}), "name": job["metadata"]["name"]},
        "spec": template["spec"],
    }
    try:
        await cluster.call(cluster.core.create_namespaced_pod, subject.agent_namespace, pod, dry_run="All")
    except Refusal as refusal:
        if "cannot create resource" not in refusal.message:
            trial.refusals.append(_first_line(refusal))
        else:
            # Creating pods is no permission that podmirror needs; without it the server's warning has to do.
            trial.notes.append(
                "quotas and policies for the Job's pod were not tried, since you may not create pods"
            )
            await _take_warnings(cluster, subject.agent_namespace, warnings, trial)
    return trial


async def _dry_run_job(cluster: Cluster, namespace: str, manifest: dict[str, Any], trial: Trial) -> list[str]:
    """Send the Job, and give the warnings that the server answers with."""
    try:
        _, _, headers = await cluster.call(
            cluster.batch.create_namespaced_job_with_http_info, namespace, manifest, dry_run="All"
        )
    except Refusal as refusal:
        _take_refusal(refusal, trial)
        return []
    return warnings_in(headers)


async def _take_warnings(cluster: Cluster, namespace: str, warnings: Iterable[str], trial: Trial) -> None:
    """Judge warnings of Pod Security: a level that is only warned of may be stricter than what is enforced."""
    about = [each for each in warnings if "PodSecurity" in each]
    if not about:
        return
    try:
        labels = (await cluster.call(cluster.core.read_namespace, namespace)).metadata.labels or {}
    except Refusal:
        labels = {ENFORCE_LABEL: "unknown"}
    enforced = labels.get(ENFORCE_LABEL, "privileged") != "privileged"
    (trial.refusals if enforced else trial.notes).extend(f"the Job's pod {each}" for each in about)


async def _find_missing(cluster: Cluster, trial: Trial, subject: Subject) -> None:
    kind = subject.target.kind.value if subject.target is not None else None
    roles = needed(trial.mode, cluster.namespace, subject.agent_namespace, kind)
    trial.missing = await denied(cluster, (access for role in roles for access in role.accesses()))


def _take_refusal(refusal: Refusal, trial: Trial) -> None:
    if refusal.reason == "Forbidden" and " cannot " in refusal.message and trial.missing:
        # The access reviews said so already, and permissions are looked at before anything else.
        trial.notes.append("Pod Security and policies were not tried, for want of that permission")
    else:
        trial.refusals.append(_first_line(refusal))


def _first_line(refusal: Refusal) -> str:
    return (refusal.message.splitlines() or ["no reason was given"])[0]


def _first_container_id(pod: Any) -> str:  # kubernetes has no types
    statuses = pod.status.container_statuses if pod is not None else None
    return next(
        (each.container_id for each in statuses or [] if each.container_id), "containerd://" + "0" * 64
    )


async def pod_to_try(cluster: Cluster, target: Target | None) -> tuple[Any, str]:
    """Find a pod to try on: the target's, else any of the namespace that is fit; or why there is none."""
    try:
        if target is not None:
            resolved = await resolve(cluster, target, host_network=True)
            return await cluster.call(cluster.core.read_namespaced_pod, resolved.pod, cluster.namespace), ""
        pods = await cluster.call(cluster.core.list_namespaced_pod, cluster.namespace)
    except NotStarted as error:
        return None, str(error)
    except Refusal as refusal:
        return None, refusal.message
    fit = [pod for pod in pods.items if not unfitness(pod)]
    if not fit:
        return None, f"there is no running pod in namespace {cluster.namespace!r} to try on"
    return fit[0], ""
