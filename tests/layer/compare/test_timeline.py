"""How far an agent's pod has come, against a cluster that answers by script."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from kubernetes.client import V1PodCondition

from podmirror.compare.spread import Unknown
from podmirror.compare.timeline import Timeline
from podmirror.kube.cluster import Refusal
from tests.layer.agents import PATIENCE_SECONDS
from tests.layer.kube.fakes import FakeCluster
from tests.layer.kube.injections import CREATING, RUNNING
from tests.layer.kube.pods import AGENT, event, pod
from tests.stopwatch import Stopwatch


class Watched(FakeCluster):
    """Gives events, too."""

    def __init__(self, *events: object) -> None:
        super().__init__()
        self.events = list(events)
        self.selected: list[str] = []

    async def watch_events(self, namespace: str, *, field_selector: str) -> AsyncIterator[tuple[str, object]]:
        self.selected.append(field_selector)
        for each in self.events:
            await asyncio.sleep(0)
            if isinstance(each, BaseException):
                raise each
            yield "ADDED", each
        await asyncio.Event().wait()


def scheduled(of):
    of.status.conditions.append(V1PodCondition(type="PodScheduled", status="True"))
    return of


async def test_each_step_is_noted_once():
    cluster = Watched(event("Pulled", "m"))
    other = pod(agents=())
    cluster.changes = [
        ("ADDED", other),
        ("MODIFIED", pod(agents=(AGENT,), agent_state=CREATING)),
        ("MODIFIED", scheduled(pod(agents=(AGENT,), agent_state=RUNNING))),
        ("MODIFIED", scheduled(pod(agents=(AGENT,), agent_state=RUNNING))),
    ]

    async with Timeline(cluster, "shop", AGENT, "web-1") as timeline:
        await timeline.catch_up(PATIENCE_SECONDS)

    assert timeline.moments.keys() == {"pulled", "scheduled", "started"}
    assert timeline.pulled == timeline.moments["pulled"]
    assert timeline.pod is not other


@pytest.mark.parametrize(("target", "containers"), [("web-1", "ephemeralContainers"), (None, "containers")])
async def test_events_of_nothing_else_are_asked_for(target, containers):
    cluster = Watched(event("Pulled", "m"))
    cluster.changes = [None]

    async with Timeline(cluster, "shop", AGENT, target) as timeline:
        await timeline.catch_up(PATIENCE_SECONDS)

    assert cluster.selected == [f"reason=Pulled,involvedObject.fieldPath=spec.{containers}{{{AGENT}}}"]


async def test_events_that_may_not_be_watched_leave_the_image_unknown():
    cluster = Watched(Refusal(403, "Forbidden", "events are not for you"))
    cluster.changes = [None]

    async with Timeline(cluster, "shop", AGENT, None) as timeline:
        with Stopwatch() as waiting:
            await timeline.catch_up(PATIENCE_SECONDS)

    assert waiting.seconds < PATIENCE_SECONDS
    assert timeline.pulled == Unknown("events may not be watched: events are not for you")


async def test_an_event_that_does_not_come_is_not_waited_for_long():
    async with Timeline(Watched(), "shop", AGENT, None) as timeline:
        await timeline.catch_up(0.05)

    assert timeline.pulled == Unknown("no event told of the image")
