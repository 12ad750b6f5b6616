"""The agent as a Job: what is asked of the API server, and what its events mean. No I/O.

The Job's pod runs on the target's node and sees the node's processes (hostPID). Its agent finds the target's container among
them by its ID, opens a packet socket in that container's network namespace, and gives up every capability. It is not
privileged, mounts nothing of the node, and has neither the runtime's socket nor a service account's token:

- SYS_ADMIN, because setns(2) into a network namespace takes it;
- SYS_PTRACE, because opening /proc/PID/ns/net of another user's process takes it (ptrace(2), PTRACE_MODE_READ);
- NET_RAW, for the packet socket.

The node is chosen by affinity to its name, as DaemonSets do it, and not by `nodeName`: so the scheduler's words tell when the
pod does not fit, and every taint is tolerated.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from podmirror.kube.ephemeral import AgentSpec, arguments

CAPABILITIES = ("SYS_ADMIN", "SYS_PTRACE", "NET_RAW")

NAME_LABEL = ("app.kubernetes.io/name", "podmirror-agent")
MANAGED_LABEL = ("app.kubernetes.io/managed-by", "podmirror")
TARGET_ANNOTATION = "podmirror/target"

BASE_MEBIBYTES = 64
"""Of the Job's memory limit, for Python and the agent's code: 46 MiB resident, measured, and some room."""

DEFAULT_MEBIBYTES = 64
"""For the agent's buffers; its own default."""

TTL_SECONDS = 30
"""After which Kubernetes deletes a Job that has ended, if the layer could not."""

MAX_AGE_SECONDS = 8 * 3600
"""The agent's own maximum age, its flag's default."""

DEADLINE_SECONDS = MAX_AGE_SECONDS + 60
"""After which Kubernetes ends the Job in any case: a minute more, so that the agent can say goodbye first."""

_NO_MESH = {
    "sidecar.istio.io/inject": "false",
    "linkerd.io/inject": "disabled",
    "kuma.io/sidecar-injection": "disabled",
}
"""Istio and Kuma read these from labels, too, Linkerd from annotations only."""

_WARNING = re.compile(r'299 \S+ "((?:[^"\\]|\\.)*)"')
"""A Warning header of the API server (RFC 7234, section 5.5); several may be joined by commas."""


@dataclass(frozen=True, slots=True)
class JobTarget:
    """What a Job's agent is to look at."""

    namespace: str
    pod: str
    uid: str
    node: str
    container_id: str
    """As the pod's status has it: `containerd://` and hexadecimal digits."""


@dataclass(frozen=True, slots=True)
class JobPlace:
    """Where a Job is."""

    namespace: str
    name: str
    image: str
    node: str

    def __str__(self) -> str:
        return f"Job {self.namespace}/{self.name} ({self.image}) on node {self.node}"


def manifest(
    spec: AgentSpec,
    target: JobTarget,
    namespace: str,
    *,
    privileged: bool = False,
    host_network: bool = False,
) -> dict[str, Any]:
    """Give the Job.

    Args:
        spec: The agent.
        target: What it looks at.
        namespace: The Job's. In the target's own the Job goes when the target's pod does.
        privileged: Make its container privileged.
        host_network: Admit a target that shares its node's network.
    """
    labels = {**dict((NAME_LABEL, MANAGED_LABEL)), **_NO_MESH}
    described = {
        "labels": labels,
        "annotations": {TARGET_ANNOTATION: f"{target.namespace}/{target.pod}", **_NO_MESH},
    }
    job: dict[str, Any] = {"name": spec.name, **described}
    if namespace == target.namespace:
        job["ownerReferences"] = [{"apiVersion": "v1", "kind": "Pod", "name": target.pod, "uid": target.uid}]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": job,
        "spec": {
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": TTL_SECONDS,
            "activeDeadlineSeconds": DEADLINE_SECONDS,
            "template": {
                "metadata": described,
                "spec": _pod(spec, target, privileged=privileged, host_network=host_network),
            },
        },
    }


def _pod(spec: AgentSpec, target: JobTarget, *, privileged: bool, host_network: bool) -> dict[str, Any]:
    node = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [target.node]}]}
    return {
        "hostPID": True,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 2,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "tolerations": [{"operator": "Exists"}],
        "affinity": {
            "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [node]}}
        },
        "containers": [_container(spec, target, privileged=privileged, host_network=host_network)],
    }


def _container(spec: AgentSpec, target: JobTarget, *, privileged: bool, host_network: bool) -> dict[str, Any]:
    memory = BASE_MEBIBYTES + (spec.memory or DEFAULT_MEBIBYTES)
    security: dict[str, Any] = {"runAsUser": 0, "runAsNonRoot": False, "readOnlyRootFilesystem": True}
    if privileged:
        security["privileged"] = True
    else:
        security["allowPrivilegeEscalation"] = False
        security["capabilities"] = {"drop": ["ALL"], "add": list(CAPABILITIES)}
        # containerd's own profile lets a process look only into processes of the same profile.
        security["appArmorProfile"] = {"type": "Unconfined"}
    container: dict[str, Any] = {
        "name": spec.name,
        "image": spec.image,
        "args": [
            *arguments(spec),
            *("--container", target.container_id),
            *(("--host-network",) if host_network else ()),
        ],
        # Explicit, since a quota on CPU or memory makes them mandatory.
        "resources": {
            "requests": {"cpu": "10m", "memory": f"{memory}Mi"},
            "limits": {"cpu": "1", "memory": f"{memory}Mi"},
        },
        "securityContext": security,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if spec.image_pull_policy is not None:
        container["imagePullPolicy"] = spec.image_pull_policy
    return container


def warnings_in(headers: Mapping[str, str]) -> list[str]:
    """Read what the server warns of: for a Job whose pods Pod Security will refuse it is all that is said at once."""
    return [each.replace('\\"', '"') for each in _WARNING.findall(headers.get("Warning", ""))]


def refusal_by_event(event: Any) -> str:
    """Read from an event of a Job why it has no pod; nothing if it does not say so."""
    if event.type == "Warning" and event.reason == "FailedCreate":
        return str(event.message or event.reason)
    return ""


def why_unplaced(pod: Any) -> str:
    """Say why a Job's pod is on no node, or was turned away there; nothing if it was not."""
    for condition in pod.status.conditions or []:
        if condition.type == "PodScheduled" and condition.reason == "Unschedulable":
            return f"no node takes it: {condition.message}"
    if pod.status.phase == "Failed" and not pod.status.container_statuses:
        return f"{pod.status.reason or 'it failed'}: {pod.status.message or 'no message'}"
    return ""
