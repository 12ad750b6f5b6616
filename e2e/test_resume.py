"""Sessions that survive: the API server goes and comes back, and the session goes on."""

import json
import sys
from contextlib import suppress
from pathlib import Path

from e2e.cluster import CLIENT, LOCAL, E2ECluster, code, until
from e2e.sessions import Podmirror

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
            until(lambda: len(podmirror.out.splitlines()) >= REQUESTS, "all have arrived", seconds=20)
        podmirror.interrupt()
        assert "Nothing was lost." in podmirror.err, podmirror.err

        paths = sorted(int(line.split()[0].removeprefix("/")) for line in podmirror.out.splitlines())
        assert paths == list(range(REQUESTS))
    assert json.loads(ledger.read_text())["lost_bytes"] == 0
    after = k8s.core.read_namespaced_pod(pod.metadata.name, k8s.namespace)
    assert len(after.spec.ephemeral_containers) == entries + 1
