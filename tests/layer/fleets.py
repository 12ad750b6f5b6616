"""A fleet beside pods that a test makes come and go, with scripted agents and without a cluster."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from podmirror.errors import AgentLost, NotStarted
from podmirror.fleet import Fleet
from podmirror.mirroring import Mirroring, ReportOptions
from podmirror.progress import Progress
from podmirror.roster import PodView, Roster
from podmirror.session import Session, SessionOptions
from podmirror.target import Target
from podmirror_wire.frames import Goodbye, Subscribe, Subscribed
from tests.layer.agents import ScriptedAgent, linked

GOING = "is being deleted"


def view(name: str, *, uid: str = "", ready: bool = True, created: float = 0.0, leaving: str = "") -> PodView:
    return PodView(name, uid or name, created, ready, leaving, leaving)


class Pods:
    """A target whose pods a test makes come and go; each has an agent."""

    namespace = "shop"

    def __init__(self, *pods: PodView) -> None:
        self.now = Roster(pods)
        self.agents: dict[str, ScriptedAgent] = {}
        self.subscribed: dict[str, list[int]] = {}
        self.ending: list[str] = []
        self.parted: list[str] = []
        self.parting: dict[str, asyncio.Event] = {}
        """What the end of a session waits for, where that shall take its time."""
        self.refusals: dict[str, Exception] = {}
        self.leaves: dict[str, tuple[list[PodView], list[PodView]]] = {}
        """What pods there are when an agent in a pod is refused, and a moment later."""
        self.names: list[str | None] = []
        self.starting = 0
        self.most_starting = 0
        self._changes: asyncio.Queue[None] = asyncio.Queue()
        self._then: Roster | None = None

    def change(self, *pods: PodView, ended: str = "") -> None:
        self.now = Roster(pods, ended)
        self._changes.put_nowait(None)

    def about_port(self, port):
        return f"mind port {port}" if port == 81 else ""

    async def first_pods(self):
        ready = [pod for pod in self.now.pods if pod.ready]
        if self._then is not None:
            self.now, self._then = self._then, None
        if not ready:
            raise NotStarted("no pod to mirror")
        return ready

    async def look(self):
        return self.now

    async def rosters(self):
        while True:
            await self._changes.get()
            yield self.now

    @asynccontextmanager
    async def open(self, pod, options, progress, receiver):
        self.names.append(options.agent_name)
        self.starting += 1
        self.most_starting = max(self.most_starting, self.starting)
        await asyncio.sleep(0.001)  # for others to start meanwhile
        self.starting -= 1
        if pod.uid in self.leaves:
            self.now, self._then = map(Roster, map(tuple, self.leaves[pod.uid]))
        if pod.uid in self.refusals:
            raise self.refusals[pod.uid]
        async with linked(receiver=receiver) as (link, agent):
            self.agents[pod.uid] = agent
            self.subscribed[pod.uid] = []
            acting = asyncio.create_task(self._act(pod.uid, agent))
            session = Session(link, self._explain)
            try:
                yield session
            finally:
                self.ending.append(pod.uid)
                await session.part("the session is over")
                if pod.uid in self.parting:
                    await self.parting[pod.uid].wait()
                self.parted.append(pod.uid)
                acting.cancel()
                await asyncio.gather(acting, return_exceptions=True)

    async def _explain(self) -> str:
        return ""

    async def _act(self, uid: str, agent: ScriptedAgent) -> None:
        while True:
            match await agent.receive_calmly():
                case Subscribe(request, port):
                    self.subscribed[uid].append(port)
                    await agent.send(Subscribed(request, 1))
                case Goodbye():
                    await agent.send(Goodbye("as you wish"))

    async def lose(self, uid: str, why: str = "SIGTERM") -> None:
        await self.agents[uid].send(Goodbye(why))


@asynccontextmanager
async def fleet_of(pods: Pods, target: str = "deployment/web", **options):
    progress = Progress("plain")
    mirroring = Mirroring(progress, ReportOptions(verbose=True), on_gap="reset")
    fleet = Fleet(pods, SessionOptions(Target.parse(target), **options), progress, mirroring.join)
    async with asyncio.timeout(10):
        try:
            await fleet.begin()
            mirroring.attach(fleet)
            yield fleet, mirroring
        finally:
            await fleet.close()
            await mirroring.finish()


async def ended(fleet: Fleet) -> str:
    with pytest.raises(AgentLost) as lost:
        await fleet.wait()
    return str(lost.value)
