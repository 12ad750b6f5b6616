"""Roles, bindings and namespaces as YAML to apply. No I/O.

The text is written here and not by a YAML library, because each rule carries the reason for it as a comment.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from podmirror.kube.permissions import RoleRules, Rule

_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9./-]*")
_RESERVED = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})
"""Words that YAML 1.1 does not take for strings."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Who gets the permissions."""

    kind: str
    """`User`, `Group` or `ServiceAccount`."""
    name: str
    namespace: str | None = None
    """Of a service account."""


def role_manifests(name: str, roles: Iterable[RoleRules], subject: Subject) -> str:
    """Give a Role and its RoleBinding for each namespace, as documents of YAML."""
    documents = []
    for each in roles:
        documents += [_role(name, each), _binding(name, each.namespace, subject)]
    return "---\n".join(documents)


def privileged_namespace(name: str) -> str:
    """Give a namespace that Pod Security admits Job agents in, as YAML."""
    return (
        "apiVersion: v1\n"
        "kind: Namespace\n"
        "metadata:\n"
        f"  name: {_scalar(name)}\n"
        "  labels:\n"
        "    pod-security.kubernetes.io/enforce: privileged\n"
    )


def _role(name: str, role: RoleRules) -> str:
    rules = "".join(_rule(each) for each in role.rules)
    return _head("Role", name, role.namespace) + f"rules:\n{rules}"


def _rule(rule: Rule) -> str:
    return (
        f"  # {rule.why}\n"
        f"  - apiGroups: [{json.dumps(rule.group)}]\n"
        f"    resources: [{', '.join(rule.resources)}]\n"
        f"    verbs: [{', '.join(rule.verbs)}]\n"
    )


def _binding(name: str, namespace: str, subject: Subject) -> str:
    lines = [f"  - kind: {subject.kind}", f"    name: {_scalar(subject.name)}"]
    if subject.kind == "ServiceAccount":
        lines.append(f"    namespace: {_scalar(subject.namespace or namespace)}")
    else:
        lines.append("    apiGroup: rbac.authorization.k8s.io")
    return (
        _head("RoleBinding", name, namespace) + "roleRef:\n"
        "  apiGroup: rbac.authorization.k8s.io\n"
        "  kind: Role\n"
        f"  name: {name}\n"
        "subjects:\n" + "\n".join(lines) + "\n"
    )


def _head(kind: str, name: str, namespace: str) -> str:
    return (
        "apiVersion: rbac.authorization.k8s.io/v1\n"
        f"kind: {kind}\n"
        "metadata:\n"
        f"  name: {name}\n"
        f"  namespace: {_scalar(namespace)}\n"
    )


def _scalar(text: str) -> str:
    """Write a string; quoted as JSON, which YAML contains, where it could be taken for something else."""
    return text if _PLAIN.fullmatch(text) and text.lower() not in _RESERVED else json.dumps(text)
