"""`inspect` tells of live connections what they were, and costs them nothing."""

import json

from e2e.bodies import drive
from e2e.cluster import E2ECluster, until
from e2e.sessions import Podmirror

REQUESTS = 30


def test_every_connection_of_a_port_is_told_with_its_size(k8s: E2ECluster) -> None:
    arguments = ["inspect", *k8s.session_arguments("deployment/app"), "-p", "8080", "-o", "connections"]
    with Podmirror(k8s, *arguments) as podmirror:
        podmirror.until_said("watching port 8080 of deployment/app")

        drive(k8s, "client-inspect", 4, REQUESTS)

        until(lambda: podmirror.out.count("\n") >= REQUESTS // 3, "every connection is told")
        assert podmirror.interrupt() == 0
        assert "nothing was lost" in podmirror.err
        lines = [json.loads(line) for line in podmirror.out.splitlines()]
    assert len(lines) == REQUESTS // 3
    pod = k8s.ready_pods("app")[0]
    for line in lines:
        assert (line["state"], line["ended"], line["gaps"]) == ("complete", "fin", [])
        assert line["responder"] == f"{pod.status.pod_ip}:8080"
        assert line["pod"] == pod.metadata.name
        assert line["responder_bytes"] > 0


def test_without_a_port_all_connections_are_told(k8s: E2ECluster) -> None:
    with Podmirror(
        k8s, "inspect", *k8s.session_arguments("deployment/app"), "-o", "connections"
    ) as podmirror:
        podmirror.until_said("watching every connection of deployment/app")

        drive(k8s, "client-inspect-all", 5, 3)

        until(lambda: ":8080" in podmirror.out, "the connection is told")
        assert podmirror.interrupt() == 0
