"""How sessions end, and what is said when they cannot begin."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from e2e.cluster import AGENT_IMAGE, CLIENT, E2ECluster, until
from e2e.running import refusal
from e2e.sessions import Podmirror
from tests.stopwatch import Stopwatch


def agent_pid(k8s: E2ECluster, name: str) -> int:
    """Find the process of an agent on this machine by its verifier, which stands in its arguments and in the pod's spec."""
    for pod in k8s.core.list_namespaced_pod(k8s.namespace).items:
        for container in pod.spec.ephemeral_containers or []:
            if container.name == name:
                verifier = container.args[container.args.index("--verifier") + 1]
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if verifier.encode() in arguments and b"podmirror_agent" in arguments[:4] and b"-m" in arguments[:4]:
            found.append(int(process.name))
    if not found:
        pytest.skip("the cluster's node is another machine")
    return max(found)


def agent_name(podmirror: Podmirror) -> str:
    return podmirror.err.split("injected ephemeral container ")[1].split()[0]


def test_the_agent_ends_within_two_seconds_of_an_interrupt(k8s: E2ECluster, local_port: int) -> None:
    pod = k8s.ready_pods("app")[0].metadata.name
    with Podmirror(
        k8s, "mirror", *k8s.session_arguments(f"pod/{pod}"), "-p", f"8080:{local_port}"
    ) as podmirror:
        podmirror.until_said("mirroring")
        name = agent_name(podmirror)

        began = time.time()
        with Stopwatch() as ending:
            assert podmirror.interrupt() == 0

            until(lambda: ended_agent(k8s, pod, name) is not None, "the agent has ended")
        ended = ended_agent(k8s, pod, name)
        assert ended.exit_code == 0
        assert ended.finished_at.timestamp() - began < 2.0 + ending.held_up
        assert json.loads(ended.message)["reason"].startswith("the layer said goodbye")


def ended_agent(k8s: E2ECluster, pod: str, name: str):
    return next(each.state.terminated for each in k8s.agents(pod) if each.name == name)


def test_a_killed_agent_costs_the_app_nothing_and_mirror_says_so(k8s: E2ECluster, local_port: int) -> None:
    host = k8s.ready_pods("app")[0].status.pod_ip
    with Podmirror(
        k8s, "mirror", *k8s.session_arguments("deployment/app"), "-p", f"8080:{local_port}"
    ) as podmirror:
        podmirror.until_said("mirroring")
        victim = agent_pid(k8s, agent_name(podmirror))
        k8s.run_pod("client-kill", CLIENT, host, "300", "0.01", "4")
        until(lambda: k8s.phase("client-kill") == "Running", "the client runs")

        with Stopwatch() as noticing:
            os.kill(victim, signal.SIGKILL)

            assert podmirror.wait() == 4
        assert noticing.seconds < 2.0
        assert "agent" in podmirror.err.splitlines()[-1]
        until(lambda: k8s.phase("client-kill") == "Succeeded", "the client is done")
        assert json.loads(k8s.log("client-kill")) == {"sent": 300, "failed": 0}


def test_exec_leaves_its_command_running_when_the_agent_is_killed(k8s: E2ECluster, tmp_path: Path) -> None:
    arguments = ["exec", *k8s.session_arguments("deployment/app"), "-p", "8080:3999"]
    told = tmp_path / "told"
    command = f"import os, time\nwhile not os.path.exists({str(told)!r}): time.sleep(0.05)\nprint('done')"
    with Podmirror(k8s, *arguments, "--", sys.executable, "-c", command) as podmirror:
        podmirror.until_said("subscribed: port 8080")

        with Stopwatch() as noticing:
            os.kill(agent_pid(k8s, agent_name(podmirror)), signal.SIGKILL)

            podmirror.until_said("goes on without mirrored traffic")
        assert noticing.seconds < 2.5
        told.touch()
        assert podmirror.wait() == 4
        assert podmirror.out == "done\n"


def test_an_agent_whose_layer_was_killed_ends_after_its_ttl(k8s: E2ECluster) -> None:
    pod = k8s.ready_pods("app")[0].metadata.name
    arguments = ["mirror", *k8s.session_arguments(f"pod/{pod}"), "-p", "8080:3999", "--agent-ttl", "2"]
    with Podmirror(k8s, *arguments) as podmirror:
        podmirror.until_said("mirroring")
        name = agent_name(podmirror)

        podmirror.process.kill()

        until(lambda: ended_agent(k8s, pod, name) is not None, "the agent has ended")
        assert "none came back for 2 s" in ended_agent(k8s, pod, name).message


def test_a_missing_target_is_refused_in_one_sentence(k8s: E2ECluster) -> None:
    said = refusal(k8s, "mirror", *k8s.session_arguments("deployment/nope"), "-p", "80:3999")
    assert 'deployments.apps "nope" not found' in said
    said = refusal(k8s, "mirror", *k8s.session_arguments("pod/nope"), "-p", "80:3999")
    assert 'pods "nope" not found' in said


def test_a_missing_container_is_refused_with_those_there_are(k8s: E2ECluster) -> None:
    said = refusal(k8s, "mirror", *k8s.session_arguments("deployment/app/container/nope"), "-p", "80:3999")
    assert "has no container 'nope'; it has app" in said


def test_an_image_that_cannot_be_had_is_refused_in_the_kubelets_words(k8s: E2ECluster) -> None:
    k8s.run_pod("imageless", "import time; time.sleep(600)")
    until(lambda: k8s.phase("imageless") == "Running", "the pod runs")
    arguments = [
        *k8s.session_arguments("pod/imageless"),
        "-p",
        "80:3999",
        "--agent-image",
        "podmirror-agent:nope",
    ]
    said = refusal(k8s, "mirror", *arguments, "--image-pull-policy", "Never", seconds=10)
    assert "is not present with pull policy of Never" in said


def test_a_taken_agent_name_is_refused(k8s: E2ECluster) -> None:
    pod = k8s.ready_pods("app")[0].metadata.name
    arguments = [
        "mirror",
        *k8s.session_arguments(f"pod/{pod}"),
        "-p",
        "80:3999",
        "--agent-name",
        "podmirror-taken",
    ]
    with Podmirror(k8s, *arguments) as podmirror:
        podmirror.until_said("mirroring")

        said = refusal(k8s, *arguments)

        assert "the name 'podmirror-taken' is taken in this pod" in said
        podmirror.interrupt()


def test_a_pod_that_is_being_deleted_is_refused(k8s: E2ECluster) -> None:
    program = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    k8s.run_pod("leaving", program, grace=30)
    until(lambda: k8s.phase("leaving") == "Running", "the pod runs")
    k8s.core.delete_namespaced_pod("leaving", k8s.namespace)

    said = refusal(k8s, "mirror", *k8s.session_arguments("pod/leaving"), "-p", "80:3999")

    assert "is being deleted" in said
    k8s.core.delete_namespaced_pod("leaving", k8s.namespace, grace_period_seconds=0)


def test_a_pod_that_crashes_in_a_loop_is_a_target(k8s: E2ECluster) -> None:
    k8s.core.create_namespaced_pod(
        k8s.namespace,
        {
            "metadata": {"name": "crashing"},
            "spec": {
                "containers": [
                    {
                        "name": "crashing",
                        "image": k8s.app_image,
                        "imagePullPolicy": "IfNotPresent",
                        "command": ["python3", "-c", "raise SystemExit(1)"],
                    }
                ]
            },
        },
    )
    until(
        lambda: (
            (k8s.core.read_namespaced_pod("crashing", k8s.namespace).status.container_statuses or [None])[0]
            and k8s.core.read_namespaced_pod("crashing", k8s.namespace)
            .status.container_statuses[0]
            .restart_count
            > 0
        ),
        "it crashed",
    )
    with Podmirror(k8s, "mirror", *k8s.session_arguments("pod/crashing"), "-p", "80:3999") as podmirror:
        podmirror.until_said("mirroring")
        assert podmirror.interrupt() == 0


def test_the_secret_is_in_no_spec(k8s: E2ECluster) -> None:
    pod = k8s.ready_pods("app")[0].metadata.name
    spec = k8s.core.read_namespaced_pod(pod, k8s.namespace).spec
    agents = [each for each in spec.ephemeral_containers or [] if each.name.startswith("podmirror-")]
    for container in agents:
        assert container.args[:1] == ["--ports"]
        assert not container.env
        assert container.target_container_name is None
        assert container.image in (AGENT_IMAGE, "podmirror-agent:nope")
