"""The Job's manifest, what its events mean, and starting one against a cluster that answers by script."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from kubernetes.client import (
    CoreV1Event,
    V1Job,
    V1JobStatus,
    V1ObjectMeta,
    V1ObjectReference,
    V1PodCondition,
)

from podmirror.errors import NotStarted
from podmirror.kube import injectjob as injectjob_module
from podmirror.kube.cluster import Refusal
from podmirror.kube.injectjob import start_job
from podmirror.kube.job import JobTarget, manifest, refusal_by_event, why_unplaced
from podmirror.placement import AgentKind, Placement
from tests.layer.kube.fakes import FakeCluster, items
from tests.layer.kube.injections import SPEC, TARGET
from tests.layer.kube.pods import AGENT, pod

LOOKED_AT = JobTarget("shop", "web-1", "1234", "node-1", "containerd://" + "ab" * 32)
JOB = Placement(AgentKind.JOB)


def pod_spec(**options):
    return manifest(SPEC, LOOKED_AT, "agents", **options)["spec"]["template"]["spec"]


def container(**options):
    (only,) = pod_spec(**options)["containers"]
    return only


def test_the_job_asks_for_no_more_than_it_needs():
    spec = pod_spec()
    security = container()["securityContext"]

    assert security["capabilities"] == {"drop": ["ALL"], "add": ["SYS_ADMIN", "SYS_PTRACE", "NET_RAW"]}
    assert security["allowPrivilegeEscalation"] is False
    assert "privileged" not in security
    assert spec["hostPID"] is True
    assert not {"hostNetwork", "hostIPC", "volumes"} & set(spec)
    assert spec["automountServiceAccountToken"] is False


def test_the_job_ends_by_itself_and_is_cleaned_up():
    spec = manifest(SPEC, LOOKED_AT, "agents")["spec"]

    assert (spec["backoffLimit"], spec["template"]["spec"]["restartPolicy"]) == (0, "Never")
    assert 0 < spec["ttlSecondsAfterFinished"] <= 60
    assert spec["activeDeadlineSeconds"] > 8 * 3600


def test_the_job_is_on_the_targets_node_whatever_its_taints():
    spec = pod_spec()
    (term,) = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
        "nodeSelectorTerms"
    ]

    assert term == {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-1"]}]}
    assert spec["tolerations"] == [{"operator": "Exists"}]


def test_a_mesh_leaves_the_job_alone():
    metadata = manifest(SPEC, LOOKED_AT, "agents")["spec"]["template"]["metadata"]

    for where in ("labels", "annotations"):
        assert metadata[where]["sidecar.istio.io/inject"] == "false"
        assert metadata[where]["linkerd.io/inject"] == "disabled"


def test_the_agent_is_told_what_to_look_at():
    arguments = container()["args"]

    assert arguments[arguments.index("--container") + 1] == LOOKED_AT.container_id
    assert "--host-network" not in arguments
    assert "--host-network" in container(host_network=True)["args"]
    assert SPEC.verifier.hex() in arguments


def test_privileged_is_asked_for_only_when_it_is():
    assert container(privileged=True)["securityContext"]["privileged"] is True
    assert "capabilities" not in container(privileged=True)["securityContext"]


def test_limits_hold_the_buffers():
    limits = manifest(replace(SPEC, memory=100), LOOKED_AT, "agents")["spec"]["template"]["spec"][
        "containers"
    ][0]

    assert limits["resources"]["limits"] == {"cpu": "1", "memory": "164Mi"}
    assert limits["resources"]["requests"]["memory"] == "164Mi"


def test_in_the_targets_namespace_the_job_goes_with_the_target():
    (owner,) = manifest(SPEC, LOOKED_AT, "shop")["metadata"]["ownerReferences"]

    assert (owner["kind"], owner["name"], owner["uid"]) == ("Pod", "web-1", "1234")
    assert "ownerReferences" not in manifest(SPEC, LOOKED_AT, "agents")["metadata"]


def job_event(reason: str, message: str, kind: str = "Warning") -> CoreV1Event:
    return CoreV1Event(
        metadata=V1ObjectMeta(name="e"),
        involved_object=V1ObjectReference(kind="Job", name=AGENT),
        type=kind,
        reason=reason,
        message=message,
    )


def test_events_that_tell_of_a_refused_pod():
    assert refusal_by_event(job_event("FailedCreate", "no")) == "no"
    assert refusal_by_event(job_event("SuccessfulCreate", "Created pod", "Normal")) == ""


def test_a_pod_that_no_node_takes():
    waiting = pod(node=None, ip=None, phase="Pending")
    assert why_unplaced(waiting) == ""
    waiting.status.conditions = [
        V1PodCondition(type="PodScheduled", status="False", reason="Unschedulable", message="0/1 nodes")
    ]
    assert why_unplaced(waiting) == "no node takes it: 0/1 nodes"
    turned_away = pod(phase="Failed")
    turned_away.status.reason, turned_away.status.message = "OutOfpods", "Node did not have enough resource"
    assert why_unplaced(turned_away) == "OutOfpods: Node did not have enough resource"


# Starting one.


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(injectjob_module, "_POLL_SECONDS", 0.01)


def cluster_of(**answers) -> FakeCluster:
    usual = {
        "create_namespaced_job_with_http_info": (None, 201, {}),
        "delete_namespaced_job": None,
        "list_namespaced_event": items(),
        "list_namespaced_pod": items(pod("podmirror-x-abcde")),
        "read_namespaced_job": V1Job(status=V1JobStatus()),
    }
    return FakeCluster(**{**usual, **answers})


async def test_it_waits_for_the_jobs_pod_and_deletes_the_job_at_the_end():
    cluster = cluster_of(list_namespaced_pod=[items(), items(pod("podmirror-x-abcde"))])
    started = await start_job(cluster, TARGET, SPEC, replace(JOB, agent_namespace="agents"))

    assert (started.agent.namespace, started.agent.pod) == ("agents", "podmirror-x-abcde")
    assert not cluster.called("delete_namespaced_job")
    await started.remove()
    assert cluster.called("delete_namespaced_job") == [(AGENT, "agents")]


@pytest.mark.parametrize(
    ("words", "step"),
    [
        (
            'pods "x" is forbidden: violates PodSecurity "restricted:latest": hostPID',
            "with --agent-namespace, in which",
        ),
        ('pods "x" is forbidden: exceeded quota: q', "ask for room in that quota"),
        ('admission webhook "policy" denied the request: no', "ask your cluster's administrator"),
    ],
)
async def test_a_refused_pod_is_told_by_the_jobs_events_and_no_job_is_left(words, step):
    cluster = cluster_of(
        list_namespaced_pod=items(), list_namespaced_event=items(job_event("FailedCreate", words))
    )
    with pytest.raises(NotStarted) as refused:
        await start_job(cluster, TARGET, SPEC, JOB)

    assert words in str(refused.value)
    assert step in str(refused.value)
    assert cluster.called("delete_namespaced_job")


WARNED = (None, 201, {"Warning": '299 - "would violate PodSecurity \\"baseline:latest\\": hostPID=true"'})
NO_EVENTS = Refusal(403, "Forbidden", "no events for you")


@pytest.mark.parametrize(
    ("events", "warned", "said"),
    [
        (items(), False, "and its events do not say why; see `kubectl get events -n shop`"),
        (
            NO_EVENTS,
            False,
            "a quota or a policy may refuse it, .* may not be read: no events for you; ask .* `podmirror rbac --agent job`",
        ),
        (
            NO_EVENTS,
            True,
            'and the server warned that it would violate PodSecurity "baseline:latest": hostPID=true; '
            "name a namespace that admits it with --agent-namespace",
        ),
    ],
)
async def test_a_pod_that_never_comes(events, warned, said, monkeypatch):
    monkeypatch.setattr(injectjob_module, "POD_SECONDS", 0.1)
    answers = {"create_namespaced_job_with_http_info": WARNED} if warned else {}
    cluster = cluster_of(list_namespaced_pod=items(), list_namespaced_event=events, **answers)

    with pytest.raises(NotStarted, match=f"has no pod after 0 s(:|,) {said}"):
        await start_job(cluster, TARGET, SPEC, JOB)
    assert cluster.called("delete_namespaced_job")


async def test_a_warning_is_enough_where_events_may_not_be_read(monkeypatch):
    monkeypatch.setattr(injectjob_module, "UNTOLD_SECONDS", 0.1)
    cluster = cluster_of(
        create_namespaced_job_with_http_info=WARNED,
        list_namespaced_pod=items(),
        list_namespaced_event=NO_EVENTS,
    )
    with pytest.raises(NotStarted, match="the server warned"):
        await start_job(cluster, TARGET, SPEC, JOB)


async def test_the_controllers_try_is_enough_where_events_may_not_be_read(monkeypatch):
    monkeypatch.setattr(injectjob_module, "UNTOLD_SECONDS", 0.1)
    tried = V1Job(status=V1JobStatus(start_time=datetime.now(UTC)))
    cluster = cluster_of(
        list_namespaced_pod=items(), list_namespaced_event=NO_EVENTS, read_namespaced_job=tried
    )
    with pytest.raises(NotStarted, match="a quota or a policy may refuse it"):
        await start_job(cluster, TARGET, SPEC, JOB)


async def test_a_controller_that_has_not_come_to_the_job_is_waited_for(monkeypatch):
    monkeypatch.setattr(injectjob_module, "UNTOLD_SECONDS", 0.0)
    refused = Refusal(403, "Forbidden", "no Jobs for you")
    cluster = cluster_of(
        list_namespaced_pod=[items(), items(), items(pod("podmirror-x-abcde"))],
        list_namespaced_event=NO_EVENTS,
        read_namespaced_job=[V1Job(status=V1JobStatus()), refused],
    )
    assert (await start_job(cluster, TARGET, SPEC, JOB)).agent.pod == "podmirror-x-abcde"


async def test_a_job_that_is_given_up_while_it_is_created_is_deleted():
    cluster, asked, answered = cluster_of(), asyncio.Event(), asyncio.Event()
    usual = cluster.call

    async def call(method, *arguments, **options):
        answer = await usual(method, *arguments, **options)
        if method == "create_namespaced_job_with_http_info":
            asked.set()
            await answered.wait()
        return answer

    cluster.call = call
    starting = asyncio.create_task(start_job(cluster, TARGET, SPEC, JOB))
    await asked.wait()
    starting.cancel()
    await asyncio.sleep(0)
    assert not cluster.called("delete_namespaced_job")
    answered.set()

    with pytest.raises(asyncio.CancelledError):
        await starting
    assert cluster.called("delete_namespaced_job")


async def test_a_server_that_does_not_answer_holds_nobody_up(monkeypatch):
    monkeypatch.setattr(injectjob_module, "REMOVE_SECONDS", 0.05)
    cluster = cluster_of()
    started = await start_job(cluster, TARGET, SPEC, JOB)
    cluster.call = lambda *_, **__: asyncio.Event().wait()
    await asyncio.wait_for(started.remove(), 5)


@pytest.mark.parametrize(
    ("refusal", "step"),
    [
        (Refusal(403, "Forbidden", 'User "me" cannot create resource "jobs"'), "podmirror rbac --agent job"),
        (Refusal(404, "NotFound", 'namespaces "agents" not found'), "create the namespace"),
        (Refusal(409, "AlreadyExists", "it exists"), "give another --agent-name"),
    ],
)
async def test_a_refused_job(refusal, step):
    with pytest.raises(NotStarted) as refused:
        await start_job(cluster_of(create_namespaced_job_with_http_info=refusal), TARGET, SPEC, JOB)

    assert refusal.message in str(refused.value)
    assert step in str(refused.value)


async def test_a_target_of_which_nothing_runs():
    with pytest.raises(NotStarted, match="no container of pod shop/web-1 runs"):
        await start_job(cluster_of(), replace(TARGET, container_id=None), SPEC, JOB)
