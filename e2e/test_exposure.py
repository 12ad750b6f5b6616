"""What an agent could do, who can reach it, and what it holds up: nothing, nobody, nothing."""

import json
from pathlib import Path

import pytest

from e2e.agentprocesses import Agent, agent_of
from e2e.cluster import E2ECluster, code, until
from e2e.sessions import Podmirror
from e2e.shops import jobs, pod_is_gone
from tests.stopwatch import Stopwatch

KINDS = pytest.mark.parametrize("kind", ["ephemeral", "job"])

NET_RAW, SYS_PTRACE, SYS_ADMIN = 1 << 13, 1 << 19, 1 << 21  # linux/capability.h
BOUNDING = {"ephemeral": NET_RAW, "job": NET_RAW | SYS_PTRACE | SYS_ADMIN}

GONE_SECONDS = 60.0
GREETING_BYTES = 256
"""More than an agent says to a stranger."""

PROBE = """
    import json, socket, sys

    found = {}
    for port in sys.argv[2:]:
        try:
            with socket.create_connection((sys.argv[1], int(port)), timeout=2) as peer:
                said = b""
                peer.settimeout(10)
                peer.sendall(b"let me in, please" * 4)
                try:
                    while piece := peer.recv(65536):
                        said += piece
                except ConnectionResetError:
                    pass
                found[port] = len(said)
        except OSError as error:
            found[port] = type(error).__name__
    print(json.dumps(found), flush=True)
"""
"""Tries ports; prints for each how many bytes were said before it was closed, or the error."""


def mirror(k8s: E2ECluster, target: str, kind: str, *arguments: str) -> Podmirror:
    options = [*k8s.session_arguments(target), "--agent", kind, "-p", "8080:3999", *arguments]
    return Podmirror(k8s, "mirror", *options)


@KINDS
def test_no_thread_of_the_agent_can_do_anything(k8s: E2ECluster, kind: str) -> None:
    with mirror(k8s, "deployment/app", kind) as podmirror:
        podmirror.until_said("mirroring")
        pids = agent_of(k8s, podmirror).pids
        if not pids:
            pytest.skip("the node is another machine, so its processes do not show here")
        threads = [each for pid in pids for each in Path(f"/proc/{pid}/task").glob("*/status")]
        assert threads
        for thread in threads:
            fields = dict(line.split(":\t", 1) for line in thread.read_text().splitlines() if ":\t" in line)
            for capabilities in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
                assert int(fields[capabilities], 16) == 0, capabilities
            assert int(fields["CapBnd"], 16) == BOUNDING[kind], "as the runtime left it"
            assert fields["NoNewPrivs"] == "1"
        assert podmirror.interrupt() == 0
    until(lambda: not jobs(k8s), "the Job is gone", seconds=GONE_SECONDS)


@KINDS
def test_no_other_pod_reaches_the_agent_and_nobody_without_the_secret(k8s: E2ECluster, kind: str) -> None:
    with mirror(k8s, "deployment/app", kind) as podmirror:
        podmirror.until_said("mirroring")
        agent = agent_of(k8s, podmirror)
        address = k8s.core.read_namespaced_pod(agent.pod, k8s.namespace).status.pod_ip

        k8s.run_pod(f"outside-{kind}", PROBE, address, *agent.ports)
        until(lambda: k8s.phase(f"outside-{kind}") == "Succeeded", "the other pod has tried")
        outside = json.loads(k8s.log(f"outside-{kind}"))
        assert set(outside.values()) == {"ConnectionRefusedError"}

        inside = said_inside(k8s, agent)
        greetings = [each for each in inside.values() if isinstance(each, int)]
        assert len(greetings) == 1, inside
        assert 0 < greetings[0] < GREETING_BYTES

        assert podmirror.interrupt() == 0
    until(lambda: not jobs(k8s), "the Job is gone", seconds=GONE_SECONDS)


def said_inside(k8s: E2ECluster, agent: Agent) -> dict[str, object]:
    """Try the agent's ports from a container of its pod."""
    container = {
        "name": f"probe-{agent.ports[0]}",
        "image": k8s.app_image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", code(PROBE), "127.0.0.1", *agent.ports],
    }
    k8s.core.patch_namespaced_pod_ephemeralcontainers(
        agent.pod, k8s.namespace, {"spec": {"ephemeralContainers": [container]}}
    )
    name = container["name"]
    until(
        lambda: any(each.name == name and each.state.terminated for each in k8s.agents(agent.pod)),
        "the probe has ended",
    )
    log = k8s.core.read_namespaced_pod_log(agent.pod, k8s.namespace, container=name, _preload_content=False)
    return json.loads(log.data)


@KINDS
def test_the_end_of_the_target_waits_for_no_agent(k8s: E2ECluster, kind: str) -> None:
    polite = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); time.sleep(600)"
    )
    name = f"polite-{kind}"
    grace = 30
    k8s.run_pod(name, polite, grace=grace)
    until(lambda: k8s.phase(name) == "Running", "the pod runs")
    with mirror(k8s, f"pod/{name}", kind) as podmirror:
        podmirror.until_said("mirroring")
        with Stopwatch() as leaving:
            k8s.core.delete_namespaced_pod(name, k8s.namespace)

            until(lambda: pod_is_gone(k8s, name), "the target is gone")

        assert leaving.seconds < 5.0, "nothing of the grace period was waited for"
        podmirror.process.terminate()
        podmirror.wait()
    until(lambda: not jobs(k8s), "the Job has gone with its target", seconds=GONE_SECONDS)
