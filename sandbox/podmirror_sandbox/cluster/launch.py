"""From a container's spec to the process that stands for it: arguments, environment, user, capabilities. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from podmirror_sandbox.cluster.images import Image, command_line
from podmirror_sandbox.cluster.objects import Object, labels_of, name_of, namespace_of, uid_of

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_CAPABILITIES = frozenset(
    {
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "NET_RAW",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    }
)
"""What containerd gives a container that asks for nothing (`pkg/oci/spec.go`)."""

_REFERENCE = re.compile(r"\$(\$|\(([^()]+)\))")


class ConfigError(Exception):
    """A container that cannot be made from its spec: CreateContainerConfigError."""


@dataclass(frozen=True)
class Launch:
    """Everything that is needed to start one container."""

    argv: list[str]
    env: dict[str, str]
    working_dir: str
    capabilities: frozenset[str] | None
    """The bounding set; None leaves everything, as `privileged` does."""
    uid: int
    gid: int
    no_new_privileges: bool
    termination_path: str
    hostname: str


def plan_launch(pod: Object, container: Object, image: Image, base_env: Mapping[str, str]) -> Launch:
    """What to start for a container.

    Raises:
        ConfigError: when the spec asks for what cannot be.
    """
    context = effective_context(pod, container)
    uid = int(context.get("runAsUser", 0))
    check_root(pod, container, context)
    hostname = str(pod["spec"].get("hostname") or name_of(pod))
    env = {**base_env, "HOSTNAME": hostname}
    for variable in container.get("env") or []:
        env[variable["name"]] = expand(_value(pod, variable), env)
    command = [expand(word, env) for word in container.get("command") or []]
    args = [expand(word, env) for word in container.get("args") or []]
    return Launch(
        argv=command_line(image, command, args),
        env=env,
        working_dir=container.get("workingDir") or "/",
        capabilities=bounding_set(context),
        uid=uid,
        gid=int(context.get("runAsGroup", 0)),
        no_new_privileges=context.get("allowPrivilegeEscalation") is False,
        termination_path=container["terminationMessagePath"],
        hostname=hostname,
    )


def effective_context(pod: Object, container: Object) -> Object:
    """The security context of a container: the pod's, overridden by its own."""
    return {**(pod["spec"].get("securityContext") or {}), **(container.get("securityContext") or {})}


def check_root(pod: Object, container: Object, context: Object) -> None:
    """The kubelet's check of `runAsNonRoot`; every image of the sandbox runs as root.

    Raises:
        ConfigError: in the kubelet's words.
    """
    if not context.get("runAsNonRoot") or context.get("runAsUser"):
        return
    where = f'(pod: "{name_of(pod)}_{namespace_of(pod)}({uid_of(pod)})", container: {container["name"]})'
    if context.get("runAsUser") == 0:
        raise ConfigError(f"container's runAsUser breaks non-root policy {where}")
    raise ConfigError(f"container has runAsNonRoot and image will run as root {where}")


def bounding_set(context: Object) -> frozenset[str] | None:
    """The capabilities that `securityContext` leaves; None for all of them."""
    if context.get("privileged"):
        return None
    wanted = context.get("capabilities") or {}
    added = {name.removeprefix("CAP_") for name in wanted.get("add") or []}
    dropped = {name.removeprefix("CAP_") for name in wanted.get("drop") or []}
    if "ALL" in added:
        return None if not dropped else DEFAULT_CAPABILITIES - dropped
    kept = frozenset() if "ALL" in dropped else DEFAULT_CAPABILITIES - dropped
    return frozenset(kept | added)


def expand(text: str, env: Mapping[str, str]) -> str:
    """Replace `$(NAME)` by the variable, `$$` by `$`; leave names nobody knows as they are."""

    def replace(match: re.Match[str]) -> str:
        if match[1] == "$":
            return "$"
        return env.get(match[2], match[0])

    return _REFERENCE.sub(replace, text)


def _value(pod: Object, variable: Object) -> str:
    source = variable.get("valueFrom")
    if not source:
        return str(variable.get("value") or "")
    path = (source.get("fieldRef") or {}).get("fieldPath")
    if path is None:
        raise ConfigError(f"the sandbox has no source for environment variable {variable['name']}: {source}")
    if match := re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path):
        values = labels_of(pod) if match[1] == "labels" else pod["metadata"].get("annotations") or {}
        return str(values.get(match[2], ""))
    if path == "status.podIPs":
        return ",".join(entry["ip"] for entry in (pod.get("status") or {}).get("podIPs") or [])
    value: Any = pod
    for part in path.split("."):
        value = value.get(part, "") if isinstance(value, dict) else ""
    return str(value)
