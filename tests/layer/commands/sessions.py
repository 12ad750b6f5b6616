"""Sessions in the place of `open_fleet`: with a scripted agent, and without a cluster."""

import asyncio
import signal
from contextlib import asynccontextmanager

from podmirror.errors import PodmirrorError
from podmirror.fleet import Fleet
from podmirror.roster import PodView, Roster
from podmirror.session import Session
from podmirror_wire.frames import Goodbye, Refused, Subscribe, Subscribed
from tests.layer.agents import ScriptedAgent, linked


class Scene:
    """Stands for `open_fleet` in a command's module, with one pod; acknowledges subscriptions and goodbyes."""

    def __init__(self, *, refusal: PodmirrorError | None = None) -> None:
        self.subscribed: list[int] = []
        self.refused: set[int] = set()
        self.mute = False
        """Answer no subscription, and only note it as asked."""
        self.asked: list[int] = []
        self.agent: ScriptedAgent | None = None
        self.options = None
        self.opened = asyncio.Event()
        self.parted = False
        self.post_mortem = "the kubelet says so"
        self.kubelet_answers = asyncio.Event()
        self.kubelet_answers.set()
        self.namespace = "shop"
        self._refusal = refusal
        self._pod = PodView("web-1", "u1", 0.0, ready=True)

    @asynccontextmanager
    async def open_fleet(self, options, progress, join):
        self.options = options
        if self._refusal is not None:
            raise self._refusal
        fleet = Fleet(self, options, progress, join)
        try:
            await fleet.begin()
            yield fleet
        finally:
            await fleet.close()

    def about_port(self, port):
        return f"mind port {port}" if port == 81 else ""

    async def first_pods(self):
        return [self._pod]

    async def look(self):
        return Roster((self._pod,))

    @asynccontextmanager
    async def open(self, pod, options, progress, receiver):
        async with linked(receiver=receiver) as (link, agent):
            self.agent = agent
            acting = asyncio.create_task(self._act(agent), name="scripted agent")
            session = Session(link, self._explain)
            self.opened.set()
            try:
                yield session
            finally:
                await session.part("the session is over")
                acting.cancel()
                await asyncio.gather(acting, return_exceptions=True)

    async def _explain(self) -> str:
        await self.kubelet_answers.wait()
        return self.post_mortem

    async def _act(self, agent: ScriptedAgent) -> None:
        while True:
            match await agent.receive_calmly():
                case Subscribe(_, port) if self.mute:
                    self.asked.append(port)
                case Subscribe(request, port) if port in self.refused:
                    await agent.send(Refused(request, f"port {port} is forbidden"))
                case Subscribe(request, port):
                    self.subscribed.append(port)
                    await agent.send(Subscribed(request, 1))
                case Goodbye():
                    self.parted = True
                    await agent.send(Goodbye("as you wish"))


async def run_to_its_end(coroutine):
    """Await a command's coroutine in a task of its own, and take its signal handlers away after it."""
    try:
        async with asyncio.timeout(10):
            return await asyncio.create_task(coroutine)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().remove_signal_handler(number)
