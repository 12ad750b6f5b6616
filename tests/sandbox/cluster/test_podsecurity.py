"""Pods that namespaces with a level take and refuse; the refusals are those of a real server, word by word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from podmirror_sandbox.cluster.apierrors import ApiError
from podmirror_sandbox.cluster.podsecurity import warning_of
from podmirror_sandbox.cluster.resources import JOBS, NAMESPACES, PODS

if TYPE_CHECKING:
    from podmirror_sandbox.cluster.registry import Registry

HARMLESS = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
AGENT = {
    "runAsUser": 0,
    "runAsNonRoot": False,
    "allowPrivilegeEscalation": False,
}
JOB_AGENT = {
    **AGENT,
    "capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN", "SYS_PTRACE", "NET_RAW"]},
    "appArmorProfile": {"type": "Unconfined"},
}


def enforce(registry: Registry, level: str) -> None:
    labels = {"pod-security.kubernetes.io/enforce": level}
    registry.create(NAMESPACES, "", {"metadata": {"name": "shop", "labels": labels}})


def container(name: str, security: dict[str, Any] | None = None) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": name, "image": "x"}
    return entry if security is None else {**entry, "securityContext": security}


def create(registry: Registry, *containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    body = {"metadata": {"name": "x"}, "spec": {"containers": list(containers), **spec}}
    return registry.create(PODS, "shop", body)


def refusal(registry: Registry, *containers: dict[str, Any], **spec: Any) -> str:
    with pytest.raises(ApiError) as refused:
        create(registry, *containers, **spec)
    assert (refused.value.code, refused.value.reason) == (403, "Forbidden")
    return refused.value.message


def test_baseline_takes_plain_pods(registry: Registry) -> None:
    enforce(registry, "baseline")
    create(registry, container("x"), container("y", {"capabilities": {"add": ["CHOWN"]}}))


def test_what_baseline_refuses(registry: Registry) -> None:
    enforce(registry, "baseline")
    told = refusal(
        registry,
        container("x", {"privileged": True, "capabilities": {"add": ["NET_ADMIN", "NET_RAW"]}}),
        container("y", {"capabilities": {"add": ["SYS_ADMIN"]}}),
        hostPID=True,
        hostNetwork=True,
        volumes=[{"name": "v", "hostPath": {"path": "/"}}],
    )
    assert told == (
        'pods "x" is forbidden: violates PodSecurity "baseline:latest": non-default capabilities (containers "x", "y" must '
        'not include "NET_ADMIN", "NET_RAW", "SYS_ADMIN" in securityContext.capabilities.add), host namespaces '
        '(hostNetwork=true, hostPID=true), hostPath volumes (volume "v"), privileged (container "x" must not set '
        "securityContext.privileged=true)"
    )


def test_restricted_takes_only_pods_that_say_so(registry: Registry) -> None:
    enforce(registry, "restricted")
    told = refusal(registry, container("x"))
    assert told == (
        'pods "x" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "x" '
        'must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container "x" must set '
        'securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or container "x" must set '
        'securityContext.runAsNonRoot=true), seccompProfile (pod or container "x" must set '
        'securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")'
    )
    create(registry, container("x", HARMLESS))


def test_what_restricted_says_of_the_agent_of_a_job(registry: Registry) -> None:
    enforce(registry, "restricted")
    told = refusal(registry, container("a", JOB_AGENT), hostPID=True)
    assert told.removeprefix('pods "x" is forbidden: violates PodSecurity "restricted:latest": ') == (
        'forbidden AppArmor profile (container "a" must not set AppArmor profile type to "Unconfined"), host namespaces '
        '(hostPID=true), unrestricted capabilities (container "a" must not include "NET_RAW", "SYS_ADMIN", "SYS_PTRACE" in '
        'securityContext.capabilities.add), runAsNonRoot != true (container "a" must not set '
        'securityContext.runAsNonRoot=false), runAsUser=0 (container "a" must not set runAsUser=0), seccompProfile (pod or '
        'container "a" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")'
    )


@pytest.mark.parametrize(
    ("level", "capabilities", "told"),
    [
        ("baseline", {}, None),
        ("baseline", {"drop": ["ALL"], "add": ["NET_RAW"]}, 'must not include "NET_RAW"'),
        ("restricted", {}, 'container "agent" must set securityContext.capabilities.drop=["ALL"]'),
    ],
)
def test_ephemeral_containers_are_judged_with_their_pod(
    registry: Registry, level: str, capabilities: dict[str, Any], told: str | None
) -> None:
    enforce(registry, level)
    pod = create(registry, container("x", HARMLESS))
    agent = container("agent", {**AGENT, "capabilities": capabilities})
    body = {**pod, "spec": {**pod["spec"], "ephemeralContainers": [agent]}}

    def add() -> None:
        registry.update(PODS, "shop", body, name="x", subresource="ephemeralcontainers")

    if told is None:
        add()
        return
    with pytest.raises(ApiError) as refused:
        add()
    assert told in refused.value.message


def test_a_level_raised_later_leaves_what_is_there(registry: Registry) -> None:
    registry.create(NAMESPACES, "", {"metadata": {"name": "shop"}})
    pod = create(registry, container("x", {"privileged": True}))
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    registry.update(NAMESPACES, "", {"metadata": {"name": "shop", "labels": labels}}, name="shop")

    relabelled = {**pod, "metadata": {**pod["metadata"], "labels": {"a": "b"}}}
    registry.update(PODS, "shop", relabelled, name="x")


def test_a_workload_is_warned_of_and_created(registry: Registry) -> None:
    enforce(registry, "baseline")
    template = {"spec": {"restartPolicy": "Never", "hostPID": True, "containers": [container("x")]}}
    job = registry.create(JOBS, "shop", {"metadata": {"name": "j"}, "spec": {"template": template}})

    assert warning_of(registry.store, JOBS, job) == (
        'would violate PodSecurity "baseline:latest": host namespaces (hostPID=true)'
    )
    assert warning_of(registry.store, PODS, job) == ""
