"""The order of runs, and what becomes of modes that are refused or fail; with agents that only say that they ran."""

from typing import Any, ClassVar, Self

import pytest
from kubernetes.client import V1ContainerState, V1ContainerStateRunning, V1ContainerStatus

from podmirror.compare import rounds as rounds_module
from podmirror.compare.figures import Column, Mode
from podmirror.compare.probe import AgentOptions
from podmirror.compare.rounds import Stage, run_rounds
from podmirror.compare.spread import Unknown
from podmirror.errors import AgentLost, NotStarted, Unreachable
from podmirror.kube.cluster import Refusal
from podmirror.kube.resolve import ResolvedTarget
from tests.layer.compare.samples import run
from tests.layer.kube.fakes import FakeCluster
from tests.layer.kube.injections import TARGET
from tests.layer.kube.pods import pod

OPTIONS = AgentOptions("image", None, None, privileged=False, host_network=False, ports=(80,))


class FakeProbe:
    """Stands for an agent."""

    began_by: ClassVar[list[Mode]] = []
    running: ClassVar[int] = 0
    most: ClassVar[int] = 0
    looked_for: ClassVar[list[str | None]] = []
    troubles: ClassVar[dict[tuple[Mode, str], list[Exception | None]]] = {}

    def __init__(self, cluster: object, target: ResolvedTarget, mode: Mode, options: object) -> None:
        self.mode = mode
        self.admitted = False
        self.looked_for.append(target.container_id)
        sample: Any = run(mode)
        for name in ("agent", "began", "phases", "fidelity", "cost", "ask"):
            setattr(self, name, getattr(sample, name))
        self.findings = ({"ns.net": "4"}, {"net.sockets": "3"})
        self.network_before = {"net.sockets": "2"}
        self.left = sample.leftovers

    def _trouble(self, when: str) -> None:
        waiting = self.troubles.get((self.mode, when), [])
        trouble = waiting.pop(0) if waiting else None
        if trouble is not None:
            raise trouble

    async def __aenter__(self) -> Self:
        self.began_by.append(self.mode)
        self._trouble("start")
        self.admitted = True
        self._trouble("connect")
        FakeProbe.running += 1
        FakeProbe.most = max(self.running, self.most)
        return self

    async def __aexit__(self, *_: object) -> None:
        FakeProbe.running -= 1

    async def look(self) -> None:
        pass

    async def finish(self, sent: object, windows: object) -> None:
        self._trouble("finish")

    async def leave(self) -> object:
        return self.left


@pytest.fixture(autouse=True)
def probes(monkeypatch):
    monkeypatch.setattr(rounds_module, "Probe", FakeProbe)
    FakeProbe.began_by, FakeProbe.running, FakeProbe.most, FakeProbe.troubles = [], 0, 0, {}
    FakeProbe.looked_for = []


def running(container_id: str | None) -> object:
    """Give a pod whose container runs, or waits to be restarted."""
    made = pod(uid=TARGET.uid)
    state = V1ContainerState(running=V1ContainerStateRunning() if container_id else None)
    made.status.container_statuses = [
        V1ContainerStatus(
            name="app",
            image="i",
            image_id="",
            ready=True,
            restart_count=0,
            container_id=container_id,
            state=state,
        )
    ]
    return made


async def rounds(
    count: int, *, together: bool = False, pods: object = None
) -> tuple[list[Column], list[str]]:
    stage = Stage(
        FakeCluster(read_namespaced_pod=pods or running("containerd://1")), TARGET, OPTIONS, 0.001, None
    )
    columns = [Column(Mode.EPHEMERAL), Column(Mode.JOB)]
    told: list[str] = []
    await run_rounds(stage, columns, count, together=together, tell=told.append)
    assert FakeProbe.running == 0
    return columns, told


async def test_the_order_changes_with_each_round():
    columns, told = await rounds(3)

    assert FakeProbe.began_by == [
        Mode.EPHEMERAL,
        Mode.JOB,
        Mode.JOB,
        Mode.EPHEMERAL,
        Mode.EPHEMERAL,
        Mode.JOB,
    ]
    assert [len(column.runs) for column in columns] == [3, 3]
    assert FakeProbe.most == 1
    assert told[0] == "round 1 of 3, ephemeral: started in 0.50 s"
    (first, *_) = columns[0].runs
    assert first.namespaces == {"net": "4"}
    assert first.effect.sockets == ("2", "3")
    assert isinstance(first.effect.tables, Unknown)
    assert first.effect.restarts == 0


async def test_each_agent_is_started_beside_the_container_that_runs_by_then():
    first, second = running("containerd://1"), running("containerd://2")
    # Each run looks at it before, for its restarts and for its container, and after, for its restarts and its end.
    await rounds(1, pods=[*[first] * 4, *[second] * 4])

    assert FakeProbe.looked_for == ["containerd://1", "containerd://2"]


async def test_a_job_for_which_no_container_runs_for_a_moment_is_tried_again():
    FakeProbe.troubles = {(Mode.JOB, "start"): [NotStarted("no container of it runs")]}

    columns, _ = await rounds(2, pods=running(None))

    assert columns[1].failures == ["no container of it runs"]
    assert [len(column.runs) for column in columns] == [2, 1]


GONE = Refusal(404, "NotFound", 'pods "web-1" not found')


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (pod(uid=TARGET.uid, deleted=True), "pod shop/web-1 is being deleted in round 1 of 2"),
        (pod(uid="another"), "pod shop/web-1 was replaced in round 1 of 2"),
        (GONE, "pod shop/web-1 was deleted in round 1 of 2"),
    ],
)
async def test_a_target_that_goes_away_before_each_mode_has_run_ends_it(now, words):
    here = running("containerd://1")
    with pytest.raises(NotStarted, match=words):
        await rounds(2, pods=[*[here] * 3, now])

    assert FakeProbe.began_by == [Mode.EPHEMERAL]


async def test_a_refusal_of_a_target_that_went_away_is_no_verdict_on_the_mode():
    FakeProbe.troubles = {(Mode.JOB, "start"): [NotStarted("pod shop/web-1 not found")]}
    here = running("containerd://1")
    with pytest.raises(NotStarted, match="before each kind of agent had run beside it; compare again"):
        await rounds(2, pods=[*[here] * 6, GONE])


async def test_a_target_that_goes_away_later_leaves_what_was_measured():
    here = running("containerd://1")

    columns, told = await rounds(3, pods=[*[here] * 11, GONE])

    assert [len(column.runs) for column in columns] == [1, 2]
    assert told[-1] == "pod shop/web-1 was deleted in round 2 of 3: the comparison ends with the runs before"


async def test_a_target_that_cannot_be_looked_at_is_not_gone():
    columns, _ = await rounds(1, pods=Refusal(503, "ServiceUnavailable", "not now"))

    assert [len(column.runs) for column in columns] == [1, 1]


async def test_a_mode_that_failed_and_then_is_refused_is_told_of_with_the_refusal():
    FakeProbe.troubles = {(Mode.JOB, "start"): [Unreachable("it is away"), NotStarted("it is forbidden")]}

    _, told = await rounds(2)

    assert "round 1 of 2, job: failed: it is away" in told
    assert "round 2 of 2, job: refused: it is forbidden" in told


async def test_together_they_run_at_once():
    columns, _ = await rounds(2, together=True)

    assert FakeProbe.most == 2
    assert [len(column.runs) for column in columns] == [2, 2]


@pytest.mark.parametrize("together", [False, True])
async def test_a_refused_mode_is_not_tried_again(together):
    FakeProbe.troubles = {(Mode.JOB, "start"): [NotStarted("it is forbidden")]}

    columns, told = await rounds(3, together=together)

    assert FakeProbe.began_by.count(Mode.JOB) == 1
    assert columns[1].refusals == ["it is forbidden"]
    assert len(columns[0].runs) == 3
    assert "round 1 of 3, job: refused: it is forbidden" in told


async def test_a_mode_that_failed_for_a_passing_reason_is_tried_again():
    FakeProbe.troubles = {
        (Mode.JOB, "start"): [Unreachable("the API server is away")],
        (Mode.EPHEMERAL, "finish"): [AgentLost("it was lost")],
    }

    columns, told = await rounds(2)

    assert [len(column.runs) for column in columns] == [1, 1]
    assert [column.failures for column in columns] == [["it was lost"], ["the API server is away"]]
    assert not any(column.refusals for column in columns)
    assert "round 1 of 2, job: failed: the API server is away" in told


async def test_an_agent_that_was_admitted_was_not_refused_and_is_given_up_after_two_failures():
    words = [NotStarted("there is no image") for _ in range(5)]
    FakeProbe.troubles = {(Mode.EPHEMERAL, "connect"): words}

    columns, _ = await rounds(5)

    assert columns[0].failures == ["there is no image"] * 2
    assert not columns[0].refusals
    assert len(columns[1].runs) == 5
