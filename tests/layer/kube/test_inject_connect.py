"""Talking to an agent that was put beside a target, through scripted forwards, and why it was lost."""

import asyncio

import pytest

from podmirror.errors import AgentLost, NotStarted
from podmirror.kube import injected as injected_module
from podmirror.kube.cluster import Refusal
from podmirror_wire.frames import MAGIC, PROTOCOL_VERSION, Greeting
from podmirror_wire.version import __version__
from tests.layer.agents import PATIENCE_SECONDS, SECRET, ScriptedAgent, stream_pair
from tests.layer.kube.fakes import FakeCluster
from tests.layer.kube.injections import ENDED, RUNNING, agent_of, watched
from tests.layer.kube.pods import AGENT, pod

# Talking to it.


class Forwards:
    """Stands for `PortForward`: a scripted end for each port."""

    def __init__(self, monkeypatch) -> None:
        self.opened: list[int] = []
        self.streams = []
        self.behind: dict[int, object] = {}
        self._serving: list[asyncio.Task] = []
        monkeypatch.setattr(injected_module, "PortForward", self)

    async def open(self, cluster, namespace, pod_name, port):
        assert (namespace, pod_name) == ("shop", "web-1")
        self.opened.append(port)
        behind = self.behind.get(port, AgentLost(f"connection refused on {port}"))
        if isinstance(behind, list):
            behind = behind.pop(0)
        if isinstance(behind, Refusal | NotStarted):
            raise behind
        near, far = stream_pair()
        self.streams.append(near)
        if isinstance(behind, AgentLost):
            near.incoming.put_nowait(behind)
        else:
            self._serving.append(asyncio.create_task(behind(far)))
        return near

    async def finish(self) -> None:
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)


@pytest.fixture
async def forwards(monkeypatch):
    monkeypatch.setattr(injected_module, "_RETRY_SECONDS", 0.01)
    forwards = Forwards(monkeypatch)
    yield forwards
    await forwards.finish()


async def our_agent(far):
    await ScriptedAgent(far).accept()


async def anothers_agent(far):
    await ScriptedAgent(far, secret=bytes(32)).accept()


async def older_agent(far):
    await far.send(Greeting(MAGIC, PROTOCOL_VERSION, "0.0.1").encode())


async def web_server(far):
    await far.send(b"HTTP/1.1 408 Request Timeout\r\n\r\n")


async def silent(_):
    pass


async def connect(cluster: FakeCluster):
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await agent_of(cluster).connect(SECRET, lambda _: None)


async def test_the_first_candidate_that_is_our_agent(forwards, clock):
    forwards.behind = {61001: web_server, 62002: silent, 63003: our_agent}
    connecting = asyncio.create_task(connect(watched()))
    await clock.until_done(connecting, seconds=2 * injected_module.HELLO_SECONDS)
    link, stream = connecting.result()

    assert forwards.opened == [61001, 62002, 63003]
    assert stream is forwards.streams[-1]
    assert [each.closed for each in forwards.streams] == [True, True, False]
    assert link.counts == {}


@pytest.mark.parametrize("stranger", [anothers_agent, AgentLost("connection refused")])
async def test_candidates_are_tried_in_turn_until_the_agent_listens(forwards, stranger):
    forwards.behind = {61001: [stranger, stranger, our_agent]}
    await connect(watched(state=RUNNING))

    assert forwards.opened == [61001, 62002, 63003] * 2 + [61001]


async def test_an_agent_of_another_version_is_told_at_once(forwards):
    forwards.behind = {61001: older_agent}
    with pytest.raises(NotStarted) as refusal:
        await connect(watched())

    assert str(refusal.value) == (
        f"image podmirror-agent:1 is of another version: the agent is podmirror 0.0.1 (protocol {PROTOCOL_VERSION}), "
        f"this is {__version__} (protocol {PROTOCOL_VERSION}); give --agent-image an image of this version"
    )
    assert forwards.streams[0].closed


async def test_a_forward_that_is_forbidden(forwards):
    forwards.behind = {
        61001: Refusal(403, "Forbidden", 'User "me" cannot create resource "pods/portforward"')
    }
    with pytest.raises(
        NotStarted, match=r"was refused: User .* it needs the verbs get and create on pods/portforward"
    ):
        await connect(watched())

    assert forwards.opened == [61001]


BUSY = Refusal(500, "InternalError", "HTTP 500 Internal Server Error")


async def test_a_forward_that_fails_for_a_moment_is_tried_again(forwards):
    forwards.behind = {61001: [BUSY, our_agent]}
    await connect(watched(state=RUNNING))

    assert forwards.opened == [61001, 61001]


async def test_a_forward_that_keeps_failing_is_not_taken_for_a_missing_permission(forwards, monkeypatch):
    monkeypatch.setattr(injected_module, "NO_TUNNEL_SECONDS", 0.05)
    forwards.behind = {61001: BUSY}
    with pytest.raises(
        NotStarted, match=r"does not answer: port-forward to pod shop/web-1 .* HTTP 500"
    ) as refusal:
        await connect(watched(state=RUNNING))

    assert "verbs" not in str(refusal.value)


@pytest.mark.parametrize(
    ("pod_now", "words"),
    [
        (pod(agent_state=RUNNING, deleted=True), "pod shop/web-1 is being deleted"),
        (Refusal(404, "NotFound", 'pods "web-1" not found'), "pod shop/web-1 is gone, and the agent with it"),
    ],
)
async def test_a_pod_that_goes_away_meanwhile_is_what_is_told(forwards, pod_now, words):
    forwards.behind = {61001: BUSY}
    cluster = watched()
    cluster.answers["read_namespaced_pod"] = pod_now
    with pytest.raises(NotStarted, match=words):
        await connect(cluster)


async def test_an_agent_that_has_ended_meanwhile(forwards):
    with pytest.raises(NotStarted, match="has ended already: no NET_RAW"):
        await connect(watched(state=ENDED))

    assert forwards.opened == [61001, 62002, 63003]


async def test_an_agent_that_never_answers(forwards, monkeypatch):
    monkeypatch.setattr(injected_module, "START_SECONDS", 0.1)
    with pytest.raises(NotStarted, match="runs but does not answer: connection refused on 63003"):
        await connect(watched(state=RUNNING))


async def test_a_cluster_that_does_not_say_how_the_agent_is(forwards):
    forwards.behind = {61001: [AgentLost("not yet"), our_agent]}
    cluster = watched()
    cluster.answers["read_namespaced_pod"] = Refusal(403, "Forbidden", "no pods for you")
    await connect(cluster)

    assert forwards.opened == [61001, 62002, 63003, 61001]


# When it is lost.


async def test_a_post_mortem(monkeypatch):
    monkeypatch.setattr(injected_module, "_RETRY_SECONDS", 0.01)
    cluster = watched()
    cluster.answers["read_namespaced_pod"] = [pod(agent_state=RUNNING), pod(agent_state=ENDED)]

    assert await agent_of(cluster).post_mortem() == f"the agent {AGENT} ended: no NET_RAW (exit code 1)"


@pytest.mark.parametrize("answer", [Refusal(403, "Forbidden", "no"), NotStarted("unreachable")])
async def test_a_post_mortem_that_finds_nothing_does_not_keep_the_user(monkeypatch, answer):
    monkeypatch.setattr(injected_module, "_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(injected_module, "POST_MORTEM_SECONDS", 0.05)
    cluster = watched()
    cluster.answers["read_namespaced_pod"] = answer

    assert await agent_of(cluster).post_mortem() == ""
