"""The grammar of targets: `KIND/NAME[/container/CONTAINER]`.

    pod/web-0                             a pod
    deployment/web                        a pod of the deployment
    deployment/web/container/nginx        and the container in it that is meant

Kinds may be written as kubectl takes them: `po`, `pods`, `deploy`, `deployments`, `deployment.apps`. A name without a kind is
refused, since `web` could be either. Which container is meant matters for what is said about it; a pod's containers share one
network namespace, so all of them are seen.
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Self

from podmirror.errors import UsageError

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
"""A DNS subdomain, as object names are (RFC 1123; k8s.io/apimachinery/pkg/util/validation)."""


class Kind(Enum):
    """What can be a target."""

    POD = "pod"
    DEPLOYMENT = "deployment"


_KINDS = {
    **dict.fromkeys(("pod", "pods", "po"), Kind.POD),
    **dict.fromkeys(
        ("deployment", "deployments", "deploy", "deployment.apps", "deployments.apps"), Kind.DEPLOYMENT
    ),
}


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
        match text.split("/"):
            case [kind, name] if kind in _KINDS and _NAME.fullmatch(name):
                return cls(_KINDS[kind], name)
            case [kind, name, "container", container] if (
                kind in _KINDS and _NAME.fullmatch(name) and _NAME.fullmatch(container)
            ):
                return cls(_KINDS[kind], name, container)
            case [kind, *_] if kind not in _KINDS and "/" in text:
                raise UsageError(
                    f"target {text!r}: kind {kind!r} is not known; use pod/NAME or deployment/NAME"
                )
        raise UsageError(
            f"target {text!r} is not understood; write pod/NAME or deployment/NAME, optionally with /container/NAME"
        )

    def __str__(self) -> str:
        return f"{self.kind.value}/{self.name}" + (f"/container/{self.container}" if self.container else "")
