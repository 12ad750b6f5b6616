"""Every kind of target is mirrored, and what is none is refused in a sentence."""

import sys
from typing import TYPE_CHECKING

import pytest
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from e2e.cluster import APP, CLIENT, LOCAL, E2ECluster, code, until
from e2e.running import refusal
from e2e.sessions import Podmirror
from e2e.test_mirror import expected, received
from e2e.workloads import container, create, replicated, template

if TYPE_CHECKING:
    from collections.abc import Callable

IDLE = "import time; time.sleep(1e6)"
REQUESTS = 6


def check_delivery(k8s: E2ECluster, target: str, app: str, local_port: int, seed: int) -> str:
    """Mirror a target, send its pod requests, all of which must arrive, and give what was said."""
    arguments = ["exec", *k8s.session_arguments(target), "-p", f"8080:{local_port}", "--"]
    with Podmirror(k8s, *arguments, sys.executable, "-c", code(LOCAL), str(local_port)) as podmirror:
        podmirror.until_said("subscribed: port 8080")
        host = k8s.ready_pods(app)[0].status.pod_ip
        k8s.run_pod(f"client-{seed}", CLIENT, host, str(REQUESTS), "0", str(seed))
        until(lambda: len(received(podmirror.out)) == REQUESTS, "all requests have arrived")
        assert received(podmirror.out) == expected(seed, REQUESTS)
        podmirror.interrupt()
        return podmirror.err


@pytest.mark.parametrize(
    ("kind", "target", "replicas", "seed"),
    [
        ("StatefulSet", "sts/stateful/container/app", 1, 201),
        ("DaemonSet", "daemonset/daemon", None, 202),
        ("ReplicaSet", "rs/replica", 1, 203),
    ],
)
def test_workloads(
    k8s: E2ECluster, local_port: int, kind: str, target: str, replicas: int | None, seed: int
) -> None:
    name = target.split("/")[1]
    replicated(k8s, kind, name, APP, replicas=replicas)

    check_delivery(k8s, target, name, local_port, seed)


def test_a_job(k8s: E2ECluster, local_port: int) -> None:
    create(k8s, "Job", "once", {"template": template("once", container(k8s, APP), restartPolicy="Never")})
    until(lambda: k8s.ready_pods("once"), "the Job's pod is ready")

    check_delivery(k8s, "job/once", "once", local_port, 211)


def test_a_cron_job(k8s: E2ECluster, local_port: int) -> None:
    job = {"template": template("nightly", container(k8s, APP), restartPolicy="Never")}
    schedule = {"schedule": "0 3 1 1 *", "suspend": True, "jobTemplate": {"spec": job}}
    cron_job = create(k8s, "CronJob", "nightly", schedule)
    said = refusal(k8s, "mirror", *k8s.session_arguments("cronjob/nightly"), "-p", "80:3999")
    assert "has no Jobs (its schedule is '0 3 1 1 *'); `kubectl create job --from=cronjob/nightly" in said

    # What `kubectl create job --from=cronjob/nightly` makes.
    owner = {"apiVersion": "batch/v1", "kind": "CronJob", "name": "nightly", "uid": cron_job.metadata.uid}
    create(k8s, "Job", "nightly-now", job, ownerReferences=[{**owner, "controller": True}])
    until(lambda: k8s.ready_pods("nightly"), "the Job's pod is ready")

    check_delivery(k8s, "cj/nightly", "nightly", local_port, 212)


def test_a_service_and_labels(k8s: E2ECluster, local_port: int) -> None:
    create(k8s, "Service", "front", {"selector": {"app": "app"}, "ports": [{"port": 80, "targetPort": 8080}]})

    check_delivery(k8s, "svc/front", "app", local_port, 213)
    check_delivery(k8s, "label/app=app", "app", local_port, 214)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (
            {"type": "ExternalName", "externalName": "db.example.com"},
            "is an ExternalName: it stands for db.example.com",
        ),
        ({"ports": [{"port": 80}]}, "has no selector, so no pods are its own"),
    ],
)
def test_services_that_have_no_pods(k8s: E2ECluster, spec: dict[str, object], words: str) -> None:
    name = "external" if "type" in spec else "manual"
    create(k8s, "Service", name, spec)

    said = refusal(k8s, "mirror", *k8s.session_arguments(f"service/{name}"), "-p", "80:3999")
    assert words in said


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("statefulset/nope", 'statefulsets.apps "nope" not found'),
        ("daemonset/nope", 'daemonsets.apps "nope" not found'),
        ("replicaset/nope", 'replicasets.apps "nope" not found'),
        ("job/nope", 'jobs.batch "nope" not found'),
        ("cronjob/nope", 'cronjobs.batch "nope" not found'),
        ("service/nope", 'services "nope" not found'),
        ("label/app=nope", "has the labels app=nope"),
    ],
)
def test_what_is_not_there(k8s: E2ECluster, target: str, words: str) -> None:
    said = refusal(k8s, "mirror", *k8s.session_arguments(target), "-p", "80:3999")
    assert words in said


def test_the_container_is_chosen_and_a_guess_is_said_aloud(k8s: E2ECluster, local_port: int) -> None:
    containers = [container(k8s, IDLE, "istio-proxy"), container(k8s, APP), container(k8s, IDLE, "other")]
    meshed = template("meshed", *containers)
    create(k8s, "Pod", "meshed", meshed["spec"], labels=meshed["metadata"]["labels"])
    until(lambda: k8s.ready_pods("meshed"), "the pod is ready")

    said = check_delivery(k8s, "pod/meshed", "meshed", local_port, 221)
    assert "container app of pod meshed is taken for the app" in said
    assert "(there is also istio-proxy, other)" in said
    said = check_delivery(k8s, "pod/meshed/container/app", "meshed", local_port, 222)
    assert "is taken for the app" not in said


# Argo Rollouts: the resource made by hand, since its controller is not at hand.

CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "rollouts.argoproj.io"},
    "spec": {
        "group": "argoproj.io",
        "scope": "Namespaced",
        "names": {"kind": "Rollout", "plural": "rollouts", "singular": "rollout", "shortNames": ["ro"]},
        "versions": [
            {
                "name": "v1alpha1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
                },
            }
        ],
    },
}


def test_a_rollout_where_the_cluster_knows_none(k8s: E2ECluster) -> None:
    if not k8s.is_sandbox and _knows_rollouts(k8s):
        pytest.skip("this cluster knows rollouts")
    said = refusal(k8s, "mirror", *k8s.session_arguments("rollout/web"), "-p", "80:3999")
    assert "this cluster does not know the resource rollouts.argoproj.io" in said


def test_a_rollout(k8s: E2ECluster, local_port: int) -> None:
    if k8s.is_sandbox:
        pytest.skip("the sandbox has no custom resources")
    if _knows_rollouts(k8s):
        pytest.skip("this cluster knows rollouts already, and they are its own")
    extensions = client.ApiextensionsV1Api(k8s.core.api_client)
    extensions.create_custom_resource_definition(CRD)
    try:
        until(lambda: _knows_rollouts(k8s), "the cluster knows rollouts")
        custom = client.CustomObjectsApi(k8s.core.api_client)
        make: Callable[..., object] = custom.create_namespaced_custom_object
        rollout = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Rollout",
            "metadata": {"name": "web"},
            "spec": {"selector": {"matchLabels": {"app": "app"}}},
        }
        make("argoproj.io", "v1alpha1", k8s.namespace, "rollouts", rollout)

        check_delivery(k8s, "rollout/web", "app", local_port, 231)
        said = refusal(k8s, "mirror", *k8s.session_arguments("rollout/nope"), "-p", "80:3999")
        assert 'rollouts.argoproj.io "nope" not found' in said
    finally:
        extensions.delete_custom_resource_definition("rollouts.argoproj.io")


def _knows_rollouts(k8s: E2ECluster) -> bool:
    custom = client.CustomObjectsApi(k8s.core.api_client)
    try:
        custom.list_namespaced_custom_object("argoproj.io", "v1alpha1", k8s.namespace, "rollouts")
    except ApiException as error:
        if error.status == 404:
            return False
        raise
    return True
