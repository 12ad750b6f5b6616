"""The sessions with the agents of a target's pods, as one: pods come and go, and the mirroring goes on.

Theory of operation. Each pod that is mirrored has an agent of its own, and a session with it, run by a task: a *member*. The
pods of the target are watched. When a member's pod is going away its successor joins: the first other pod that is ready, or
with `all_pods` every pod that is. The member that goes is left to end by itself, for its pod may still be serving; when the pod
is gone it is parted from. What is subscribed holds for every member, now and later.

Connections are numbered by their agents, so numbers of different agents may be equal. Those of a later member carry its index
in their higher bits; those of the first are left as they are, and cost nothing. When a member ends, the connections that it had
not closed are closed in its name, so that nothing is spliced: what goes on in another pod is another connection.

To whoever uses it, a fleet is a session: it is subscribed, waited for and lost like one, and its link gives credit and adds up
what all agents count.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import replace
from enum import Enum
from typing import Protocol

from podmirror.errors import AgentLost, NotStarted
from podmirror.members import INDEX_SHIFT, FleetLink, Member, PodRef
from podmirror.progress import Progress
from podmirror.session import Session, SessionOptions
from podmirror_wire.frames import Closed, ConnectionFrame, Opened
from podmirror_wire.values import CloseReason

GONE_SECONDS = 3.0
"""After an agent was lost, for the news that its pod is going away."""

TRIES = 3
"""To start an agent beside a pod that joins later: each may leave an entry in the pod's spec."""

RETRY_SECONDS = 2.0

Receiver = Callable[[ConnectionFrame], None]


class PodState(Enum):
    """How a pod of the target is."""

    READY = "ready"
    UNREADY = "unready"
    """It may become ready; if it is mirrored already it stays so."""
    GOING = "going"
    """It is being deleted, or has ended."""


class Pods(Protocol):
    """The pods of a target, as `podmirror.kube.source` gives them."""

    @property
    def follows(self) -> bool:
        """Whether others may take their place."""

    async def first(self, progress: Progress) -> list[PodRef]:
        """Give those to begin with, the best first; at least one.

        Raises:
            NotStarted: None of them is fit.
        """

    def changes(self) -> AsyncIterator[Mapping[PodRef, PodState]]:
        """Give those that are there, whenever something about them has changed."""

    def session(
        self, pod: PodRef, progress: Progress, receiver: Receiver
    ) -> AbstractAsyncContextManager[Session]:
        """Start an agent beside a pod, and talk to it for as long as the block lasts."""


class Fleet:
    """All sessions of a target."""

    def __init__(
        self, pods: Pods, progress: Progress, receiver: Receiver, *, all_pods: bool, max_pods: int
    ) -> None:
        self._members: list[Member] = []
        self.link = FleetLink(self._members)
        self._pods = pods
        self._progress = progress
        self._receiver = receiver
        self._all_pods = all_pods
        self._max_pods = max_pods
        self._ports: list[int] = []
        self._present: Mapping[PodRef, PodState] = {}
        self._changed = asyncio.Event()
        self._joining: dict[PodRef, asyncio.Task[None]] = {}
        """By pod; those that could not be mirrored stay, so that they are not tried for ever."""
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watching: asyncio.Task[None] | None = None
        self._told_of_limit = False

    async def begin(self) -> None:
        """Start with the pods that are there.

        Raises:
            NotStarted: None of them could be mirrored.
        """
        pods = await self._pods.first(self._progress)
        if not self._all_pods:
            pods = pods[:1]
        self._tell_of_limit(pods)
        pods = pods[: self._max_pods]
        self._present = dict.fromkeys(pods, PodState.READY)
        await self._start(self._add(pods[0]), self._progress)
        quiet = Progress("none")
        started = await asyncio.gather(
            *(self._start(self._add(pod), quiet) for pod in pods[1:]), return_exceptions=True
        )
        for pod, failure in zip(pods[1:], started, strict=True):
            if isinstance(failure, NotStarted):
                self._progress.note(f"pod {pod.name} is not mirrored: {failure}")
            elif isinstance(failure, BaseException):
                raise failure
        if len(pods) > 1:
            self._progress.note(f"mirroring {len(self._alive())} pods: {', '.join(self._alive())}")
        if self._pods.follows:
            self._watching = asyncio.create_task(self._follow(), name="follow the pods")
            self._watching.add_done_callback(self._receive_end_of_watch)

    async def end(self) -> None:
        """Part from every agent."""
        following = [*self._joining.values(), *([self._watching] if self._watching is not None else [])]
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)
        mirroring = [member.task for member in self._members if member.task is not None]
        for task in mirroring:
            task.cancel()
        await asyncio.gather(*mirroring, return_exceptions=True)
        if not self._over.cancel():
            self._over.exception()  # so that nobody complains that it was not looked at

    def label(self, connection: int) -> str:
        """Name the pod of a connection, if there is or was more than one; else nothing."""
        return self._members[connection >> INDEX_SHIFT].pod.name if len(self._members) > 1 else ""

    @property
    def pods(self) -> list[str]:
        """Every pod that is or was mirrored, in the order in which they joined."""
        return [member.pod.name for member in self._members]

    @property
    def loss(self) -> AgentLost | None:
        """What ended the mirroring, if it was not the user."""
        if self._over.done() and not self._over.cancelled():
            error = self._over.exception()
            if isinstance(error, AgentLost):
                return error
        sessions = [
            member.session for member in self._members if member.session is not None and not member.gone
        ]
        # With a pod to take its place, a session may end; but not without an answer to our goodbye.
        return next((each.loss for each in sessions if each.unanswered or not self._pods.follows), None)

    @property
    def lost(self) -> bool:
        """Whether an agent was lost with what it had not sent: in the end, or on the way."""
        return self.loss is not None or any(member.lost is not None for member in self._members)

    async def subscribe(self, port: int) -> None:
        """Ask every agent for the connections of a port, now and later.

        Raises:
            NotStarted: An agent refused.
            AgentLost: All of them were lost meanwhile.
        """
        self._ports.append(port)
        for member in list(self._members):
            if member.session is not None and not member.ended:
                try:
                    await member.session.subscribe(port)
                except AgentLost:
                    if not self._pods.follows:
                        raise

    async def wait(self) -> None:
        """Wait for as long as there is anything to mirror.

        Raises:
            AgentLost: There is not any more, and why.
        """
        await asyncio.shield(self._over)

    def _add(self, pod: PodRef) -> Member:
        member = Member(len(self._members), pod)
        self._members.append(member)
        return member

    async def _start(self, member: Member, progress: Progress) -> None:
        """Run a member until it is subscribed to all that is; then it runs on by itself.

        Raises:
            NotStarted: It could not be.
        """
        started = asyncio.get_running_loop().create_future()
        member.task = asyncio.create_task(
            self._run(member, progress, started), name=f"mirror {member.pod.name}"
        )
        try:
            await asyncio.wait({started, member.task}, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            member.task.cancel()
            await asyncio.gather(member.task, return_exceptions=True)
            raise
        if not started.done():
            started.cancel()
            await member.task  # which failed, and says why

    async def _run(self, member: Member, progress: Progress, started: "asyncio.Future[None]") -> None:
        try:
            async with self._pods.session(member.pod, progress, self._receiver_of(member)) as session:
                member.session = session
                subscribed = 0
                while subscribed < len(self._ports):
                    await session.subscribe(self._ports[subscribed])
                    subscribed += 1
                if not started.done():
                    started.set_result(None)
                try:
                    await session.wait()
                except AgentLost as lost:
                    await self._receive_loss(member, lost)
        finally:
            member.ended = True
            if member.session is not None and not member.session.link.said_goodbye:
                member.lost = member.lost or member.session.loss
            self._close_connections(member)

    async def _receive_loss(self, member: Member, lost: AgentLost) -> None:
        """An agent is lost. That is no trouble if its pod goes away; else it ends the mirroring, if it was the last."""
        member.ended = True
        self._close_connections(member)
        if self._pods.follows and await self._goes(member.pod):
            return
        member.lost = lost
        if self._all_pods and self._alive():
            self._progress.note(f"pod {member.pod.name} is not mirrored any more: {lost}")
        elif not self._over.done():
            self._over.set_exception(lost)

    async def _goes(self, pod: PodRef) -> bool:
        """Tell whether a pod is gone or going, when the news of that has had time to come."""
        with suppress(TimeoutError):
            async with asyncio.timeout(GONE_SECONDS):
                while self._stays(pod):
                    self._changed.clear()
                    await self._changed.wait()
        return not self._stays(pod)

    def _stays(self, pod: PodRef) -> bool:
        return self._present.get(pod, PodState.GOING) is not PodState.GOING

    def _receiver_of(self, member: Member) -> Receiver:
        def receive(frame: ConnectionFrame) -> None:
            if isinstance(frame, Opened):
                member.open.add(frame.connection)
            elif isinstance(frame, Closed):
                member.open.discard(frame.connection)
            if member.index:
                frame = replace(frame, connection=member.number(frame.connection))
            self._receiver(frame)

        return receive

    def _close_connections(self, member: Member) -> None:
        for connection in sorted(member.open):
            self._receiver(Closed(member.number(connection), CloseReason.AGENT_ENDED, 0))
        member.open.clear()

    def _alive(self) -> list[str]:
        return [
            member.pod.name for member in self._members if member.session is not None and not member.ended
        ]

    async def _follow(self) -> None:
        """Let pods join as they become ready, and part from agents whose pods are gone."""
        async for present in self._pods.changes():
            self._present = present
            self._changed.set()
            for member in self._members:
                if member.pod not in present and not member.ended and member.task is not None:
                    member.gone = True
                    member.task.cancel()  # a Job's agent outlives its target
            self._let_join()

    def _let_join(self) -> None:
        mirrored = {member.pod for member in self._members if not member.ended}
        staying = {pod for pod in mirrored if self._stays(pod)}
        joining = {pod for pod, task in self._joining.items() if not task.done() and self._stays(pod)}
        ready = sorted(
            (
                pod
                for pod, state in self._present.items()
                if state is PodState.READY and pod not in mirrored and pod not in self._joining
            ),
            key=lambda pod: (-pod.created, pod.name),  # in a rollout the older ones are about to go
        )
        room = (self._max_pods if self._all_pods else 1) - len(staying | joining)
        if self._all_pods:
            self._tell_of_limit([*(staying | joining), *ready])
        for pod in ready[: max(0, room)]:
            self._joining[pod] = asyncio.create_task(self._join(pod), name=f"join {pod.name}")

    async def _join(self, pod: PodRef) -> None:
        for left in reversed(range(TRIES)):
            member = self._add(pod)
            try:
                await self._start(member, Progress("none"))
            except (NotStarted, AgentLost) as failure:
                if not left or not self._stays(pod):
                    self._progress.note(f"pod {pod.name} is not mirrored: {failure}")
                    return
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._progress.note(f"pod {pod.name} joined; mirroring {', '.join(self._alive())}")
                return

    def _tell_of_limit(self, pods: list[PodRef]) -> None:
        if len(pods) > self._max_pods and not self._told_of_limit:
            self._told_of_limit = True
            self._progress.note(
                f"{len(pods)} pods are ready, of which {self._max_pods} are mirrored; --max-pods raises that"
            )

    def _receive_end_of_watch(self, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._over.done():
            self._over.set_exception(error)


@asynccontextmanager
async def open_fleet(
    options: SessionOptions, progress: Progress, receiver: Receiver, *, pods: Pods | None = None
) -> AsyncIterator[Fleet]:
    """Mirror the pods of a target for as long as the block lasts.

    Args:
        options: Which, and how.
        progress: Told of each step of the first, and of who joins and goes.
        receiver: Given every frame of the mirrored connections, in order for each; it must not block.
        pods: Where they come from; the cluster that the options name if None.

    Raises:
        NotStarted: No pod could be mirrored, and why.
    """
    if pods is None:
        from podmirror.kube.source import TargetPods  # the Kubernetes client takes half a second to import

        pods = TargetPods(options)
    fleet = Fleet(pods, progress, receiver, all_pods=options.all_pods, max_pods=options.max_pods)
    try:
        await fleet.begin()
        yield fleet
    finally:
        await fleet.end()
