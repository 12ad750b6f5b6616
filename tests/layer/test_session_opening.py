"""Opening a session: its steps, and agents that are there already, against a scripted agent and a cluster that is not there."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import pytest

from podmirror import ownagents
from podmirror import session as session_module
from podmirror.errors import NotStarted
from podmirror.kube import inject as inject_module
from podmirror.kube import reuse as reuse_module
from podmirror.kube.resolve import ResolvedTarget
from podmirror.kube.reuse import LiveAgent
from podmirror.kube.surroundings import Surroundings
from podmirror.link import Link
from podmirror.ownagents import OwnAgent
from podmirror.placement import AgentKind, Placement
from podmirror.progress import Progress
from podmirror.session import SessionOptions, open_session
from podmirror.target import Target
from podmirror_wire.frames import (
    AnyFrame,
    End,
    Goodbye,
    Options,
    Ping,
)
from podmirror_wire.handshake import AgentHandshake, verifier_of
from tests.layer.agents import PATIENCE_SECONDS, ScriptedAgent, stream_pair

OPTIONS = SessionOptions(Target.parse("deployment/web"))


async def nothing_known() -> str:
    return ""


class World:
    """The cluster's side of `open_session`, with a scripted agent at the end of it."""

    def __init__(self, monkeypatch) -> None:
        self.target = ResolvedTarget("shop", "web-1", "node-1", None, uid="u-1")
        self.cluster = SimpleNamespace(namespace="shop", server="https://k8s")
        self.calls: list[object] = []
        self.what = "a thing, entry 1"
        self.notes: tuple[str, ...] = ()
        self.placement = None
        self.failing: dict[str, Exception] = {}
        self.spec = None
        self.near, far = stream_pair()
        self.agent = ScriptedAgent(far)

        monkeypatch.setattr(inject_module, "inject", self._inject)

    def _called(self, name: str, *arguments: object) -> None:
        self.calls.append((name, *arguments))
        if name in self.failing:
            raise self.failing[name]

    async def _inject(self, cluster, target, spec, placement):
        self._called("inject", target)
        self.spec, self.placement = spec, placement
        self.agent.handshake = AgentHandshake(spec.verifier)
        agent = SimpleNamespace(
            pod="web-1",
            wait_until_running=self._wait,
            connect=self._connect,
            post_mortem=nothing_known,
            has_ended=self._has_ended,
        )
        return SimpleNamespace(agent=agent, what=self.what, notes=self.notes, remove=self._remove)

    async def _remove(self):
        self._called("remove")

    async def _has_ended(self):
        return False

    async def _wait(self):
        self._called("wait")

    async def _connect(self, secret, receiver):
        self._called("forward")
        link = Link(self.near, receiver)
        await asyncio.gather(link.authenticate(secret), self.agent.accept())
        return link, self.near


@pytest.fixture(autouse=True)
def state(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def world(monkeypatch):
    return World(monkeypatch)


async def run(world: World, options: SessionOptions = OPTIONS) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        parting = None
        async with open_session(world.cluster, world.target, options, Progress("plain"), lambda _: None):
            parting = asyncio.create_task(world.agent.part())
        assert (await parting).reason == "the session is over"


async def test_each_step_is_shown_and_the_end_is_clean(world, capsys):
    await run(world)

    assert [call[0] for call in world.calls] == ["inject", "wait", "forward", "remove"]
    assert capsys.readouterr().err.splitlines() == [
        "podmirror: injected a thing, entry 1",
        f"podmirror: running: {world.spec.name}",
        "podmirror: forwarded: the tunnel to the agent is open",
    ]
    assert world.near.closed


async def test_the_options_reach_the_agent(world):
    await run(
        world,
        SessionOptions(
            target=OPTIONS.target,
            namespace="shop",
            context="kind",
            agent_image="registry/agent:1",
            agent_name="podmirror-me",
            agent_ttl=5.0,
            agent_log_level="debug",
            agent_cpu=0.5,
            image_pull_policy="Never",
            allow_host_network=True,
            agent=AgentKind.JOB,
            agent_namespace="agents",
            privileged=True,
        ),
    )

    assert world.calls[0] == ("inject", world.target)
    assert world.placement == Placement(AgentKind.JOB, "agents", privileged=True, host_network=True)
    spec = world.spec
    assert (spec.name, spec.image, spec.image_pull_policy) == ("podmirror-me", "registry/agent:1", "Never")
    assert (spec.ttl, spec.log_level, spec.cpu) == (5.0, "debug", 0.5)
    assert len(spec.verifier) == 32
    assert len(set(spec.ports)) == len(spec.ports) > 1


async def test_each_session_has_its_own_name_and_secret(monkeypatch):
    specs = []
    for _ in range(2):
        world = World(monkeypatch)
        await run(world)
        specs.append(world.spec)

    assert specs[0].name != specs[1].name
    assert specs[0].verifier != specs[1].verifier


async def test_what_there_is_to_say_about_the_pod_and_the_injection(world, capsys):
    world.target = replace(world.target, surroundings=Surroundings(("it is in a mesh",)))
    world.notes = ("it is a Job", "and why")
    await run(world)

    said = capsys.readouterr().err
    assert said.startswith("podmirror: it is in a mesh\n")
    assert "podmirror: it is a Job\npodmirror: and why\n" in said


@pytest.mark.parametrize("step", ["inject", "wait", "forward"])
async def test_a_step_that_fails_is_the_last(world, capsys, step):
    world.failing[step] = NotStarted(f"cannot {step}")
    with pytest.raises(NotStarted, match=f"cannot {step}"):
        async with open_session(world.cluster, world.target, OPTIONS, Progress("plain"), lambda _: None):
            pytest.fail("it has started")

    made = [call[0] for call in world.calls]
    assert made[-2 if step in ("wait", "forward") else -1] == step
    assert (made[-1] == "remove") == (step in ("wait", "forward")), "what was made is removed"
    assert len(capsys.readouterr().err.splitlines()) == made.index(step)


async def test_whatever_ends_the_session_the_agent_is_told(world):
    partings = []

    async def fail() -> None:
        async with open_session(world.cluster, world.target, OPTIONS, Progress("none"), lambda _: None):
            partings.append(asyncio.create_task(world.agent.part()))
            raise RuntimeError("trouble elsewhere")

    with pytest.raises(RuntimeError, match="trouble elsewhere"):
        await fail()
    assert (await partings[0]).reason == "the session is over"
    assert world.near.closed


# Agents that are there already.


async def test_the_secret_is_kept_while_the_session_lasts(world, state):
    async with open_session(world.cluster, world.target, OPTIONS, Progress("none"), lambda _: None):
        (claim,) = ownagents.find("https://k8s", "shop", "web-1")
        assert verifier_of(bytes.fromhex(claim.agent.secret)) == world.spec.verifier
        assert (claim.agent.uid, claim.agent.name, claim.agent.ports) == (
            "u-1",
            world.spec.name,
            world.spec.ports,
        )
        claim.release(ended=False)
        parting = asyncio.create_task(world.agent.part())
    await parting

    assert ownagents.find("https://k8s") == []


async def test_the_secret_is_kept_when_the_agent_may_be_alive(world, monkeypatch):
    monkeypatch.setattr(session_module, "GOODBYE_SECONDS", 0.01)
    async with open_session(world.cluster, world.target, OPTIONS, Progress("none"), lambda _: None):
        pass

    (claim,) = ownagents.find("https://k8s")
    claim.release(ended=False)


@pytest.fixture
def live(world, monkeypatch, state):
    """An agent of a session that was killed."""
    secret = bytes(range(32))
    own = OwnAgent(
        "https://k8s",
        "shop",
        "web-1",
        "u-1",
        "podmirror-1",
        OPTIONS.agent_image,
        (61_000,),
        secret.hex(),
        9.0,
        None,
    )
    ownagents.keep(own).release(ended=False)

    async def reuse(cluster, target, receiver, *, image, cpu):
        (claim,) = ownagents.find(cluster.server, target.namespace, target.pod)
        world.agent.handshake = AgentHandshake(verifier_of(secret))
        link, stream = await world._connect(secret, receiver)
        agent = SimpleNamespace(post_mortem=nothing_known, has_ended=world._has_ended)
        return LiveAgent(agent, link, stream, claim)

    monkeypatch.setattr(reuse_module, "reuse", reuse)
    return own


async def run_again(world: World) -> AnyFrame:
    async with asyncio.timeout(PATIENCE_SECONDS):
        async with open_session(world.cluster, world.target, OPTIONS, Progress("plain"), lambda _: None):
            pass_by = asyncio.create_task(_take_leave(world))
        return await pass_by


async def _take_leave(world: World) -> AnyFrame:
    while isinstance(frame := await world.agent.receive(), Ping | Options):
        pass
    await world.agent.send(Goodbye("as you wish"))
    return frame


async def test_a_live_agent_is_reused(world, live, capsys):
    assert isinstance(await run_again(world), End)

    assert [call[0] for call in world.calls] == ["forward"]
    assert capsys.readouterr().err.splitlines()[-1] == (
        "podmirror: reused podmirror-1, an agent of yours that runs in pod shop/web-1 already: the pod's spec is as it was"
    )
    assert ownagents.find("https://k8s") == []


async def test_a_live_agent_that_another_session_uses_goes_on(world, live):
    (claim,) = ownagents.find("https://k8s")

    assert isinstance(await run_again(world), Goodbye)

    claim.release(ended=True)
    assert ownagents.find("https://k8s") == []


async def test_whoever_names_an_agent_gets_another(world, live):
    await run(world, SessionOptions(OPTIONS.target, agent_name="podmirror-2"))

    assert world.spec.name == "podmirror-2"
