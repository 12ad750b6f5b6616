"""What `doctor` says that works, does, and it leaves no trace."""

import json

from kubernetes import client

from e2e.cluster import E2ECluster
from e2e.running import run
from e2e.shops import enforced


def diagnosis(k8s: E2ECluster, *arguments: str) -> tuple[int, dict]:
    done = run(k8s, "doctor", "-n", k8s.namespace, "-o", "json", *arguments)
    return done.returncode, json.loads(done.stdout)


def modes(found: dict) -> dict[str, dict]:
    return {each["mode"]: each for each in found["modes"]}


def test_where_nothing_is_forbidden_every_way_works(k8s: E2ECluster) -> None:
    code, found = diagnosis(k8s, "-t", "deployment/app")

    assert code == 0
    assert [each["works"] for each in found["modes"]] == [True, True, True]


def test_nothing_is_stored(k8s: E2ECluster) -> None:
    batch = client.BatchV1Api(k8s.core.api_client)
    jobs = len(batch.list_namespaced_job(k8s.namespace).items)
    pod = k8s.ready_pods("app")[0].metadata.name
    before = k8s.core.read_namespaced_pod(pod, k8s.namespace).spec

    diagnosis(k8s, "-t", f"pod/{pod}")

    assert k8s.core.read_namespaced_pod(pod, k8s.namespace).spec == before
    assert len(batch.list_namespaced_job(k8s.namespace).items) == jobs


def test_a_table_for_people(k8s: E2ECluster) -> None:
    done = run(k8s, "doctor", "-n", k8s.namespace, "-t", "deployment/app")

    assert done.returncode == 0
    assert "ephemeral, NET_RAW added" in done.stdout
    assert f"on pod {k8s.namespace}/app-" in done.stdout


def test_a_missing_target_is_named_and_nothing_works_for_it(k8s: E2ECluster) -> None:
    code, found = diagnosis(k8s, "-t", "deployment/nope")

    assert code == 5
    assert 'deployments.apps "nope" not found' in found["notes"][0]


def test_baseline_leaves_the_default_capabilities(k8s: E2ECluster) -> None:
    k8s.run_pod("plain", "import time; time.sleep(600)")
    with enforced(k8s, "baseline"):
        code, found = diagnosis(k8s, "-t", "pod/plain")

    assert code == 0
    assert not modes(found)["ephemeral, NET_RAW added"]["works"]
    assert 'violates PodSecurity "baseline:latest"' in modes(found)["ephemeral, NET_RAW added"]["refusals"][0]
    assert modes(found)["ephemeral, default capabilities"]["works"]
    assert "hostPID=true" in modes(found)["job"]["refusals"][0]


def test_restricted_leaves_a_job_elsewhere(k8s: E2ECluster) -> None:
    k8s.run_pod("strict", "import time; time.sleep(600)")
    with enforced(k8s, "restricted"):
        code, found = diagnosis(k8s, "-t", "pod/strict")
        code_elsewhere, elsewhere = diagnosis(k8s, "-t", "pod/strict", "--agent-namespace", "default")

    assert code == 5
    assert "pod-security.kubernetes.io/enforce: privileged" in modes(found)["job"]["apply"]

    assert code_elsewhere == 0
    assert modes(elsewhere)["job"]["works"]
