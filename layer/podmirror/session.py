"""A session: from a pod to a conversation with an agent beside it, and back to nothing.

The steps are those that the user sees: resolved, injected, running, forwarded, subscribed. Whatever ends a session, the agent
is told goodbye if it can be reached, and ends at once; if it cannot, it ends by itself after its ttl. A tunnel that is lost on
the way is opened again, and the session goes on.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from podmirror import ownagents
from podmirror.errors import AgentLost, TunnelLost
from podmirror.link import GOODBYE_SECONDS, LONGEST_GOODBYE_SECONDS, Link
from podmirror.ownagents import Claim, OwnAgent
from podmirror.placement import AgentKind, Placement
from podmirror.progress import Progress
from podmirror.reopening import Reopening
from podmirror.target import Target
from podmirror_wire.frames import ConnectionFrame
from podmirror_wire.handshake import new_secret, verifier_of
from podmirror_wire.version import __version__

if TYPE_CHECKING:
    from podmirror.kube.cluster import Cluster
    from podmirror.kube.injected import InjectedAgent
    from podmirror.kube.portforward import PortForward
    from podmirror.kube.resolve import ResolvedTarget

DEFAULT_IMAGE = f"podmirror-agent:{__version__}"
DEFAULT_TTL = 30.0

DEFAULT_MAX_PODS = 10
"""Each pod costs a tunnel through the API server, and perhaps an entry in its spec."""


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """Where and how to start an agent."""

    target: Target
    namespace: str | None = None
    context: str | None = None
    agent_image: str = DEFAULT_IMAGE
    agent_name: str | None = None
    agent_ttl: float = DEFAULT_TTL
    """Seconds."""
    agent_log_level: str = "info"
    agent_cpu: float | None = None
    """Cores that the agent may use on average; None for no limit."""
    agent_memory: int | None = None
    """MiB for the agent's buffers; None for what the pod's memory limit has room for."""
    image_pull_policy: str | None = None
    allow_host_network: bool = False
    agent: AgentKind = AgentKind.AUTO
    agent_namespace: str | None = None
    privileged: bool = False
    all_pods: bool = False
    """Mirror every pod of the target that is ready, not only one."""
    max_pods: int = DEFAULT_MAX_PODS
    """At a time."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Options of the conversation (docs/protocol.md, Options)."""

    @property
    def placement(self) -> Placement:
        """Where the agent is to be."""
        return Placement(self.agent, self.agent_namespace, self.privileged, self.allow_host_network)


class Session:
    """A conversation with an agent, running in a task of its own."""

    def __init__(
        self,
        link: Link,
        explain: Callable[[], Awaitable[str]],
        reopening: Reopening | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Begin to talk.

        Args:
            link: Authenticated.
            explain: Says what is known of an agent that was lost.
            reopening: Opens the tunnel again when it is lost; None if that ends the session.
            settings: Options of the conversation.
        """
        self.link = link
        self._explain = explain
        self._reopening = reopening
        if settings:
            link.send_options(dict(settings))
        if reopening is not None:
            link.ask_for_replay()
        self._reopens = False
        self._running = asyncio.create_task(self._talk(), name="link")
        self._unanswered = False

    @property
    def loss(self) -> AgentLost | None:
        """What ended the conversation, if it was no goodbye of ours."""
        if self._unanswered:
            return AgentLost("the agent did not answer the goodbye")
        running = self._running
        error = running.exception() if running.done() and not running.cancelled() else None
        return error if isinstance(error, AgentLost) else None

    @property
    def lost(self) -> bool:
        """Whether the conversation ended without a goodbye of ours, or with one that was not answered."""
        return self.loss is not None

    @property
    def connected(self) -> bool:
        """Whether there is a tunnel to the agent, as far as is known."""
        return not self._reopens and not self.lost

    async def subscribe(self, port: int) -> None:
        """Ask for the connections of a port of the pod; returns when the agent watches it.

        Raises:
            NotStarted: The agent refused.
            AgentLost: It was lost meanwhile.
        """
        subscribing = asyncio.create_task(self.link.subscribe(port), name=f"subscribe {port}")
        await asyncio.wait({subscribing, self._running}, return_when=asyncio.FIRST_COMPLETED)
        if not subscribing.done():
            try:
                await self.wait()
            except AgentLost:
                subscribing.cancel()
                raise
        await subscribing

    async def wait(self) -> str:
        """Wait for as long as the conversation goes on, and give the reason of the goodbye that ended it.

        Raises:
            AgentLost: It ended, with what is known of the agent's fate.
        """
        try:
            return await asyncio.shield(self._running)
        except AgentLost as lost:
            raise AgentLost("; ".join(filter(None, (str(lost), await self._explain())))) from lost

    async def part(self, reason: str, *, alone: bool = False) -> None:
        """Say goodbye and wait for the agent's last ledger, for as long as something comes.

        Args:
            reason: Why.
            alone: Whether the agent need not wait for any other session that it has.
        """
        if not self._running.done():
            (self.link.ask_for_end if alone else self.link.say_goodbye)(reason)
            await self._hear_out()
            self._unanswered = not self._running.done()
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        if self._reopening is not None:
            await self._reopening.stop()

    async def _hear_out(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + LONGEST_GOODBYE_SECONDS
        heard = None
        while not self._running.done() and heard != self.link.received_bytes and loop.time() < deadline:
            heard = self.link.received_bytes
            await asyncio.wait({self._running}, timeout=GOODBYE_SECONDS)

    async def _talk(self) -> str:
        while True:
            try:
                return await self.link.run()
            except TunnelLost as lost:
                if self._reopening is None:
                    raise
                self._reopens = True
                await self._reopening.resume(self.link, lost)
                self._reopens = False


@asynccontextmanager
async def open_session(
    cluster: "Cluster",
    target: "ResolvedTarget",
    options: SessionOptions,
    progress: Progress,
    receiver: Callable[[ConnectionFrame], None],
) -> AsyncIterator[Session]:
    """Start an agent beside a pod and authenticate; at the end say goodbye to it.

    Args:
        cluster: Where the pod is.
        target: The pod.
        options: How.
        progress: Told of each step.
        receiver: Given every frame of the mirrored connections, in order; it must not block.

    Raises:
        NotStarted: Some step was refused or failed, and which.
    """
    for note in target.surroundings.notes:
        progress.note(note)
    async with AsyncExitStack() as leaving:
        started = None
        if options.agent_name is None and options.agent is not AgentKind.JOB:  # who names one wants another
            started = await _reuse_agent(cluster, target, options, progress, receiver)
        if started is None:
            started = await _start_agent(cluster, target, options, progress, receiver, leaving)
        agent, stream = started.agent, started.stream
        reopening = Reopening(
            lambda: agent.reopen(stream), agent.has_ended, started.secret, ttl=started.ttl, progress=progress
        )
        session = Session(started.link, agent.post_mortem, reopening, options.settings)
        try:
            yield session
        finally:
            # An agent of a layer that was killed still waits for that one, which nobody else can want.
            alone = started.reused and started.claim is not None and started.claim.take_alone()
            await session.part("the session is over", alone=alone)
            await session.link.stream.close()
            if started.claim is not None:
                started.claim.release(ended=not session.lost)


@dataclass(frozen=True, slots=True)
class _Started:
    """An agent, and the conversation with it."""

    agent: "InjectedAgent"
    link: Link
    stream: "PortForward"
    secret: bytes
    ttl: float
    claim: Claim | None
    reused: bool


async def _reuse_agent(
    cluster: "Cluster",
    target: "ResolvedTarget",
    options: SessionOptions,
    progress: Progress,
    receiver: Callable[[ConnectionFrame], None],
) -> _Started | None:
    # The Kubernetes client takes half a second to import.
    from podmirror.kube.reuse import reuse

    live = await reuse(cluster, target, receiver, image=options.agent_image, cpu=options.agent_cpu)
    if live is None:
        return None
    own = live.claim.agent
    progress.note(
        f"reused {own.name}, an agent of yours that runs in {target} already: the pod's spec is as it was"
    )
    return _Started(
        live.agent, live.link, live.stream, bytes.fromhex(own.secret), own.ttl, live.claim, reused=True
    )


async def _start_agent(
    cluster: "Cluster",
    target: "ResolvedTarget",
    options: SessionOptions,
    progress: Progress,
    receiver: Callable[[ConnectionFrame], None],
    leaving: AsyncExitStack,
) -> _Started:
    """Start an agent; `leaving` is given what takes away what was created."""
    from podmirror.kube.ephemeral import AgentSpec
    from podmirror.kube.inject import candidate_ports, inject, new_agent_name

    secret = new_secret()
    spec = AgentSpec(
        name=options.agent_name or new_agent_name(),
        image=options.agent_image,
        image_pull_policy=options.image_pull_policy,
        ports=candidate_ports(),
        verifier=verifier_of(secret),
        ttl=options.agent_ttl,
        log_level=options.agent_log_level,
        cpu=options.agent_cpu,
        memory=options.agent_memory,
    )
    with progress.step(f"injecting an agent into {target}") as step:
        injection = await inject(cluster, target, spec, options.placement)
        step.done = f"injected {injection.what}"
        step.leaves_something = True
    leaving.push_async_callback(injection.remove)
    for note in injection.notes:
        progress.note(note)
    agent = injection.agent
    claim = None
    if agent.pod == target.pod:  # a Job goes with its session, and leaves nobody to be found again
        claim = ownagents.keep(
            OwnAgent(
                server=cluster.server,
                namespace=target.namespace,
                pod=target.pod,
                uid=target.uid,
                name=spec.name,
                image=spec.image,
                ports=spec.ports,
                secret=secret.hex(),
                ttl=spec.ttl,
                cpu=spec.cpu,
            )
        )
    try:
        with progress.step(f"starting {spec.name}") as step:
            await agent.wait_until_running()
            step.done = f"running: {spec.name}"
        with progress.step(f"connecting to {spec.name}") as step:
            link, stream = await agent.connect(secret, receiver)
            step.done = "forwarded: the tunnel to the agent is open"
    except BaseException:
        if claim is not None:
            claim.release(ended=False)
        raise
    return _Started(agent, link, stream, secret, spec.ttl, claim, reused=False)
