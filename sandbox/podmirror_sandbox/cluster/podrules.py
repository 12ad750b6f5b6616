"""What the server fills in and checks in a pod, wherever it stands: by itself or as a template."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING

from podmirror_sandbox.cluster.apierrors import FieldError

if TYPE_CHECKING:
    from podmirror_sandbox.cluster.objects import Object

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_DNS_LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_DNS_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_PULL_POLICIES = ["Always", "IfNotPresent", "Never"]
_RESTART_POLICIES = ["Always", "OnFailure", "Never"]
_MESSAGE_POLICIES = ["FallbackToLogsOnError", "File"]


def name_errors(path: str, name: str, *, label: bool = False) -> list[FieldError]:
    """Whether a name may be a name."""
    pattern, rule, limit = (
        (_DNS_LABEL, _DNS_LABEL_RULE, 63) if label else (_DNS_SUBDOMAIN, _DNS_SUBDOMAIN_RULE, 253)
    )
    if not pattern.fullmatch(name):
        return [FieldError.invalid(path, name, rule)]
    if len(name) > limit:
        return [FieldError.invalid(path, name, f"must be no more than {limit} characters")]
    return []


def default_pod_spec(spec: Object) -> Object:
    """A pod spec with the server's defaults filled in."""
    filled = {
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "securityContext": {},
        "schedulerName": "default-scheduler",
        "serviceAccountName": "default",
        "enableServiceLinks": True,
        **copy.deepcopy(spec),
    }
    for field in ("initContainers", "containers", "ephemeralContainers"):
        if filled.get(field):
            filled[field] = [default_container(entry) for entry in filled[field]]
    return filled


def default_container(entry: Object) -> Object:
    """A container with the server's defaults filled in."""
    image = entry.get("image", "")
    _, colon, tag = image.rpartition("/")[2].partition(":")
    policy = "Always" if (not colon or tag == "latest") and "@" not in image else "IfNotPresent"
    filled: Object = {
        "imagePullPolicy": policy,
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        **entry,
    }
    if "ports" in filled:
        filled["ports"] = [{"protocol": "TCP", **port} for port in filled["ports"] or []]
    return filled


def pod_spec_errors(spec: Object, path: str = "spec") -> list[FieldError]:
    """What is wrong with a pod spec, ephemeral containers aside."""
    errors: list[FieldError] = []
    if not spec.get("containers"):
        errors.append(FieldError.required(f"{path}.containers"))
    volumes = {volume.get("name", "") for volume in spec.get("volumes") or []}
    names: set[str] = set()
    for field in ("initContainers", "containers"):
        for index, entry in enumerate(spec.get(field) or []):
            errors += container_errors(entry, f"{path}.{field}[{index}]", volumes)
            name = entry.get("name", "")
            if name in names:
                errors.append(FieldError.duplicate(f"{path}.{field}[{index}].name", name))
            names.add(name)
    policy = spec.get("restartPolicy")
    if policy not in _RESTART_POLICIES:
        errors.append(FieldError.unsupported(f"{path}.restartPolicy", policy, _RESTART_POLICIES))
    return errors


def container_errors(entry: Object, path: str, volumes: set[str]) -> list[FieldError]:
    """What is wrong with one container of any kind."""
    errors: list[FieldError] = []
    name = entry.get("name", "")
    if not name:
        errors.append(FieldError.required(f"{path}.name"))
    else:
        errors += name_errors(f"{path}.name", name, label=True)
    image = entry.get("image", "")
    if not image:
        errors.append(FieldError.required(f"{path}.image"))
    elif image != image.strip():
        rule = "must not have leading or trailing whitespace"
        errors.append(FieldError.invalid(f"{path}.image", image, rule))
    policy = entry.get("imagePullPolicy")
    if policy not in _PULL_POLICIES:
        errors.append(FieldError.unsupported(f"{path}.imagePullPolicy", policy, _PULL_POLICIES))
    message_policy = entry.get("terminationMessagePolicy")
    if message_policy not in _MESSAGE_POLICIES:
        field = f"{path}.terminationMessagePolicy"
        errors.append(FieldError.unsupported(field, message_policy, _MESSAGE_POLICIES))
    for index, variable in enumerate(entry.get("env") or []):
        if not variable.get("name"):
            errors.append(FieldError.required(f"{path}.env[{index}].name"))
    for index, mount in enumerate(entry.get("volumeMounts") or []):
        if mount.get("name") not in volumes:
            errors.append(FieldError.not_found(f"{path}.volumeMounts[{index}].name", str(mount.get("name"))))
    context = entry.get("securityContext") or {}
    if context.get("privileged") and context.get("allowPrivilegeEscalation") is False:
        detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
        errors.append(FieldError.invalid(f"{path}.securityContext", context, detail))
    return errors


_CHANGEABLE = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
_CHANGEABLE += (
    "`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` "
)
_CHANGEABLE += "(allow it to be set to 1 if it was previously negative)"


def pod_update_errors(old: Object, new: Object) -> list[FieldError]:
    """Whether an update of a pod changes only what may be changed."""
    if _without_changeable(old["spec"]) == _without_changeable(new["spec"]):
        return []
    text = f"pod updates may not change fields other than {_CHANGEABLE}"
    return [FieldError.forbidden("spec", text)]


def _without_changeable(spec: Object) -> Object:
    kept = {key: value for key, value in spec.items() if key not in ("activeDeadlineSeconds", "tolerations")}
    for field in ("containers", "initContainers"):
        if field in kept:
            kept[field] = [{**entry, "image": ""} for entry in kept[field]]
    return kept
