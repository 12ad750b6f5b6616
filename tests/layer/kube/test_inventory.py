"""What there is to mirror, of each kind."""

import pytest
from kubernetes.client import (
    V1Container,
    V1ContainerPort,
    V1Deployment,
    V1DeploymentSpec,
    V1DeploymentStatus,
    V1LabelSelector,
    V1ObjectMeta,
    V1PodSpec,
    V1PodTemplateSpec,
    V1Service,
    V1ServicePort,
    V1ServiceSpec,
)

from podmirror.kube.cluster import Refusal
from podmirror.kube.inventory import Entry, take_inventory
from tests.layer.kube.fakes import FakeCluster, items
from tests.layer.kube.pods import pod

CONTAINER = V1Container(name="app", ports=[V1ContainerPort(container_port=8080)])


def deployment() -> V1Deployment:
    template = V1PodTemplateSpec(spec=V1PodSpec(containers=[CONTAINER]))
    spec = V1DeploymentSpec(replicas=3, selector=V1LabelSelector(), template=template)
    return V1Deployment(
        metadata=V1ObjectMeta(name="web"), spec=spec, status=V1DeploymentStatus(ready_replicas=2)
    )


async def entries(kind: str, **answers: object) -> list[Entry]:
    cluster = FakeCluster(**answers)
    cluster.batch = cluster.custom = cluster.core
    return (await take_inventory(cluster, [kind])).entries


async def test_pods_that_have_ended_are_no_targets():
    pods = items(pod("web-1"), pod("done", phase="Succeeded"), pod("web-2", ready=False))

    found = await entries("pod", list_namespaced_pod=pods)

    assert [(each.target, each.ready) for each in found] == [("pod/web-1", 1), ("pod/web-2", 0)]


async def test_a_deployment_with_its_ports():
    assert await entries("deployment", list_namespaced_deployment=items(deployment())) == [
        Entry("deployment", "web", 2, 3, ("app",), ("8080",))
    ]


async def test_a_service_counts_the_pods_behind_it():
    behind, other = pod("web-1"), pod("db-1")
    behind.metadata.labels = {"app": "web", "tier": "front"}
    service = V1Service(
        metadata=V1ObjectMeta(name="web"),
        spec=V1ServiceSpec(selector={"app": "web"}, ports=[V1ServicePort(port=80, target_port=8080)]),
    )

    found = await entries(
        "service", list_namespaced_service=items(service), list_namespaced_pod=items(behind, other)
    )

    assert found == [Entry("service", "web", 1, 1, ("app",), ("8080",))]


@pytest.mark.parametrize(
    ("port", "shown"),
    [
        (V1ServicePort(port=80, target_port="http"), "8080"),
        (V1ServicePort(port=80, target_port="nobody"), "nobody"),
        (V1ServicePort(port=80), "80"),
        (V1ServicePort(port=53, target_port=5353, protocol="UDP"), "5353/UDP"),
    ],
)
async def test_the_ports_of_a_service_are_its_pods(port, shown):
    behind = pod("web-1")
    behind.metadata.labels = {"app": "web"}
    behind.spec.containers[0].ports = [V1ContainerPort(name="http", container_port=8080)]
    service = V1Service(
        metadata=V1ObjectMeta(name="web"), spec=V1ServiceSpec(selector={"app": "web"}, ports=[port])
    )

    (found,) = await entries(
        "service", list_namespaced_service=items(service), list_namespaced_pod=items(behind)
    )

    assert found.ports == (shown,)


async def test_a_sidecar_is_listed_and_what_is_not_tcp_is_marked():
    made = pod("web-1")
    made.spec.init_containers = [
        V1Container(name="setup"),
        V1Container(
            name="proxy",
            restart_policy="Always",
            ports=[V1ContainerPort(container_port=9999), V1ContainerPort(container_port=53, protocol="UDP")],
        ),
    ]

    (found,) = await entries("pod", list_namespaced_pod=items(made))

    assert found.containers == ("app", "proxy")
    assert found.ports == ("9999", "53/UDP")


async def test_rollouts_are_read_as_they_come():
    rollout = {
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 2,
            "template": {"spec": {"containers": [{"name": "app", "ports": [{"containerPort": 80}]}]}},
        },
        "status": {"readyReplicas": 1},
    }

    found = await entries("rollout", list_namespaced_custom_object={"items": [rollout]})

    assert found == [Entry("rollout", "web", 1, 2, ("app",), ("80",))]


@pytest.mark.parametrize(("status", "told"), [(403, ["not for you"]), (404, [])])
async def test_what_may_not_be_listed_is_told_and_what_is_unknown_is_not(status, told):
    cluster = FakeCluster(
        list_namespaced_custom_object=Refusal(status, "", "not for you"),
        list_namespaced_pod=items(pod()),
    )
    cluster.custom = cluster.core

    inventory = await take_inventory(cluster, ["rollout", "pod"])

    assert inventory.refusals == told
    assert [each.target for each in inventory.entries] == ["pod/web-1"]
