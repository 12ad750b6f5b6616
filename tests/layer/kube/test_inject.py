"""Putting an agent beside a target, against a cluster that answers by script."""

from dataclasses import replace

import pytest

from podmirror.errors import NotStarted
from podmirror.kube.cluster import Refusal
from podmirror.kube.inject import CANDIDATES, PORTS, candidate_ports, inject, new_agent_name
from podmirror.kube.surroundings import Surroundings
from podmirror.placement import AgentKind, Placement
from tests.layer.kube.fakes import FakeCluster, items
from tests.layer.kube.injections import SPEC, TARGET
from tests.layer.kube.pods import AGENT, pod

EPHEMERAL = Placement(AgentKind.EPHEMERAL)
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
    injection = await inject(cluster, TARGET, SPEC, EPHEMERAL)

    assert (
        injection.what
        == f"ephemeral container {AGENT} (podmirror-agent:1), entry 2 of ours in the pod's spec"
    )
    assert injection.notes == ()
    ((method, (name, namespace, body), options),) = cluster.calls
    assert (method, name, namespace) == (PATCH, "web-1", "shop")
    assert options == {"_content_type": "application/strategic-merge-patch+json"}
    (container,) = body["spec"]["ephemeralContainers"]
    assert container["name"] == AGENT
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["NET_RAW"]}


async def test_where_pod_security_forbids_capabilities_it_goes_without_in_exactly_two_patches():
    cluster = FakeCluster(**{PATCH: [POD_SECURITY, pod(agents=(AGENT,))]})
    injection = await inject(cluster, TARGET, SPEC, EPHEMERAL)

    assert "entry 1 of ours" in injection.what
    assert "Pod Security does not admit NET_RAW to be added" in injection.notes[0]
    bodies = [arguments[2] for arguments in cluster.called(PATCH)]
    contexts = [body["spec"]["ephemeralContainers"][0]["securityContext"] for body in bodies]
    assert ["capabilities" in context for context in contexts] == [True, False]


async def test_where_pod_security_forbids_that_as_well_it_says_so():
    second = Refusal(403, "Forbidden", 'violates PodSecurity "restricted:latest": runAsNonRoot != true')
    cluster = FakeCluster(**{PATCH: [POD_SECURITY, second]})

    with pytest.raises(NotStarted, match="runAsNonRoot != true; no capture is possible under this policy"):
        await inject(cluster, TARGET, SPEC, EPHEMERAL)
    assert len(cluster.called(PATCH)) == 2


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (
            Refusal(403, "Forbidden", 'User "me" cannot patch resource "pods/ephemeralcontainers"'),
            'User "me" cannot patch resource "pods/ephemeralcontainers"; it needs the verb patch on '
            "pods/ephemeralcontainers: ask your cluster's administrator to apply what "
            "`podmirror rbac --agent ephemeral` prints",
        ),
        (
            Refusal(
                403, "Forbidden", "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: not here"
            ),
            "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: not here; a policy of this cluster stands in the "
            "way: ask whoever keeps it, or see `podmirror doctor`",
        ),
        (
            Refusal(400, "", 'admission webhook "guard.test" denied the request: not here'),
            'admission webhook "guard.test" denied the request: not here; a policy of this cluster stands in the way: '
            "ask whoever keeps it, or see `podmirror doctor`",
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
            "static pods do not support ephemeral containers; a Job may be admitted (--agent job), and `podmirror doctor` "
            "tells whether it is",
        ),
        (
            Refusal(500, "InternalError", "etcd is on fire"),
            "etcd is on fire; a Job may be admitted (--agent job), and `podmirror doctor` tells whether it is",
        ),
    ],
)
async def test_refusals_in_the_servers_words_with_the_next_step(refusal, said):
    with pytest.raises(NotStarted) as explained:
        await inject(FakeCluster(**{PATCH: refusal}), TARGET, SPEC, EPHEMERAL)

    assert str(explained.value) == f"the agent could not be added to pod shop/web-1: {said}"


async def test_a_refusal_without_words():
    with pytest.raises(NotStarted, match="the agent could not be added to pod shop/web-1"):
        await inject(FakeCluster(**{PATCH: Refusal(500, "InternalError", "")}), TARGET, SPEC, EPHEMERAL)


async def test_a_server_that_is_not_there():
    with pytest.raises(NotStarted, match="cannot be reached"):
        await inject(FakeCluster(**{PATCH: NotStarted("it cannot be reached")}), TARGET, SPEC, EPHEMERAL)


async def test_a_static_pod_takes_none():
    with pytest.raises(NotStarted, match="is a static pod, which takes no ephemeral containers"):
        await inject(FakeCluster(), replace(TARGET, static=True), SPEC, EPHEMERAL)


async def test_a_runtime_without_net_raw_in_its_defaults_is_not_relied_on():
    cluster = FakeCluster(**{PATCH: POD_SECURITY})
    with pytest.raises(NotStarted, match="CRI-O, lack NET_RAW"):
        await inject(cluster, replace(TARGET, lacks_net_raw=True), SPEC, EPHEMERAL)
    assert len(cluster.called(PATCH)) == 1


@pytest.mark.parametrize(
    ("limit", "mebibytes"), [(None, 64), (1 << 30, 64), (200 << 20, 100 - 46), (100 << 20, 4)]
)
async def test_memory_is_what_the_pod_has_room_for(limit, mebibytes):
    cluster = FakeCluster(**{PATCH: pod()})
    await inject(cluster, replace(TARGET, surroundings=Surroundings(memory_limit=limit)), SPEC, EPHEMERAL)

    arguments = cluster.called(PATCH)[0][2]["spec"]["ephemeralContainers"][0]["args"]
    assert arguments[arguments.index("--memory") + 1] == str(mebibytes)


async def test_a_pod_without_room_is_left_alone():
    small = replace(TARGET, surroundings=Surroundings(memory_limit=64 << 20))
    with pytest.raises(
        NotStarted, match="pod shop/web-1 has no room for an agent: its memory limit is 64 MiB"
    ):
        await inject(FakeCluster(), small, SPEC, EPHEMERAL)


# Whatever is admitted.


async def test_what_an_ephemeral_container_is_refused_a_job_may_be_granted():
    forbidden = Refusal(403, "Forbidden", 'User "me" cannot patch resource "pods/ephemeralcontainers"')
    cluster = FakeCluster(
        **{PATCH: forbidden},
        create_namespaced_job_with_http_info=(None, 201, {}),
        list_namespaced_pod=items(pod("podmirror-x-abcde")),
    )
    injection = await inject(cluster, TARGET, SPEC, Placement())

    assert injection.what == f"Job shop/{AGENT} (podmirror-agent:1) on node node-1"
    assert "the agent is a Job, since the agent could not be added to pod shop/web-1" in injection.notes[0]
    assert injection.agent.pod == "podmirror-x-abcde"


async def test_refused_in_every_way_has_a_line_for_each_and_what_to_do():
    forbidden = Refusal(403, "Forbidden", 'User "me" cannot patch resource "pods/ephemeralcontainers"')
    jobs = Refusal(403, "Forbidden", 'User "me" cannot create resource "jobs"')
    with pytest.raises(NotStarted) as refused:
        await inject(
            FakeCluster(**{PATCH: forbidden}, create_namespaced_job_with_http_info=jobs),
            TARGET,
            SPEC,
            Placement(),
        )

    assert str(refused.value).splitlines() == [
        "no agent can be put beside pod shop/web-1",
        "  ephemeral container: the agent could not be added to pod shop/web-1: "
        'User "me" cannot patch resource "pods/ephemeralcontainers"',
        f"  Job: Job shop/{AGENT} (podmirror-agent:1) on node node-1 could not be created: "
        'User "me" cannot create resource "jobs"',
        "  next: it needs the verb patch on pods/ephemeralcontainers: ask your cluster's administrator to apply what "
        "`podmirror rbac --agent ephemeral` prints",
        "  or: ask your cluster's administrator to apply what `podmirror rbac --agent job` prints",
    ]


async def test_refused_in_every_way_without_any_known_remedy():
    cluster = FakeCluster(
        **{PATCH: Refusal(500, "InternalError", "etcd is on fire")},
        create_namespaced_job_with_http_info=Refusal(500, "InternalError", "and so is this"),
    )
    with pytest.raises(NotStarted) as refused:
        await inject(cluster, TARGET, SPEC, Placement())

    assert str(refused.value).splitlines()[-1] == "  next: see `podmirror doctor`"


async def test_what_no_agent_gets_around_ends_it():
    gone = Refusal(404, "NotFound", 'pods "web-1" not found')
    with pytest.raises(NotStarted, match="it was deleted meanwhile"):
        await inject(FakeCluster(**{PATCH: gone}), TARGET, SPEC, Placement())
