"""The agent of a session: where it is in the cluster, and its process, where the node is this machine."""

from dataclasses import dataclass
from pathlib import Path

from kubernetes import client

from e2e.cluster import E2ECluster
from e2e.sessions import Podmirror


@dataclass(frozen=True)
class Agent:
    """An agent that runs."""

    pod: str
    """The target, or the Job's."""
    arguments: list[str]

    @property
    def ports(self) -> list[str]:
        """Its candidates: it listens on one of them."""
        return self._value("--ports").split(",")

    @property
    def pids(self) -> list[int]:
        """Its processes on this machine; none if the node is another one."""
        verifier = self._value("--verifier").encode()
        return [
            int(process.name)
            for process in Path("/proc").glob("[0-9]*")
            if verifier in (words := _words(process)) and words[1:3] == [b"-m", b"podmirror_agent"]
        ]

    def _value(self, flag: str) -> str:
        return self.arguments[self.arguments.index(flag) + 1]


def agent_of(k8s: E2ECluster, podmirror: Podmirror) -> Agent:
    """Find the agent of a session whose target is a pod of the cluster's namespace."""
    said = podmirror.err
    if "injected ephemeral container " in said:
        name = said.split("injected ephemeral container ")[1].split()[0]
        for pod in k8s.core.list_namespaced_pod(k8s.namespace).items:
            for each in pod.spec.ephemeral_containers or []:
                if each.name == name:
                    return Agent(pod.metadata.name, each.args)
    name = said.split("injected Job ")[1].split()[0].partition("/")[2]
    batch = client.BatchV1Api(k8s.core.api_client)
    container = batch.read_namespaced_job(name, k8s.namespace).spec.template.spec.containers[0]
    label = f"batch.kubernetes.io/job-name={name}"
    (pod,) = k8s.core.list_namespaced_pod(k8s.namespace, label_selector=label).items
    return Agent(pod.metadata.name, container.args)


def _words(process: Path) -> list[bytes]:
    try:
        return (process / "cmdline").read_bytes().split(b"\0")
    except OSError:  # it has ended
        return []
