"""An agent that was put beside a target, the states of its container, and a cluster that tells of them."""

from kubernetes.client import (
    V1ContainerState,
    V1ContainerStateRunning,
    V1ContainerStateTerminated,
    V1ContainerStateWaiting,
)

from podmirror.kube.ephemeral import AgentSpec
from podmirror.kube.injected import InjectedAgent
from podmirror.kube.resolve import ResolvedTarget
from podmirror_wire.handshake import verifier_of
from tests.layer.agents import SECRET
from tests.layer.kube.fakes import FakeCluster, items
from tests.layer.kube.pods import AGENT, pod

TARGET = ResolvedTarget("shop", "web-1", "node-1", None, uid="1234", container_id="containerd://" + "ab" * 32)
SPEC = AgentSpec(AGENT, "podmirror-agent:1", None, (61001, 62002, 63003), verifier_of(SECRET), 30.0, "info")


RUNNING = V1ContainerState(running=V1ContainerStateRunning())
CREATING = V1ContainerState(waiting=V1ContainerStateWaiting(reason="ContainerCreating"))
NEVER_PULLED = V1ContainerState(
    waiting=V1ContainerStateWaiting(reason="ErrImageNeverPull", message="image is not present")
)
ENDED = V1ContainerState(
    terminated=V1ContainerStateTerminated(exit_code=1, message='{"reason": "no NET_RAW"}')
)


def agent_of(cluster: FakeCluster) -> InjectedAgent:
    return InjectedAgent(cluster, TARGET.namespace, TARGET.pod, SPEC)


def watched(*changes, events: object = None, state: object = None) -> FakeCluster:
    cluster = FakeCluster(
        list_namespaced_event=items() if events is None else events,
        read_namespaced_pod=pod(agent_state=state),
    )
    cluster.changes = list(changes)
    return cluster
