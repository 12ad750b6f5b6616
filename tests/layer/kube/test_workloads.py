"""From each kind of target to its pods, over objects in the client's own models."""

import datetime

import pytest
from kubernetes.client import (
    V1CronJob,
    V1CronJobSpec,
    V1DaemonSet,
    V1DaemonSetSpec,
    V1Job,
    V1JobCondition,
    V1JobSpec,
    V1JobStatus,
    V1JobTemplateSpec,
    V1LabelSelector,
    V1ObjectMeta,
    V1OwnerReference,
    V1PodTemplateSpec,
    V1ReplicaSet,
    V1ReplicaSetSpec,
    V1Service,
    V1ServiceSpec,
    V1StatefulSet,
    V1StatefulSetSpec,
)

from podmirror.errors import NotStarted
from podmirror.kube.cluster import Refusal
from podmirror.kube.resolve import fit_pods, look_up, resolve
from podmirror.kube.workloads import find_workload
from podmirror.target import Target
from tests.layer.kube.fakes import FakeCluster, items
from tests.layer.kube.pods import pod

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
SELECTOR = V1LabelSelector(match_labels={"app": "web"})
TEMPLATE = V1PodTemplateSpec()

STATEFUL_SET = V1StatefulSet(spec=V1StatefulSetSpec(selector=SELECTOR, template=TEMPLATE, service_name="web"))
DAEMON_SET = V1DaemonSet(spec=V1DaemonSetSpec(selector=SELECTOR, template=TEMPLATE))
REPLICA_SET = V1ReplicaSet(spec=V1ReplicaSetSpec(selector=SELECTOR))


def service(selector: dict[str, str] | None = None, **spec: str) -> V1Service:
    return V1Service(spec=V1ServiceSpec(selector=selector, **spec))


def job(uid: str = "u1", owner: str = "", *, minutes: int = 0, ended: str = "") -> V1Job:
    conditions = [V1JobCondition(type=ended, status="True", message="too often")] if ended else []
    owners = (
        [V1OwnerReference(api_version="batch/v1", kind="CronJob", name="c", uid=owner)] if owner else None
    )
    return V1Job(
        metadata=V1ObjectMeta(
            name=f"j-{uid}",
            uid=uid,
            owner_references=owners,
            creation_timestamp=NOW + datetime.timedelta(minutes=minutes),
        ),
        spec=V1JobSpec(template=TEMPLATE, selector=V1LabelSelector(match_labels={"controller-uid": uid})),
        status=V1JobStatus(conditions=conditions),
    )


CRON_JOB = V1CronJob(
    metadata=V1ObjectMeta(name="c", uid="cron"),
    spec=V1CronJobSpec(schedule="0 3 * * *", job_template=V1JobTemplateSpec()),
)


def rollout(selector: object = None, status: str = "") -> dict[str, object]:
    return {"spec": {"selector": selector}, "status": {"selector": status}}


@pytest.mark.parametrize(
    ("target", "answers", "labels"),
    [
        ("statefulset/web", {"read_namespaced_stateful_set": STATEFUL_SET}, "app=web"),
        ("daemonset/web", {"read_namespaced_daemon_set": DAEMON_SET}, "app=web"),
        ("replicaset/web", {"read_namespaced_replica_set": REPLICA_SET}, "app=web"),
        ("job/j", {"read_namespaced_job": job()}, "controller-uid=u1"),
        ("service/web", {"read_namespaced_service": service({"app": "web", "tier": "a"})}, "app=web,tier=a"),
        (
            "rollout/web",
            {"get_namespaced_custom_object": rollout({"matchLabels": {"app": "web"}})},
            "app=web",
        ),
        (
            "rollout/web",
            {
                "get_namespaced_custom_object": rollout(
                    {"matchExpressions": [{"key": "app", "operator": "Exists"}]}
                )
            },
            "app",
        ),
        ("rollout/web", {"get_namespaced_custom_object": rollout(status="app=ref")}, "app=ref"),
        ("label/app=web,a/b=c", {}, "app=web,a/b=c"),
    ],
)
async def test_the_pods_of_each_kind(target, answers, labels):
    cluster = FakeCluster(list_namespaced_pod=items(pod()), **answers)
    workload = await find_workload(cluster, Target.parse(target))

    assert [each.metadata.name for each in workload.pods] == ["web-1"]
    assert cluster.calls[-1] == ("list_namespaced_pod", ("shop",), {"label_selector": labels})
    assert workload.selection.labels == labels
    assert not workload.selection.ended


def of_cron_job(*jobs: V1Job) -> FakeCluster:
    return FakeCluster(
        read_namespaced_cron_job=CRON_JOB,
        list_namespaced_job=items(*jobs),
        list_namespaced_pod=items(pod()),
    )


@pytest.mark.parametrize(
    ("jobs", "uids"),
    [
        ([job("a", "cron", ended="Complete"), job("b", "cron", minutes=5), job("c", "cron")], "b,c"),
        (
            [job("a", "cron", minutes=7, ended="Failed"), job("b", "cron", minutes=5, ended="Complete")],
            "a",
        ),
        ([job("a", "cron"), job("b", "another", minutes=5), job("c")], "a"),
    ],
)
async def test_of_a_cron_job_the_jobs_that_run_or_the_youngest(jobs, uids):
    selection = (await find_workload(of_cron_job(*jobs), Target.parse("cronjob/c"))).selection

    assert selection.labels == f"controller-uid in ({uids})"
    assert selection.watched == "controller-uid"


async def refusal_of(target: str, **answers: object) -> str:
    answers.setdefault("list_namespaced_pod", items())
    with pytest.raises(NotStarted) as refusal:
        await resolve(FakeCluster(**answers), Target.parse(target))
    return str(refusal.value)


async def test_a_cron_job_that_has_not_run():
    cluster = of_cron_job(job("a", "another"))

    with pytest.raises(NotStarted) as refusal:
        await resolve(cluster, Target.parse("cronjob/c"))
    assert str(refusal.value) == (
        "cronjob 'c' in namespace 'shop' has no Jobs (its schedule is '0 3 * * *'); "
        "`kubectl create job --from=cronjob/c NAME -n shop` makes one now"
    )


@pytest.mark.parametrize(
    ("ended", "words"),
    [("Complete", "job/j has completed"), ("Failed", "job/j has failed: too often")],
)
async def test_a_job_that_has_ended(ended, words):
    assert (await refusal_of("job/j", read_namespaced_job=job(ended=ended))).startswith(words + ", so")


async def test_a_service_outside_of_the_cluster():
    external = service(type="ExternalName", external_name="db.example.com")

    assert await refusal_of("service/db", read_namespaced_service=external) == (
        "service 'db' in namespace 'shop' is an ExternalName: it stands for db.example.com, which is no pod; "
        "name a pod or a workload"
    )


async def test_a_service_without_a_selector():
    assert (await refusal_of("service/db", read_namespaced_service=service())).startswith(
        "service 'db' in namespace 'shop' has no selector"
    )


@pytest.mark.parametrize(
    "message", ["404 page not found", "the server could not find the requested resource"]
)
async def test_a_cluster_without_rollouts(message):
    said = await refusal_of("rollout/web", get_namespaced_custom_object=Refusal(404, "NotFound", message))

    assert said == (
        f"this cluster does not know the resource rollouts.argoproj.io ({message}), so there is no rollout/web; "
        "Argo Rollouts is not installed: name another kind of workload, such as deployment/NAME"
    )


async def test_a_rollout_that_is_not_there():
    refusal = Refusal(404, "NotFound", 'rollouts.argoproj.io "web" not found')

    assert (await refusal_of("rollout/web", get_namespaced_custom_object=refusal)).startswith(
        "there is no rollout 'web' in namespace 'shop'"
    )


async def test_a_rollout_without_a_selector():
    said = await refusal_of("rollout/web", get_namespaced_custom_object=rollout())

    assert said.startswith("rollout 'web' in namespace 'shop' has no selector yet")


async def test_labels_that_no_pod_has():
    assert (await refusal_of("label/app=web")).startswith("no pod in namespace 'shop' has the labels app=web")


async def test_those_that_are_ready_come_first_by_name():
    cluster = FakeCluster(
        list_namespaced_pod=items(pod("a", ready=False), pod("z"), pod("b"), pod("c", ip=None))
    )
    target = Target.parse("label/app=web")
    workload = await look_up(cluster, target)

    assert [each.metadata.name for each in fit_pods(cluster, target, workload)] == ["b", "z", "a"]
