"""What the trials make of the server's answers."""

from types import SimpleNamespace

import pytest
from kubernetes.client import V1ContainerStatus, V1Namespace, V1ObjectMeta

from podmirror.kube.cluster import Refusal
from podmirror.kube.preflight import ENFORCE_LABEL, Subject, Trial, pod_to_try, try_all
from podmirror.target import Kind, Target
from tests.layer.kube.fakes import FakeCluster, items
from tests.layer.kube.injections import SPEC
from tests.layer.kube.pods import pod

DENIED = SimpleNamespace(status=SimpleNamespace(allowed=False))
ALLOWED = SimpleNamespace(status=SimpleNamespace(allowed=True))
POD_SECURITY = 'violates PodSecurity "baseline:latest": host namespaces (hostPID=true)'
WARNING = {"Warning": '299 - "would violate PodSecurity \\"baseline:latest\\": hostPID", 299 - "unrelated"'}
NO_PODS = Refusal(403, "Forbidden", 'pods is forbidden: User "dev" cannot create resource "pods"')


def answering(**answers: object) -> FakeCluster:
    cluster = FakeCluster(
        **{
            "create_self_subject_access_review": ALLOWED,
            "patch_namespaced_pod_ephemeralcontainers": pod(),
            "create_namespaced_job_with_http_info": (None, 201, {}),
            "create_namespaced_pod": pod(),
            **answers,
        }
    )
    cluster.authorization = cluster.batch = cluster.core
    return cluster


async def trials(cluster: FakeCluster, tried: object = None) -> list[Trial]:
    return await try_all(cluster, Subject(None, tried or pod(), SPEC, "shop"))


async def test_what_is_answered_without_a_refusal_works():
    assert [each.works for each in await trials(answering())] == [True, True, True]


async def test_every_write_is_a_dry_run():
    cluster = answering()
    await trials(cluster)

    writes = [options for name, _, options in cluster.calls if not name.endswith("review")]
    assert len(writes) == 4
    assert all(each["dry_run"] == "All" for each in writes)


async def test_missing_permissions_are_named_and_the_servers_own_refusal_is_not_repeated():
    forbidden = Refusal(403, "Forbidden", 'pods "web" is forbidden: User "dev" cannot patch resource')
    cluster = answering(
        create_self_subject_access_review=DENIED, patch_namespaced_pod_ephemeralcontainers=forbidden
    )

    ephemeral = (await trials(cluster))[0]

    assert not ephemeral.works
    assert "pods/ephemeralcontainers" in {each.resource for each in ephemeral.missing}
    assert ephemeral.refusals == []
    assert "not tried" in ephemeral.notes[0]


async def test_the_first_line_of_a_refusal_is_quoted():
    refusal = Refusal(403, "Forbidden", f"{POD_SECURITY}\nand a diff")

    with_net_raw, default, job = await trials(answering(patch_namespaced_pod_ephemeralcontainers=refusal))

    assert with_net_raw.refusals == default.refusals == [POD_SECURITY]
    assert with_net_raw.pod_security
    assert job.works


async def test_cri_os_default_capabilities_are_not_enough():
    tried = pod()
    tried.status.container_statuses = [
        V1ContainerStatus(
            name="app", image="i", image_id="", ready=True, restart_count=0, container_id="cri-o://1"
        )
    ]

    assert [each.works for each in await trials(answering(), tried)] == [True, False, True]


async def test_the_jobs_pod_is_tried_where_pods_may_be_created():
    quota = Refusal(403, "Forbidden", 'pods "x" is forbidden: exceeded quota: q')

    assert (await trials(answering(create_namespaced_pod=quota)))[2].refusals == [quota.message]


@pytest.mark.parametrize(
    ("labels", "works"),
    [({ENFORCE_LABEL: "baseline"}, False), ({ENFORCE_LABEL: "privileged"}, True), (None, True)],
)
async def test_a_warning_counts_where_its_level_is_enforced(labels, works):
    cluster = answering(
        create_namespaced_pod=NO_PODS,
        create_namespaced_job_with_http_info=(None, 201, WARNING),
        read_namespace=V1Namespace(metadata=V1ObjectMeta(labels=labels)),
    )

    job = (await trials(cluster))[2]

    assert job.works is works
    said = job.notes if works else job.refusals
    assert 'would violate PodSecurity "baseline:latest": hostPID' in said[-1]


async def test_a_warning_counts_where_the_level_may_not_be_read():
    cluster = answering(
        create_namespaced_pod=NO_PODS,
        create_namespaced_job_with_http_info=(None, 201, WARNING),
        read_namespace=Refusal(403, "Forbidden", "no"),
    )

    assert not (await trials(cluster))[2].works


async def test_without_a_pod_nothing_is_patched():
    cluster = answering()

    found = await try_all(cluster, Subject(None, None, SPEC, "shop"))

    assert "want of a pod" in found[0].notes[0]
    assert cluster.called("patch_namespaced_pod_ephemeralcontainers") == []


async def test_any_fit_pod_stands_for_a_namespace():
    cluster = FakeCluster(list_namespaced_pod=items(pod("gone", deleted=True), pod("fit")))

    tried, why = await pod_to_try(cluster, None)

    assert (tried.metadata.name, why) == ("fit", "")


@pytest.mark.parametrize(
    ("answer", "words"),
    [(items(), "there is no running pod"), (Refusal(403, "Forbidden", "not for you"), "not for you")],
)
async def test_why_there_is_no_pod(answer, words):
    tried, why = await pod_to_try(FakeCluster(list_namespaced_pod=answer), None)

    assert tried is None
    assert words in why


async def test_a_missing_target_is_told_in_the_resolvers_words():
    cluster = FakeCluster(read_namespaced_pod=Refusal(404, "NotFound", 'pods "nope" not found'))

    tried, why = await pod_to_try(cluster, Target(Kind.POD, "nope"))

    assert tried is None
    assert 'pods "nope" not found' in why
