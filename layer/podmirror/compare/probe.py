"""One agent, measured: started, listened to for a while, and ended."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from podmirror.compare.arrivals import Arrivals
from podmirror.compare.ask import ask_of
from podmirror.compare.figures import Ask, Cost, Fidelity, Leftovers, Mode, Window
from podmirror.compare.leaving import look_behind
from podmirror.compare.phases import durations
from podmirror.compare.sink import Sink
from podmirror.compare.spread import Figure, Unknown
from podmirror.compare.timeline import Timeline
from podmirror.delivery import Delivery
from podmirror.errors import AgentLost
from podmirror.kube.cluster import Cluster
from podmirror.kube.ephemeral import AgentSpec
from podmirror.kube.inject import Injection, candidate_ports, inject, new_agent_name
from podmirror.kube.resolve import ResolvedTarget
from podmirror.ledger import LayerLedger
from podmirror.placement import AgentKind, Placement
from podmirror.session import DEFAULT_TTL, Session
from podmirror_wire.frames import ConnectionFrame
from podmirror_wire.handshake import new_secret, verifier_of

if TYPE_CHECKING:
    from podmirror.clockreading import ClockReading
    from podmirror.link import Link

PINGS = 20
"""The quickest of so many tells of the clock: the way is longer at times, and never shorter than it is."""

LATE_SECONDS = 2.0
"""For a watch to tell what the API server knows already; the event of the image may come behind the container's status."""

QUIET_SECONDS = 0.3
SETTLE_SECONDS = 2.0
"""For what is on its way when the traffic has ended: until nothing came for the first, and at most the second."""

FINISH_SECONDS = 2.0
ANSWER_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """How agents are started."""

    image: str
    image_pull_policy: str | None
    agent_namespace: str | None
    privileged: bool
    host_network: bool
    ports: tuple[int, ...]


class Probe:
    """Starts an agent, mirrors to a local server of its own, and keeps count."""

    def __init__(self, cluster: Cluster, target: ResolvedTarget, mode: Mode, options: AgentOptions) -> None:
        self.mode = mode
        self.agent = new_agent_name()
        self.began = 0.0
        """Seconds since 1970."""
        self.admitted = False
        """Whether the API server took it."""
        self.findings: tuple[Mapping[str, str], Mapping[str, str]] = ({}, {})
        """Of the agent, at the subscription and at the end."""
        self.network_before: Mapping[str, str] = {}
        """The agent's findings after that, when none of our own load is on its way."""
        self.ask: Ask | None = None
        self._cluster = cluster
        self._target = target
        self._options = options
        self._leaving = AsyncExitStack()
        self._sink = Sink()
        self._ledger = LayerLedger()
        self._delivery: Delivery
        self._arrivals = Arrivals()
        self._session: Session
        self._link: Link
        self._moments: dict[str, Figure] = {}
        self._started = 0.0
        self._clock: ClockReading | Unknown = Unknown("no ping was answered")
        self._examined = (0.0, 0.0)
        self._first_look = 0.0
        self._parted = False

    async def __aenter__(self) -> Self:
        """Start the agent, and subscribe.

        Raises:
            NotStarted: It was refused.
            AgentLost: It was lost on the way.
        """
        try:
            await self._start()
        except BaseException:
            await self._leaving.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """End the agent, if `finish` has not."""
        await self._leaving.aclose()

    async def _start(self) -> None:
        await self._leaving.enter_async_context(self._sink)
        within = self.mode is not Mode.JOB
        namespace = None if within else self._options.agent_namespace
        timeline = Timeline(
            self._cluster,
            namespace or self._target.namespace,
            self.agent,
            self._target.pod if within else None,
        )
        async with timeline:
            secret = new_secret()
            self.began, self._started = time.time(), time.monotonic()
            injection = await inject(
                self._cluster, self._target, self._spec(verifier_of(secret)), self._placement
            )
            self.admitted = True
            self._leaving.push_async_callback(injection.remove)
            await self._connect(injection, secret)
            await self._note_phases(timeline, injection)
            pod = timeline.pod
        await self._measure_clock()
        self.findings = (await self._examine(), {})
        self._first_look, self._examined = time.time(), (time.monotonic(), 0.0)
        self.ask = ask_of(pod, self.agent, self.findings[0]) if pod is not None else None

    async def _connect(self, injection: Injection, secret: bytes) -> None:
        agent = injection.agent
        await agent.wait_until_running()
        self._moments["started"] = time.monotonic()
        link, stream = await agent.connect(secret, self._receive_frame)
        self._link = link
        self._delivery = Delivery(self._ledger, link.give_credit, dismiss=link.dismiss)
        self._session = Session(link, agent.post_mortem)
        self._leaving.push_async_callback(stream.close)
        self._leaving.push_async_callback(self._part)
        self._moments["forwarded"] = time.monotonic()
        for port in self._options.ports:
            self._delivery.map_port(port, self._sink.port)
            await self._session.subscribe(port)
        self._moments["subscribed"] = time.monotonic()

    async def _note_phases(self, timeline: Timeline, injection: Injection) -> None:
        self._moments["API call"] = injection.answered
        await timeline.catch_up(LATE_SECONDS)
        self._moments["pulled"] = timeline.pulled
        if self.mode is Mode.JOB:
            self._moments["scheduled"] = timeline.moments.get("scheduled", Unknown("it was not seen"))
        if "started" in timeline.moments:
            self._moments["started"] = min(timeline.moments["started"], self._known("forwarded"))

    def _known(self, name: str) -> float:
        moment = self._moments[name]
        assert not isinstance(moment, Unknown), "it was noted here"
        return moment

    @property
    def _placement(self) -> Placement:
        kind = AgentKind.JOB if self.mode is Mode.JOB else AgentKind.EPHEMERAL
        options = self._options
        return Placement(kind, options.agent_namespace, options.privileged, options.host_network)

    def _spec(self, verifier: bytes) -> AgentSpec:
        return AgentSpec(
            name=self.agent,
            image=self._options.image,
            image_pull_policy=self._options.image_pull_policy,
            ports=candidate_ports(),
            verifier=verifier,
            ttl=DEFAULT_TTL,
            log_level="info",
            beside=self._target.container if self.mode is Mode.BESIDE else None,
        )

    def _receive_frame(self, frame: ConnectionFrame) -> None:
        self._arrivals.receive_frame(frame, time.time(), time.monotonic())
        self._delivery.receive_frame(frame)

    async def _measure_clock(self) -> None:
        readings: list[ClockReading] = []
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                while len(readings) < PINGS:
                    readings.append(await self._link.read_clock())
        except TimeoutError:
            pass
        if readings:
            self._clock = min(readings, key=lambda each: each.uncertainty)

    async def _examine(self) -> Mapping[str, str]:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._link.examine()
        except TimeoutError:
            return {}

    async def look(self) -> None:
        """Look at the target's network before the traffic that is measured."""
        self.network_before = await self._examine()

    async def finish(self, sent: Mapping[int, float], windows: list[Window]) -> None:
        """Wait for what is on its way, look at the agent again, and say goodbye.

        Args:
            sent: When the load's requests were sent while this agent was subscribed, by number; empty without load.
            windows: Of that load.

        Raises:
            AgentLost: The agent was lost, with what is known of that.
        """
        self._sent = sent
        self._windows = windows
        await self._settle()
        if self._session.lost:
            await self._session.wait()
        self.findings = (self.findings[0], await self._examine())
        self._examined = (self._examined[0], time.monotonic())
        if self._session.lost:
            await self._session.wait()
        await self._part()
        loss = self._session.loss
        if loss is not None:
            raise AgentLost(f"the {self.mode.value} agent {self.agent}: {loss}")

    async def _settle(self) -> None:
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < min(deadline, self._arrivals.latest + QUIET_SECONDS):
            if self._sent and self._sent.keys() <= self._sink.delivered.keys():
                return
            await asyncio.sleep(QUIET_SECONDS / 3)

    async def _part(self) -> None:
        if self._parted:
            return
        self._parted = True
        await self._session.part("the comparison is over")
        await self._delivery.finish(FINISH_SECONDS)
        self._ledger.agent = self._link.counts

    async def leave(self) -> Leftovers:
        """Take away what was created, and see what remains."""
        said = time.monotonic()
        await self._leaving.aclose()
        namespace = self._options.agent_namespace or self._target.namespace
        return await look_behind(
            self._cluster,
            self._target,
            self.agent,
            said,
            job_namespace=namespace if self.mode is Mode.JOB else None,
        )

    @property
    def phases(self) -> dict[str, Figure]:
        """How long each phase of the start took."""
        first = self._arrivals.first_byte
        moments = {**self._moments, "first byte": Unknown("no traffic came") if first is None else first}
        return durations(self._started, moments)

    @property
    def fidelity(self) -> Fidelity:
        """What arrived of what passed."""
        none = Unknown(
            "no load of our own was sent (--load): what the network carried is known from the agent alone"
        )
        delivered = self._sink.delivered
        ours = [(each, self._sent[each]) for each in delivered if each in self._sent]
        offset = 0.0 if isinstance(self._clock, Unknown) else self._clock.offset
        arrived: Mapping[Any, float] = delivered if self._sent else self._arrivals.opened
        begun = self._arrivals.first_requests if self._sent else self._arrivals.begun
        latencies = [arrived[each] - (pod - offset) for each, pod in begun.items() if each in arrived]
        return Fidelity(
            ledger=self._ledger,
            passed_requests=float(len(self._sent)) if self._sent else none,
            passed_bytes=float(sum(each.sent_bytes for each in self._windows)) if self._sent else none,
            arrived_requests=float(len(ours)) if self._sent else none,
            latencies=latencies if not isinstance(self._clock, Unknown) else (),
            latency_to="the delivery of its first request"
            if self._sent
            else "the news of it on this machine",
            sent_to_delivered=[delivered[each] - when for each, when in ours],
            clock=self._clock,
        )

    @property
    def cost(self) -> Cost:
        """What the agent took between the two looks at it."""
        before, after = self.findings
        memory, peak = (_number(after, name) for name in ("VmRSS", "VmHWM"))
        cpu, packets = (_difference(before, after, name) for name in ("cpu_ns", "packets"))
        return Cost(
            cpu=cpu if isinstance(cpu, Unknown) else cpu / 1e9,
            began=self._first_look,
            seconds=self._examined[1] - self._examined[0],
            seen_bytes=float(self._link.counts.get("bytes_seen", 0)),
            packets=packets,
            memory=memory,
            memory_peak=peak,
            memory_anonymous=_number(after, "RssAnon"),
            tunnel_in=self._link.received_bytes,
            tunnel_out=self._link.sent_bytes,
            limits={name: value for name, value in after.items() if name.startswith("cgroup.")},
        )


def _number(findings: Mapping[str, str], name: str) -> Figure:
    value = findings.get(name)
    return float(value) if value is not None else Unknown("the agent could not tell")


def _difference(before: Mapping[str, str], after: Mapping[str, str], name: str) -> Figure:
    first, last = _number(before, name), _number(after, name)
    if isinstance(first, Unknown) or isinstance(last, Unknown):
        return Unknown("the agent could not tell")
    return last - first
