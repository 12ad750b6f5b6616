"""A session follows its workload, and mirrors all of its pods if asked to."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

from e2e.cluster import APP, CLIENT, LOCAL, E2ECluster, code, until
from e2e.sessions import Podmirror
from e2e.test_mirror import expected, received
from e2e.workloads import MORTAL, container, create, end_app, replicated, restart, template
from tests.stopwatch import Stopwatch

WITHIN_SECONDS = 5.0
"""After the new pod is ready, delivery goes on."""

HOLD = """
    import socket, sys, time

    connection = socket.create_connection((sys.argv[1], 8080))
    connection.sendall(b"POST /held HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 9\\r\\n\\r\\nhalf")
    print("held", flush=True)
    time.sleep(600)
"""
"""Begins a request and does not end it."""


def send(k8s: E2ECluster, name: str, pod: Any, seed: int, count: int, pause: float = 0.0) -> None:
    k8s.run_pod(name, CLIENT, pod.status.pod_ip, str(count), str(pause), str(seed))


def until_done(k8s: E2ECluster, name: str, count: int) -> None:
    until(lambda: k8s.phase(name) == "Succeeded", f"{name} is done")
    assert json.loads(k8s.log(name)) == {"sent": count, "failed": 0}


def session(k8s: E2ECluster, target: str, local_port: int, ledger: Path, *options: str) -> Podmirror:
    arguments = ["exec", *k8s.session_arguments(target), "-p", f"8080:{local_port}", "--ledger", str(ledger)]
    command = [sys.executable, "-c", code(LOCAL), str(local_port)]
    return Podmirror(k8s, *arguments, *options, "--", *command)


def successor(k8s: E2ECluster, app: str, *before: str) -> Any:
    """Wait for a ready pod that was not there before, by its uid."""

    def new() -> list[Any]:
        return [pod for pod in k8s.ready_pods(app) if pod.metadata.uid not in before]

    until(new, "there is a new ready pod")
    return new()[0]


@pytest.mark.parametrize(("kind", "seed"), [("Deployment", 301), ("StatefulSet", 311), ("DaemonSet", 321)])
def test_a_rollout_restart_in_mid_session(
    k8s: E2ECluster, local_port: int, tmp_path: Path, kind: str, seed: int
) -> None:
    name = f"rolling-{kind.lower()}"
    replicated(k8s, kind, name, APP, replicas=None if kind == "DaemonSet" else 1)
    (old,) = k8s.ready_pods(name)
    with session(k8s, f"{kind.lower()}/{name}", local_port, tmp_path / "ledger.json") as podmirror:
        podmirror.until_said("subscribed: port 8080")
        send(k8s, f"client-{seed}", old, seed, 6)
        k8s.run_pod(f"hold-{seed}", HOLD, old.status.pod_ip)
        until(lambda: len(received(podmirror.out)) == 6, "all requests have arrived")
        until(lambda: k8s.log(f"hold-{seed}") == "held\n", "a request is under way")

        restart(k8s, kind, name)
        new = successor(k8s, name, old.metadata.uid)
        with Stopwatch() as moving:
            podmirror.until_said("moved on from pod")
        send(k8s, f"client-{seed + 1}", new, seed + 1, 9)
        wanted = expected(seed, 6) | expected(seed + 1, 9)
        until(lambda: received(podmirror.out) == wanted, "the new pod's have arrived")
        podmirror.interrupt()
        said = podmirror.err

    assert moving.seconds < WITHIN_SECONDS
    assert f"moved on from pod {old.metadata.name} to pod {new.metadata.name}" in said
    assert "The session moved 1 time" in said
    ledger = json.loads((tmp_path / "ledger.json").read_text())
    assert [(move["from"], move["to"]) for move in ledger["moves"]] == [
        (old.metadata.name, new.metadata.name)
    ]
    assert [pod["pod"] for pod in ledger["pods"]] == [old.metadata.name, new.metadata.name]
    assert ledger["outcomes"]["unfinished"] >= 1
    assert not ledger["cut_short"]
    assert len([line for line in said.splitlines() if "injected ephemeral container" in line]) == 2
    k8s.core.delete_namespaced_pod(f"hold-{seed}", k8s.namespace, grace_period_seconds=0)


def test_an_evicted_pod_has_a_successor(k8s: E2ECluster, local_port: int, tmp_path: Path) -> None:
    replicated(k8s, "Deployment", "evicted", APP)
    (old,) = k8s.ready_pods("evicted")
    with session(k8s, "deployment/evicted", local_port, tmp_path / "ledger.json") as podmirror:
        podmirror.until_said("subscribed: port 8080")
        if k8s.is_sandbox:  # which does not know the eviction API
            k8s.core.delete_namespaced_pod(old.metadata.name, k8s.namespace)
        else:
            eviction = client.V1Eviction(metadata=client.V1ObjectMeta(name=old.metadata.name))
            k8s.core.create_namespaced_pod_eviction(old.metadata.name, k8s.namespace, eviction)
        new = successor(k8s, "evicted", old.metadata.uid)
        with Stopwatch() as moving:
            podmirror.until_said("moved on from pod")
        assert moving.seconds < WITHIN_SECONDS
        send(k8s, "client-331", new, 331, 6)
        until(lambda: received(podmirror.out) == expected(331, 6), "all requests have arrived")
        podmirror.interrupt()


def test_every_request_of_every_replica_arrives_labelled(
    k8s: E2ECluster, local_port: int, tmp_path: Path
) -> None:
    replicated(k8s, "Deployment", "many", APP, replicas=3)
    pods = k8s.ready_pods("many")
    options = ("--all-pods", "--verbose")
    with session(k8s, "deployment/many", local_port, tmp_path / "ledger.json", *options) as podmirror:
        podmirror.until_said("subscribed: port 8080")
        assert "running: 3 agents" in podmirror.err
        for number, pod in enumerate(pods):
            send(k8s, f"client-34{number}", pod, 340 + number, 150)
        for number in range(3):
            until_done(k8s, f"client-34{number}", 150)
        until(lambda: len(podmirror.out.splitlines()) == 450, "all requests have arrived")
        wanted = [pair for number in range(3) for pair in expected(340 + number, 150).items()]
        assert sorted(tuple(line.split()) for line in podmirror.out.splitlines()) == sorted(wanted)
        until(lambda: podmirror.err.count(" whole, ") >= 150, "all connections have ended")
        podmirror.interrupt()
        said = podmirror.err

    ledger = json.loads((tmp_path / "ledger.json").read_text())
    assert ledger["lost_connections"] == 0
    assert {pod["pod"] for pod in ledger["pods"]} == {pod.metadata.name for pod in pods}
    for pod in ledger["pods"]:
        assert len([line for line in said.splitlines() if f" of {pod['pod']} whole, " in line]) >= 50
        assert pod["complete_connections"] == pod["connections"] >= 50
        assert pod["lost_connections"] == 0
    assert "Nothing was lost." in said


def test_replicas_join_and_leave(k8s: E2ECluster, local_port: int, tmp_path: Path) -> None:
    replicated(k8s, "Deployment", "scaled", APP, replicas=1)
    (first,) = k8s.ready_pods("scaled")
    with session(k8s, "deployment/scaled", local_port, tmp_path / "ledger.json", "--all-pods") as podmirror:
        podmirror.until_said("subscribed: port 8080")
        k8s.apps.patch_namespaced_deployment_scale("scaled", k8s.namespace, {"spec": {"replicas": 2}})
        second = successor(k8s, "scaled", first.metadata.uid)
        with Stopwatch() as joining:
            podmirror.until_said(f"joined by pod {second.metadata.name}")
        assert joining.seconds < WITHIN_SECONDS
        send(k8s, "client-351", first, 351, 6)
        send(k8s, "client-352", second, 352, 6)
        until(lambda: len(podmirror.out.splitlines()) == 12, "all requests have arrived")

        k8s.apps.patch_namespaced_deployment_scale("scaled", k8s.namespace, {"spec": {"replicas": 1}})
        podmirror.until_said("and is left")
        assert podmirror.process.poll() is None
        podmirror.interrupt()


def test_no_more_than_max_pods(k8s: E2ECluster, local_port: int, tmp_path: Path) -> None:
    replicated(k8s, "Deployment", "limited", APP, replicas=3)
    options = ("--all-pods", "--max-pods", "2")
    with session(k8s, "deployment/limited", local_port, tmp_path / "ledger.json", *options) as podmirror:
        podmirror.until_said("subscribed: port 8080")
        assert "has 3 ready pods, of which 2 are mirrored; --max-pods admits more" in podmirror.err
        podmirror.interrupt()


def test_a_pod_that_was_named_is_not_followed(k8s: E2ECluster, local_port: int) -> None:
    bare = template("bare", container(k8s, APP))
    create(k8s, "Pod", "bare", bare["spec"], labels=bare["metadata"]["labels"])
    until(lambda: k8s.ready_pods("bare"), "the pod is ready")
    with Podmirror(
        k8s, "mirror", *k8s.session_arguments("pod/bare"), "-p", f"8080:{local_port}"
    ) as podmirror:
        podmirror.until_said("mirroring")
        k8s.core.delete_namespaced_pod("bare", k8s.namespace)

        assert podmirror.wait() == 4
        last = podmirror.err.splitlines()[-1]
    assert last.startswith("podmirror: pod bare is ")
    assert "a pod is not followed: name its workload as the target" in last


def test_a_job_that_completes_ends_the_session(k8s: E2ECluster, local_port: int) -> None:
    job = {"template": template("brief", container(k8s, MORTAL), restartPolicy="Never")}
    create(k8s, "Job", "brief", job)
    until(lambda: k8s.ready_pods("brief"), "the Job's pod is ready")
    with Podmirror(
        k8s, "mirror", *k8s.session_arguments("job/brief"), "-p", f"8080:{local_port}"
    ) as podmirror:
        podmirror.until_said("mirroring")
        end_app(k8s, "end-brief", k8s.ready_pods("brief")[0].status.pod_ip)

        assert podmirror.wait() == 4
        assert podmirror.err.splitlines()[-1] == (
            "podmirror: job/brief has completed, so there is nothing more to mirror"
        )
