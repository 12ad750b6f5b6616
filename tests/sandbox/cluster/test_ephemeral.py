"""Adding ephemeral containers through the registry, as the subresource does it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from podmirror_sandbox.cluster.apierrors import ApiError
from podmirror_sandbox.cluster.resources import PODS

if TYPE_CHECKING:
    from podmirror_sandbox.cluster.registry import Registry


@pytest.fixture(autouse=True)
def pod(registry: Registry) -> None:
    containers = [{"name": "app", "image": "x"}]
    volumes = [{"name": "v", "emptyDir": {}}]
    spec = {"containers": containers, "initContainers": [{"name": "init", "image": "x"}], "volumes": volumes}
    registry.create(PODS, "default", {"metadata": {"name": "p"}, "spec": spec})


def put(registry: Registry, *containers: dict[str, Any]) -> dict[str, Any]:
    body = {"spec": {"ephemeralContainers": list(containers)}}
    return registry.update(PODS, "default", body, name="p", subresource="ephemeralcontainers")


def refusal(registry: Registry, *containers: dict[str, Any]) -> str:
    with pytest.raises(ApiError) as caught:
        put(registry, *containers)
    assert caught.value.code == 422
    return caught.value.message


def test_an_entry_is_added_with_defaults(registry: Registry) -> None:
    entry = put(registry, {"name": "a", "image": "x:1"})["spec"]["ephemeralContainers"][0]
    assert entry["imagePullPolicy"] == "IfNotPresent"
    assert entry["terminationMessagePath"] == "/dev/termination-log"


def test_other_changes_are_ignored(registry: Registry) -> None:
    body = {"metadata": {"labels": {"a": "b"}}, "spec": {"nodeName": "other", "ephemeralContainers": []}}
    registry.update(PODS, "default", body, name="p", subresource="ephemeralcontainers")
    assert "labels" not in registry.store.get(PODS, "default", "p")["metadata"]


def test_entries_may_not_be_changed_or_removed(registry: Registry) -> None:
    put(registry, {"name": "a", "image": "x:1"})
    changed = refusal(registry, {"name": "a", "image": "y:1"})
    assert changed.startswith(
        'Pod "p" is invalid: spec.ephemeralContainers: Forbidden: '
        'existing ephemeral containers "a" may not be changed\n'
    )
    removed = refusal(registry, {"name": "b", "image": "x:1"})
    assert 'existing ephemeral containers "a" may not be removed' in removed


@pytest.mark.parametrize("name", ["app", "init"])
def test_names_are_unique_among_all_containers(registry: Registry, name: str) -> None:
    message = refusal(registry, {"name": name, "image": "x"})
    assert message == f'Pod "p" is invalid: spec.ephemeralContainers[0].name: Duplicate value: "{name}"'


def test_names_are_unique_among_ephemeral_containers(registry: Registry) -> None:
    message = refusal(registry, {"name": "a", "image": "x"}, {"name": "a", "image": "x"})
    assert 'spec.ephemeralContainers[1].name: Duplicate value: "a"' in message


@pytest.mark.parametrize("field", ["resources", "ports", "livenessProbe", "lifecycle", "restartPolicy"])
def test_fields_outside_the_allow_list_are_forbidden(registry: Registry, field: str) -> None:
    value: Any = [{"containerPort": 1}] if field == "ports" else {"x": "y"}
    message = refusal(registry, {"name": "a", "image": "x", field: value})
    expected = f"spec.ephemeralContainers[0].{field}: Forbidden: cannot be set for an Ephemeral Container"
    assert message == f'Pod "p" is invalid: {expected}'


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"name": "a"}, "spec.ephemeralContainers[0].image: Required value"),
        ({"image": "x"}, "spec.ephemeralContainers[0].name: Required value"),
        (
            {"name": "a", "image": "x", "targetContainerName": "z"},
            'spec.ephemeralContainers[0].targetContainerName: Not found: "z"',
        ),
        (
            {"name": "a", "image": "x", "volumeMounts": [{"name": "z", "mountPath": "/z"}]},
            'spec.ephemeralContainers[0].volumeMounts[0].name: Not found: "z"',
        ),
        (
            {"name": "a", "image": "x", "volumeMounts": [{"name": "v", "mountPath": "/z", "subPath": "s"}]},
            "volumeMounts[0].subPath: Forbidden: cannot be set for an Ephemeral Container",
        ),
        ({"name": "A", "image": "x"}, 'name: Invalid value: "A": a lowercase RFC 1123 label must consist'),
    ],
)
def test_what_is_missing_or_wrong_is_named(registry: Registry, entry: dict[str, Any], expected: str) -> None:
    assert expected in refusal(registry, entry)


def test_static_pods_are_refused(registry: Registry) -> None:
    pod = registry.store.get(PODS, "default", "p")
    annotations = {"kubernetes.io/config.mirror": "x"}
    registry.store.put(PODS, {**pod, "metadata": {**pod["metadata"], "annotations": annotations}})
    assert "static pods do not support ephemeral containers" in refusal(registry, {"name": "a", "image": "x"})


def test_a_plain_update_cannot_touch_them(registry: Registry) -> None:
    pod = registry.store.get(PODS, "default", "p")
    body = {**pod, "spec": {**pod["spec"], "ephemeralContainers": [{"name": "a", "image": "x"}]}}
    with pytest.raises(ApiError, match="pod updates may not change fields other than"):
        registry.update(PODS, "default", body, name="p")
