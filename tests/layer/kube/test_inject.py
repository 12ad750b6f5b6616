"""Putting an agent beside a target, against a cluster that answers by script."""

import asyncio
import time

import pytest
from kubernetes.client import (
    V1ContainerState,
    V1ContainerStateRunning,
    V1ContainerStateTerminated,
    V1ContainerStateWaiting,
)

from podmirror.errors import AgentLost, NotStarted
from podmirror.kube import inject as inject_module
from podmirror.kube.cluster import Refusal
from podmirror.kube.ephemeral import AgentSpec
from podmirror.kube.inject import (
    CANDIDATES,
    PORTS,
    InjectedAgent,
    candidate_ports,
    inject,
    new_agent_name,
)
from podmirror.kube.resolve import ResolvedTarget
from podmirror_wire.frames import MAGIC, PROTOCOL_VERSION, Greeting
from podmirror_wire.handshake import verifier_of
from podmirror_wire.version import __version__
from tests.layer.agents import PATIENCE_SECONDS, SECRET, ScriptedAgent, stream_pair
from tests.layer.kube.fakes import FakeCluster, items
from tests.layer.kube.pods import AGENT, event, pod

TARGET = ResolvedTarget("shop", "web-1", "node-1", None)
SPEC = AgentSpec(AGENT, "podmirror-agent:1", None, (61001, 62002, 63003), verifier_of(SECRET), 30.0, "info")
PATCH = "patch_namespaced_pod_ephemeralcontainers"
RUNNING = V1ContainerState(running=V1ContainerStateRunning())
CREATING = V1ContainerState(waiting=V1ContainerStateWaiting(reason="ContainerCreating"))
NEVER_PULLED = V1ContainerState(
    waiting=V1ContainerStateWaiting(reason="ErrImageNeverPull", message="image is not present")
)
ENDED = V1ContainerState(
    terminated=V1ContainerStateTerminated(exit_code=1, message='{"reason": "no NET_RAW"}')
)
POD_SECURITY = Refusal(
    403,
    "Forbidden",
    'pods "web-1" is forbidden: violates PodSecurity "baseline:latest": non-default capabilities (container "x" '
    'must not include "NET_RAW" in securityContext.capabilities.add)',
)


def agent_of(cluster: FakeCluster) -> InjectedAgent:
    return InjectedAgent(cluster, TARGET, SPEC)


def test_names_are_new_each_time_and_fit_for_a_container():
    names = {new_agent_name() for _ in range(50)}

    assert len(names) == 50
    assert all(name.startswith("podmirror-") and len(name) == 18 for name in names)


def test_candidate_ports_differ_and_are_above_those_of_calls():
    ports = candidate_ports()

    assert len(set(ports)) == CANDIDATES
    assert all(port in PORTS and port > 60999 for port in ports)


# Adding it.


async def test_the_agent_is_added_with_one_patch():
    cluster = FakeCluster(**{PATCH: pod(agents=("podmirror-old", AGENT))})
    injection = await inject(cluster, TARGET, SPEC)

    assert (injection.entries, injection.default_capabilities) == (2, False)
    ((method, (name, namespace, body), options),) = cluster.calls
    assert (method, name, namespace) == (PATCH, "web-1", "shop")
    assert options == {"_content_type": "application/strategic-merge-patch+json"}
    (container,) = body["spec"]["ephemeralContainers"]
    assert container["name"] == AGENT
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["NET_RAW"]}


async def test_where_pod_security_forbids_capabilities_it_goes_without_in_exactly_two_patches():
    cluster = FakeCluster(**{PATCH: [POD_SECURITY, pod(agents=(AGENT,))]})
    injection = await inject(cluster, TARGET, SPEC)

    assert (injection.entries, injection.default_capabilities) == (1, True)
    bodies = [arguments[2] for arguments in cluster.called(PATCH)]
    contexts = [body["spec"]["ephemeralContainers"][0]["securityContext"] for body in bodies]
    assert ["capabilities" in context for context in contexts] == [True, False]


async def test_where_pod_security_forbids_that_as_well_it_says_so():
    second = Refusal(403, "Forbidden", 'violates PodSecurity "restricted:latest": runAsNonRoot != true')
    cluster = FakeCluster(**{PATCH: [POD_SECURITY, second]})

    with pytest.raises(NotStarted, match="runAsNonRoot != true; no capture is possible under this policy"):
        await inject(cluster, TARGET, SPEC)
    assert len(cluster.called(PATCH)) == 2


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (
            Refusal(403, "Forbidden", 'User "me" cannot patch resource "pods/ephemeralcontainers"'),
            'User "me" cannot patch resource "pods/ephemeralcontainers"; ask your cluster\'s administrator for the '
            "verb patch on pods/ephemeralcontainers",
        ),
        (
            Refusal(404, "NotFound", 'pods "web-1" not found'),
            'pods "web-1" not found; it was deleted meanwhile, try again',
        ),
        (
            Refusal(
                422, "Invalid", f'existing ephemeral containers "{AGENT}" may not be changed\n\ta whole diff'
            ),
            f"the name '{AGENT}' is taken in this pod (existing ephemeral containers \"{AGENT}\" may not be changed); "
            "give another --agent-name, or none",
        ),
        (
            Refusal(422, "Invalid", 'spec.ephemeralContainers[0].name: Duplicate value: "app"'),
            f"the name '{AGENT}' is taken in this pod (spec.ephemeralContainers[0].name: Duplicate value: \"app\"); "
            "give another --agent-name, or none",
        ),
        (
            Refusal(422, "Invalid", "static pods do not support ephemeral containers"),
            "static pods do not support ephemeral containers",
        ),
        (Refusal(500, "InternalError", "etcd is on fire"), "etcd is on fire"),
    ],
)
async def test_refusals_in_the_servers_words_with_the_next_step(refusal, said):
    with pytest.raises(NotStarted) as explained:
        await inject(FakeCluster(**{PATCH: refusal}), TARGET, SPEC)

    assert str(explained.value) == f"the agent could not be added to pod shop/web-1: {said}"
    assert explained.value.__cause__ is refusal


async def test_a_refusal_without_words():
    with pytest.raises(NotStarted, match="the agent could not be added to pod shop/web-1"):
        await inject(FakeCluster(**{PATCH: Refusal(500, "InternalError", "")}), TARGET, SPEC)


async def test_a_server_that_is_not_there():
    with pytest.raises(NotStarted, match="cannot be reached"):
        await inject(FakeCluster(**{PATCH: NotStarted("it cannot be reached")}), TARGET, SPEC)


# Waiting for it.


def watched(*changes, events: object = None, state: object = None) -> FakeCluster:
    cluster = FakeCluster(
        list_namespaced_event=items() if events is None else events,
        read_namespaced_pod=pod(agent_state=state),
    )
    cluster.changes = list(changes)
    return cluster


async def wait(cluster: FakeCluster) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        await agent_of(cluster).wait_until_running()


async def test_it_waits_until_the_agent_runs():
    cluster = watched(
        ("ADDED", pod()),
        ("MODIFIED", pod(agent_state=CREATING)),
        None,  # the watch ended, as each does after a while
        ("ADDED", pod(agent_state=CREATING)),
        ("MODIFIED", pod(agent_state=RUNNING)),
        ("MODIFIED", pod(agent_state=NEVER_PULLED)),
    )
    await wait(cluster)

    assert len(cluster.changes) == 1
    assert cluster.called("watch") == [("web-1", "shop")] * 2
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "watch events"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            ("MODIFIED", pod(agent_state=NEVER_PULLED)),
            "cannot start: ErrImageNeverPull: image is not present",
        ),
        (("MODIFIED", pod(agent_state=ENDED)), r"has ended already: no NET_RAW \(exit code 1\)"),
        (("DELETED", pod(agent_state=CREATING)), "is being deleted, so no agent starts in it"),
        (("MODIFIED", pod(deleted=True, agent_state=CREATING)), "is being deleted"),
        (NotStarted("the API server is gone"), "the API server is gone"),
    ],
)
async def test_an_agent_that_does_not_come(change, words):
    with pytest.raises(NotStarted, match=words):
        await wait(watched(("ADDED", pod()), change))


async def test_a_watch_that_is_forbidden_is_explained():
    with pytest.raises(NotStarted, match='cannot watch resource "pods"'):
        await wait(watched(Refusal(403, "Forbidden", 'User "me" cannot watch resource "pods"')))


async def test_an_event_tells_before_the_status_does():
    events = items(event("Pulling", "…", kind="Normal"), event("Failed", "no such image"))
    with pytest.raises(NotStarted, match=r"cannot start: no such image. It starts later, by itself"):
        await wait(watched(("ADDED", pod(agent_state=CREATING)), events=events))


async def test_events_are_asked_for_again(monkeypatch):
    monkeypatch.setattr(inject_module, "EVENT_SECONDS", 0.01)
    events = [items(), items(), items(event("Failed", "no such image"))]
    cluster = watched(("ADDED", pod()), events=events)
    with pytest.raises(NotStarted, match="no such image"):
        await wait(cluster)

    (_, arguments, options) = next(call for call in cluster.calls if call[0] == "list_namespaced_event")
    assert arguments == ("shop",)
    assert options == {"field_selector": "involvedObject.kind=Pod,involvedObject.name=web-1"}


@pytest.mark.parametrize("failure", [Refusal(403, "Forbidden", "no events for you"), NotStarted("slow")])
async def test_events_are_good_to_have_but_not_needed(failure):
    await wait(watched(("ADDED", pod()), ("MODIFIED", pod(agent_state=RUNNING)), events=failure))


@pytest.mark.parametrize(
    ("state", "words"), [(CREATING, "ContainerCreating"), (None, "not seen by the kubelet yet")]
)
async def test_an_agent_that_takes_too_long(monkeypatch, state, words):
    monkeypatch.setattr(inject_module, "START_SECONDS", 0.05)
    with pytest.raises(NotStarted) as late:
        await wait(watched(("ADDED", pod()), state=state))

    assert str(late.value) == (
        f"the agent {AGENT} in pod shop/web-1 did not start within 0.05 s ({words}); see `kubectl describe pod web-1 -n shop`"
    )


# Talking to it.


class Forwards:
    """Stands for `PortForward`: a scripted end for each port."""

    def __init__(self, monkeypatch) -> None:
        self.opened: list[int] = []
        self.streams = []
        self.behind: dict[int, object] = {}
        self._serving: list[asyncio.Task] = []
        monkeypatch.setattr(inject_module, "PortForward", self)

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
    monkeypatch.setattr(inject_module, "_RETRY_SECONDS", 0.01)
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


async def test_the_first_candidate_that_is_our_agent(forwards, monkeypatch):
    monkeypatch.setattr(inject_module, "HELLO_SECONDS", 0.05)
    forwards.behind = {61001: web_server, 62002: silent, 63003: our_agent}
    link, stream = await connect(watched())

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


async def test_an_agent_that_has_ended_meanwhile(forwards):
    with pytest.raises(NotStarted, match="has ended already: no NET_RAW"):
        await connect(watched(state=ENDED))

    assert forwards.opened == [61001, 62002, 63003]


async def test_an_agent_that_never_answers(forwards, monkeypatch):
    monkeypatch.setattr(inject_module, "START_SECONDS", 0.1)
    began = time.monotonic()
    with pytest.raises(NotStarted, match="runs but does not answer: connection refused on 63003"):
        await connect(watched(state=RUNNING))

    assert time.monotonic() - began < 2


async def test_a_cluster_that_does_not_say_how_the_agent_is(forwards):
    forwards.behind = {61001: [AgentLost("not yet"), our_agent]}
    cluster = watched()
    cluster.answers["read_namespaced_pod"] = Refusal(403, "Forbidden", "no pods for you")
    await connect(cluster)

    assert forwards.opened == [61001, 62002, 63003, 61001]


# When it is lost.


async def test_a_post_mortem(monkeypatch):
    monkeypatch.setattr(inject_module, "_RETRY_SECONDS", 0.01)
    cluster = watched()
    cluster.answers["read_namespaced_pod"] = [pod(agent_state=RUNNING), pod(agent_state=ENDED)]

    assert await agent_of(cluster).post_mortem() == f"the agent {AGENT} ended: no NET_RAW (exit code 1)"


@pytest.mark.parametrize("answer", [Refusal(403, "Forbidden", "no"), NotStarted("unreachable")])
async def test_a_post_mortem_that_finds_nothing_does_not_keep_the_user(monkeypatch, answer):
    monkeypatch.setattr(inject_module, "_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(inject_module, "POST_MORTEM_SECONDS", 0.05)
    cluster = watched()
    cluster.answers["read_namespaced_pod"] = answer

    assert await agent_of(cluster).post_mortem() == ""
