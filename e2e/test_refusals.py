"""What cannot be mirrored, or only with a word: each refusal one sentence, in time."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kubernetes import client

from e2e.cluster import E2ECluster, until
from e2e.running import refusal, run
from e2e.sessions import Podmirror
from e2e.shops import enforced

IDLE = "import time; time.sleep(600)"
OLD_IMAGE = os.environ.get("PODMIRROR_E2E_OLD_AGENT_IMAGE")
EPHEMERAL = ("--agent", "ephemeral")
STATIC_PODS = os.environ.get("PODMIRROR_E2E_STATIC_PODS")


def run_pod(k8s: E2ECluster, name: str, *, metadata: dict | None = None, **spec: object) -> str:
    """Run a pod that idles, with something about it; give it as a target."""
    container = {
        "name": "app",
        "image": k8s.app_image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", IDLE],
        **spec.pop("container", {}),  # type: ignore[call-overload]
    }
    body = {
        "metadata": {"name": name, **(metadata or {})},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0, **spec},
    }
    k8s.core.create_namespaced_pod(k8s.namespace, body)
    until(lambda: k8s.phase(name) == "Running", f"pod {name} runs")
    return f"pod/{name}"


def mirror(k8s: E2ECluster, target: str, *arguments: str) -> list[str]:
    return ["mirror", *k8s.session_arguments(target), "-p", "8080:3999", *arguments]


# Policies.


@pytest.fixture
def denying(k8s: E2ECluster) -> Iterator[None]:
    """Have a policy deny every ephemeral container of the namespace."""
    if k8s.is_sandbox:
        pytest.skip("the sandbox has no admission policies")
    api = client.AdmissionregistrationV1Api(k8s.core.api_client)
    name = k8s.namespace
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["UPDATE"],
        "resources": ["pods/ephemeralcontainers"],
    }
    selector = {"matchLabels": {"kubernetes.io/metadata.name": name}}
    policy = {
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"namespaceSelector": selector, "resourceRules": [rule]},
            "validations": [{"expression": "false", "message": "nobody debugs in this shop"}],
        },
    }
    binding = {"metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]}}
    api.create_validating_admission_policy(policy)
    api.create_validating_admission_policy_binding(binding)
    try:
        yield
    finally:
        api.delete_validating_admission_policy_binding(name)
        api.delete_validating_admission_policy(name)


def test_a_policy_that_denies_is_quoted(k8s: E2ECluster, denying: None) -> None:
    target = run_pod(k8s, "denied")
    name = target.removeprefix("pod/")
    patch = {"spec": {"ephemeralContainers": [{"name": "probe", "image": "probe"}]}}

    def is_in_force() -> bool:
        try:
            k8s.core.patch_namespaced_pod_ephemeralcontainers(name, k8s.namespace, patch, dry_run="All")
        except client.ApiException:
            return True
        return False

    until(is_in_force, "the policy is in force")

    said = refusal(k8s, *mirror(k8s, target, *EPHEMERAL))

    assert "nobody debugs in this shop" in said
    assert "ask whoever keeps it" in said


def test_restricted_is_refused_in_the_servers_words(k8s: E2ECluster) -> None:
    target = run_pod(k8s, "restricted")
    with enforced(k8s, "restricted"):
        said = refusal(k8s, *mirror(k8s, target))

    assert 'violates PodSecurity "restricted:latest"' in said


# Pods.


def test_a_pod_in_its_nodes_network_is_refused_without_a_flag(k8s: E2ECluster) -> None:
    target = run_pod(k8s, "of-the-node", hostNetwork=True)

    assert "--allow-host-network" in refusal(k8s, *mirror(k8s, target))


def test_a_static_pod_takes_no_ephemeral_container_but_a_job_beside_it(k8s: E2ECluster) -> None:
    if k8s.is_sandbox:
        annotations = {"kubernetes.io/config.mirror": "by hand"}
        try_static_pod(k8s, run_pod(k8s, "static", metadata={"annotations": annotations}))
        return
    if STATIC_PODS is None:
        pytest.skip("PODMIRROR_E2E_STATIC_PODS names no folder of the node's kubelet")
    manifest = Path(STATIC_PODS) / f"{k8s.namespace}.yaml"
    manifest.write_text(
        f"apiVersion: v1\nkind: Pod\nmetadata: {{name: static, namespace: {k8s.namespace}}}\n"
        f"spec: {{containers: [{{name: app, image: '{k8s.app_image}', imagePullPolicy: IfNotPresent, "
        f"command: [python3, -c, '{IDLE}']}}]}}\n"
    )
    try:
        until(lambda: static_pods(k8s), "the static pod runs")
        try_static_pod(k8s, f"pod/{static_pods(k8s)[0]}")
    finally:
        manifest.unlink()


def try_static_pod(k8s: E2ECluster, target: str) -> None:
    assert "is a static pod" in refusal(k8s, *mirror(k8s, target, *EPHEMERAL))
    assert "is a static pod" in job_taken(k8s, target)


def job_taken(k8s: E2ECluster, target: str) -> str:
    """Run a session in which `auto` takes a Job; give what was said."""
    with Podmirror(k8s, *mirror(k8s, target)) as podmirror:
        podmirror.until_said("mirroring")
        assert f"injected Job {k8s.namespace}/podmirror-" in podmirror.err
        assert podmirror.interrupt() == 0
        return podmirror.err


def static_pods(k8s: E2ECluster) -> list[str]:
    pods = k8s.core.list_namespaced_pod(k8s.namespace).items
    return [
        pod.metadata.name
        for pod in pods
        if "kubernetes.io/config.mirror" in (pod.metadata.annotations or {}) and pod.status.pod_ip
    ]


def test_a_pod_of_a_virtual_node_is_refused(k8s: E2ECluster) -> None:
    labels = {"eks.amazonaws.com/fargate-profile": "shop"}
    target = run_pod(k8s, "nodeless", metadata={"labels": labels})

    assert "runs on AWS Fargate" in refusal(k8s, *mirror(k8s, target))


def test_a_pod_of_a_windows_node_is_refused(k8s: E2ECluster) -> None:
    node = f"windows-{k8s.namespace}"
    k8s.core.create_node({"metadata": {"name": node, "labels": {"kubernetes.io/os": "windows"}}})
    try:
        container = {"name": "app", "image": "app"}
        spec = {"nodeName": node, "containers": [container], "tolerations": [{"operator": "Exists"}]}
        k8s.core.create_namespaced_pod(k8s.namespace, {"metadata": {"name": "panes"}, "spec": spec})
        status = {"phase": "Running", "podIP": "10.0.0.9", "podIPs": [{"ip": "10.0.0.9"}]}
        k8s.core.patch_namespaced_pod_status("panes", k8s.namespace, {"status": status})

        assert "runs on a Windows node" in refusal(k8s, *mirror(k8s, "pod/panes"))

        k8s.core.delete_namespaced_pod("panes", k8s.namespace, grace_period_seconds=0)
    finally:
        k8s.core.delete_node(node)


@contextmanager
def pod_by_hand(k8s: E2ECluster, name: str, container_id: str, **spec: object) -> Iterator[str]:
    """Make a pod that looks as if it ran, on a node that is none; give it as a target."""
    node = f"{name}-{k8s.namespace}"
    k8s.core.create_node({"metadata": {"name": node, "labels": {"kubernetes.io/os": "linux"}}})
    try:
        container = {"name": "app", "image": "app"}
        whole = {"nodeName": node, "containers": [container], "tolerations": [{"operator": "Exists"}], **spec}
        k8s.core.create_namespaced_pod(k8s.namespace, {"metadata": {"name": name}, "spec": whole})
        running = {"startedAt": "2020-01-01T00:00:00Z"}
        app = {
            "name": "app",
            "image": "app",
            "imageID": "app",
            "ready": True,
            "restartCount": 0,
            "started": True,
        }
        status = {
            "phase": "Running",
            "podIP": "10.0.0.9",
            "podIPs": [{"ip": "10.0.0.9"}],
            "containerStatuses": [{**app, "containerID": container_id, "state": {"running": running}}],
        }
        k8s.core.patch_namespaced_pod_status(name, k8s.namespace, {"status": status})
        yield f"pod/{name}"
        k8s.core.delete_namespaced_pod(name, k8s.namespace, grace_period_seconds=0)
    finally:
        k8s.core.delete_node(node)


def test_the_default_capabilities_of_cri_o_are_not_relied_on(k8s: E2ECluster) -> None:
    with pod_by_hand(k8s, "of-cri-o", "cri-o://" + "ab" * 32) as target:
        with enforced(k8s, "baseline"):
            said = refusal(k8s, *mirror(k8s, target, *EPHEMERAL))
        left = k8s.core.read_namespaced_pod("of-cri-o", k8s.namespace).spec.ephemeral_containers

    assert 'violates PodSecurity "baseline:latest"' in said
    assert "the default capabilities of its runtime, CRI-O, lack NET_RAW" in said
    assert not left


def test_a_user_namespace_is_said(k8s: E2ECluster) -> None:
    with pod_by_hand(k8s, "mapped", "containerd://" + "ab" * 32, hostUsers=False) as target:
        done = run(k8s, "doctor", "-t", target, "-n", k8s.namespace)

    assert "has a user namespace of its own (hostUsers: false)" in done.stdout


def test_a_job_needs_a_container_that_runs(k8s: E2ECluster) -> None:
    imageless = {"name": "app", "image": "podmirror-e2e:none", "imagePullPolicy": "Never"}
    body = {"metadata": {"name": "gone"}, "spec": {"containers": [imageless]}}
    k8s.core.create_namespaced_pod(k8s.namespace, body)

    def waits() -> bool:
        (status,) = k8s.core.read_namespaced_pod("gone", k8s.namespace).status.container_statuses or [None]
        return (
            status is not None and status.state.waiting is not None and "Image" in status.state.waiting.reason
        )

    until(waits, "its container waits for its image")

    said = refusal(k8s, *mirror(k8s, "pod/gone", "--agent", "job"))

    assert "runs, so a Job on its node finds nothing to look for; wait until one does" in said
    k8s.core.delete_namespaced_pod("gone", k8s.namespace, grace_period_seconds=0)


# Memory.


def limited(memory: str) -> dict[str, object]:
    return {"resources": {"limits": {"memory": memory}}}


def test_a_pod_without_room_for_an_agent_has_it_beside_it(k8s: E2ECluster) -> None:
    target = run_pod(k8s, "narrow", container=limited("64Mi"))

    said = refusal(k8s, *mirror(k8s, target, *EPHEMERAL))

    assert "has no room for an agent: its memory limit is 64 MiB" in said
    assert "--agent-memory" in said
    assert "has no room for an agent" in job_taken(k8s, target)


@pytest.mark.parametrize(("memory", "budget"), [("128Mi", "18"), ("1Gi", "64"), (None, "64")])
def test_the_agents_budget_follows_from_the_pods_limit(
    k8s: E2ECluster, memory: str | None, budget: str
) -> None:
    name = f"limit-{(memory or 'none').lower()}"
    target = run_pod(k8s, name, container=limited(memory) if memory else {})

    assert agent_argument(k8s, target, "--memory") == budget


def test_the_agents_budget_can_be_named(k8s: E2ECluster) -> None:
    target = run_pod(k8s, "tight", container=limited("96Mi"))

    assert agent_argument(k8s, target, "--memory", "--agent-memory", "8") == "8"


def agent_argument(k8s: E2ECluster, target: str, flag: str, *arguments: str) -> str:
    """Run a session, and give an argument that its agent was started with."""
    with Podmirror(k8s, *mirror(k8s, target, *arguments)) as podmirror:
        podmirror.until_said("mirroring")
        pod = k8s.core.read_namespaced_pod(target.removeprefix("pod/"), k8s.namespace)
        assert podmirror.interrupt() == 0
    given = pod.spec.ephemeral_containers[-1].args
    return str(given[given.index(flag) + 1])


# The image.


def test_an_image_of_another_version_is_refused(k8s: E2ECluster) -> None:
    if OLD_IMAGE is None:
        pytest.skip("PODMIRROR_E2E_OLD_AGENT_IMAGE names no agent of another version")
    target = run_pod(k8s, "outdated")

    said = refusal(k8s, *mirror(k8s, target, "--agent-image", OLD_IMAGE))

    assert f"image {OLD_IMAGE} is of another version" in said


# What is said aloud.


@pytest.mark.parametrize(
    ("name", "metadata", "words"),
    [
        ("istio", {"annotations": {"sidecar.istio.io/status": "{}"}}, "an Istio sidecar"),
        ("ambient", {"annotations": {"ambient.istio.io/redirection": "enabled"}}, "an Istio ambient mesh"),
        ("linkerd", {"annotations": {"linkerd.io/proxy-version": "edge"}}, "a Linkerd sidecar"),
        ("argo", {"labels": {"rollouts-pod-template-hash": "1"}}, "an Argo Rollout"),
    ],
)
def test_what_a_pod_is_part_of_is_said(k8s: E2ECluster, name: str, metadata: dict, words: str) -> None:
    target = run_pod(k8s, name, metadata=metadata)

    with Podmirror(k8s, *mirror(k8s, target)) as podmirror:
        podmirror.until_said("mirroring")
        assert words in podmirror.err
        assert podmirror.interrupt() == 0
