"""Agents that are used again: after a layer was killed, and by two sessions at a time."""

from pathlib import Path

import pytest

from e2e.cluster import E2ECluster, until
from e2e.sessions import Podmirror


@pytest.fixture(autouse=True)
def _state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def running_agents(k8s: E2ECluster, pod: str) -> list[str]:
    return [each.name for each in k8s.agents(pod) if each.state.running is not None]


def test_the_agent_of_a_killed_layer_is_used_again(k8s: E2ECluster, local_port: int) -> None:
    pod = k8s.ready_pods("app")[0].metadata.name
    until(lambda: not running_agents(k8s, pod), "no agent runs", seconds=40)
    arguments = ["mirror", *k8s.session_arguments(f"pod/{pod}"), "-p", f"8080:{local_port}"]
    with Podmirror(k8s, *arguments) as killed:
        killed.until_said("mirroring")
        (name,) = running_agents(k8s, pod)
        entries = len(k8s.agents(pod))
        killed.process.kill()
        killed.process.wait()

    with Podmirror(k8s, *arguments) as again:
        again.until_said("mirroring")

        assert f"reused {name}" in again.err
        assert len(k8s.agents(pod)) == entries
        assert again.interrupt() == 0

    until(lambda: not running_agents(k8s, pod), "the agent has ended, whoever it waited for", seconds=20)


def test_two_sessions_share_an_agent(k8s: E2ECluster, local_port: int) -> None:
    pod = k8s.ready_pods("app")[0].metadata.name
    until(lambda: not running_agents(k8s, pod), "no agent runs", seconds=40)
    arguments = ["mirror", *k8s.session_arguments(f"pod/{pod}"), "-p", f"8080:{local_port}"]
    with Podmirror(k8s, *arguments) as first:
        first.until_said("mirroring")
        (name,) = running_agents(k8s, pod)
        with Podmirror(k8s, *arguments) as second:
            second.until_said("mirroring")
            assert f"reused {name}" in second.err

            assert first.interrupt() == 0
            assert running_agents(k8s, pod) == [name]
            assert second.interrupt() == 0

    until(lambda: not running_agents(k8s, pod), "the agent has ended", seconds=20)
