"""Who may do what: Roles and RoleBindings, as the real server evaluates them. No I/O.

The sandbox's own user may do everything; everybody else what Roles say. ClusterRoles are not known, so nobody else may do
anything outside of namespaces.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from podmirror_sandbox.cluster.apierrors import ApiError
from podmirror_sandbox.cluster.resources import ROLE_BINDINGS, ROLES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podmirror_sandbox.cluster.objects import Object
    from podmirror_sandbox.cluster.store import Store

ADMIN = "sandbox"
"""The user who started the sandbox."""

_SELF_REVIEWS = ("selfsubjectaccessreviews", "selfsubjectreviews")
"""Open to everybody who is known (`system:basic-user`)."""


@dataclass(frozen=True)
class Attributes:
    """What is to be decided."""

    verb: str
    group: str
    resource: str
    subresource: str = ""
    namespace: str = ""
    name: str = ""

    @property
    def path(self) -> str:
        """The resource as a Role names it."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


def is_allowed(store: Store, user: str, asked: Attributes) -> bool:
    """Whether a user may do something."""
    if user == ADMIN or asked.resource in _SELF_REVIEWS:
        return True
    return bool(asked.namespace) and any(
        _admits(rule, asked) for rule in _rules(store, user, asked.namespace)
    )


def check(store: Store, user: str, asked: Attributes) -> None:
    """Refuse what a user may not do.

    Raises:
        ApiError: 403, in the server's words.
    """
    if is_allowed(store, user, asked):
        return
    qualified = f"{asked.resource}.{asked.group}" if asked.group else asked.resource
    what = f'{qualified} "{asked.name}"' if asked.name else qualified
    where = f' in the namespace "{asked.namespace}"' if asked.namespace else " at the cluster scope"
    message = f'{what} is forbidden: User "{user}" cannot {asked.verb} resource "{asked.path}" '
    message += f'in API group "{asked.group}"{where}'
    raise ApiError(403, "Forbidden", message, {"name": asked.name, "kind": asked.resource})


def _rules(store: Store, user: str, namespace: str) -> Iterator[Object]:
    for binding in store.all_of(ROLE_BINDINGS, namespace):
        if any(_is_meant(subject, user) for subject in binding.get("subjects") or []):
            role = store.find(ROLES, namespace, binding["roleRef"]["name"])
            if role is not None and binding["roleRef"]["kind"] == "Role":
                yield from role.get("rules") or []


def _is_meant(subject: Object, user: str) -> bool:
    if subject["kind"] == "Group":
        return bool(subject["name"] == "system:authenticated")
    if subject["kind"] == "ServiceAccount":
        return user == f"system:serviceaccount:{subject.get('namespace')}:{subject['name']}"
    return bool(subject["name"] == user)


def _admits(rule: Object, asked: Attributes) -> bool:
    def holds(field: str, value: str) -> bool:
        return bool({value, "*"} & set(rule.get(field) or []))

    names = rule.get("resourceNames")
    return (
        holds("verbs", asked.verb)
        and holds("apiGroups", asked.group)
        and holds("resources", asked.path)
        and (not names or asked.name in names)
    )
