"""What a pod's specification asks for an agent. No I/O."""

from collections.abc import Mapping
from typing import Any

from podmirror.compare.figures import Ask

_BASELINE = frozenset(
    {
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    }
)
"""What Pod Security's baseline lets be added (k8s.io/pod-security-admission policy/check_capabilities_baseline.go)."""

_NAMES = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
]
"""By their numbers (linux/capability.h)."""


def ask_of(pod: Any, name: str, findings: Mapping[str, str]) -> Ask:  # kubernetes has no types
    """Read what was asked for the container `name` of a pod, and what came of that.

    Args:
        pod: As the API server has it.
        name: Of the agent's container.
        findings: Of the agent.
    """
    ephemeral = pod.spec.ephemeral_containers or []
    within = next((each for each in ephemeral if each.name == name), None)
    container = within or next(each for each in pod.spec.containers if each.name == name)
    context = container.security_context
    capabilities = context.capabilities if context is not None else None
    added = tuple((capabilities.add if capabilities is not None else None) or ())
    privileged = bool(context is not None and context.privileged)
    host = tuple(each for each in ("hostPID", "hostNetwork", "hostIPC") if _asks(pod, each))
    host = () if within is not None else host  # they are the target's own then
    beyond = privileged or host or not _BASELINE.issuperset(added)
    given, holds = (capabilities_of(findings.get(each)) for each in ("CapBnd", "CapEff"))
    return Ask(
        added=added,
        dropped=tuple((capabilities.drop if capabilities is not None else None) or ()),
        host_namespaces=host,
        privileged=privileged,
        level="privileged" if beyond else "baseline",
        held=f"given {given}, holds {holds}",
        may_change_rules=_has(findings.get("CapBnd"), "NET_ADMIN"),
    )


def capabilities_of(mask: str | None) -> str:
    """Give the names in a mask of /proc/PID/status."""
    if mask is None:
        return "unknown (the agent could not read them)"
    bits = int(mask, 16)
    names = [name for number, name in enumerate(_NAMES) if bits >> number & 1]
    if len(names) == len(_NAMES):
        return "all"
    return ", ".join(names) or "none"


def _has(mask: str | None, name: str) -> bool | None:
    return None if mask is None else bool(int(mask, 16) >> _NAMES.index(name) & 1)


def _asks(pod: Any, field: str) -> bool:
    return bool(
        getattr(pod.spec, {"hostPID": "host_pid", "hostNetwork": "host_network"}.get(field, "host_ipc"))
    )
