"""ResourceQuotas: how much the pods of a namespace may ask for together. No I/O.

The rules and their words are those of the admission plugin (`k8s.io/apiserver/pkg/admission/plugin/resourcequota`), for pods,
their CPU and their memory. What else a quota may count, and its scopes, are ignored, and its status is not kept.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from podmirror_sandbox.cluster.apierrors import ApiError
from podmirror_sandbox.cluster.objects import Object, name_of, namespace_of
from podmirror_sandbox.cluster.phases import is_finished
from podmirror_sandbox.cluster.resources import PODS, RESOURCE_QUOTAS

if TYPE_CHECKING:
    from podmirror_sandbox.cluster.store import Store

_UNITS = {
    "m": Decimal("0.001"),
    **{unit: Decimal(1000) ** power for power, unit in enumerate("kMGTPE", start=1)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", start=1)},
}
_COUNTS = ("pods", "count/pods")


def check_quotas(store: Store, pod: Object) -> None:
    """Refuse a pod for which a quota of its namespace has no room.

    Raises:
        ApiError: 403, in the server's words.
    """
    others = [each for each in store.all_of(PODS, namespace_of(pod)) if not is_finished(each)]
    for quota in store.all_of(RESOURCE_QUOTAS, namespace_of(pod)):
        hard = {name: str(limit) for name, limit in (quota["spec"].get("hard") or {}).items()}
        _check_given(pod, name_of(quota), [name for name in sorted(hard) if _place(name)])
        for name, limit in sorted(hard.items()):
            asked, used = _use(pod, name), sum((_use(each, name) for each in others), Decimal(0))
            if asked and used + asked > _parse(limit):
                told = f"requested: {name}={_text(name, asked)}, used: {name}={_text(name, used)}"
                raise _refusal(pod, f"exceeded quota: {name_of(quota)}, {told}, limited: {name}={limit}")


def _check_given(pod: Object, quota: str, names: list[str]) -> None:
    """Refuse a pod with containers that do not say what a quota counts."""
    missing = []
    for name in names:
        silent = [entry["name"] for entry in pod["spec"]["containers"] if _given(entry, name) is None]
        if silent:
            missing.append(f"{name} for: {','.join(sorted(silent))}")
    if missing:
        raise _refusal(pod, f"failed quota: {quota}: must specify {'; '.join(missing)}")


def _refusal(pod: Object, why: str) -> ApiError:
    message = f'pods "{name_of(pod)}" is forbidden: {why}'
    return ApiError(403, "Forbidden", message, {"name": name_of(pod), "kind": PODS.plural})


def _place(name: str) -> tuple[str, str] | None:
    """Where in a container's resources stands what a quota calls by this name."""
    field, _, resource = name.rpartition(".")
    if resource not in ("cpu", "memory") or field not in ("", "requests", "limits"):
        return None
    return field or "requests", resource


def _given(container: Object, name: str) -> str | None:
    place = _place(name)
    assert place is not None, "only what a container can say is asked for"
    field, resource = place
    resources = container.get("resources") or {}
    limits = resources.get("limits") or {}
    # Without a request the limit is taken for it (pkg/apis/core/v1/defaults.go).
    given = (resources.get(field) or {}).get(resource, limits.get(resource))
    return None if given is None else str(given)


def _use(pod: Object, name: str) -> Decimal:
    if name in _COUNTS:
        return Decimal(1)
    if _place(name) is None:
        return Decimal(0)
    return sum((_parse(_given(entry, name) or "0") for entry in pod["spec"]["containers"]), Decimal(0))


def _parse(text: str) -> Decimal:
    number = text.rstrip("mkKMGTPEi")
    return Decimal(number) * _UNITS.get(text[len(number) :], Decimal(1))


def _text(name: str, amount: Decimal) -> str:
    """An amount with the largest unit that needs no fraction."""
    if name.endswith("cpu"):
        return f"{amount:f}" if amount == int(amount) else f"{int(amount * 1000)}m"
    units = [unit for unit in _UNITS if unit.endswith("i")] if name.endswith("memory") else []
    for unit in reversed(units):
        if amount and amount % _UNITS[unit] == 0:
            return f"{int(amount / _UNITS[unit])}{unit}"
    return str(int(amount))
