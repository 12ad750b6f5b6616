"""The grammar of targets: `KIND/NAME[/container/CONTAINER]`, or `label/KEY=VALUE[,...][/container/CONTAINER]`.

    pod/web-0                             a pod
    deployment/web                        the pods of a deployment
    deployment/web/container/nginx        and the container in them that is meant
    service/web                           the pods that a service selects
    label/app=web,tier=front              the pods with these labels

Kinds may be written as kubectl takes them: `sts`, `statefulsets`, `statefulset.apps`, `StatefulSet`. A name without a kind is
refused, since `web` could be any of them. Which container is meant matters for what is said about it; a pod's containers share
one network namespace, so all of them are seen.
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Self

from podmirror.errors import UsageError

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
"""A DNS subdomain, as object names are (RFC 1123; k8s.io/apimachinery/pkg/util/validation)."""

_WORD = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_LABEL = re.compile(rf"({_NAME.pattern}/)?{_WORD}=({_WORD})?")
"""A label's optional prefix, name and value (k8s.io/apimachinery/pkg/util/validation, IsQualifiedName, IsValidLabelValue)."""


class Kind(Enum):
    """What can be a target, as `kubectl get` names one of them; a set of labels is no object."""

    POD = "pod"
    DEPLOYMENT = "deployment"
    STATEFUL_SET = "statefulset"
    DAEMON_SET = "daemonset"
    REPLICA_SET = "replicaset"
    JOB = "job"
    CRON_JOB = "cronjob"
    SERVICE = "service"
    ROLLOUT = "rollout"
    LABEL = "label"


_SHORT_NAMES_AND_GROUP = {
    Kind.POD: (("po",), ""),
    Kind.DEPLOYMENT: (("deploy",), "apps"),
    Kind.STATEFUL_SET: (("sts",), "apps"),
    Kind.DAEMON_SET: (("ds",), "apps"),
    Kind.REPLICA_SET: (("rs",), "apps"),
    Kind.JOB: ((), "batch"),
    Kind.CRON_JOB: (("cj",), "batch"),
    Kind.SERVICE: (("svc",), ""),
    Kind.ROLLOUT: (("ro",), "argoproj.io"),
}
"""`kubectl api-resources`."""


def _names(kind: Kind) -> list[str]:
    short, group = _SHORT_NAMES_AND_GROUP[kind]
    names = [kind.value, f"{kind.value}s"]
    return [*names, *short, *(f"{name}.{group}" for name in names if group)]


_KINDS = {name: kind for kind in _SHORT_NAMES_AND_GROUP for name in _names(kind)}

KINDS = ", ".join(kind.value for kind in _SHORT_NAMES_AND_GROUP)
"""For help texts and refusals."""


@dataclass(frozen=True, slots=True)
class Target:
    """What the user asked to mirror."""

    kind: Kind
    name: str
    """Of the object; of `Kind.LABEL` the labels, as a label selector."""
    container: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a target as it stands on the command line.

        Raises:
            UsageError: It does not fit the grammar.
        """
        written, slash, rest = text.partition("/")
        kind = written.lower()
        if slash and kind not in _KINDS and kind != Kind.LABEL.value:
            raise UsageError(
                f"target {text!r}: kind {written!r} is not known; use pod/NAME or deployment/NAME; the kinds are {KINDS}, "
                "and label/KEY=VALUE"
            )
        name, separator, container = rest.partition("/container/")
        if separator and not _NAME.fullmatch(container):
            name = ""
        if kind == Kind.LABEL.value and all(map(_LABEL.fullmatch, name.split(","))):
            return cls(Kind.LABEL, name, container or None)
        if kind in _KINDS and _NAME.fullmatch(name):
            return cls(_KINDS[kind], name, container or None)
        raise UsageError(
            f"target {text!r} is not understood; write pod/NAME or deployment/NAME, another kind ({KINDS}), or "
            "label/KEY=VALUE, optionally with /container/NAME"
        )

    @property
    def is_followed(self) -> bool:
        """Whether there may be a successor to a pod of it that goes away."""
        return self.kind is not Kind.POD

    def __str__(self) -> str:
        return f"{self.kind.value}/{self.name}" + (f"/container/{self.container}" if self.container else "")
