"""From a target to a pod, over objects in the client's own models."""

import pytest
from kubernetes.client import (
    V1ContainerState,
    V1ContainerStateRunning,
    V1ContainerStatus,
    V1Deployment,
    V1DeploymentSpec,
    V1LabelSelector,
    V1LabelSelectorRequirement,
    V1PodTemplateSpec,
)

from podmirror.errors import NotStarted
from podmirror.kube.cluster import Refusal
from podmirror.kube.resolve import resolve, unfitness
from podmirror.target import Target
from tests.layer.kube.fakes import FakeCluster, items
from tests.layer.kube.pods import pod

POD = Target.parse("pod/web-1")
DEPLOYMENT = Target.parse("deployment/web")


def of_pod(found: object) -> FakeCluster:
    return FakeCluster(read_namespaced_pod=found)


def of_deployment(*pods: object, **selector: object) -> FakeCluster:
    deployment = V1Deployment(
        spec=V1DeploymentSpec(
            selector=V1LabelSelector(**(selector or {"match_labels": {"app": "web"}})),
            template=V1PodTemplateSpec(),
        )
    )
    return FakeCluster(read_namespaced_deployment=deployment, list_namespaced_pod=items(*pods))


async def refusal_of(cluster: FakeCluster, target: Target, **options) -> str:
    with pytest.raises(NotStarted) as refusal:
        await resolve(cluster, target, **options)
    return str(refusal.value)


async def test_a_pod():
    cluster = of_pod(pod())

    resolved = await resolve(cluster, POD)
    assert (resolved.namespace, resolved.pod, resolved.node) == ("shop", "web-1", "node-1")
    assert (resolved.container, resolved.container_id, resolved.static) == ("app", None, False)
    assert cluster.called("read_namespaced_pod") == [("web-1", "shop")]


async def test_a_resolved_target_in_words():
    assert str(await resolve(of_pod(pod()), POD)) == "pod shop/web-1"


async def test_a_container_of_a_pod():
    target = Target.parse("pod/web-1/container/nginx")
    cluster = of_pod(pod(containers=("app", "nginx")))

    assert (await resolve(cluster, target)).container == "nginx"


async def test_a_container_that_is_not_there():
    target = Target.parse("pod/web-1/container/apache")
    cluster = of_pod(pod(containers=("app", "nginx")))

    assert await refusal_of(cluster, target) == "pod web-1 has no container 'apache'; it has app, nginx"


async def test_an_app_that_crashes_in_a_loop_is_worth_seeing():
    assert (await resolve(of_pod(pod(ready=False)), POD)).pod == "web-1"


@pytest.mark.parametrize(
    ("unfit", "why"),
    [
        (pod(deleted=True), "is being deleted"),
        (pod(phase="Succeeded"), "has ended (Succeeded)"),
        (pod(phase="Failed"), "has ended (Failed)"),
        (pod(node=None, ip=None, phase="Pending"), "is not scheduled yet"),
        (
            pod(node=None, ip=None, phase="Pending", unschedulable="0/1 nodes are available"),
            "is not scheduled yet: 0/1 nodes are available",
        ),
        (pod(ip=None, phase="Pending"), "has no running sandbox yet"),
    ],
)
async def test_a_pod_that_is_not_fit(unfit, why):
    assert unfitness(unfit) == why
    assert (
        await refusal_of(of_pod(unfit), POD) == f"pod 'web-1' in namespace 'shop' {why}; choose another pod"
    )


async def test_a_static_pod_is_told_apart():
    static = pod(annotations={"kubernetes.io/config.mirror": "x"})

    assert (await resolve(of_pod(static), POD)).static


async def test_a_container_that_runs_is_found_by_its_id():
    both = pod(containers=("app", "nginx"))
    both.status.container_statuses = [
        V1ContainerStatus(
            name=name,
            image="i",
            image_id="",
            ready=True,
            restart_count=0,
            container_id=f"containerd://{name}",
            state=V1ContainerState(running=V1ContainerStateRunning())
            if name == "nginx"
            else V1ContainerState(),
        )
        for name in ("app", "nginx")
    ]

    assert (await resolve(of_pod(both), POD)).container_id == "containerd://nginx"
    app = Target.parse("pod/web-1/container/app")
    assert (await resolve(of_pod(both), app)).container_id == "containerd://nginx", "they share a network"


async def test_a_sidecar_that_runs_while_the_app_crashes_is_found():
    crashing = pod()
    crashing.status.container_statuses = None
    crashing.status.init_container_statuses = [
        V1ContainerStatus(
            name="proxy",
            image="i",
            image_id="",
            ready=True,
            restart_count=0,
            container_id="containerd://proxy",
            state=V1ContainerState(running=V1ContainerStateRunning()),
        )
    ]

    assert (await resolve(of_pod(crashing), POD)).container_id == "containerd://proxy"


def test_a_fit_pod_is_not_unfit():
    assert unfitness(pod()) == ""


async def test_the_network_of_the_node_needs_a_word_of_the_user():
    cluster = of_pod(pod(host_network=True))

    assert "--allow-host-network" in await refusal_of(cluster, POD)
    assert (await resolve(of_pod(pod(host_network=True)), POD, host_network=True)).pod == "web-1"


async def test_of_a_deployment_the_first_that_is_ready():
    cluster = of_deployment(
        pod("web-9"),
        pod("web-1", ready=False),
        pod("web-5"),
        pod("web-2", deleted=True),
        pod("web-3", ip=None),
    )

    assert (await resolve(cluster, DEPLOYMENT)).pod == "web-5"


async def test_of_a_deployment_without_a_ready_pod_the_first_that_runs():
    cluster = of_deployment(pod("web-9", ready=False), pod("web-1", ip=None), pod("web-2", ready=False))

    assert (await resolve(cluster, DEPLOYMENT)).pod == "web-2"


async def test_a_deployment_without_pods():
    assert await refusal_of(of_deployment(), DEPLOYMENT) == (
        "deployment 'web' in namespace 'shop' has no pods; scale it up first"
    )


async def test_a_deployment_without_a_fit_pod_says_why_of_the_first_three():
    cluster = of_deployment(
        pod("a", deleted=True), pod("b", ip=None), pod("c", phase="Failed"), pod("d", ip=None)
    )

    assert await refusal_of(cluster, DEPLOYMENT) == (
        "deployment 'web' in namespace 'shop' has no pod to mirror: "
        "a is being deleted; b has no running sandbox yet; c has ended (Failed)"
    )


@pytest.mark.parametrize(
    ("selector", "text"),
    [
        ({"match_labels": {"app": "web", "tier": "front"}}, "app=web,tier=front"),
        (
            {
                "match_labels": {"app": "web"},
                "match_expressions": [
                    V1LabelSelectorRequirement(key="tier", operator="In", values=["front", "edge"]),
                    V1LabelSelectorRequirement(key="env", operator="NotIn", values=["test"]),
                    V1LabelSelectorRequirement(key="canary", operator="Exists"),
                    V1LabelSelectorRequirement(key="old", operator="DoesNotExist"),
                ],
            },
            "app=web,tier in (front,edge),env notin (test),canary,!old",
        ),
    ],
)
async def test_the_selector_is_the_deployments(selector, text):
    cluster = of_deployment(pod(), **selector)
    await resolve(cluster, DEPLOYMENT)

    assert ("list_namespaced_pod", ("shop",), {"label_selector": text}) in cluster.calls


@pytest.mark.parametrize("target", [POD, DEPLOYMENT])
async def test_what_is_not_there(target):
    refusal = Refusal(404, "NotFound", 'things "web" not found')
    cluster = FakeCluster(read_namespaced_pod=refusal, read_namespaced_deployment=refusal)

    assert await refusal_of(cluster, target) == (
        f"there is no {target.kind.value} {target.name!r} in namespace 'shop' (things \"web\" not found); "
        f"`podmirror ls --type {target.kind.value} -n shop` lists what there is"
    )


async def test_what_may_not_be_seen():
    cluster = of_deployment()
    cluster.answers["list_namespaced_pod"] = Refusal(
        403, "Forbidden", 'User "me" cannot list resource "pods"'
    )

    said = await refusal_of(cluster, DEPLOYMENT)
    assert said.startswith(
        "cannot look up deployment 'web' in namespace 'shop': User \"me\" cannot list resource \"pods\""
    )
