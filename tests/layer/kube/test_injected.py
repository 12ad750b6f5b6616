"""Waiting for an agent that was put somewhere, against a cluster that answers by script."""

import asyncio

import pytest
from kubernetes.client import V1OwnerReference

from podmirror.errors import NotStarted
from podmirror.kube import injected as injected_module
from podmirror.kube.cluster import Refusal
from tests.layer.agents import PATIENCE_SECONDS
from tests.layer.kube.fakes import FakeCluster, items
from tests.layer.kube.injections import CREATING, ENDED, NEVER_PULLED, RUNNING, agent_of, watched
from tests.layer.kube.pods import AGENT, event, pod


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


async def test_a_job_whose_pod_goes_away_is_told_as_such():
    of_job = pod(deleted=True)
    of_job.metadata.owner_references = [
        V1OwnerReference(api_version="batch/v1", kind="Job", name=AGENT, uid="1")
    ]
    with pytest.raises(
        NotStarted, match="the agent's own pod shop/web-1 is being deleted: its target went away"
    ):
        await wait(watched(("MODIFIED", of_job)))


async def test_a_watch_that_is_forbidden_is_explained():
    with pytest.raises(NotStarted, match='cannot watch resource "pods"'):
        await wait(watched(Refusal(403, "Forbidden", 'User "me" cannot watch resource "pods"')))


@pytest.mark.parametrize(
    "passing",
    [
        Refusal(410, "", "Expired: too old resource version: 1 (2)"),
        Refusal(429, "TooManyRequests", "too many requests"),
        Refusal(504, "", "Timeout: Timeout: Too large resource version: 18399, current: 18398"),
    ],
)
async def test_a_watch_that_fails_for_a_moment_is_begun_anew(passing):
    cluster = watched(("ADDED", pod()), passing, ("MODIFIED", pod(agent_state=RUNNING)))
    await wait(cluster)

    assert len(cluster.called("watch")) == 2


async def test_a_watch_that_lags_is_not_all_that_is_gone_by(monkeypatch):
    """An API server's cache was seen to lag by half a minute, in which a watch says nothing or fails again and again."""
    monkeypatch.setattr(injected_module, "LOOK_SECONDS", 0.01)
    cluster = watched(("ADDED", pod(agent_state=CREATING)))
    cluster.answers["read_namespaced_pod"] = [
        pod(agent_state=CREATING),
        Refusal(504, "", "Timeout"),
        pod(agent_state=RUNNING),
    ]
    await wait(cluster)

    assert cluster.answers["read_namespaced_pod"] == []


async def test_a_look_tells_what_went_wrong(monkeypatch):
    monkeypatch.setattr(injected_module, "LOOK_SECONDS", 0.01)
    cluster = watched()
    cluster.answers["read_namespaced_pod"] = pod(agent_state=NEVER_PULLED)
    with pytest.raises(NotStarted, match="cannot start: ErrImageNeverPull"):
        await wait(cluster)


async def test_an_event_tells_before_the_status_does():
    events = items(event("Pulling", "…", kind="Normal"), event("Failed", "no such image"))
    with pytest.raises(NotStarted, match=r"cannot start: no such image. It starts later, by itself"):
        await wait(watched(("ADDED", pod(agent_state=CREATING)), events=events))


async def test_events_are_asked_for_again(monkeypatch):
    monkeypatch.setattr(injected_module, "EVENT_SECONDS", 0.01)
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
    monkeypatch.setattr(injected_module, "START_SECONDS", 0.05)
    with pytest.raises(NotStarted) as late:
        await wait(watched(("ADDED", pod()), state=state))

    assert str(late.value) == (
        f"the agent {AGENT} in pod shop/web-1 did not start within 0.05 s ({words}); see `kubectl describe pod web-1 -n shop`"
    )
