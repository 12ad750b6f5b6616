"""Putting an agent beside a target and waiting for it, against a cluster that answers by script."""

import asyncio

import pytest

from podmirror.errors import NotStarted
from podmirror.kube import inject as inject_module
from podmirror.kube.cluster import Refusal
from podmirror.kube.inject import CANDIDATES, PORTS, candidate_ports, inject, new_agent_name
from tests.layer.agents import PATIENCE_SECONDS
from tests.layer.kube.fakes import FakeCluster, items
from tests.layer.kube.injections import (
    CREATING,
    ENDED,
    NEVER_PULLED,
    RUNNING,
    SPEC,
    TARGET,
    agent_of,
    watched,
)
from tests.layer.kube.pods import AGENT, event, pod

PATCH = "patch_namespaced_pod_ephemeralcontainers"


POD_SECURITY = Refusal(
    403,
    "Forbidden",
    'pods "web-1" is forbidden: violates PodSecurity "baseline:latest": non-default capabilities (container "x" '
    'must not include "NET_RAW" in securityContext.capabilities.add)',
)


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
