"""The grammar of targets: `KIND/NAME[/container/CONTAINER]`.

    pod/web-0                             a pod
    deployment/web                        pods of the deployment
    label/app=web,tier=front              pods with these labels
    deployment/web/container/nginx        and the container in them that is meant

Kinds may be written as kubectl takes them: `po`, `pods`, `deploy`, `deployments`, `deployment.apps`. A name without a kind is
refused, since `web` could be any. Which container is meant matters for what is said about it, and for an agent that is a Job; a
pod's containers share one network namespace, so all of them are seen.
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Self

from podmirror.errors import UsageError

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
"""A DNS subdomain, as object names are (RFC 1123; k8s.io/apimachinery/pkg/util/validation)."""

_LABEL_NAME = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_LABEL = re.compile(rf"([a-z0-9][-a-z0-9.]{{0,251}}/)?{_LABEL_NAME}=({_LABEL_NAME})?")
"""A label and its value (the same file: IsQualifiedName, IsValidLabelValue)."""


class Kind(Enum):
    """What can be a target."""

    POD = "pod"
    DEPLOYMENT = "deployment"
    STATEFULSET = "statefulset"
    DAEMONSET = "daemonset"
    REPLICASET = "replicaset"
    JOB = "job"
    CRONJOB = "cronjob"
    SERVICE = "service"
    ROLLOUT = "rollout"
    """Of Argo."""
    LABEL = "label"
    """Pods by their labels; the name is the selector."""


_SHORT = {
    Kind.POD: ("po", ""),
    Kind.DEPLOYMENT: ("deploy", "apps"),
    Kind.STATEFULSET: ("sts", "apps"),
    Kind.DAEMONSET: ("ds", "apps"),
    Kind.REPLICASET: ("rs", "apps"),
    Kind.JOB: ("", "batch"),
    Kind.CRONJOB: ("cj", "batch"),
    Kind.SERVICE: ("svc", ""),
    Kind.ROLLOUT: ("ro", "argoproj.io"),
}
"""What kubectl takes for a kind besides its name, and the kind's API group."""


def _kinds() -> dict[str, Kind]:
    named = {}
    for kind, (short, group) in _SHORT.items():
        plain = (kind.value, f"{kind.value}s")
        named.update(dict.fromkeys([*plain, *(f"{name}.{group}" for name in plain if group), short], kind))
    named["label"] = Kind.LABEL
    named.pop("", None)
    return named


_KINDS = _kinds()
_EXPECTED = "write KIND/NAME or label/KEY=VALUE, optionally with /container/NAME; kinds are " + ", ".join(
    kind.value for kind in Kind if kind is not Kind.LABEL
)


@dataclass(frozen=True, slots=True)
class Target:
    """What the user asked to mirror."""

    kind: Kind
    name: str
    container: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a target as it stands on the command line.

        Raises:
            UsageError: It does not fit the grammar.
        """
        what, separator, container = text.partition("/container/")
        kind, _, name = what.partition("/")
        if kind not in _KINDS and "/" in text:
            raise UsageError(f"target {text!r}: kind {kind!r} is not known; {_EXPECTED}")
        if kind in _KINDS and _fits(_KINDS[kind], name) and (not separator or _NAME.fullmatch(container)):
            return cls(_KINDS[kind], name, container or None)
        raise UsageError(f"target {text!r} is not understood; {_EXPECTED}")

    def __str__(self) -> str:
        return f"{self.kind.value}/{self.name}" + (f"/container/{self.container}" if self.container else "")


def _fits(kind: Kind, name: str) -> bool:
    if kind is Kind.LABEL:
        return all(_LABEL.fullmatch(label) for label in name.split(","))
    return _NAME.fullmatch(name) is not None
