"""Pod Security admission: which pods a namespace takes whose label names a level. No I/O.

The checks and their words are those of k8s.io/pod-security-admission (`policy/check_*.go`), in the order in which the real
server tells them: those of `baseline` by name, then those that `restricted` adds. Left out are hostPorts, procMount, SELinux,
sysctls, Windows' hostProcess and the kinds of volumes other than hostPath.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from podmirror_sandbox.cluster.apierrors import ApiError
from podmirror_sandbox.cluster.objects import Object, labels_of, name_of, namespace_of
from podmirror_sandbox.cluster.resources import DEPLOYMENTS, JOBS, NAMESPACES, PODS, REPLICA_SETS, Resource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from podmirror_sandbox.cluster.store import Store

ENFORCE = "pod-security.kubernetes.io/enforce"
_VERSION = f"{ENFORCE}-version"

_ADDABLE = frozenset(
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
"""What `baseline` lets containers add: the runtimes' default set without NET_RAW."""

_TEMPLATED = (DEPLOYMENTS, JOBS, REPLICA_SETS)


def check_pod_security(store: Store, pod: Object) -> None:
    """Refuse a pod that its namespace does not take.

    Raises:
        ApiError: 403, in the server's words.
    """
    broken = _broken(store, namespace_of(pod), pod["spec"])
    if broken:
        message = f'pods "{name_of(pod)}" is forbidden: violates {broken}'
        raise ApiError(403, "Forbidden", message, {"name": name_of(pod), "kind": PODS.plural})


def warning_of(store: Store, resource: Resource, item: Object) -> str:
    """What the server warns of when a workload is created whose pods will be refused; nothing if they will not."""
    if resource not in _TEMPLATED:
        return ""
    broken = _broken(store, namespace_of(item), item["spec"]["template"]["spec"])
    return f"would violate {broken}" if broken else ""


def _broken(store: Store, namespace: str, spec: Object) -> str:
    """Which rules of its namespace's level a pod breaks; nothing if none."""
    found = store.find(NAMESPACES, "", namespace)
    labels = labels_of(found) if found is not None else {}
    level = labels.get(ENFORCE, "privileged")
    checks = {"baseline": _BASELINE, "restricted": _RESTRICTED}.get(level, ())
    told = [told for check in checks if (told := check(spec))]
    return f'PodSecurity "{level}:{labels.get(_VERSION, "latest")}": {", ".join(told)}' if told else ""


def _contexts(spec: Object) -> list[tuple[str, Object]]:
    """Name and security context of every container of a pod."""
    groups = ("initContainers", "containers", "ephemeralContainers")
    entries = [entry for group in groups for entry in spec.get(group) or []]
    return [(str(entry["name"]), entry.get("securityContext") or {}) for entry in entries]


def _pod_context(spec: Object) -> Object:
    return dict(spec.get("securityContext") or {})


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _containers(names: list[str]) -> str:
    return f"container{'s' if len(names) > 1 else ''} {_quoted(names)}"


def _setters(spec: Object, is_bad: Callable[[Object], bool]) -> str:
    """Who sets something bad, the pod or its containers; nothing if nobody does."""
    bad = [name for name, context in _contexts(spec) if is_bad(context)]
    who = ["pod"] if is_bad(_pod_context(spec)) else []
    return " and ".join([*who, _containers(bad)] if bad else who)


def _profile(context: Object, field: str) -> str:
    return str((context.get(field) or {}).get("type", ""))


def _added(context: Object) -> set[str]:
    return set((context.get("capabilities") or {}).get("add") or [])


def _must_not_add(spec: Object, admitted: frozenset[str]) -> str:
    bad = {name: _added(context) - admitted for name, context in _contexts(spec)}
    names = [name for name, capabilities in bad.items() if capabilities]
    capabilities = sorted(set().union(*bad.values()))
    if not names:
        return ""
    return (
        f"{_containers(names)} must not include {_quoted(capabilities)} in securityContext.capabilities.add"
    )


def _apparmor(spec: Object) -> str:
    who = _setters(spec, lambda context: _profile(context, "appArmorProfile") == "Unconfined")
    return (
        f'forbidden AppArmor profile ({who} must not set AppArmor profile type to "Unconfined")'
        if who
        else ""
    )


def _default_capabilities(spec: Object) -> str:
    told = _must_not_add(spec, _ADDABLE)
    return f"non-default capabilities ({told})" if told else ""


def _host_namespaces(spec: Object) -> str:
    told = [f"{field}=true" for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field)]
    return f"host namespaces ({', '.join(told)})" if told else ""


def _host_path(spec: Object) -> str:
    names = [volume["name"] for volume in spec.get("volumes") or [] if volume.get("hostPath") is not None]
    return f"hostPath volumes (volume{'s' if len(names) > 1 else ''} {_quoted(names)})" if names else ""


def _privileged(spec: Object) -> str:
    names = [name for name, context in _contexts(spec) if context.get("privileged")]
    return f"privileged ({_containers(names)} must not set securityContext.privileged=true)" if names else ""


def _escalation(spec: Object) -> str:
    names = [
        name for name, context in _contexts(spec) if context.get("allowPrivilegeEscalation") is not False
    ]
    if not names:
        return ""
    return (
        "allowPrivilegeEscalation != false "
        f"({_containers(names)} must set securityContext.allowPrivilegeEscalation=false)"
    )


def _restricted_capabilities(spec: Object) -> str:
    keeping = [
        name
        for name, context in _contexts(spec)
        if "ALL" not in ((context.get("capabilities") or {}).get("drop") or [])
    ]
    told = [f'{_containers(keeping)} must set securityContext.capabilities.drop=["ALL"]'] if keeping else []
    added = _must_not_add(spec, frozenset({"NET_BIND_SERVICE"}))
    told += [added] if added else []
    return f"unrestricted capabilities ({'; '.join(told)})" if told else ""


def _non_root(spec: Object) -> str:
    who = _setters(spec, lambda context: context.get("runAsNonRoot") is False)
    if who:
        return f"runAsNonRoot != true ({who} must not set securityContext.runAsNonRoot=false)"
    silent = [name for name, context in _contexts(spec) if not context.get("runAsNonRoot")]
    if not silent or _pod_context(spec).get("runAsNonRoot"):
        return ""
    return f"runAsNonRoot != true (pod or {_containers(silent)} must set securityContext.runAsNonRoot=true)"


def _root_user(spec: Object) -> str:
    who = _setters(spec, lambda context: context.get("runAsUser") == 0)
    return f"runAsUser=0 ({who} must not set runAsUser=0)" if who else ""


def _seccomp(spec: Object) -> str:
    def is_set(context: Object) -> bool:
        return _profile(context, "seccompProfile") in ("RuntimeDefault", "Localhost")

    who = _setters(spec, lambda context: _profile(context, "seccompProfile") == "Unconfined")
    if who:
        return f'seccompProfile ({who} must not set securityContext.seccompProfile.type to "Unconfined")'
    silent = [name for name, context in _contexts(spec) if not is_set(context)]
    if not silent or is_set(_pod_context(spec)):
        return ""
    return (
        f"seccompProfile (pod or {_containers(silent)} must set securityContext.seccompProfile.type to "
        '"RuntimeDefault" or "Localhost")'
    )


_BASELINE = (_apparmor, _default_capabilities, _host_namespaces, _host_path, _privileged)
_RESTRICTED = (
    _apparmor,
    _host_namespaces,
    _host_path,
    _privileged,
    _escalation,
    _restricted_capabilities,
    _non_root,
    _root_user,
    _seccomp,
)
"""Its check of capabilities stands for that of `baseline`."""
