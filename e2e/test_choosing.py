"""Which agent `--agent auto` takes where something is forbidden, and what is said where nothing is left."""

import sys

import pytest

from e2e.bodies import drive, expected, received
from e2e.cluster import LOCAL, E2ECluster, code, until
from e2e.running import refusal
from e2e.sessions import Podmirror
from e2e.shops import jobs, shop

REQUESTS = 200
GONE_SECONDS = 60.0


def mirror(k8s: E2ECluster, *arguments: str) -> list[str]:
    return ["mirror", *k8s.session_arguments("pod/app"), "-p", "8080:3999", *arguments]


def deliver(k8s: E2ECluster, place: E2ECluster, name: str, local_port: int, *arguments: str) -> str:
    """Deliver requests to the app of a namespace, sent from the run's own; give what podmirror said."""
    line = ["exec", *place.session_arguments("pod/app"), "-p", f"8080:{local_port}", *arguments]
    command = [sys.executable, "-c", code(LOCAL), str(local_port)]
    host = place.core.read_namespaced_pod("app", place.namespace).status.pod_ip
    with Podmirror(place, *line, "--", *command) as podmirror:
        podmirror.until_said("subscribed: port 8080")
        drive(k8s, name, 11, REQUESTS, host=host)
        until(lambda: len(received(podmirror.out)) == REQUESTS, "all requests have arrived")
        assert received(podmirror.out) == expected(11, REQUESTS)
        podmirror.interrupt()
        assert "Nothing was lost." in podmirror.err
        return podmirror.err


def test_baseline_gets_an_agent_without_an_added_capability(k8s: E2ECluster, local_port: int) -> None:
    with shop(k8s, "baseline", level="baseline") as place:
        said = deliver(k8s, place, "client-baseline", local_port)

        assert "injected ephemeral container" in said
        assert "does not admit NET_RAW to be added" in said
        (agent,) = place.core.read_namespaced_pod("app", place.namespace).spec.ephemeral_containers
        assert agent.security_context.capabilities is None
        assert agent.security_context.privileged is None
        assert not jobs(place)


def test_restricted_gets_a_job_in_a_namespace_for_agents(k8s: E2ECluster, local_port: int) -> None:
    with shop(k8s, "restricted", level="restricted") as place, shop(k8s, "agents") as agents:
        said = deliver(k8s, place, "client-restricted", local_port, "--agent-namespace", agents.namespace)

        assert f"injected Job {agents.namespace}/podmirror-" in said
        assert "the agent is a Job, since the agent could not be added to pod" in said
        assert 'violates PodSecurity "restricted:latest"' in said
        assert not place.core.read_namespaced_pod("app", place.namespace).spec.ephemeral_containers
        until(lambda: not jobs(agents), "the Job is gone", seconds=GONE_SECONDS)


def test_restricted_without_such_a_namespace_is_refused_with_the_way_out(k8s: E2ECluster) -> None:
    with shop(k8s, "strict", level="restricted") as place:
        said = refusal(place, *mirror(place))

        assert said.count('violates PodSecurity "restricted:latest"') == 2
        assert "name a namespace that admits it with --agent-namespace" in said
        assert not jobs(place)


@pytest.mark.parametrize(
    ("name", "level", "quota", "words"),
    [
        ("job-baseline", "baseline", None, 'violates PodSecurity "baseline:latest"'),
        ("job-restricted", "restricted", None, 'violates PodSecurity "restricted:latest"'),
        (
            "job-memory",
            None,
            {"requests.memory": "32Mi"},
            "exceeded quota: tight, requested: requests.memory=",
        ),
        (
            "job-pods",
            None,
            {"pods": "1"},
            "exceeded quota: tight, requested: pods=1, used: pods=1, limited: pods=1",
        ),
    ],
)
def test_a_job_whose_pod_is_refused_is_taken_away_again(
    k8s: E2ECluster, name: str, level: str | None, quota: dict[str, str] | None, words: str
) -> None:
    with shop(k8s, name, level=level, quota=quota) as place:
        said = refusal(place, *mirror(place, "--agent", "job"))

        assert words in said
        assert "--agent-namespace" in said
        assert not jobs(place)


def test_a_quota_that_makes_limits_mandatory_is_met(k8s: E2ECluster) -> None:
    generous = {f"{each}.{what}": "4Gi" if what == "memory" else "8" for each in ("requests", "limits")
                for what in ("cpu", "memory")}  # fmt: skip
    with shop(k8s, "counted", quota=generous) as place:
        with Podmirror(place, *mirror(place, "--agent", "job")) as podmirror:
            podmirror.until_said("mirroring")
            assert podmirror.interrupt() == 0
        until(lambda: not jobs(place), "the Job is gone", seconds=GONE_SECONDS)
