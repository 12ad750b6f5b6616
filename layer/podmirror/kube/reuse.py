"""Agents of this user that are alive already: found again, used once more, or told to end."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from podmirror import ownagents
from podmirror.errors import AgentLost, NotStarted
from podmirror.kube.cluster import Cluster, Refusal
from podmirror.kube.ephemeral import AgentSpec, Phase, state_of
from podmirror.kube.injected import InjectedAgent
from podmirror.kube.portforward import PortForward
from podmirror.kube.resolve import ResolvedTarget
from podmirror.link import Link
from podmirror.ownagents import Claim, OwnAgent
from podmirror_wire.frames import ConnectionFrame
from podmirror_wire.handshake import verifier_of

REUSE_SECONDS = 5.0
"""For an agent that runs already to answer; otherwise another one is started."""

END_SECONDS = 2.0
"""For an agent to take leave of its layers."""


@dataclass(frozen=True, slots=True)
class LiveAgent:
    """An agent that was found again, and the conversation with it."""

    agent: InjectedAgent
    link: Link
    stream: PortForward
    claim: Claim


async def reuse(
    cluster: Cluster,
    target: ResolvedTarget,
    receiver: Callable[[ConnectionFrame], None],
    *,
    image: str,
    cpu: float | None,
) -> LiveAgent | None:
    """Connect to a live agent of this user in the target's pod that was started the same way; None if there is none."""
    claims = ownagents.find(cluster.server, target.namespace, target.pod)
    pod = await _read(cluster, target) if claims else None
    live: LiveAgent | None = None
    for claim in claims:
        own = claim.agent
        if pod is not None and (pod.metadata.uid != own.uid or _phase(pod, own) is Phase.ENDED):
            claim.forget()
            continue
        fits = live is None and (own.image, own.cpu) == (image, cpu)
        if fits and pod is not None and _phase(pod, own) is Phase.RUNNING:
            live = await _connect(cluster, target, claim, receiver)
        if live is None or live.claim is not claim:
            claim.release(ended=False)
    return live


async def end_agent(cluster: Cluster, claim: Claim) -> bool:
    """Tell an agent of this user to end, whoever uses it, and give whether it did; its secret is forgotten then.

    Raises:
        NotStarted: It cannot be reached, and why.
    """
    own = claim.agent
    agent = InjectedAgent(cluster, own.namespace, own.pod, _spec(own))
    try:
        async with asyncio.timeout(REUSE_SECONDS):
            link, stream = await agent.connect(bytes.fromhex(own.secret), lambda _: None)
    except TimeoutError:
        claim.release(ended=False)
        return False
    try:
        link.ask_for_end("agents --clean")
        async with asyncio.timeout(END_SECONDS):
            await link.run()
    except (AgentLost, TimeoutError):
        return False
    finally:
        await stream.close()
    claim.forget()
    return True


async def _connect(
    cluster: Cluster,
    target: ResolvedTarget,
    claim: Claim,
    receiver: Callable[[ConnectionFrame], None],
) -> LiveAgent | None:
    agent = InjectedAgent(cluster, target.namespace, target.pod, _spec(claim.agent))
    with suppress(NotStarted, TimeoutError):
        async with asyncio.timeout(REUSE_SECONDS):
            link, stream = await agent.connect(bytes.fromhex(claim.agent.secret), receiver)
        return LiveAgent(agent, link, stream, claim)
    return None


async def _read(cluster: Cluster, target: ResolvedTarget) -> Any:  # kubernetes has no types
    """Give the pod; None where that is not permitted, or fails."""
    try:
        return await cluster.call(cluster.core.read_namespaced_pod, target.pod, target.namespace)
    except (Refusal, NotStarted):
        return None


def _phase(pod: Any, own: OwnAgent) -> Phase:  # kubernetes has no types
    return state_of(pod, own.name).phase


def _spec(own: OwnAgent) -> AgentSpec:
    return AgentSpec(
        name=own.name,
        image=own.image,
        image_pull_policy=None,
        ports=own.ports,
        verifier=verifier_of(bytes.fromhex(own.secret)),
        ttl=own.ttl,
        log_level="info",
        cpu=own.cpu,
    )
