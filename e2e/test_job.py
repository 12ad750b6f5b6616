"""An agent that is a Job on its target's node: it delivers what an ephemeral one does, and leaves nothing behind."""

import sys
from pathlib import Path

import psutil
import pytest
from kubernetes import client

from e2e.bodies import drive, expected, received
from e2e.cluster import LOCAL, E2ECluster, code, until
from e2e.sessions import Podmirror

REQUESTS = 1000
GONE_SECONDS = 20.0
"""For Kubernetes to delete a Job's pod: the agent itself ends at once."""


def jobs(k8s: E2ECluster) -> list[str]:
    batch = client.BatchV1Api(k8s.core.api_client)
    return [job.metadata.name for job in batch.list_namespaced_job(k8s.namespace).items]


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

        until(lambda: len(received(podmirror.out)) == REQUESTS, "all requests have arrived", seconds=30)
        assert received(podmirror.out) == expected(7, REQUESTS)
        podmirror.interrupt()
        assert "Nothing was lost." in podmirror.err
    until(lambda: not jobs(k8s), "the Job is gone", seconds=GONE_SECONDS)


def test_the_agent_of_a_job_has_given_up_every_capability(k8s: E2ECluster, local_port: int) -> None:
    arguments = [
        "mirror",
        *k8s.session_arguments("deployment/app"),
        "--agent",
        "job",
        "-p",
        f"8080:{local_port}",
    ]
    with Podmirror(k8s, *arguments) as podmirror:
        podmirror.until_said("mirroring")
        (name,) = jobs(k8s)
        statuses = [
            status.read_text()
            for process in agents_on_this_machine()
            for status in Path(f"/proc/{process.pid}/task").glob("*/status")
        ]
        if not statuses:
            pytest.skip("the node is another machine, so its processes do not show here")
        for status in statuses:
            fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
            for capabilities in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
                assert int(fields[capabilities], 16) == 0, capabilities
            assert fields["NoNewPrivs"].strip() == "1"
        pods = k8s.core.list_namespaced_pod(
            k8s.namespace, label_selector=f"batch.kubernetes.io/job-name={name}"
        ).items
        assert not pods[0].spec.host_network
        assert pods[0].spec.host_pid
        podmirror.interrupt()
    until(lambda: not jobs(k8s), "the Job is gone", seconds=GONE_SECONDS)


def agents_on_this_machine() -> list[psutil.Process]:
    """Find them by their command, and not those of the programs that started them with it."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if "--container" in (process.info["cmdline"] or [])
        and process.info["cmdline"][1:3] == ["-m", "podmirror_agent"]
    ]


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


def test_a_namespace_for_agents(k8s: E2ECluster, local_port: int) -> None:
    namespace = f"{k8s.namespace}-agents"
    k8s.core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=namespace)))
    try:
        if not k8s.is_sandbox:
            until(lambda: has_account(k8s, namespace), "the namespace's service account is there")
        arguments = ["mirror", *k8s.session_arguments("deployment/app"), "-p", f"8080:{local_port}"]
        with Podmirror(k8s, *arguments, "--agent", "job", "--agent-namespace", namespace) as podmirror:
            podmirror.until_said("mirroring")
            assert f"injected Job {namespace}/podmirror-" in podmirror.err
            assert not jobs(k8s)
            podmirror.interrupt()
    finally:
        k8s.core.delete_namespace(namespace)


def has_account(k8s: E2ECluster, namespace: str) -> bool:
    accounts = k8s.core.list_namespaced_service_account(namespace).items
    return any(account.metadata.name == "default" for account in accounts)


def test_a_namespace_that_is_not_there(k8s: E2ECluster, local_port: int) -> None:
    arguments = ["mirror", *k8s.session_arguments("deployment/app"), "-p", f"8080:{local_port}"]
    with Podmirror(k8s, *arguments, "--agent", "job", "--agent-namespace", "no-such") as podmirror:
        not_started = 5
        assert podmirror.wait() == not_started
        assert 'namespaces "no-such" not found; create the namespace' in podmirror.err
