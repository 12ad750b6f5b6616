from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from podmirror_sandbox.cluster.apierrors import ApiError
from podmirror_sandbox.cluster.bootstrap import apply_manifest
from podmirror_sandbox.cluster.registry import DeleteOptions
from podmirror_sandbox.cluster.resources import CONFIG_MAPS, DEPLOYMENTS, JOBS, NAMESPACES, PODS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podmirror_sandbox.cluster.registry import Registry


def pod(name: str = "p", **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, **metadata}, "spec": {"containers": [{"name": "c", "image": "x"}]}}


@dataclass
class Refusal:
    message: str = ""


@contextmanager
def refused(code: int, reason: str) -> Iterator[Refusal]:
    refusal = Refusal()
    with pytest.raises(ApiError) as caught:
        yield refusal
    assert (caught.value.code, caught.value.reason) == (code, reason)
    refusal.message = caught.value.message


def test_create_fills_in_what_the_server_sets(registry: Registry) -> None:
    item = registry.create(PODS, "default", pod())
    assert item["kind"] == "Pod"
    assert item["metadata"]["namespace"] == "default"
    assert item["metadata"]["creationTimestamp"] == "2026-01-01T00:00:00Z"
    assert item["metadata"]["resourceVersion"] == str(registry.store.revision)
    assert item["spec"]["containers"][0]["imagePullPolicy"] == "Always"
    assert item["status"]["phase"] == "Pending"


def test_generate_name(registry: Registry) -> None:
    body = pod()
    body["metadata"] = {"generateName": "p-"}
    name = registry.create(PODS, "default", body)["metadata"]["name"]
    assert name.startswith("p-")
    assert len(name) == 7


def test_dry_run_stores_nothing(registry: Registry) -> None:
    before = registry.store.revision
    registry.create(PODS, "default", pod(), dry_run=True)
    assert registry.store.revision == before
    with refused(422, "Invalid"):
        registry.create(PODS, "default", {"metadata": {"name": "p"}, "spec": {}}, dry_run=True)


def test_refused_creations(registry: Registry) -> None:
    registry.create(PODS, "default", pod())
    with refused(409, "AlreadyExists") as exists:
        registry.create(PODS, "default", pod())
    assert exists.message == 'pods "p" already exists'
    with refused(404, "NotFound") as missing:
        registry.create(PODS, "nowhere", pod())
    assert missing.message == 'namespaces "nowhere" not found'
    with refused(400, "BadRequest"):
        registry.create(PODS, "default", pod(namespace="other"))
    with refused(400, "BadRequest"):
        registry.create(PODS, "default", {**pod(), "kind": "Job"})
    with refused(422, "Invalid"):
        registry.create(PODS, "default", {"metadata": {}, "spec": {}})
    with refused(422, "Invalid") as unnamed:
        registry.create(PODS, "default", pod("Not_A_Name"))
    assert "lowercase RFC 1123 subdomain" in unnamed.message
    with refused(422, "Invalid") as ephemeral:
        body = pod("q")
        body["spec"]["ephemeralContainers"] = [{"name": "e", "image": "x"}]
        registry.create(PODS, "default", body)
    assert "spec.ephemeralContainers: Forbidden: cannot be set on create" in ephemeral.message


def test_stale_update_conflicts(registry: Registry) -> None:
    first = registry.create(PODS, "default", pod())
    second = {**first, "metadata": {**first["metadata"], "labels": {"a": "b"}}}
    registry.update(PODS, "default", second, name="p")
    with refused(409, "Conflict") as conflict:
        registry.update(PODS, "default", first, name="p")
    assert 'Operation cannot be fulfilled on pods "p": the object has been modified' in conflict.message


def test_update_that_changes_nothing_stores_nothing(registry: Registry) -> None:
    item = registry.create(PODS, "default", pod())
    before = registry.store.revision
    assert registry.update(PODS, "default", item, name="p") == item
    assert registry.store.revision == before


def test_what_of_a_pod_may_be_updated(registry: Registry) -> None:
    item = registry.create(PODS, "default", pod())
    image = {
        **item,
        "spec": {**item["spec"], "containers": [{**item["spec"]["containers"][0], "image": "y"}]},
    }
    updated = registry.update(PODS, "default", image, name="p")
    assert updated["metadata"]["generation"] == 2
    host = {**updated, "spec": {**updated["spec"], "hostNetwork": True}}
    with refused(422, "Invalid"):
        registry.update(PODS, "default", host, name="p")


def test_status_of_a_plain_update_is_ignored(registry: Registry) -> None:
    item = registry.create(PODS, "default", pod())
    body = {**item, "status": {"phase": "Failed"}}
    assert registry.update(PODS, "default", body, name="p")["status"]["phase"] == "Pending"
    assert (
        registry.update(PODS, "default", body, name="p", subresource="status")["status"]["phase"] == "Failed"
    )


def test_pod_on_a_node_is_marked_and_not_removed(registry: Registry) -> None:
    body = pod()
    body["spec"]["nodeName"] = "node1"
    registry.create(PODS, "default", body)
    item = registry.delete(PODS, "default", "p", DeleteOptions(grace_seconds=5))
    assert item["metadata"]["deletionTimestamp"] == "2026-01-01T00:00:05Z"
    assert item["metadata"]["deletionGracePeriodSeconds"] == 5
    # A later deletion may only shorten the time.
    assert registry.delete(PODS, "default", "p") == item
    registry.delete(PODS, "default", "p", DeleteOptions(grace_seconds=0))
    with refused(404, "NotFound"):
        registry.store.get(PODS, "default", "p")


def test_delete_preconditions(registry: Registry) -> None:
    registry.create(PODS, "default", pod())
    with refused(409, "Conflict"):
        registry.delete(PODS, "default", "p", DeleteOptions(uid="other"))
    with refused(409, "Conflict"):
        registry.delete(PODS, "default", "p", DeleteOptions(resource_version="1"))


def test_deleting_a_job_leaves_its_pods_unless_told_otherwise(registry: Registry) -> None:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]}}
    job = registry.create(JOBS, "default", {"metadata": {"name": "j"}, "spec": {"template": template}})
    owner = {"kind": "Job", "name": "j", "uid": job["metadata"]["uid"], "controller": True}
    registry.create(PODS, "default", pod(ownerReferences=[owner]))
    registry.delete(JOBS, "default", "j")
    assert registry.store.get(PODS, "default", "p")["metadata"]["ownerReferences"] == []


def test_deleting_a_namespace_empties_it(registry: Registry) -> None:
    registry.create(NAMESPACES, "", {"metadata": {"name": "n"}})
    registry.create(CONFIG_MAPS, "n", {"metadata": {"name": "c"}, "data": {}})
    registry.delete(NAMESPACES, "", "n")
    assert registry.store.all_of(CONFIG_MAPS) == []


def test_deployment_rules(registry: Registry) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}
    body: dict[str, Any] = {
        "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": {"a": "c"}}, "template": template},
    }
    with refused(422, "Invalid") as mismatch:
        registry.create(DEPLOYMENTS, "default", body)
    assert "`selector` does not match template `labels`" in mismatch.message
    assert mismatch.message.startswith('Deployment.apps "d" is invalid')
    body["spec"]["selector"] = {"matchLabels": {"a": "b"}}
    item = registry.create(DEPLOYMENTS, "default", body)
    changed = {**item, "spec": {**item["spec"], "selector": {}}}
    with refused(422, "Invalid"):
        registry.update(DEPLOYMENTS, "default", changed, name="d")


def test_job_rules(registry: Registry) -> None:
    body = {
        "metadata": {"name": "j"},
        "spec": {"template": {"spec": {"containers": [{"name": "c", "image": "x"}]}}},
    }
    with refused(422, "Invalid") as policy:
        registry.create(JOBS, "default", body)
    assert 'restartPolicy: Required value: valid values: "OnFailure", "Never"' in policy.message


def test_manifests_are_created_where_they_say(registry: Registry) -> None:
    items = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "kube-system"}}]
    apply_manifest(registry, {"kind": "List", "items": items})
    assert registry.store.get(CONFIG_MAPS, "kube-system", "c")
    with refused(400, "BadRequest"):
        apply_manifest(registry, {"apiVersion": "v2", "kind": "Nothing"})
