"""The sessions beside a target's pods: as many as there should be, and where the pods are.

A workload is followed, not a pod. When a pod goes away (rollout, eviction, scale-down), the session moves to its successor;
under `--all-pods` there is one session for each ready pod, and new replicas join. Each new session is subscribed to all that
was asked for before. A pod that was named as such is not followed: its end is the end.

An agent that is lost while its pod stays is another matter. It is not replaced, since whatever ended it may have had its
reasons, and each try would leave an entry in the pod's spec: it ends a session of one pod, and is told and counted in a
session of several.
"""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from typing import TYPE_CHECKING

from podmirror.errors import AgentLost, NotStarted, PodmirrorError
from podmirror.ledger import Move
from podmirror.member import LEAVE_SECONDS, Member, Receiver
from podmirror.openfiles import admit_more
from podmirror.progress import Progress
from podmirror.roster import PodView, Roster, newcomers
from podmirror.session import SessionOptions
from podmirror.verdict import counted
from podmirror_wire.values import TOLD_TO_END

if TYPE_CHECKING:
    from podmirror.kube.following import Following

_NAMED_PODS = 10
"""More than that are told as a number."""

STARTS_AT_ONCE = 16
"""Agents that are being started: more get in each other's way at the API server and on the nodes.

Each has a watch and one or two more calls under way. In the sandbox, which is slow, 31 of 100 that were started all at once had
failed when their calls timed out or their agents no longer waited; 16 at a time, all 100 ran.
"""

SUCCESSOR_SECONDS = 10.0
"""For another pod to come when the first goes away while its agent starts: most start in less."""

POLL_SECONDS = 0.5
"""Between two looks for what must come soon."""


class Fleet:
    """The sessions of one command."""

    def __init__(
        self,
        following: "Following",
        options: SessionOptions,
        progress: Progress,
        join: Callable[[str], Receiver],
    ) -> None:
        self._following = following
        self._options = options
        self._target = options.target
        self._progress = progress
        self._join = join
        self._members: dict[str, Member] = {}
        self._passed_over: set[str] = set()
        """Uids of pods in which no agent runs, though one was tried."""
        self._told_ready = 0
        """How many ready pods were told of that are more than are mirrored."""
        self._ready_since: dict[str, float] = {}
        self._ports: list[int] = []
        self._roster = Roster(())
        self._left: tuple[str, float] | None = None
        """The pod that was left last and has no successor yet, and when it was left."""
        self._obstacle: NotStarted | None = None
        self._loss: AgentLost | None = None
        self._starts = asyncio.Semaphore(STARTS_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._following_task: asyncio.Task[None] | None = None
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.moves: list[Move] = []

    @property
    def loss(self) -> AgentLost | None:
        """An agent that was lost though its pod stayed, or else what ended everything."""
        if self._loss is not None:
            return self._loss
        losses = [
            member.session.loss for member in self._members.values() if member.session and not member.leaving
        ]
        return next((loss for loss in losses if loss is not None), None)

    async def subscribe(self, port: int) -> None:
        """Ask for the connections of a port of every pod, those included that come later.

        Raises:
            NotStarted: An agent refused.
            AgentLost: The last agent was lost meanwhile.
        """
        self._ports.append(port)
        about = self._following.about_port(port)
        if about:
            self._progress.note(about)
        live = [member for member in self._members.values() if member.live.done()]
        await asyncio.gather(*(self._subscribe(member, port) for member in live))

    async def wait(self) -> None:
        """Wait for as long as there is something to mirror, or may be.

        Raises:
            AgentLost: There is not.
        """
        await asyncio.shield(self._over)

    async def begin(self) -> None:
        """Start the first sessions.

        Raises:
            NotStarted: None could be started, and why.
        """
        with self._progress.step(f"resolving {self._target}") as step:
            pods = await self._following.first_pods()
            chosen = pods[: self._most]
            step.done = f"resolved {self._target}: {self._named(chosen)}"
        while True:
            self._tell_of_those_over(len(pods))
            try:
                await self._start_first(chosen)
                break
            except (NotStarted, AgentLost) as error:
                pods = await self._successors(chosen, error)
                chosen = pods[: self._most]
        if self._target.is_followed:
            self._following_task = asyncio.create_task(self._follow(), name="follow the target")

    async def _start_first(self, chosen: list[PodView]) -> None:
        members = [self._start(pod) for pod in chosen]
        starting = asyncio.gather(*(member.live for member in members), return_exceptions=True)
        if self._options.all_pods:
            with self._progress.step(f"starting {counted(len(members), 'agent')}") as step:
                running = sum(outcome is None for outcome in await starting)
                step.done = f"running: {counted(running, 'agent')}, with a tunnel to each"
        outcomes = await starting
        failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        if len(failures) == len(members):
            raise failures[0]
        for member, outcome in zip(members, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                self._progress.note(f"pod {member.pod.name} is not mirrored: {outcome}")

    async def _successors(self, chosen: list[PodView], error: PodmirrorError) -> list[PodView]:
        """Give the pods to begin with instead, if those that were chosen went away while their agents started.

        Raises:
            PodmirrorError: `error`, if they stay or are not followed; or no other pod has come in time.
        """
        if not self._target.is_followed:
            raise error
        roster = await self._following.look()
        why = roster.leaving(chosen[0])
        if not why or roster.ended:
            raise error
        self._progress.note(f"pod {chosen[0].name} {why}; another of {self._target} is taken")
        deadline = asyncio.get_running_loop().time() + SUCCESSOR_SECONDS
        while True:
            try:
                return await self._following.first_pods()
            except NotStarted:
                if asyncio.get_running_loop().time() > deadline:
                    raise
            await asyncio.sleep(POLL_SECONDS)

    async def close(self) -> None:
        """End every session."""
        tasks = [*self._tasks, *([self._following_task] if self._following_task else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._left is not None:
            self.moves.append(Move(self._left[0], "", 0.0))
        if self._over.done():
            self._over.exception()  # nobody need have waited for it

    @property
    def _most(self) -> int:
        return self._options.max_pods if self._options.all_pods else 1

    def _tell_of_those_over(self, ready: int) -> None:
        """Say that there are more ready pods than may be mirrored; again only when there are more of them."""
        if self._options.all_pods and ready > max(self._most, self._told_ready):
            self._told_ready = ready
            self._progress.note(
                f"{self._target} has {ready} ready pods, of which {self._most} are mirrored; --max-pods admits more"
            )

    def _named(self, pods: list[PodView]) -> str:
        if len(pods) > _NAMED_PODS:
            return counted(len(pods), "pod")
        return ", ".join(f"pod {self._following.namespace}/{pod.name}" for pod in pods)

    async def _follow(self) -> None:
        try:
            async with aclosing(self._following.rosters()) as rosters:
                async for roster in rosters:
                    self._take(roster)
        except Exception as error:  # noqa: BLE001  # what is mirrored goes on
            self._progress.note(
                f"a fault of podmirror's own: {error!r}; {self._target} is not followed any more"
            )

    def _take(self, roster: Roster) -> None:
        """See which pods leave, and which come."""
        self._roster = roster
        now = asyncio.get_running_loop().time()
        for pod in roster.pods:
            if pod.ready:
                self._ready_since.setdefault(pod.uid, now)
        for member in self._members.values():
            why = roster.leaving(member.pod)
            if why and not member.leaving:
                member.leave(why)
                self._note_leaving(member, now)
        self._settle()

    def _note_leaving(self, member: Member, now: float) -> None:
        if not self._target.is_followed:
            return
        member.inflow.expect_end()  # now, since Ctrl-C may come before the agent has ended
        if self._options.all_pods:
            self.moves.append(Move(member.pod.name, "", 0.0))
            self._progress.note(f"pod {member.pod.name} {member.leaving}, and is left")
        else:
            self._left = (member.pod.name, now)
            nobody = not newcomers(self._roster, self._members, self._passed_over, self._most)
            if nobody and not self._roster.ended:
                self._progress.note(
                    f"pod {member.pod.name} {member.leaving}; waiting for another ready pod of {self._target}"
                )

    def _settle(self) -> None:
        """Start what should run, and end everything if nothing does and nothing will."""
        if self._over.done():
            return
        if self._target.is_followed:
            for pod in newcomers(self._roster, self._members, self._passed_over, self._most):
                self._start(pod, later=True)
            self._tell_of_those_over(sum(pod.ready and not pod.leaving for pod in self._roster.pods))
        if self._members:
            return
        if self._loss is not None:
            self._end(self._loss)
        elif self._roster.ended:
            self._end(AgentLost(f"{self._roster.ended}, so there is nothing more to mirror"))
        elif self._obstacle is not None:
            self._end(AgentLost(f"the session could not move on: {self._obstacle}"))

    def _end(self, loss: AgentLost) -> None:
        if not self._over.done():
            self._over.set_exception(loss)

    def _start(self, pod: PodView, *, later: bool = False) -> Member:
        now = asyncio.get_running_loop().time()
        origin, left = self._left or ("", 0.0)
        self._left = None
        since = max(left, self._ready_since.get(pod.uid, now))
        member = Member(pod, self._join(pod.name), origin=origin, since=since)
        self._members[pod.uid] = member
        member.task = asyncio.create_task(self._run(member, later=later), name=f"session in {pod.name}")
        self._tasks.add(member.task)
        member.task.add_done_callback(self._tasks.discard)
        return member

    async def _run(self, member: Member, *, later: bool) -> None:
        alone = not later and not self._options.all_pods
        progress = self._progress if alone else self._progress.aside(f"pod {member.pod.name}")
        # The name of an agent is the user's choice for one agent.
        options = dataclasses.replace(self._options, agent_name=None) if later else self._options
        try:
            receiver = member.inflow.receive_frame
            async with AsyncExitStack() as leaving:
                async with self._starts:
                    opening = self._following.open(member.pod, options, progress, receiver)
                    session = await leaving.enter_async_context(opening)
                member.session = session
                member.inflow.attach(session)
                for port in self._ports:  # which may grow meanwhile
                    await session.subscribe(port)
                member.live.set_result(None)
                if later:
                    self._note_joined(member)
                await member.wait(session)
        except Exception as error:  # noqa: BLE001  # one session's fault must not end the others, nor go unseen
            await self._receive_end(member, error)
        finally:
            if not member.live.done():
                member.live.cancel()
            member.over.set()
        await member.inflow.finish()

    async def _receive_end(self, member: Member, error: Exception) -> None:
        """A session has ended, or could not begin: find out whether its pod goes away, and settle what that means."""
        if not member.live.done() and not self._following_task:
            del self._members[member.pod.uid]
            self._passed_over.add(member.pod.uid)
            member.live.set_exception(error)  # `begin` says it
            return
        await self._look_whether_it_leaves(member, error)
        self._passed_over.add(member.pod.uid)
        del self._members[member.pod.uid]
        self._judge(member, error)
        self._settle()

    async def _look_whether_it_leaves(self, member: Member, error: Exception) -> None:
        """See whether the pod goes away; an agent that was told to end may hear of that before the API server does.

        A pod that completes or is evicted is told of by its status, which the kubelet writes when all of its containers ended.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (LEAVE_SECONDS if TOLD_TO_END in str(error) else 0.0)
        while not await self._leaves(member) and loop.time() < deadline:  # noqa: ASYNC110  # the API server is asked
            await asyncio.sleep(POLL_SECONDS)

    async def _leaves(self, member: Member) -> bool:
        if not member.leaving:
            with suppress(NotStarted):
                self._take(await self._following.look())
        return bool(member.leaving)

    def _judge(self, member: Member, error: Exception) -> None:
        name = member.pod.name
        if member.leaving and not self._target.is_followed:
            self._end(
                AgentLost(
                    f"pod {name} {member.leaving}, and the agent in it ended; a pod is not followed: name its workload as "
                    "the target, and the session moves on to the next pod"
                )
            )
        elif member.leaving:
            pass
        elif isinstance(error, NotStarted):
            self._obstacle = error
            self._progress.note(f"pod {name} is not mirrored: {error}")
        else:
            fault = f"a fault of podmirror's own: {error!r}"
            loss = error if isinstance(error, AgentLost) else AgentLost(fault)
            self._loss = self._loss or loss
            if not self._options.all_pods:
                self._end(loss)
            elif self._members:
                self._progress.note(f"pod {name} is no longer mirrored: {loss}")

    def _note_joined(self, member: Member) -> None:
        seconds = asyncio.get_running_loop().time() - member.since
        self.moves.append(Move(member.origin, member.pod.name, seconds))
        self._obstacle = None
        if member.origin:
            said = f"moved on from pod {member.origin} to pod {member.pod.name}: its agent began {seconds:.1f} s later"
        else:
            said = f"joined by pod {member.pod.name}: its agent began {seconds:.1f} s after it was ready"
        self._progress.note(f"{said}; what came in between is not mirrored")

    async def _subscribe(self, member: Member, port: int) -> None:
        if member.session is None or member.over.is_set():
            return
        try:
            await member.session.subscribe(port)
        except AgentLost:
            await member.over.wait()
            if self._over.done():
                raise


@asynccontextmanager
async def open_fleet(
    options: SessionOptions, progress: Progress, join: Callable[[str], Receiver]
) -> AsyncIterator[Fleet]:
    """Start agents beside the target's pods; at the end say goodbye to them.

    Args:
        options: Where and how.
        progress: Told of each step.
        join: Called with the name of each pod whose session begins; it gives what takes that session's frames.

    Raises:
        NotStarted: Some step was refused or failed, and which.
    """
    from podmirror.kube.following import Following  # the Kubernetes client takes half a second to import

    if options.all_pods:
        admit_more()
    fleet = Fleet(await Following.start(options), options, progress, join)
    try:
        await fleet.begin()
        yield fleet
    finally:
        await fleet.close()
