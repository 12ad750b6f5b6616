"""Where a target's pods are, over objects in the client's own models."""

import asyncio
from contextlib import aclosing, asynccontextmanager

import pytest
from kubernetes.client import V1ContainerPort, V1Service, V1ServicePort, V1ServiceSpec

from podmirror.errors import NotStarted
from podmirror.kube import following as following_module
from podmirror.kube.cluster import Refusal
from podmirror.kube.following import Following
from podmirror.progress import Progress
from podmirror.roster import PodView, Roster
from podmirror.session import SessionOptions
from podmirror.target import Target
from tests.layer.deadlines import PATIENCE_SECONDS
from tests.layer.kube.fakes import FakeCluster, items
from tests.layer.kube.pods import NOW, pod

CREATED = NOW.timestamp()


def following(cluster: FakeCluster, target: str = "label/app=web", **options: bool) -> Following:
    return Following(cluster, SessionOptions(Target.parse(target), **options))


def of_pods(*pods: object) -> FakeCluster:
    return FakeCluster(list_namespaced_pod=items(*pods))


def view(name: str, *, ready: bool = True, **more: str) -> PodView:
    return PodView(name, f"uid-{name}", CREATED, ready, **more)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(following_module, "SETTLE_SECONDS", 0.001)
    monkeypatch.setattr(following_module, "RETRY_SECONDS", 0.001)


async def test_the_first_pods_are_those_that_are_ready():
    cluster = of_pods(pod("c"), pod("a", ready=False), pod("b"), pod("d", deleted=True))

    assert await following(cluster).first_pods() == [view("b"), view("c")]


async def test_or_one_that_runs():
    cluster = of_pods(pod("c", ready=False), pod("b", ready=False), pod("a", ip=None))

    assert await following(cluster).first_pods() == [view("b", ready=False)]


@pytest.mark.parametrize(
    ("port", "said"),
    [
        (
            80,
            "port 80 is one of service/web, which sends it to port 8080 of its pods: what -p names is the pods'; give -p 8080",
        ),
        (
            81,
            "port 81 is one of service/web, which sends it to the port that its pods would name admin, and do not",
        ),
        (8080, ""),
        (9090, ""),
        (5000, ""),
    ],
)
async def test_a_port_of_a_service_that_is_not_its_pods_is_told_of(port, said):
    behind = pod("a")
    behind.spec.containers[0].ports = [
        V1ContainerPort(name="http", container_port=8080),
        V1ContainerPort(container_port=5000),
    ]
    ports = [
        V1ServicePort(port=80, target_port="http"),
        V1ServicePort(port=81, target_port="admin"),
        V1ServicePort(port=9090),
        V1ServicePort(port=5000, target_port=8080),
    ]
    service = V1Service(spec=V1ServiceSpec(selector={"app": "web"}, ports=ports))
    target = following(
        FakeCluster(list_namespaced_pod=items(behind), read_namespaced_service=service), "service/web"
    )
    await target.first_pods()

    about = target.about_port(port)
    assert about.startswith(said)
    assert bool(about) == bool(said)


async def test_a_look_tells_who_leaves_and_who_takes_no_agent():
    cluster = of_pods(
        pod("a"),
        pod("b", deleted=True),
        pod("c", phase="Failed", ready=False),
        pod("d", ip=None, ready=False),
    )

    assert await following(cluster).look() == Roster(
        (
            view("a"),
            view("b", leaving="is being deleted", unfit="is being deleted"),
            view("c", ready=False, leaving="has ended (Failed)", unfit="has ended (Failed)"),
            view("d", ready=False, unfit="has no running sandbox yet"),
        )
    )


async def test_a_target_that_is_gone_has_no_pods():
    cluster = FakeCluster(
        read_namespaced_deployment=Refusal(404, "NotFound", 'deployments.apps "web" not found')
    )

    roster = await following(cluster, "deployment/web").look()
    assert roster == Roster((), ended='deployment/web is gone (deployments.apps "web" not found)')


async def test_what_may_not_be_seen_is_not_gone():
    cluster = FakeCluster(list_namespaced_pod=Refusal(403, "Forbidden", "you may not"))

    with pytest.raises(NotStarted, match="cannot look up label/app=web: you may not"):
        await following(cluster).look()


async def next_of(rosters) -> list[str]:
    async with asyncio.timeout(5):
        return [each.name for each in (await anext(rosters)).pods]


async def test_every_change_leads_to_a_look():
    cluster = of_pods(pod("a"))
    cluster.answers["list_namespaced_pod"] = [items(pod("a")), items(pod("a")), items(pod("b"))]
    cluster.changes = [("MODIFIED", None), ("DELETED", None)]
    target = following(cluster)
    await target.first_pods()
    async with aclosing(target.rosters()) as rosters:
        assert await next_of(rosters) == ["a"]
        assert await next_of(rosters) == ["b"]
    assert ("watch", ("shop",), {"label_selector": "app=web"}) in cluster.calls


async def test_a_server_that_is_away_for_a_while_is_asked_again():
    cluster = of_pods()
    away = NotStarted("cannot be reached")
    cluster.answers["list_namespaced_pod"] = [items(pod("a")), away, away, items(pod("b"))]
    cluster.changes = [away, None, away, Refusal(410, "Expired", "too old")]
    target = following(cluster)
    await target.first_pods()
    async with aclosing(target.rosters()) as rosters:
        assert await next_of(rosters) == ["b"]


async def test_without_a_change_it_looks_now_and_then(monkeypatch):
    monkeypatch.setattr(following_module, "LOOK_SECONDS", 0.01)
    cluster = of_pods()
    cluster.answers["list_namespaced_pod"] = [items(), items(pod("a")), items(pod("b"))]
    target = following(cluster)
    await target.look()
    async with aclosing(target.rosters()) as rosters:
        assert [await next_of(rosters), await next_of(rosters)] == [["a"], ["b"]]


async def test_a_service_that_turns_to_other_pods_is_watched_there(monkeypatch):
    monkeypatch.setattr(following_module, "LOOK_SECONDS", 0.01)
    services = [V1Service(spec=V1ServiceSpec(selector={"color": color})) for color in ("blue", "green")]
    cluster = FakeCluster(
        read_namespaced_service=lambda *_, **__: services[0],
        list_namespaced_pod=lambda *_, **__: items(pod()),
    )
    target = following(cluster, "service/web")
    await target.first_pods()
    async with aclosing(target.rosters()) as rosters:
        await next_of(rosters)
        services.pop(0)
        await next_of(rosters)
        await next_of(rosters)
    watched = [options["label_selector"] for name, _, options in cluster.calls if name == "watch"]
    assert watched == ["color=blue", "color=green"]


@pytest.fixture
def opened(monkeypatch):
    places = []

    @asynccontextmanager
    async def open_session(cluster, place, options, progress, receiver):
        places.append(place)
        yield "session"

    monkeypatch.setattr(following_module, "open_session", open_session)
    return places


async def test_a_session_is_opened_beside_the_pod_and_a_guess_is_said_once(opened, capsys):
    target = following(
        of_pods(pod("a", containers=("istio-proxy", "app")), pod("b", containers=("app", "x")))
    )
    for view_ in await target.first_pods():
        async with target.open(view_, target._options, Progress("plain"), lambda _: None) as session:
            assert session == "session"

    assert [(place.pod, place.container) for place in opened] == [("a", "app"), ("b", "app")]
    assert capsys.readouterr().err.count("is taken for the app") == 1


async def test_the_network_of_the_node_needs_a_word_of_the_user(opened):
    for options in ({}, {"allow_host_network": True}):
        target = following(of_pods(pod(host_network=True)), **options)
        (view_,) = await target.first_pods()
        if options:
            async with target.open(view_, target._options, Progress("none"), lambda _: None):
                pass
        else:
            with pytest.raises(NotStarted, match="--allow-host-network"):
                async with target.open(view_, target._options, Progress("none"), lambda _: None):
                    pytest.fail("it is open")
    assert len(opened) == 1


TICKS = 12
"""Of the event loop, from a change to the look that follows it, and some more."""


@pytest.mark.parametrize("ticks", range(TICKS))
async def test_the_end_is_heard_whatever_changes_just_then(ticks):
    """Python 3.11's `wait_for` forgets that it was cancelled if what it waits for has just come."""
    changes, looked = asyncio.Event(), asyncio.Event()

    async def watch(*_, **__):
        await changes.wait()
        yield ("MODIFIED", None)
        await asyncio.Event().wait()

    cluster = of_pods(pod("a"))
    cluster.watch_pods = watch
    target = following(cluster)
    await target.first_pods()

    async def follow() -> None:
        async with aclosing(target.rosters()) as rosters:
            async for _ in rosters:
                looked.set()

    running = asyncio.create_task(follow())
    await looked.wait()
    for _ in range(TICKS):  # until it waits for a change
        await asyncio.sleep(0)
    changes.set()
    for _ in range(ticks):
        await asyncio.sleep(0)
    running.cancel()

    _, going_on = await asyncio.wait({running}, timeout=PATIENCE_SECONDS)
    assert not going_on
