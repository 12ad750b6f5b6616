"""A Job as the Job agent's is for admission: what Pod Security, quotas and policies look at. No I/O."""

from typing import Any

from podmirror.kube.ephemeral import AgentSpec

MEMORY_MEBIBYTES = 128
"""Limit of the Job's pod: its buffers, and what Python and the agent's code take besides."""


def job_manifest(spec: AgentSpec, node: str, container_id: str) -> dict[str, Any]:
    """Give a Job that starts an agent on a node."""
    container: dict[str, Any] = {
        "name": "agent",
        "image": spec.image,
        "args": ["--container-id", container_id, "--verifier", spec.verifier.hex()],
        "resources": {
            "requests": {"cpu": "10m", "memory": "64Mi"},
            "limits": {"cpu": "1", "memory": f"{MEMORY_MEBIBYTES}Mi"},
        },
        "securityContext": {
            "runAsUser": 0,
            "runAsNonRoot": False,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN", "SYS_PTRACE", "NET_RAW"]},
        },
    }
    node_term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    pod = {
        "hostPID": True,
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "tolerations": [{"operator": "Exists"}],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [node_term]}
            }
        },
        "containers": [container],
    }
    return {
        "metadata": {"name": spec.name},
        "spec": {"backoffLimit": 0, "template": {"metadata": {}, "spec": pod}},
    }
