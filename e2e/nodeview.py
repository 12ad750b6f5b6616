"""What the node itself says of agents and of their target, where the node is this machine: another opinion."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from e2e.agentprocesses import Agent
from e2e.cluster import E2ECluster, until

KINDS = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
_SAMPLE_SECONDS = 0.1


@dataclass(frozen=True)
class Sample:
    """One look at a process."""

    time: float
    cpu: float
    """Seconds, of its control group, or of the process where it has none."""
    memory: int
    """Bytes: VmRSS."""
    charged: int | None
    """Bytes that its control group is charged; None where it has none."""


@dataclass
class Seen:
    """All looks at an agent."""

    namespaces: dict[str, str]
    samples: list[Sample] = field(default_factory=list)

    def cpu_between(self, began: float, ended: float) -> tuple[float, float]:
        """Give the least and the most CPU time that it may have taken between two times, by the looks around them."""
        (before, after), (last, behind) = self._around(began), self._around(ended)
        return last - after, behind - before

    def _around(self, when: float) -> tuple[float, float]:
        """Give the CPU time by the looks before and behind a time."""
        earlier = [each.cpu for each in self.samples if each.time <= when]
        later = [each.cpu for each in self.samples if each.time >= when]
        return (earlier or [0.0])[-1], (later or [float("inf")])[0]


def namespaces_of(pid: int) -> dict[str, str]:
    """Give inode numbers as `ls -l /proc/PID/ns` shows them."""
    return {kind: str(Path(f"/proc/{pid}/ns/{kind}").readlink()).split("[")[1].rstrip("]") for kind in KINDS}


def pid_of(marker: str) -> int | None:
    """Find the Python that was started with a word of its own; None if the node is another machine."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith((b"python3", b"python")) and marker.encode() in words[1:]:
            return int(process.name)
    return None


@contextmanager
def watching(k8s: E2ECluster) -> Iterator[dict[str, Seen]]:
    """Look at all agents of the cluster's namespace for as long as the block lasts; give what was seen, by name."""
    seen: dict[str, Seen] = {}
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_SAMPLE_SECONDS):
            for pod in k8s.core.list_namespaced_pod(k8s.namespace).items:
                for each in (*pod.spec.containers, *(pod.spec.ephemeral_containers or [])):
                    if "--verifier" in (each.args or []):
                        _look(Agent(pod.metadata.name, each.args), seen, each.name)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def _look(agent: Agent, seen: dict[str, Seen], name: str) -> None:
    for pid in agent.pids:
        try:
            if name not in seen:
                seen[name] = Seen(namespaces_of(pid))
            seen[name].samples.append(_sample(pid))
        except (OSError, IndexError):  # it has ended, or is ending: a zombie has no memory
            return


def _sample(pid: int) -> Sample:
    status = Path(f"/proc/{pid}/status").read_text()
    memory = int(status.split("VmRSS:")[1].split()[0]) << 10
    groups = dict(line.split(":", 2)[1:] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines())
    usage = Path(f"/sys/fs/cgroup/cpuacct{groups.get('cpuacct', '/')}/cpuacct.usage")
    unified = Path(f"/sys/fs/cgroup{groups.get('', '/')}/cpu.stat")
    charged = None
    if "kubepods" in groups.get("cpuacct", "") and usage.exists():
        cpu = int(usage.read_text()) / 1e9
        charged = int(Path(f"/sys/fs/cgroup/memory{groups['memory']}/memory.usage_in_bytes").read_text())
    elif "kubepods" in groups.get("", "") and unified.exists():
        cpu = int(unified.read_text().split()[1]) / 1e6
        charged = int((unified.parent / "memory.current").read_text())
    else:
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        cpu = (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")
    return Sample(time.time(), cpu, memory, charged)


@contextmanager
def tcpdump(pid: int, port: int, file: Path) -> Iterator[None]:
    """Capture what comes in to a port in the network of a process."""
    command = ["nsenter", "-t", str(pid), "-n", "tcpdump", "-i", "any", "-Q", "in", "-s", "96", "-B", "8192"]
    with subprocess.Popen(
        [*command, "-U", "-w", str(file), f"tcp dst port {port}"], stderr=subprocess.PIPE, text=True
    ) as running:
        try:
            assert running.stderr is not None
            while "listening" not in running.stderr.readline():
                assert running.poll() is None
            yield
            port_of_last = subprocess.run(
                ["nsenter", "-t", str(pid), "-n", sys.executable, "-c", _LAST, str(port)],
                capture_output=True, text=True, check=True,
            ).stdout.strip()  # fmt: skip
            until(lambda: f".{port_of_last} > " in _listed(file), "tcpdump has written what came before")
            running.terminate()
            assert "0 packets dropped by kernel" in running.stderr.read()
        finally:
            running.kill()  # nothing, if it has ended


_LAST = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
    print(connection.getsockname()[1])
"""
"""Connects, and prints from which port: packets that come behind all others."""


def _listed(file: Path) -> str:
    """Give what tcpdump says of a file that it may still be writing."""
    command = ["tcpdump", "-nn", "-q", "-tt", "-r", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def payload_between(file: Path, began: float, ended: float) -> int:
    """Count the TCP payload in a capture between two times."""
    total = 0
    for line in _listed(file).splitlines():
        when, _, rest = line.partition(" ")
        if began <= float(when) <= ended:
            total += int(rest.rsplit(" ", 1)[1])
    return total
