"""Finding a live agent again, and telling one to end, with a cluster that is not there and a scripted agent."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import pytest

from podmirror import ownagents
from podmirror.errors import NotStarted
from podmirror.kube import reuse as reuse_module
from podmirror.kube.cluster import Refusal
from podmirror.kube.inject import InjectedAgent
from podmirror.kube.resolve import ResolvedTarget
from podmirror.kube.reuse import end_agent, reuse
from podmirror.link import Link
from podmirror.ownagents import OwnAgent
from podmirror_wire.frames import End, Goodbye
from podmirror_wire.handshake import AgentHandshake, verifier_of
from tests.layer.agents import SECRET, ScriptedAgent, stream_pair

OWN = OwnAgent(
    "https://k8s", "shop", "web-1", "u-1", "podmirror-1", "image:1", (61_000,), SECRET.hex(), 30.0, None
)
TARGET = ResolvedTarget("shop", "web-1", "node-1", None)
RUNNING = SimpleNamespace(running=object(), terminated=None, waiting=None)
ENDED = SimpleNamespace(
    running=None, terminated=SimpleNamespace(message="", exit_code=0, reason="Completed"), waiting=None
)


class World:
    """A pod with agents in it, of which those that run answer."""

    server = "https://k8s"

    def __init__(self, **states: object) -> None:
        self.uid = "u-1"
        self.states = states
        self.refusal: Exception | None = None
        self.core = SimpleNamespace(read_namespaced_pod=None)
        self.asked: list[InjectedAgent] = []
        self.agents: list[ScriptedAgent] = []
        self.connected = asyncio.Event()

    async def call(self, _method, *_arguments):
        if self.refusal is not None:
            raise self.refusal
        statuses = [
            SimpleNamespace(name=name.replace("_", "-"), state=state) for name, state in self.states.items()
        ]
        return SimpleNamespace(
            metadata=SimpleNamespace(uid=self.uid),
            status=SimpleNamespace(container_statuses=None, ephemeral_container_statuses=statuses),
        )

    async def connect(self, agent: InjectedAgent, secret: bytes, receiver):
        self.asked.append(agent)
        near, far = stream_pair()
        scripted = ScriptedAgent(far)
        scripted.handshake = AgentHandshake(verifier_of(SECRET))
        self.agents.append(scripted)
        link = Link(near, receiver)
        await asyncio.gather(link.authenticate(secret), scripted.accept())
        self.connected.set()
        return link, near


@pytest.fixture(autouse=True)
def _state(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def world_of(monkeypatch, **states: object) -> World:
    world = World(**states)

    def connect(agent, *given):
        return world.connect(agent, *given)

    monkeypatch.setattr(InjectedAgent, "connect", connect)
    return world


def kept(*agents: OwnAgent) -> None:
    for agent in agents:
        ownagents.keep(agent).release(ended=False)


def known() -> list[str]:
    claims = ownagents.find("https://k8s")
    for claim in claims:
        claim.release(ended=False)
    return sorted(claim.agent.name for claim in claims)


async def find(world: World, *, image: str = "image:1", cpu: float | None = None):
    return await reuse(world, TARGET, lambda _: None, image=image, cpu=cpu)


async def test_a_live_agent_is_found(monkeypatch):
    kept(OWN)
    world = world_of(monkeypatch, podmirror_1=RUNNING)

    live = await find(world)

    assert live.claim.agent == OWN
    assert (live.agent.spec.name, live.agent.spec.ports) == ("podmirror-1", (61_000,))
    assert (live.agent.namespace, live.agent.pod) == (TARGET.namespace, TARGET.pod)
    live.claim.release(ended=True)
    assert known() == []


async def test_nothing_is_asked_where_nothing_is_known(monkeypatch):
    world = world_of(monkeypatch)
    world.refusal = AssertionError("the API server was asked")

    assert await find(world) is None


@pytest.mark.parametrize(("image", "cpu"), [("image:2", None), ("image:1", 0.5)])
async def test_an_agent_that_was_started_otherwise_is_left_alone(monkeypatch, image, cpu):
    kept(OWN)
    world = world_of(monkeypatch, podmirror_1=RUNNING)

    assert await find(world, image=image, cpu=cpu) is None
    assert known() == ["podmirror-1"]


async def test_agents_that_have_ended_are_forgotten(monkeypatch):
    kept(OWN, replace(OWN, name="podmirror-2"))
    world = world_of(monkeypatch, podmirror_1=ENDED, podmirror_2=RUNNING)

    live = await find(world)

    assert live.claim.agent.name == "podmirror-2"
    live.claim.release(ended=False)
    assert known() == ["podmirror-2"]


async def test_agents_of_a_pod_that_was_replaced_are_forgotten(monkeypatch):
    kept(OWN)
    world = world_of(monkeypatch, podmirror_1=RUNNING)
    world.uid = "u-2"

    assert await find(world) is None
    assert known() == []


@pytest.mark.parametrize("refusal", [Refusal(403, "Forbidden", "no"), NotStarted("not there")])
async def test_without_a_look_at_the_pod_another_agent_is_started(monkeypatch, refusal):
    kept(OWN)
    world = world_of(monkeypatch, podmirror_1=RUNNING)
    world.refusal = refusal

    assert await find(world) is None
    assert known() == ["podmirror-1"]


async def test_an_agent_that_does_not_answer_is_no_obstacle(monkeypatch):
    monkeypatch.setattr(reuse_module, "REUSE_SECONDS", 0.02)
    kept(OWN)
    world = world_of(monkeypatch, podmirror_1=RUNNING)

    async def hang(*_):
        await asyncio.sleep(60)

    world.connect = hang
    assert await find(world) is None


async def test_an_agent_is_told_to_end(monkeypatch):
    kept(OWN)
    world = world_of(monkeypatch, podmirror_1=RUNNING)
    (claim,) = ownagents.find("https://k8s")
    ending = asyncio.create_task(end_agent(world, claim))
    await world.connected.wait()

    await world.agents[0].expect(End)
    await world.agents[0].send(Goodbye("the agent ends"))

    assert await ending
    assert known() == []


async def test_an_agent_that_does_not_take_its_leave_is_not_forgotten(monkeypatch):
    monkeypatch.setattr(reuse_module, "END_SECONDS", 0.02)
    kept(OWN)
    world = world_of(monkeypatch, podmirror_1=RUNNING)
    (claim,) = ownagents.find("https://k8s")

    assert not await end_agent(world, claim)

    claim.release(ended=False)
    assert known() == ["podmirror-1"]
