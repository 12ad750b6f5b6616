"""Pods and nodes with the labels, annotations and statuses that things give them."""

import pytest
from kubernetes.client import V1Container, V1ContainerStatus, V1Node, V1ObjectMeta, V1PodOS

from podmirror.kube.hazards import lacks_net_raw, mesh_of, notes_of, refusal_of, runtime_of
from tests.layer.kube.pods import pod


def node(**labels: str) -> V1Node:
    return V1Node(
        metadata=V1ObjectMeta(labels={name.replace("__", "/"): value for name, value in labels.items()})
    )


def started_by(runtime: str):
    made = pod()
    made.status.container_statuses = [
        V1ContainerStatus(
            name="app",
            image="i",
            image_id="",
            ready=True,
            restart_count=0,
            container_id=f"{runtime}://{'0' * 64}",
        )
    ]
    return made


def test_an_ordinary_pod_is_no_hazard():
    assert refusal_of(pod()) == ""
    assert refusal_of(pod(), node(**{"kubernetes.io__os": "linux"})) == ""
    assert notes_of(pod()) == []


def test_a_windows_node_by_its_label():
    assert "Windows" in refusal_of(pod(), node(**{"kubernetes.io__os": "windows"}))


def test_a_windows_pod_where_its_node_may_not_be_read():
    chosen, declared = pod(), pod()
    chosen.spec.node_selector = {"kubernetes.io/os": "windows"}
    declared.spec.os = V1PodOS(name="windows")

    assert "Windows" in refusal_of(chosen)
    assert "Windows" in refusal_of(declared)


@pytest.mark.parametrize(
    ("labels", "provider"),
    [
        ({"eks.amazonaws.com__compute-type": "fargate"}, "AWS Fargate"),
        ({"type": "virtual-kubelet"}, "a virtual kubelet"),
    ],
)
def test_a_virtual_node_by_its_labels(labels, provider):
    assert provider in refusal_of(pod(), node(**labels))


@pytest.mark.parametrize(
    ("name", "provider"),
    [("fargate-ip-10-0-0-1.eu.internal", "AWS Fargate"), ("virtual-node-aci-linux", "a virtual kubelet")],
)
def test_a_virtual_node_by_its_name(name, provider):
    assert provider in refusal_of(pod(node=name))


def test_a_fargate_pod_by_its_own_label():
    made = pod()
    made.metadata.labels = {"eks.amazonaws.com/fargate-profile": "shop"}

    assert "AWS Fargate" in refusal_of(made)


@pytest.mark.parametrize(
    ("containers", "annotations", "mesh"),
    [
        (("app", "istio-proxy"), None, "Istio sidecar"),
        (("app",), {"sidecar.istio.io/status": "{}"}, "Istio sidecar"),
        (("app",), {"ambient.istio.io/redirection": "enabled"}, "Istio ambient"),
        (("app", "linkerd-proxy"), None, "Linkerd"),
        (("app",), {"linkerd.io/proxy-version": "edge"}, "Linkerd"),
        (("app",), {"ambient.istio.io/redirection": "disabled"}, ""),
    ],
)
def test_a_mesh_is_recognised(containers, annotations, mesh):
    made = pod(containers=containers, annotations=annotations)

    assert mesh in mesh_of(made)
    assert any("loopback" in note for note in notes_of(made)) == bool(mesh)


def test_a_sidecar_may_be_an_init_container_that_stays():
    made = pod()
    made.spec.init_containers = [V1Container(name="istio-proxy", restart_policy="Always")]

    assert "Istio" in mesh_of(made)


def test_rollouts_and_user_namespaces_are_said():
    rolled, own = pod(), pod()
    rolled.metadata.labels = {"rollouts-pod-template-hash": "1"}
    own.spec.host_users = False

    assert "Argo" in notes_of(rolled)[0]
    assert "hostUsers" in notes_of(own)[0]


@pytest.mark.parametrize(("runtime", "lacks"), [("containerd", False), ("cri-o", True), ("docker", False)])
def test_only_cri_os_default_capabilities_lack_net_raw(runtime, lacks):
    assert runtime_of(started_by(runtime)) == runtime
    assert lacks_net_raw(started_by(runtime)) is lacks


def test_a_pod_whose_containers_have_not_started_has_no_runtime_yet():
    assert runtime_of(pod()) == ""
