"""Put an agent beside a target: as an ephemeral container of its pod, or as a Job on its node.

What is tried, in order, with `auto`: an ephemeral container with NET_RAW as its only capability; one with the runtime's default
set, which holds NET_RAW on containerd and which Pod Security's `baseline` admits; a Job. An API server that refuses one stores
nothing, so a try leaves nothing behind; but what fails on the node later stays in the pod's spec. That is why CRI-O, whose
default set lacks NET_RAW, is not asked to start an agent with it.
"""

import random
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from podmirror.errors import NotStarted
from podmirror.kube.cluster import Cluster, Refusal
from podmirror.kube.ephemeral import NAME_PREFIX, AgentSpec, ephemeral_count, patch
from podmirror.kube.headroom import agent_budget
from podmirror.kube.injected import InjectedAgent
from podmirror.kube.injectjob import start_job
from podmirror.kube.resolve import ResolvedTarget
from podmirror.placement import AgentKind, Placement

PORTS = range(61_000, 65_536)
"""Above Linux's ephemeral ports (ip_local_port_range, 32768 to 60999), so that no call of the app's is in the way."""

CANDIDATES = 4


def new_agent_name() -> str:
    """Make a name that no other ephemeral container of the pod has, finished ones included."""
    return NAME_PREFIX + secrets.token_hex(4)


def candidate_ports() -> tuple[int, ...]:
    """Choose ports for the agent to try: it shares the pod's port space, and a failed start cannot be taken back."""
    return tuple(random.sample(PORTS, CANDIDATES))


async def _nothing() -> None:
    """Remove nothing: Kubernetes keeps the entry of an ephemeral container for the pod's life."""


@dataclass(frozen=True, slots=True)
class Injection:
    """An agent that was put beside a target, and what there is to say about that."""

    agent: InjectedAgent
    what: str
    """What was created."""
    notes: tuple[str, ...] = ()
    answered: float = 0.0
    """When the API server had stored it, monotonic seconds."""
    remove: Callable[[], Awaitable[None]] = _nothing
    """Takes away what was created, as far as Kubernetes does that; for the end of the session."""


async def inject(
    cluster: Cluster, target: ResolvedTarget, spec: AgentSpec, placement: Placement
) -> Injection:
    """Start an agent beside a target.

    Raises:
        NotStarted: It was refused in every way that was to be tried; with the server's words for each.
    """
    ephemeral: _Refused | None = None
    if placement.kind is not AgentKind.JOB:
        try:
            return await _inject_ephemeral(cluster, target, spec)
        except _Refused as refused:
            if placement.kind is AgentKind.EPHEMERAL:
                raise NotStarted(refused.reason, refused.step or _ELSEWHERE) from refused
            ephemeral = refused
    try:
        started = await start_job(cluster, target, spec, placement)
    except NotStarted as job:
        if ephemeral is None:
            raise
        raise _refused_in_every_way(target, ephemeral, job) from job
    notes = (f"the agent is a Job, since {ephemeral.reason}",) if ephemeral is not None else ()
    return Injection(started.agent, str(started.place), notes, started.answered, started.remove)


_ELSEWHERE = "a Job may be admitted (--agent job), and `podmirror doctor` tells whether it is"
"""What to do where an ephemeral container was asked for, and nothing can be done for that."""


class _Refused(NotStarted):
    """An ephemeral container was refused, and another kind of agent may not be."""


def _refused_in_every_way(target: ResolvedTarget, ephemeral: NotStarted, job: NotStarted) -> NotStarted:
    """Tell each way with its reason in a line of its own, and then what to do about either."""
    steps = [step for step in (ephemeral.step, job.step) if step] or ["see `podmirror doctor`"]
    lines = (
        f"no agent can be put beside {target}",
        f"ephemeral container: {ephemeral.reason}",
        f"Job: {job.reason}",
        *(f"{'or' if number else 'next'}: {step}" for number, step in enumerate(steps)),
    )
    return NotStarted("\n  ".join(lines))


async def _inject_ephemeral(cluster: Cluster, target: ResolvedTarget, spec: AgentSpec) -> Injection:
    if target.static:
        raise _Refused(f"{target} is a static pod, which takes no ephemeral containers")
    agent = InjectedAgent(cluster, target.namespace, target.pod, _within(target, spec))
    notes: tuple[str, ...] = ()
    try:
        pod = await _patch(agent, add_capabilities=True)
    except Refusal as refusal:
        if refusal.reason != "Forbidden" or "PodSecurity" not in refusal.message:
            raise _explained(agent, refusal) from refusal
        if target.lacks_net_raw:
            raise _Refused(
                f"{_first_line(refusal)}; and the default capabilities of its runtime, CRI-O, lack NET_RAW"
            ) from refusal
        try:
            pod = await _patch(agent, add_capabilities=False)
        except Refusal as second:
            raise _explained(agent, second) from second
        notes = (
            "this namespace's Pod Security does not admit NET_RAW to be added; the agent relies on the runtime's default set",
        )
    answered = time.monotonic()
    entries = f"entry {ephemeral_count(pod)} of ours in the pod's spec"
    return Injection(agent, f"ephemeral container {spec.name} ({spec.image}), {entries}", notes, answered)


def _within(target: ResolvedTarget, spec: AgentSpec) -> AgentSpec:
    """Give the agent no more memory than its pod has room for."""
    if spec.memory is not None:
        return spec
    try:
        return replace(spec, memory=agent_budget(target.surroundings.memory_limit))
    except NotStarted as error:
        raise _Refused(f"{target} {error}") from error


async def _patch(agent: InjectedAgent, *, add_capabilities: bool) -> object:
    return await agent.cluster.call(
        agent.cluster.core.patch_namespaced_pod_ephemeralcontainers,
        agent.pod,
        agent.namespace,
        patch(agent.spec, add_capabilities=add_capabilities),
        _content_type="application/strategic-merge-patch+json",
    )


def _first_line(refusal: Refusal) -> str:
    """Leave out the diff of the containers that may follow."""
    return (refusal.message.splitlines() or ["no reason was given"])[0]


def _explained(agent: InjectedAgent, refusal: Refusal) -> Exception:
    """Give an error that another kind of agent may get around, or one that ends the session."""
    what = f"the agent could not be added to {agent.place}"
    words = _first_line(refusal)
    if refusal.reason == "Invalid" and ("may not be changed" in words or "Duplicate value" in words):
        return NotStarted(
            f"{what}: the name {agent.spec.name!r} is taken in this pod ({words}); give another --agent-name, or none"
        )
    if refusal.reason == "NotFound":
        return NotStarted(f"{what}: {words}; it was deleted meanwhile, try again")
    if refusal.reason == "Forbidden" and "PodSecurity" in words:
        return _Refused(f"{what}: {words}; no capture is possible under this policy from inside the pod")
    if "denied" in words or "failed calling webhook" in words:
        return _Refused(
            f"{what}: {words}",
            "a policy of this cluster stands in the way: ask whoever keeps it, or see `podmirror doctor`",
        )
    if refusal.reason == "Forbidden":
        return _Refused(
            f"{what}: {words}",
            "it needs the verb patch on pods/ephemeralcontainers: ask your cluster's administrator to apply what "
            "`podmirror rbac --agent ephemeral` prints",
        )
    return _Refused(f"{what}: {words}")
