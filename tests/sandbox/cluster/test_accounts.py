"""Every namespace has its default service account."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podmirror_sandbox.cluster.controllers import reconcile
from podmirror_sandbox.cluster.registry import DeleteOptions
from podmirror_sandbox.cluster.resources import NAMESPACES, SERVICE_ACCOUNTS

if TYPE_CHECKING:
    from podmirror_sandbox.cluster.registry import Registry


def accounts(registry: Registry, namespace: str) -> list[str]:
    return [each["metadata"]["name"] for each in registry.store.all_of(SERVICE_ACCOUNTS, namespace)]


def test_new_namespace_gets_its_account(registry: Registry) -> None:
    registry.create(NAMESPACES, "", {"metadata": {"name": "shop"}})
    reconcile(registry)

    assert accounts(registry, "shop") == ["default"]


def test_account_that_was_deleted_comes_back(registry: Registry) -> None:
    registry.create(NAMESPACES, "", {"metadata": {"name": "shop"}})
    reconcile(registry)
    registry.delete(SERVICE_ACCOUNTS, "shop", "default", DeleteOptions())
    reconcile(registry)

    assert accounts(registry, "shop") == ["default"]
