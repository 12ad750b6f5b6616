"""The workload is followed, not the pod; and all of its pods can be mirrored at once."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from e2e.bodies import expected, received
from e2e.cluster import APP, CLIENT, LOCAL, E2ECluster, code, until
from e2e.sessions import Podmirror

FOLLOW_SECONDS = 5.0
"""From a pod's being ready to its mirroring: what users are promised."""

REPLICAS = 3
REQUESTS = 60


@contextmanager
def local(port: int) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-c", code(LOCAL), str(port)], stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


@pytest.fixture
def rolling(k8s: E2ECluster) -> Iterator[str]:
    k8s.deploy("rolling", APP)
    yield "rolling"
    k8s.apps.delete_namespaced_deployment("rolling", k8s.namespace)
    until(lambda: not k8s.ready_pods("rolling"), "its pods are gone")


def restart(k8s: E2ECluster, name: str) -> None:
    """Do as `kubectl rollout restart` does."""
    annotations = {"kubectl.kubernetes.io/restartedAt": str(time.time())}
    template = {"metadata": {"annotations": annotations}}
    k8s.apps.patch_namespaced_deployment(name, k8s.namespace, {"spec": {"template": template}})


def test_a_rollout_restart_moves_the_session_to_the_new_pod(
    k8s: E2ECluster, rolling: str, local_port: int, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger.json"
    arguments = ["mirror", *k8s.session_arguments(f"deployment/{rolling}"), "-p", f"8080:{local_port}"]
    with local(local_port) as process, Podmirror(k8s, *arguments, "--ledger", str(ledger)) as podmirror:
        podmirror.until_said("mirroring; Ctrl-C")
        (old,) = (pod.metadata.name for pod in k8s.ready_pods(rolling))

        restart(k8s, rolling)
        until(
            lambda: any(pod.metadata.name != old for pod in k8s.ready_pods(rolling)), "the new pod is ready"
        )
        podmirror.until_said(f"moved on from pod {old} to pod ", seconds=FOLLOW_SECONDS)
        until(lambda: len(k8s.ready_pods(rolling)) == 1, "the old pod is gone")
        (new,) = k8s.ready_pods(rolling)
        assert new.metadata.name != old
        k8s.run_pod("client-rolled", CLIENT, new.status.pod_ip, "9", "0", "4")
        until(lambda: k8s.phase("client-rolled") == "Succeeded", "the client is done")

        podmirror.interrupt()
        process.kill()
        assert process.stdout is not None
        assert received(process.stdout.read()) == expected(4, 9)
        assert "what came in between is not mirrored" in podmirror.err
    told = json.loads(ledger.read_text())
    assert [pod["pod"] for pod in told["pods"]] == [old, new.metadata.name]
    assert [(move["from"], move["to"]) for move in told["moves"]] == [(old, new.metadata.name)]
    assert told["moves"][0]["seconds"] < FOLLOW_SECONDS
    assert told["lost_connections"] == 0


def test_all_pods_of_a_deployment_are_mirrored_and_labelled(
    k8s: E2ECluster, local_port: int, tmp_path: Path
) -> None:
    k8s.deploy("many", APP, replicas=REPLICAS)
    ledger = tmp_path / "ledger.json"
    arguments = [
        "mirror",
        *k8s.session_arguments("deployment/many"),
        "-p",
        f"8080:{local_port}",
        "--all-pods",
    ]
    try:
        with (
            local(local_port) as process,
            Podmirror(k8s, *arguments, "-v", "--ledger", str(ledger)) as podmirror,
        ):
            podmirror.until_said("mirroring; Ctrl-C")
            pods = {pod.metadata.name: pod.status.pod_ip for pod in k8s.ready_pods("many")}
            for number, address in enumerate(pods.values()):
                k8s.run_pod(f"client-many-{number}", CLIENT, address, str(REQUESTS), "0", str(number))
            for number in range(REPLICAS):
                until(
                    lambda number=number: k8s.phase(f"client-many-{number}") == "Succeeded",
                    "a client is done",
                )

            podmirror.interrupt()
            process.kill()
            assert process.stdout is not None
            lines = sorted(line.rstrip() for line in process.stdout)
            wanted = sorted(
                f"{path} {digest}"
                for number in range(REPLICAS)
                for path, digest in expected(number, REQUESTS).items()
            )
            assert lines == wanted
            for pod in pods:
                assert f" of {pod} whole" in podmirror.err
        told = {pod["pod"]: pod["complete_connections"] for pod in json.loads(ledger.read_text())["pods"]}
        assert told == dict.fromkeys(pods, REQUESTS // 3)
    finally:
        k8s.apps.delete_namespaced_deployment("many", k8s.namespace)


def test_a_pod_that_stands_for_itself_ends_the_session_when_it_goes(
    k8s: E2ECluster, rolling: str, local_port: int
) -> None:
    (pod,) = (pod.metadata.name for pod in k8s.ready_pods(rolling))
    with Podmirror(
        k8s, "mirror", *k8s.session_arguments(f"pod/{pod}"), "-p", f"8080:{local_port}"
    ) as podmirror:
        podmirror.until_said("mirroring; Ctrl-C")
        k8s.core.delete_namespaced_pod(pod, k8s.namespace)
        lost = 4
        assert podmirror.wait() == lost
        assert "a pod is not followed: name its workload as the target" in podmirror.err
