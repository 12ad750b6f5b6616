"""Builders of Kubernetes objects, in the client's own models."""

import datetime

from kubernetes.client import (
    CoreV1Event,
    V1Container,
    V1ContainerState,
    V1ContainerStatus,
    V1EphemeralContainer,
    V1ObjectMeta,
    V1ObjectReference,
    V1Pod,
    V1PodCondition,
    V1PodSpec,
    V1PodStatus,
)

AGENT = "podmirror-0123abcd"
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def pod(
    name: str = "web-1",
    *,
    ready: bool = True,
    phase: str = "Running",
    node: str | None = "node-1",
    ip: str | None = "10.0.0.2",
    deleted: bool = False,
    host_network: bool = False,
    annotations: dict[str, str] | None = None,
    containers: tuple[str, ...] = ("app",),
    agents: tuple[str, ...] = (),
    agent_state: V1ContainerState | None = None,
    unschedulable: str | None = None,
    uid: str | None = None,
) -> V1Pod:
    """Give a pod that is fit, but for what is said."""
    conditions = [V1PodCondition(type="Ready", status="True" if ready else "False")]
    if unschedulable is not None:
        conditions.append(V1PodCondition(type="PodScheduled", status="False", message=unschedulable))
    statuses = None
    if agent_state is not None:
        statuses = [
            V1ContainerStatus(
                name=AGENT, image="i", image_id="", ready=False, restart_count=0, state=agent_state
            )
        ]
    return V1Pod(
        metadata=V1ObjectMeta(
            name=name,
            namespace="shop",
            uid=uid or f"uid-{name}",
            creation_timestamp=NOW,
            annotations=annotations,
            deletion_timestamp=NOW if deleted else None,
        ),
        spec=V1PodSpec(
            containers=[V1Container(name=each) for each in containers],
            node_name=node,
            host_network=host_network or None,
            ephemeral_containers=[V1EphemeralContainer(name=each, image="i") for each in agents] or None,
        ),
        status=V1PodStatus(
            phase=phase, pod_ip=ip, conditions=conditions, ephemeral_container_statuses=statuses
        ),
    )


def event(reason: str, message: str | None, *, kind: str = "Warning", name: str = AGENT) -> CoreV1Event:
    return CoreV1Event(
        metadata=V1ObjectMeta(name="e"),
        involved_object=V1ObjectReference(kind="Pod", field_path=f"spec.ephemeralContainers{{{name}}}"),
        type=kind,
        reason=reason,
        message=message,
    )
