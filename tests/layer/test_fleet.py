"""A fleet over pods that come and go, each with a scripted agent."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from podmirror import fleet as fleet_module
from podmirror.errors import AgentLost, NotStarted
from podmirror.fleet import Fleet, PodState
from podmirror.members import INDEX_SHIFT, PodRef
from podmirror.progress import Progress
from podmirror.session import Session
from podmirror_wire.frames import Closed, Credit, Dismiss, Goodbye, Ledger, Subscribe, Subscribed
from podmirror_wire.values import CloseReason
from tests.layer.agents import PATIENCE_SECONDS, ScriptedAgent, linked
from tests.layer.deadlines import until
from tests.layer.frames import Talk

READY, UNREADY, GOING = PodState.READY, PodState.UNREADY, PodState.GOING


def ref(name: str, uid: str = "", created: float = 0.0) -> PodRef:
    return PodRef(name, uid or f"uid-{name}", created)


A, B, C = ref("a"), ref("b"), ref("c")


async def nothing_known() -> str:
    return ""


class Pods:
    """Pods that a test lets come and go."""

    def __init__(self, *first: PodRef, follows: bool = True) -> None:
        self.follows = follows
        self.agents: dict[PodRef, ScriptedAgent] = {}
        self.subscribed: dict[PodRef, list[int]] = {}
        self.parted: list[PodRef] = []
        self.refusing: dict[PodRef, int] = {}
        """How often a pod refuses an agent."""
        self.tried: list[PodRef] = []
        self.heard: list[tuple[PodRef, object]] = []
        self._first = list(first)
        self._changes: asyncio.Queue[dict[PodRef, PodState]] = asyncio.Queue()

    async def first(self, _progress):
        return self._first

    async def changes(self):
        while True:
            yield await self._changes.get()

    def show(self, present: dict[PodRef, PodState]) -> None:
        self._changes.put_nowait(present)

    @asynccontextmanager
    async def session(self, pod, _progress, receiver):
        self.tried.append(pod)
        if self.refusing.get(pod, 0):
            self.refusing[pod] -= 1
            raise NotStarted(f"{pod.name} refuses")
        async with linked(receiver=receiver) as (link, agent):
            self.agents[pod] = agent
            self.subscribed[pod] = []
            acting = asyncio.create_task(self._act(pod, agent))
            session = Session(link, nothing_known)
            try:
                yield session
            finally:
                await session.part("over")
                acting.cancel()
                await asyncio.gather(acting, return_exceptions=True)

    async def _act(self, pod: PodRef, agent: ScriptedAgent) -> None:
        while True:
            match await agent.receive_calmly():
                case Subscribe(request, port):
                    self.subscribed[pod].append(port)
                    await agent.send(Subscribed(request, 1))
                case Goodbye():
                    self.parted.append(pod)
                    await agent.send(Goodbye("as you wish"))
                case frame:
                    self.heard.append((pod, frame))


@asynccontextmanager
async def fleet_of(pods: Pods, *, all_pods: bool = False, max_pods: int = 10):
    received: list[object] = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        fleet = Fleet(pods, Progress("plain"), received.append, all_pods=all_pods, max_pods=max_pods)
        try:
            await fleet.begin()
            yield fleet, received
        finally:
            await fleet.end()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(fleet_module, "GONE_SECONDS", 0.2)
    monkeypatch.setattr(fleet_module, "RETRY_SECONDS", 0.01)


async def test_one_pod_is_mirrored_and_its_frames_are_left_as_they_are():
    pods = Pods(A, B)
    async with fleet_of(pods) as (fleet, received):
        await fleet.subscribe(80)
        await pods.agents[A].send(Talk().opened())
        await until(lambda: received)

        assert received == [Talk().opened()]
        assert pods.subscribed == {A: [80]}
        assert (fleet.label(1), fleet.pods) == ("", ["a"])
    assert pods.parted == [A]
    assert fleet.loss is None


async def test_the_successor_of_a_pod_that_goes_is_subscribed_to_what_the_first_was(capsys):
    pods = Pods(A)
    async with fleet_of(pods) as (fleet, received):
        await fleet.subscribe(80)
        await fleet.subscribe(81)
        pods.show({A: GOING, B: UNREADY})
        pods.show({A: GOING, B: READY})
        await until(lambda: pods.subscribed.get(B) == [80, 81])
        await pods.agents[B].send(Talk().opened())
        await until(lambda: received)

        assert received[0].connection == 1 << INDEX_SHIFT | Talk().opened().connection
        assert fleet.label(received[0].connection) == "b"
        assert fleet.pods == ["a", "b"]
    assert "pod b joined" in capsys.readouterr().err


async def test_a_pod_that_is_only_unready_is_kept():
    pods = Pods(A)
    async with fleet_of(pods) as (fleet, _):
        pods.show({A: UNREADY, B: READY})
        pods.show({A: GOING, C: READY})
        await until(lambda: C in pods.agents)

        assert pods.tried == [A, C]
        assert fleet.loss is None


async def test_in_a_rollout_the_youngest_is_the_successor():
    old, young = ref("z", created=1.0), ref("y", created=2.0)
    pods = Pods(A)
    async with fleet_of(pods):
        pods.show({A: GOING, old: READY, young: READY})
        await until(lambda: len(pods.agents) == 2)

        assert pods.tried == [A, young]


async def test_a_pod_of_the_same_name_is_another_pod():
    pods = Pods(A)
    again = ref("a", "another-uid")
    async with fleet_of(pods) as (fleet, _):
        pods.show({again: READY})
        await until(lambda: again in pods.agents)
        await until(lambda: A in pods.parted)

        assert fleet.pods == ["a", "a"]
        assert fleet.loss is None


async def test_an_agent_that_ends_with_its_pod_is_no_loss():
    pods = Pods(A)
    async with fleet_of(pods) as (fleet, received):
        await pods.agents[A].send(Talk().opened(), Ledger({"gaps": 1}), Goodbye("SIGTERM was received"))
        pods.show({A: GOING})
        await until(lambda: len(received) == 2)
        pods.show({B: READY})
        await until(lambda: B in pods.agents)
        await pods.agents[B].send(Ledger({"gaps": 2}))
        await until(lambda: fleet.link.counts == {"gaps": 3})

        assert received[1] == Closed(Talk().opened().connection, CloseReason.AGENT_ENDED, 0)
        assert (fleet.loss, fleet.lost) == (None, False)


async def test_an_agent_that_is_lost_without_a_last_word_as_its_pod_goes_leaves_doubt():
    pods = Pods(A)
    async with fleet_of(pods) as (fleet, _):
        await pods.agents[A].stream.close()
        pods.show({B: READY})
        await until(lambda: B in pods.agents)
        await until(lambda: fleet.lost)

        assert fleet.loss is None


async def test_an_agent_that_is_lost_while_its_pod_stays_ends_it():
    async with fleet_of(pods := Pods(A)) as (fleet, _):
        pods.show({A: READY, B: READY})
        await pods.agents[A].stream.close()
        with pytest.raises(AgentLost, match="without a goodbye"):
            await fleet.wait()
        assert fleet.loss is not None


async def test_a_pod_that_stands_for_itself_is_not_followed():
    async with fleet_of(pods := Pods(A, follows=False)) as (fleet, _):
        await pods.agents[A].stream.close()
        with pytest.raises(AgentLost):
            await fleet.wait()
        assert pods.tried == [A]


async def test_all_pods_are_mirrored_and_new_ones_join(capsys):
    pods = Pods(A, B)
    async with fleet_of(pods, all_pods=True) as (fleet, received):
        await fleet.subscribe(80)
        pods.show({A: READY, B: READY, C: READY})
        await until(lambda: pods.subscribed.get(C) == [80])
        for agent in pods.agents.values():
            await agent.send(Talk().opened())
        await until(lambda: len(received) == 3)

        assert sorted(fleet.label(frame.connection) for frame in received) == ["a", "b", "c"]
        assert len({frame.connection for frame in received}) == 3
    assert sorted(pods.parted) == [A, B, C]
    assert "mirroring 2 pods: a, b" in capsys.readouterr().err


async def test_of_many_pods_only_so_many_are_mirrored_and_that_is_said_once(capsys):
    pods = Pods(A, B, C)
    async with fleet_of(pods, all_pods=True, max_pods=2):
        pods.show({A: READY, B: READY, C: READY})
        pods.show({A: GOING, B: READY, C: READY})
        await until(lambda: C in pods.agents)

    assert pods.tried == [A, B, C]
    assert capsys.readouterr().err.count("3 pods are ready, of which 2 are mirrored; --max-pods") == 1


async def test_a_pod_that_refuses_is_told_and_the_others_go_on(capsys):
    pods = Pods(A, B)
    pods.refusing[B] = 1
    async with fleet_of(pods, all_pods=True) as (fleet, _):
        await fleet.subscribe(80)
        assert pods.subscribed == {A: [80]}
    assert "pod b is not mirrored: b refuses" in capsys.readouterr().err


async def test_if_the_first_refuses_nothing_is_mirrored():
    pods = Pods(A, B)
    pods.refusing[A] = 1
    with pytest.raises(NotStarted, match="a refuses"):
        async with fleet_of(pods, all_pods=True):
            pytest.fail("it began")


async def test_a_successor_is_tried_a_few_times_and_no_more(capsys):
    pods = Pods(A)
    pods.refusing = {B: 2, C: 99}
    async with fleet_of(pods):
        pods.show({A: GOING, B: READY})
        await until(lambda: B in pods.agents)
        pods.show({B: GOING, C: READY})
        await until(lambda: "pod c is not mirrored" in capsys.readouterr().err)

    assert pods.tried.count(B) == 3
    assert pods.tried.count(C) == fleet_module.TRIES


async def test_credit_goes_to_the_agent_of_the_connection():
    pods = Pods(A, B)
    async with fleet_of(pods, all_pods=True) as (fleet, _):
        fleet.link.give_credit(1 << INDEX_SHIFT | 7, 100)
        fleet.link.dismiss(9)

        def heard() -> list[tuple[PodRef, object]]:
            return [(pod, frame) for pod, frame in pods.heard if isinstance(frame, Credit | Dismiss)]

        await until(lambda: len(heard()) == 2)
        assert set(heard()) == {(B, Credit(7, 100)), (A, Dismiss(9))}
