"""The service account controller: every namespace has an account `default`, also when somebody deletes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podmirror_sandbox.cluster.objects import is_deleting, name_of
from podmirror_sandbox.cluster.resources import NAMESPACES, SERVICE_ACCOUNTS

if TYPE_CHECKING:
    from podmirror_sandbox.cluster.registry import Registry


def reconcile_service_accounts(registry: Registry) -> None:
    """Create the accounts that are missing."""
    for namespace in registry.store.all_of(NAMESPACES):
        name = name_of(namespace)
        if not is_deleting(namespace) and registry.store.find(SERVICE_ACCOUNTS, name, "default") is None:
            registry.create(SERVICE_ACCOUNTS, name, {"metadata": {"name": "default"}})
