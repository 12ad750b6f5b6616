"""`--on-gap`, with a gap that is made as it is made in life: the agent gets no CPU until its ring has overflowed.

What fills the ring is a flood on connections of its own. The connection that is watched sends little, so that it is not
given up for what waits for it when the agent comes to.
"""

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from e2e.cluster import LOCAL, E2ECluster, code, until
from e2e.sessions import Podmirror
from e2e.test_lifecycle import agent_name, agent_pid

STEADY = """
    import http.client, signal, sys, threading

    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    connection = http.client.HTTPConnection(sys.argv[1], 8080, timeout=30)
    number = 0
    while not over.is_set():
        connection.request("POST", f"/{number}", b"x" * 100)
        assert len(connection.getresponse().read()) == 64
        print(number, flush=True)
        number += 1
        over.wait(0.05)
    connection.close()
"""
"""Posts a little on one connection until it is told to end, and prints the number of each request that was answered."""

FLOOD = """
    import http.client, sys

    for _ in range(int(sys.argv[2])):
        connection = http.client.HTTPConnection(sys.argv[1], 8080, timeout=30)
        connection.request("POST", "/flood", bytes(16 << 20))
        assert len(connection.getresponse().read()) == 64
        connection.close()
"""
"""Posts so many times 16 MiB, on a connection each."""

FLOODS = 6
"""Half as much again as the agent's ring holds."""

UNHEARD = 5
"""Requests behind the flood, while the ring is full."""


class Watched:
    """A client with one connection, what of it arrives locally, and a way to make a gap in it."""

    def __init__(self, k8s: E2ECluster, podmirror: Podmirror, name: str) -> None:
        self._k8s = k8s
        self._podmirror = podmirror
        self._name = name
        self.host = k8s.ready_pods("app")[0].status.pod_ip
        k8s.run_pod(name, STEADY, self.host, grace=20)
        until(lambda: len(self.arrived) >= UNHEARD, "requests have arrived")

    @property
    def sent(self) -> int:
        """How many requests were answered by the app."""
        return self._k8s.log(self._name).count("\n")

    @property
    def arrived(self) -> list[int]:
        """The numbers of those that arrived locally."""
        paths = [
            line.split()[0] for line in self._podmirror.out.splitlines(keepends=True) if line[-1:] == "\n"
        ]
        return [int(path[1:]) for path in paths if path != "/flood"]

    def miss_some(self) -> int:
        """Make a gap, and give a number that only requests behind it have."""
        flood = f"{self._name}-flood"
        pid = agent_pid(self._k8s, agent_name(self._podmirror))
        os.kill(pid, signal.SIGSTOP)
        try:
            self._k8s.run_pod(flood, FLOOD, self.host, str(FLOODS))
            until(lambda: self._k8s.phase(flood) == "Succeeded", "the flood is over")
            heard = self.sent
            until(lambda: self.sent > heard + UNHEARD, "more was sent while the ring is full")
        finally:
            os.kill(pid, signal.SIGCONT)
        return self.sent

    def end(self) -> None:
        """Let the client end its connection in good order."""
        self._k8s.core.delete_namespaced_pod(self._name, self._k8s.namespace)


@contextmanager
def watched(
    k8s: E2ECluster, port: int, ledger: Path, name: str, *options: str
) -> Iterator[tuple[Podmirror, Watched]]:
    arguments = ["exec", *k8s.session_arguments("deployment/app"), "-p", f"8080:{port}", "-v"]
    command = ["--", sys.executable, "-c", code(LOCAL), str(port)]
    with Podmirror(k8s, *arguments, "--ledger", str(ledger), *options, *command) as podmirror:
        podmirror.until_said("subscribed: port 8080")
        yield podmirror, Watched(k8s, podmirror, name)


def told(podmirror: Podmirror, ledger: Path) -> dict[str, Any]:
    """End the session, and give its ledger, in which every byte that the agent saw or missed has its place."""
    podmirror.interrupt()
    counted: dict[str, Any] = json.loads(ledger.read_text())
    accounted = counted["delivered_bytes"] + sum(counted["not_delivered_bytes"].values())
    assert accounted == counted["agent"]["bytes_seen"] + counted["agent"]["gap_bytes"]
    return counted


def test_behind_a_gap_nothing_is_delivered(k8s: E2ECluster, local_port: int, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.json"
    with watched(k8s, local_port, ledger, "client-gap") as (podmirror, client):
        behind = client.miss_some()
        until(lambda: client.sent > behind + 20, "the client goes on")
        client.end()
        podmirror.until_said(" gap, ")
        counted = told(podmirror, ledger)
        assert client.arrived == list(range(len(client.arrived)))
        assert client.arrived[-1] < behind
    assert counted["outcomes"]["gap"] >= 1
    assert counted["not_delivered_bytes"]["missed"] > 0
    assert counted["not_delivered_bytes"]["behind_gap"] > 0
    assert counted["agent"]["kernel_drops"] > 0
    assert counted["agent"]["first_drop_time"] > 0


def test_behind_a_gap_the_next_request_is_delivered_if_asked_for(
    k8s: E2ECluster, local_port: int, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger.json"
    with watched(k8s, local_port, ledger, "client-rejoin", "--on-gap", "rejoin") as (podmirror, client):
        behind = client.miss_some()
        until(lambda: client.arrived[-1] > behind + 20, "requests arrive again")
        client.end()
        podmirror.until_said(" gap, ")
        counted = told(podmirror, ledger)
        arrived = client.arrived
        assert arrived == sorted(set(arrived))
        assert len(arrived) < arrived[-1] + 1
    assert counted["outcomes"]["gap"] >= 1
    assert counted["lost_connections"] >= 1
    assert counted["not_delivered_bytes"]["missed"] > 0
