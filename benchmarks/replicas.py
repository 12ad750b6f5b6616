"""A sandbox with an app of many replicas: their load, and the agents in them started without a layer."""

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.children import CHILD_SECONDS
from e2e.cluster import AGENT_IMAGE, APP, E2ECluster, until
from podmirror.fleet import STARTS_AT_ONCE
from podmirror.kube.ephemeral import AgentSpec, patch
from podmirror.kube.inject import PORTS, candidate_ports, new_agent_name
from podmirror_wire.handshake import new_secret, verifier_of

BODY_BYTES = 1000
PER_CONNECTION = 5
START_SECONDS = 120.0
LOOK_SECONDS = 0.02
_LISTENS = "0A"
"""The state of a listening socket in /proc/net/tcp (include/net/tcp_states.h)."""

LOAD = f"""
    import asyncio, json, sys, time

    rate, count, hosts = float(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    began = time.monotonic() + 0.5

    async def send(host, offset):
        for number in range(count):
            await asyncio.sleep(max(0.0, began + offset + number / rate - time.monotonic()))
            if number % {PER_CONNECTION} == 0:
                reader, writer = await asyncio.open_connection(host, 8080)
            head = f"POST /{{host}}/{{number}} HTTP/1.1\\r\\nHost: app\\r\\nContent-Length: {BODY_BYTES}\\r\\n\\r\\n"
            writer.write(head.encode() + bytes({BODY_BYTES}))
            await reader.readuntil(b"\\r\\n\\r\\n")
            await reader.readexactly(64)
            if number % {PER_CONNECTION} == {PER_CONNECTION - 1} or number == count - 1:
                writer.close()
                await writer.wait_closed()

    async def main():
        spread = [place / rate / len(hosts) for place in range(len(hosts))]
        await asyncio.gather(*map(send, hosts, spread))
        print(json.dumps({{"sent": count * len(hosts)}}))

    asyncio.run(main())
"""
"""Requests to every host at the same rate, and none before the one before it was answered."""


@dataclass(frozen=True)
class Replicas:
    """A deployment whose pods are all ready."""

    k8s: E2ECluster
    name: str
    count: int

    def load(self, rate: float, seconds: float) -> int:
        """Send each replica so many requests a second for a while, and give how many were sent and answered."""
        hosts = [pod.status.pod_ip for pod in self.k8s.ready_pods(self.name)]
        client = f"{self.name}-client"
        self.k8s.run_pod(client, LOAD, str(rate), str(round(rate * seconds)), *hosts)
        ended = ("Succeeded", "Failed")
        until(
            lambda: self.k8s.phase(client) in ended, "the load is over", seconds=4 * seconds + CHILD_SECONDS
        )
        if self.k8s.phase(client) == "Failed":
            raise RuntimeError(f"the load failed: {self.k8s.log(client)}")
        return int(json.loads(self.k8s.log(client))["sent"])

    def start_agents_alone(self) -> float:
        """Put an agent into every pod as a layer would, and give the seconds until the last of them listens."""
        began = time.monotonic()
        with ThreadPoolExecutor(STARTS_AT_ONCE) as pool:
            list(pool.map(self._add_agent, self.k8s.ready_pods(self.name)))
        listening: set[int] = set()
        while len(listening) < self.count:
            if time.monotonic() > began + START_SECONDS:
                raise RuntimeError(f"{len(listening)} of {self.count} agents listened in {START_SECONDS:g} s")
            listening.update(pid for pid in agent_pids() if pid not in listening and _listens(pid))
            time.sleep(LOOK_SECONDS)
        return time.monotonic() - began

    def _add_agent(self, pod: object) -> None:
        spec = AgentSpec(
            name=new_agent_name(),
            image=AGENT_IMAGE,
            image_pull_policy=None,
            ports=candidate_ports(),
            verifier=verifier_of(new_secret()),
            ttl=START_SECONDS,
            log_level="info",
        )
        self.k8s.core.patch_namespaced_pod_ephemeralcontainers(
            pod.metadata.name,  # type: ignore[attr-defined]  # kubernetes has no types
            self.k8s.namespace,
            patch(spec, add_capabilities=True),
            _content_type="application/strategic-merge-patch+json",
        )


@contextlib.contextmanager
def deployed(k8s: E2ECluster, name: str, count: int) -> Iterator[Replicas]:
    """Run an app of so many replicas, and take it away at the end, its agents included."""
    k8s.deploy(name, APP, replicas=count)
    try:
        yield Replicas(k8s, name, count)
    finally:
        k8s.apps.delete_namespaced_deployment(name, k8s.namespace, grace_period_seconds=0)
        k8s.core.delete_collection_namespaced_pod(k8s.namespace, grace_period_seconds=0)
        until(lambda: not k8s.core.list_namespaced_pod(k8s.namespace).items, "all pods are gone")


def process_cpu_seconds(pid: int) -> float:
    """Read the CPU time of a process, of threads that have ended too, in nanoseconds (clock_getcpuclockid(3))."""
    return time.clock_gettime((~pid << 3) | 2)


def agent_pids() -> list[int]:
    """Give the processes of the agents below this one."""
    return _below("podmirror_agent")


def node_cpu_seconds() -> float:
    """Read the CPU time of the sandbox's API server and kubelet, which are one process."""
    return sum(map(process_cpu_seconds, _below("podmirror_sandbox.node")))


def _below(module: str) -> list[int]:
    """Give the processes below this one that run a module."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            if words[:1] == [sys.executable] and module in words[1:4]:
                found.append(process.pid)
    return found


def _listens(pid: int) -> bool:
    try:
        lines = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    except OSError:
        return False
    sockets = [line.split()[1:4] for line in lines]
    return any(state == _LISTENS and int(local[-4:], 16) in PORTS for local, _, state in sockets)
