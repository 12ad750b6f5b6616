"""An agent that is a Job on its target's node: it delivers what an ephemeral one does, and leaves nothing behind."""

import sys
from pathlib import Path

import pytest
from kubernetes import client

from e2e.agentprocesses import agent_of
from e2e.bodies import drive, expected, received
from e2e.cluster import LOCAL, E2ECluster, code, until
from e2e.sessions import Podmirror
from e2e.shops import jobs, shop
from e2e.workloads import MORTAL, end_app

REQUESTS = 1000
GONE_SECONDS = 60.0
"""For Kubernetes to delete a Job's pod: the agent itself ends at once."""


@pytest.mark.parametrize("kind", ["ephemeral", "job"])
def test_either_kind_of_agent_delivers_every_request(k8s: E2ECluster, local_port: int, kind: str) -> None:
    arguments = [
        "exec",
        *k8s.session_arguments("deployment/app"),
        "--agent",
        kind,
        "-p",
        f"8080:{local_port}",
    ]
    with Podmirror(k8s, *arguments, "--", sys.executable, "-c", code(LOCAL), str(local_port)) as podmirror:
        podmirror.until_said("subscribed: port 8080")
        assert len(jobs(k8s)) == (kind == "job")

        drive(k8s, f"client-{kind}", 7, REQUESTS)

        until(lambda: len(received(podmirror.out)) == REQUESTS, "all requests have arrived")
        assert received(podmirror.out) == expected(7, REQUESTS)
        podmirror.interrupt()
        assert "Nothing was lost." in podmirror.err
    until(lambda: not jobs(k8s), "the Job is gone", seconds=GONE_SECONDS)


def test_a_killed_layer_leaves_a_job_that_ends_by_itself(k8s: E2ECluster, local_port: int) -> None:
    arguments = [
        "mirror",
        *k8s.session_arguments("deployment/app"),
        "--agent",
        "job",
        "-p",
        f"8080:{local_port}",
    ]
    with Podmirror(k8s, *arguments, "--agent-ttl", "2") as podmirror:
        podmirror.until_said("mirroring")
        (name,) = jobs(k8s)
        podmirror.process.kill()
        batch = client.BatchV1Api(k8s.core.api_client)
        until(
            lambda: batch.read_namespaced_job(name, k8s.namespace).status.succeeded == 1,
            "the agent has ended, and the Job with it",
            seconds=GONE_SECONDS,
        )
        batch.delete_namespaced_job(name, k8s.namespace, propagation_policy="Background")
    until(lambda: not jobs(k8s), "the Job is gone", seconds=GONE_SECONDS)


def test_a_container_that_starts_anew_is_mirrored_on(k8s: E2ECluster, local_port: int) -> None:
    k8s.core.create_namespaced_pod(
        k8s.namespace,
        {
            "metadata": {"name": "mortal"},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [
                    {
                        "name": "mortal",
                        "image": k8s.app_image,
                        "imagePullPolicy": "IfNotPresent",
                        "command": ["python3", "-c", code(MORTAL)],
                    }
                ],
            },
        },
    )
    k8s.until_listening("mortal")
    arguments = ["exec", *k8s.session_arguments("pod/mortal"), "--agent", "job", "-p", f"8080:{local_port}"]
    with Podmirror(k8s, *arguments, "--", sys.executable, "-c", code(LOCAL), str(local_port)) as podmirror:
        podmirror.until_said("subscribed: port 8080")
        address = k8s.core.read_namespaced_pod("mortal", k8s.namespace).status.pod_ip
        end_app(k8s, "end-mortal", address, "/badly")
        until(lambda: has_started_anew(k8s, "mortal"), "the app has started anew")

        drive(k8s, "client-mortal", 5, 20, host=address)

        until(lambda: len(received(podmirror.out)) == 20, "all requests have arrived")
        assert received(podmirror.out) == expected(5, 20)
        podmirror.interrupt()
    k8s.core.delete_namespaced_pod("mortal", k8s.namespace, grace_period_seconds=0)


def has_started_anew(k8s: E2ECluster, pod: str) -> bool:
    found = k8s.core.read_namespaced_pod(pod, k8s.namespace)
    (status,) = found.status.container_statuses
    return status.restart_count > 0 and status.state.running is not None and k8s.listens(found)


def test_a_job_may_be_privileged(k8s: E2ECluster, local_port: int) -> None:
    arguments = ["mirror", *k8s.session_arguments("deployment/app"), "-p", f"8080:{local_port}"]
    with Podmirror(k8s, *arguments, "--agent", "job", "--privileged") as podmirror:
        podmirror.until_said("mirroring")
        agent = agent_of(k8s, podmirror)
        (container,) = k8s.core.read_namespaced_pod(agent.pod, k8s.namespace).spec.containers
        assert container.security_context.privileged
        for pid in agent.pids:
            status = Path(f"/proc/{pid}/status").read_text()
            assert "CapEff:\t0000000000000000" in status, "it gives up what it has all the same"
        assert podmirror.interrupt() == 0
    until(lambda: not jobs(k8s), "the Job is gone", seconds=GONE_SECONDS)


def test_a_namespace_for_agents(k8s: E2ECluster, local_port: int) -> None:
    with shop(k8s, "agents-apart") as apart:
        arguments = ["mirror", *k8s.session_arguments("deployment/app"), "-p", f"8080:{local_port}"]
        with Podmirror(k8s, *arguments, "--agent", "job", "--agent-namespace", apart.namespace) as podmirror:
            podmirror.until_said("mirroring")
            assert f"injected Job {apart.namespace}/podmirror-" in podmirror.err
            assert not jobs(k8s)
            podmirror.interrupt()
        until(lambda: not jobs(apart), "the Job is gone", seconds=GONE_SECONDS)


def test_a_namespace_that_is_not_there(k8s: E2ECluster, local_port: int) -> None:
    arguments = ["mirror", *k8s.session_arguments("deployment/app"), "-p", f"8080:{local_port}"]
    with Podmirror(k8s, *arguments, "--agent", "job", "--agent-namespace", "no-such") as podmirror:
        not_started = 5
        assert podmirror.wait() == not_started
        assert 'namespaces "no-such" not found; create the namespace' in podmirror.err
