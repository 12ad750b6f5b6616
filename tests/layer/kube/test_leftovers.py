"""Agents found by what they were started with."""

from datetime import timedelta

import pytest
from kubernetes.client import (
    V1Container,
    V1ContainerState,
    V1ContainerStateRunning,
    V1EphemeralContainer,
    V1Job,
    V1JobCondition,
    V1JobSpec,
    V1JobStatus,
    V1ObjectMeta,
    V1OwnerReference,
    V1PodSpec,
    V1PodTemplateSpec,
)

from podmirror.errors import NotStarted
from podmirror.kube.cluster import Refusal
from podmirror.kube.ephemeral import Phase
from podmirror.kube.leftovers import Leftover, find_leftovers, remove_job
from tests.layer.kube.fakes import FakeCluster, items
from tests.layer.kube.injections import ENDED
from tests.layer.kube.pods import AGENT, NOW, pod

ARGUMENTS = ["--ports", "61001,62002", "--verifier", "ab", "-t", "30"]


def with_agent(state: V1ContainerState, name: str = AGENT, arguments: list[str] | None = None):
    made = pod(agent_state=state)
    made.spec.ephemeral_containers = [
        V1EphemeralContainer(name=name, image="agent:1", args=ARGUMENTS if arguments is None else arguments)
    ]
    return made


def job(name: str = "podmirror-1", *, ended: bool = False, ready: int = 1) -> V1Job:
    conditions = [V1JobCondition(type="Complete", status="True")] if ended else None
    container = V1Container(name="agent", image="agent:1", args=ARGUMENTS)
    template = V1PodTemplateSpec(spec=V1PodSpec(containers=[container]))
    return V1Job(
        metadata=V1ObjectMeta(name=name, namespace="shop", uid="u1"),
        spec=V1JobSpec(template=template, active_deadline_seconds=600),
        status=V1JobStatus(start_time=NOW, ready=ready, conditions=conditions),
    )


async def found(pods: list, jobs: object = None) -> list[Leftover]:
    cluster = FakeCluster(
        list_namespaced_pod=items(*pods),
        list_namespaced_job=items() if jobs is None else jobs,
        delete_namespaced_job=None,
    )
    cluster.batch = cluster.core
    return await find_leftovers(cluster, everywhere=False)


RUNNING = V1ContainerState(running=V1ContainerStateRunning(started_at=NOW))


async def test_a_running_agent_is_told_with_its_latest_end():
    (agent,) = await found([with_agent(RUNNING)])

    assert (agent.kind, agent.pod, agent.name, agent.phase) == ("ephemeral", "web-1", AGENT, Phase.RUNNING)
    assert agent.ends == NOW + timedelta(hours=8)
    assert (agent.ttl, agent.ports) == (30.0, (61001, 62002))
    assert agent.age(NOW + timedelta(seconds=5)) == timedelta(seconds=5)


async def test_an_agent_with_a_maximum_age_of_its_own():
    (agent,) = await found([with_agent(RUNNING, arguments=[*ARGUMENTS, "--max-age", "60"])])

    assert agent.ends == NOW + timedelta(seconds=60)


async def test_an_agent_that_has_ended_is_told_with_its_last_words():
    (agent,) = await found([with_agent(ENDED)])

    assert (agent.phase, agent.ends) == (Phase.ENDED, None)
    assert "no NET_RAW" in agent.words


async def test_an_agent_by_another_name_is_known_by_its_arguments():
    (agent,) = await found([with_agent(RUNNING, "mine")])

    assert agent.name == "mine"


async def test_other_ephemeral_containers_are_none_of_ours():
    assert await found([with_agent(RUNNING, "debugger", ["--port", "1"]), pod()]) == []


async def test_a_job_is_told_with_its_pod():
    of_job = pod("podmirror-1-abcde")
    of_job.metadata.owner_references = [
        V1OwnerReference(api_version="batch/v1", kind="Job", name="podmirror-1", uid="u1")
    ]

    (agent,) = await found([of_job], items(job(), job("other")))

    assert (agent.kind, agent.pod, agent.phase) == ("job", "podmirror-1-abcde", Phase.RUNNING)
    assert agent.ends == NOW + timedelta(seconds=600)


async def test_jobs_that_have_ended_or_have_no_pod():
    ended, coming = await found([], items(job(ended=True), job(ready=0)))

    assert (ended.phase, ended.ends) == (Phase.ENDED, None)
    assert (coming.phase, coming.pod) == (Phase.COMING, "")


async def test_who_may_not_list_jobs_sees_the_others():
    forbidden = Refusal(403, "Forbidden", "no jobs")

    assert len(await found([with_agent(RUNNING)], forbidden)) == 1


async def test_who_may_not_list_pods_is_told():
    cluster = FakeCluster(list_pod_for_all_namespaces=Refusal(403, "Forbidden", "not for you"))
    cluster.batch = cluster.core

    with pytest.raises(NotStarted, match="not for you; name a namespace with -n"):
        await find_leftovers(cluster, everywhere=True)


async def test_who_has_named_a_namespace_is_not_told_to_name_one():
    cluster = FakeCluster(list_namespaced_pod=Refusal(403, "Forbidden", "not for you"))
    cluster.batch = cluster.core

    with pytest.raises(NotStarted, match="not for you; name another with -n, or see `podmirror rbac`"):
        await find_leftovers(cluster, everywhere=False)


async def test_a_job_is_removed_with_its_pod():
    cluster = FakeCluster(
        delete_namespaced_job=[None, Refusal(404, "NotFound", ""), Refusal(403, "Forbidden", "no")]
    )
    cluster.batch = cluster.core
    (leftover,) = await found([], items(job(ended=True)))

    await remove_job(cluster, leftover)
    await remove_job(cluster, leftover)  # gone already

    assert cluster.calls[0][2] == {"propagation_policy": "Background"}
    with pytest.raises(NotStarted, match="cannot be removed: no"):
        await remove_job(cluster, leftover)
