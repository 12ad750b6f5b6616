"""The one door to the store for everybody who writes: the API, the manifests, the controllers.

Here stand the rules that hold for all kinds: names, namespaces, versions and conflicts, what a subresource may change,
dry runs, deletion with grace and what happens to dependants. The rules of single kinds stand in `podrules`,
`ephemeral` and `workloadrules`.
"""

from __future__ import annotations

import copy
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from podmirror_sandbox.cluster.apierrors import ApiError, FieldError
from podmirror_sandbox.cluster.ephemeral import ephemeral_update_errors
from podmirror_sandbox.cluster.objects import (
    Clock,
    Object,
    is_deleting,
    labels_of,
    name_of,
    random_suffix,
    seconds_after,
    timestamp,
    uid_of,
)
from podmirror_sandbox.cluster.podrules import (
    default_pod_spec,
    name_errors,
    pod_spec_errors,
    pod_update_errors,
)
from podmirror_sandbox.cluster.podsecurity import check_pod_security
from podmirror_sandbox.cluster.quotas import check_quotas
from podmirror_sandbox.cluster.resources import (
    CRON_JOBS,
    DAEMON_SETS,
    DEPLOYMENTS,
    JOBS,
    NAMESPACES,
    PODS,
    REPLICA_SETS,
    STATEFUL_SETS,
    STORED,
    Resource,
)
from podmirror_sandbox.cluster.workloadrules import (
    cron_job_errors,
    default_cron_job,
    default_job,
    default_replicated,
    job_errors,
    replicated_errors,
    workload_update_errors,
)

if TYPE_CHECKING:
    from podmirror_sandbox.cluster.store import Store

# Set by the server; what a client says about them is not taken over.
_SERVER_METADATA = ("uid", "creationTimestamp", "resourceVersion", "generation", "deletionTimestamp")
_KEPT_METADATA = (*_SERVER_METADATA, "deletionGracePeriodSeconds", "namespace", "name", "generateName")
_REPLICATED = (DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS, DAEMON_SETS)
_COUNTS: dict[Resource, tuple[str, ...]] = {
    REPLICA_SETS: ("replicas",),
    STATEFUL_SETS: ("replicas",),
    DAEMON_SETS: (
        *("currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled", "numberReady"),
    ),
}
"""What a status must hold from the beginning (kubernetes staging/src/k8s.io/api/apps/v1/types.go: no omitempty)."""
_WITH_GENERATION = (PODS, *_REPLICATED, JOBS, CRON_JOBS)


@dataclass(frozen=True)
class DeleteOptions:
    """What a DELETE request may say."""

    grace_seconds: int | None = None
    propagation: str | None = None
    uid: str | None = None
    resource_version: str | None = None


class Registry:
    """Writes to the store, by the rules."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self.clock = clock

    def create(self, resource: Resource, namespace: str, body: Object, *, dry_run: bool = False) -> Object:
        """Add an object.

        Raises:
            ApiError: whatever the real server would refuse with.
        """
        item = copy.deepcopy(body)
        _check_kind(resource, item)
        metadata = item.setdefault("metadata", {}) or {}
        item["metadata"] = metadata
        self._place(resource, namespace, metadata)
        name = metadata["name"]
        for field in _SERVER_METADATA:
            metadata.pop(field, None)
        metadata["uid"] = str(uuid.uuid4())
        metadata["creationTimestamp"] = timestamp(self.clock())
        if resource in _WITH_GENERATION:
            metadata["generation"] = 1
            item["status"] = {}
        item = _with_defaults(resource, item)
        errors = name_errors("metadata.name", name)
        if resource is PODS and item["spec"].get("ephemeralContainers"):
            errors.append(FieldError.forbidden("spec.ephemeralContainers", "cannot be set on create"))
        errors += _errors(resource, item)
        if errors:
            raise ApiError.invalid(resource, name, errors)
        if self.store.find(resource, metadata.get("namespace", ""), name):
            raise ApiError.already_exists(resource, name)
        if resource is PODS:
            check_pod_security(self.store, item)
            check_quotas(self.store, item)
        return item if dry_run else self.store.put(resource, item)

    def update(
        self,
        resource: Resource,
        namespace: str,
        body: Object,
        *,
        name: str,
        subresource: str = "",
        dry_run: bool = False,
    ) -> Object:
        """Replace an object, or that part of it which a subresource stands for.

        Raises:
            ApiError: 404, 409 when `body` carries another version than the stored one, 422.
        """
        old = self.store.get(resource, namespace, name)
        metadata = body.get("metadata") or {}
        if metadata.get("name", name) != name:
            given = metadata["name"]
            raise ApiError.bad_request(
                f"the name of the object ({given}) does not match the name on the URL ({name})"
            )
        version = metadata.get("resourceVersion")
        if version and version != old["metadata"]["resourceVersion"]:
            raise ApiError.conflict(resource, name)
        if metadata.get("uid", uid_of(old)) != uid_of(old):
            why = f"Precondition failed: UID in precondition: {metadata['uid']}, "
            why += f"UID in object meta: {uid_of(old)}"
            raise ApiError.conflict(resource, name, why)
        new = _with_defaults(resource, _changed(old, body, subresource))
        errors = _update_errors(resource, old, new, subresource)
        if errors:
            raise ApiError.invalid(resource, name, errors)
        if new == old:
            return old
        if subresource == "ephemeralcontainers":
            check_pod_security(self.store, new)
        if new.get("spec") != old.get("spec") and "generation" in old["metadata"]:
            new["metadata"]["generation"] = old["metadata"]["generation"] + 1
        return new if dry_run else self.store.put(resource, new)

    def set_status(self, resource: Resource, item: Object, status: Object) -> Object:
        """Replace the status, as controllers and the kubelet do; no change stores nothing."""
        current = self.store.find(resource, item["metadata"].get("namespace", ""), name_of(item))
        if current is None or uid_of(current) != uid_of(item) or current.get("status") == status:
            return current or item
        return self.store.put(resource, {**current, "status": copy.deepcopy(status)})

    def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        options: DeleteOptions | None = None,
        *,
        dry_run: bool = False,
    ) -> Object:
        """Delete an object: at once, or for a pod on a node, mark it for the kubelet to end.

        Raises:
            ApiError: 404, or 409 when a precondition does not hold.
        """
        options = options or DeleteOptions()
        item = self.store.get(resource, namespace, name)
        if options.uid and options.uid != uid_of(item):
            why = f"Precondition failed: UID in precondition: {options.uid}, "
            why += f"UID in object meta: {uid_of(item)}"
            raise ApiError.conflict(resource, name, why)
        if options.resource_version not in (None, item["metadata"]["resourceVersion"]):
            raise ApiError.conflict(resource, name)
        if dry_run:
            return item
        # The default of batch/v1 Jobs is to leave the pods behind, for historical reasons: real, and a trap.
        propagation = options.propagation or ("Orphan" if resource is JOBS else "Background")
        if propagation == "Orphan":
            self._orphan_dependants(item)
        if resource is PODS:
            return self._delete_pod(item, options.grace_seconds)
        if resource is NAMESPACES:
            self._empty_namespace(name)
        return self.store.remove(resource, namespace, name) or item

    def _delete_pod(self, pod: Object, grace: int | None) -> Object:
        metadata = pod["metadata"]
        phase = (pod.get("status") or {}).get("phase")
        if grace is None:
            grace = int(pod["spec"].get("terminationGracePeriodSeconds", 30))
        # Nobody has to end what never ran or has ended.
        if grace <= 0 or not pod["spec"].get("nodeName") or phase in ("Succeeded", "Failed"):
            return self.store.remove(PODS, metadata["namespace"], metadata["name"]) or pod
        if is_deleting(pod) and metadata["deletionGracePeriodSeconds"] <= grace:
            return pod
        deadline = timestamp(seconds_after(timestamp(self.clock()), grace))
        marked = {**metadata, "deletionTimestamp": deadline, "deletionGracePeriodSeconds": grace}
        return self.store.put(PODS, {**pod, "metadata": marked})

    def _place(self, resource: Resource, namespace: str, metadata: Object) -> None:
        """Settle the name and the namespace of a new object."""
        if resource.namespaced:
            if metadata.setdefault("namespace", namespace) != namespace:
                raise ApiError.bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request"
                )
            self.store.get(NAMESPACES, "", namespace)
        else:
            metadata.pop("namespace", None)
        if not metadata.get("name"):
            prefix = metadata.get("generateName")
            if not prefix:
                missing = FieldError.required("metadata.name", "name or generateName is required")
                raise ApiError.invalid(resource, "", [missing])
            metadata["name"] = prefix + random_suffix()

    def _orphan_dependants(self, owner: Object) -> None:
        for resource in STORED:
            for item in self.store.all_of(resource):
                references = item["metadata"].get("ownerReferences") or []
                kept = [reference for reference in references if reference["uid"] != uid_of(owner)]
                if kept != references:
                    metadata = {**item["metadata"], "ownerReferences": kept}
                    self.store.put(resource, {**item, "metadata": metadata})

    def _empty_namespace(self, namespace: str) -> None:
        for resource in STORED:
            if resource.namespaced:
                for item in self.store.all_of(resource, namespace):
                    self.delete(resource, namespace, name_of(item))


def _check_kind(resource: Resource, item: Object) -> None:
    given = (item.get("apiVersion", resource.api_version), item.get("kind", resource.kind))
    if given != (resource.api_version, resource.kind):
        raise ApiError.bad_request(
            f"the API version in the data ({given[0]}, Kind={given[1]}) does not match the expected API version "
            f"({resource.api_version}, Kind={resource.kind})"
        )
    item["apiVersion"], item["kind"] = resource.api_version, resource.kind


def _with_defaults(resource: Resource, item: Object) -> Object:
    if resource is PODS:
        status = item.get("status") or {"phase": "Pending", "qosClass": "BestEffort"}
        return {**item, "spec": default_pod_spec(item.get("spec") or {}), "status": status}
    if resource in _REPLICATED:
        return {
            **default_replicated(item),
            "status": item.get("status") or dict.fromkeys(_COUNTS.get(resource, ()), 0),
        }
    if resource is JOBS:
        return default_job(item)
    if resource is CRON_JOBS:
        return default_cron_job(item)
    if resource is NAMESPACES:
        name = name_of(item)
        metadata = {**item["metadata"], "labels": {**labels_of(item), "kubernetes.io/metadata.name": name}}
        status = {"phase": "Active"}
        return {**item, "metadata": metadata, "spec": {"finalizers": ["kubernetes"]}, "status": status}
    return item


def _errors(resource: Resource, item: Object) -> list[FieldError]:
    if resource is PODS:
        return pod_spec_errors(item["spec"])
    if resource in _REPLICATED:
        return replicated_errors(item)
    if resource is CRON_JOBS:
        return cron_job_errors(item)
    return job_errors(item) if resource is JOBS else []


def _update_errors(resource: Resource, old: Object, new: Object, subresource: str) -> list[FieldError]:
    if subresource == "status":
        return []
    if subresource == "ephemeralcontainers":
        return ephemeral_update_errors(old, new)
    if resource is PODS:
        return pod_update_errors(old, new) + pod_spec_errors(new["spec"])
    errors = _errors(resource, new)
    if resource in (*_REPLICATED, JOBS):
        errors += workload_update_errors(old, new)
    return errors


def _changed(old: Object, body: Object, subresource: str) -> Object:
    """The old object with what the request may change."""
    body = copy.deepcopy(body)
    if subresource == "status":
        return {**old, "status": body.get("status") or {}}
    if subresource == "ephemeralcontainers":
        entries = (body.get("spec") or {}).get("ephemeralContainers") or []
        spec = {key: value for key, value in old["spec"].items() if key != "ephemeralContainers"}
        return {**old, "spec": {**spec, "ephemeralContainers": entries} if entries else spec}
    given = body.get("metadata") or {}
    kept = {key: old["metadata"][key] for key in _KEPT_METADATA if key in old["metadata"]}
    metadata = {key: value for key, value in given.items() if key not in _KEPT_METADATA}
    new = {**body, "apiVersion": old["apiVersion"], "kind": old["kind"], "metadata": {**metadata, **kept}}
    if "status" in old:
        new["status"] = old["status"]
    return new
