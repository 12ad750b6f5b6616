"""Each kind of target: its pod is found, and its traffic delivered."""

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client

from e2e.bodies import drive, expected, received
from e2e.cluster import APP, LOCAL, E2ECluster, code, until
from e2e.sessions import Podmirror

NOT_STARTED = 5


def template(k8s: E2ECluster, name: str, *, restarts: str = "Always") -> dict[str, Any]:
    return {
        "metadata": {"labels": {"app": name}},
        "spec": {
            "containers": [k8s.container(name, APP)],
            "restartPolicy": restarts,
            "terminationGracePeriodSeconds": 1,
        },
    }


@pytest.fixture(scope="module")
def workloads(k8s: E2ECluster) -> Iterator[None]:
    """One of each kind that can be had on any cluster, with a pod that is ready."""
    api, batch = k8s.core.api_client, client.BatchV1Api(k8s.core.api_client)
    apps = client.AppsV1Api(api)

    def workload(name: str) -> dict[str, Any]:
        selector = {"matchLabels": {"app": name}}
        return {"metadata": {"name": name}, "spec": {"selector": selector, "template": template(k8s, name)}}

    stateful = workload("stateful")
    stateful["spec"]["serviceName"] = "stateful"
    apps.create_namespaced_stateful_set(k8s.namespace, stateful)
    apps.create_namespaced_daemon_set(k8s.namespace, workload("daemon"))
    apps.create_namespaced_replica_set(k8s.namespace, workload("replica"))
    job = {"template": template(k8s, "once", restarts="Never"), "backoffLimit": 0}
    batch.create_namespaced_job(k8s.namespace, {"metadata": {"name": "once"}, "spec": job})
    nightly = {
        "schedule": "0 3 1 1 *",
        "jobTemplate": {"spec": {"template": template(k8s, "cron", restarts="Never")}},
    }
    cronjob = batch.create_namespaced_cron_job(
        k8s.namespace, {"metadata": {"name": "nightly"}, "spec": nightly}
    )
    owner = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "name": "nightly",
        "uid": cronjob.metadata.uid,
        "controller": True,
    }
    by_hand = {"metadata": {"name": "nightly-by-hand", "ownerReferences": [owner]}}
    of_cronjob = {"template": template(k8s, "cron", restarts="Never"), "backoffLimit": 0}
    batch.create_namespaced_job(k8s.namespace, {**by_hand, "spec": of_cronjob})
    service = {"selector": {"app": "stateful"}, "ports": [{"port": 80, "targetPort": 8080}]}
    k8s.core.create_namespaced_service(k8s.namespace, {"metadata": {"name": "front"}, "spec": service})
    bare = {"ports": [{"port": 80}]}
    k8s.core.create_namespaced_service(k8s.namespace, {"metadata": {"name": "bare"}, "spec": bare})
    for name in ("stateful", "daemon", "replica", "once", "cron"):
        until(lambda name=name: k8s.ready_pods(name), f"a pod of {name} is ready")
    yield
    apps.delete_namespaced_stateful_set("stateful", k8s.namespace)
    apps.delete_namespaced_daemon_set("daemon", k8s.namespace)
    apps.delete_namespaced_replica_set("replica", k8s.namespace)
    batch.delete_namespaced_cron_job("nightly", k8s.namespace)
    batch.delete_namespaced_job("once", k8s.namespace, propagation_policy="Background")


@pytest.mark.parametrize(
    ("target", "app"),
    [
        ("statefulset/stateful", "stateful"),
        ("sts/stateful/container/stateful", "stateful"),
        ("daemonset/daemon", "daemon"),
        ("replicaset/replica", "replica"),
        ("job/once", "once"),
        ("cronjob/nightly", "cron"),
        ("service/front", "stateful"),
        ("label/app=replica", "replica"),
    ],
)
def test_each_kind_of_target(
    k8s: E2ECluster, workloads: None, local_port: int, target: str, app: str
) -> None:
    arguments = ["exec", *k8s.session_arguments(target), "-p", f"8080:{local_port}"]
    with Podmirror(k8s, *arguments, "--", sys.executable, "-c", code(LOCAL), str(local_port)) as podmirror:
        podmirror.until_said("subscribed: port 8080")
        pod = k8s.ready_pods(app)[0].metadata.name
        assert (
            f"resolved {target.replace('sts/', 'statefulset/')}: pod {k8s.namespace}/{pod}" in podmirror.err
        )

        drive(k8s, f"client-{abs(hash(target)) % 10**8}", 3, 9, app=app)

        until(lambda: received(podmirror.out) == expected(3, 9), "all requests have arrived", seconds=20)
        podmirror.interrupt()


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("statefulset/none", "there is no statefulset 'none'"),
        ("service/bare", "service 'bare' in namespace"),
        ("label/app=nothing-has-this", "has the labels app=nothing-has-this"),
        ("rollout/web", "this cluster does not know the resource rollouts.argoproj.io"),
        ("deployment/app/container/none", "has no container 'none'; it has app"),
    ],
)
def test_what_is_no_target_is_told_in_a_sentence(
    k8s: E2ECluster, workloads: None, target: str, said: str
) -> None:
    with Podmirror(k8s, "mirror", *k8s.session_arguments(target), "-p", "8080:9") as podmirror:
        assert podmirror.wait() == NOT_STARTED
        assert said in podmirror.err
        assert "Traceback" not in podmirror.err
