"""Sessions that survive: the API server goes and comes back, and the session goes on."""

import json
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from e2e.bodies import drive, expected, received
from e2e.cluster import APP, CLIENT, LOCAL, RETURN_SECONDS, E2ECluster, code, until
from e2e.sessions import Podmirror
from e2e.workloads import replicated, restart

REQUESTS = 400


def test_a_session_survives_a_restart_of_the_api_server(
    k8s: E2ECluster, local_port: int, tmp_path: Path
) -> None:
    pod = k8s.ready_pods("app")[0]
    ledger = tmp_path / "ledger.json"
    entries = len(pod.spec.ephemeral_containers or [])
    arguments = ["exec", *k8s.session_arguments(f"pod/{pod.metadata.name}"), "-p", f"8080:{local_port}"]
    arguments += ["--ledger", str(ledger), "--", sys.executable, "-c", code(LOCAL), str(local_port)]
    with Podmirror(k8s, *arguments) as podmirror:
        podmirror.until_said("subscribed: port 8080")
        k8s.run_pod("client-resume", CLIENT, pod.status.pod_ip, str(REQUESTS), "0.05", "7")
        until(lambda: k8s.phase("client-resume") == "Running", "the client runs")
        until(lambda: len(podmirror.out.splitlines()) > 10, "requests arrive")

        k8s.restart_apiserver()

        podmirror.until_said("the tunnel was lost")
        podmirror.until_said("resumed after")
        assert "nothing was missed" in podmirror.err
        until(lambda: k8s.phase("client-resume") == "Succeeded", "the client is done")
        assert json.loads(k8s.log("client-resume")) == {"sent": REQUESTS, "failed": 0}
        with suppress(AssertionError):  # the ledger says why not
            until(lambda: len(podmirror.out.splitlines()) >= REQUESTS, "all have arrived")
        podmirror.interrupt()
        assert "Nothing was lost." in podmirror.err, podmirror.err

        paths = sorted(int(line.split()[0].removeprefix("/")) for line in podmirror.out.splitlines())
        assert paths == list(range(REQUESTS))
    assert json.loads(ledger.read_text())["lost_bytes"] == 0
    after = k8s.core.read_namespaced_pod(pod.metadata.name, k8s.namespace)
    assert len(after.spec.ephemeral_containers) == entries + 1


@pytest.mark.timeout(360)
def test_a_session_survives_rollouts_and_a_restart_of_the_api_server(
    k8s: E2ECluster, local_port: int, tmp_path: Path
) -> None:
    replicated(k8s, "Deployment", "lasting", APP)
    ledger = tmp_path / "ledger.json"
    arguments = ["exec", *k8s.session_arguments("deployment/lasting"), "-p", f"8080:{local_port}"]
    arguments += ["--ledger", str(ledger), "--", sys.executable, "-c", code(LOCAL), str(local_port)]
    with Podmirror(k8s, *arguments) as podmirror:
        podmirror.until_said("subscribed: port 8080")

        def roll(times: int) -> None:
            restart(k8s, "Deployment", "lasting", now=str(times))
            until(
                lambda: podmirror.err.count("moved on from pod") == times,
                "the session has moved",
                seconds=RETURN_SECONDS,
            )
            until(lambda: len(k8s.ready_pods("lasting")) == 1, "the old pod is gone")

        def have_arrived(count: int) -> bool:
            return len(podmirror.out.splitlines()) == count

        roll(1)
        (pod,) = k8s.ready_pods("lasting")
        k8s.run_pod("client-lasting", CLIENT, pod.status.pod_ip, str(REQUESTS), "0.05", "8")
        until(lambda: podmirror.out, "requests arrive")
        k8s.restart_apiserver()
        podmirror.until_said("resumed after")
        until(lambda: have_arrived(REQUESTS), "all requests have arrived")
        assert received(podmirror.out) == expected(8, REQUESTS)

        roll(2)
        drive(k8s, "client-lasting-anew", 9, 20, app="lasting")
        until(lambda: have_arrived(REQUESTS + 20), "the new pod's have arrived")
        assert podmirror.process.poll() is None
        podmirror.interrupt()
        said = podmirror.err

    assert said.count("injected ephemeral container") == 3, "one for each pod"
    found = json.loads(ledger.read_text())
    assert (found["lost_bytes"], len(found["moves"]), len(found["pods"])) == (0, 2, 3)
