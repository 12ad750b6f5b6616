"""Requests with bodies that can be told apart, sent from within the cluster, and what a local process printed of them."""

import hashlib
import json
import random

from e2e.cluster import CLIENT, E2ECluster, until


def expected(seed: int, count: int) -> dict[str, str]:
    """What the client of that seed posts: SHA-256 of the body by path."""
    chosen = random.Random(seed)
    return {
        f"/{number}": hashlib.sha256(chosen.randbytes(chosen.randrange(0, 50_000))).hexdigest()
        for number in range(count)
    }


def received(output: str) -> dict[str, str]:
    return dict(line.split() for line in output.splitlines(keepends=True) if line.endswith("\n"))


def drive(
    k8s: E2ECluster,
    name: str,
    seed: int,
    count: int,
    pause: float = 0.0,
    *,
    app: str = "app",
    host: str | None = None,
) -> None:
    """Send requests from a pod of the cluster, all of which the app must answer as it should."""
    host = host or k8s.ready_pods(app)[0].status.pod_ip
    k8s.run_pod(name, CLIENT, host, str(count), str(pause), str(seed))
    until(lambda: k8s.phase(name) == "Succeeded", f"{name} is done")
    assert json.loads(k8s.log(name)) == {"sent": count, "failed": 0}
