"""What may be done to `spec.ephemeralContainers`: entries may be added, and never changed or removed.

The rules and their words are those of `pkg/apis/core/validation` (ValidatePodEphemeralContainersUpdate and
validateEphemeralContainers). They decide what a debugging tool can do, so they are kept to the letter where it matters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from podmirror_sandbox.cluster.apierrors import FieldError
from podmirror_sandbox.cluster.podrules import container_errors

if TYPE_CHECKING:
    from podmirror_sandbox.cluster.objects import Object

PATH = "spec.ephemeralContainers"

ALLOWED_FIELDS = {
    "name",
    "image",
    "command",
    "args",
    "workingDir",
    "envFrom",
    "env",
    "volumeMounts",
    "volumeDevices",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "imagePullPolicy",
    "securityContext",
    "stdin",
    "stdinOnce",
    "tty",
    "targetContainerName",
}
"""An allow-list on the real server too: every field added to containers later is refused for ephemeral ones."""


def ephemeral_errors(spec: Object) -> list[FieldError]:
    """What is wrong with the ephemeral containers of a pod spec, taken by themselves."""
    regular = [entry.get("name", "") for entry in spec.get("containers") or []]
    others = {*regular, *(entry.get("name", "") for entry in spec.get("initContainers") or [])}
    volumes = {volume["name"] for volume in spec.get("volumes") or []}
    errors: list[FieldError] = []
    for index, entry in enumerate(spec.get("ephemeralContainers") or []):
        path = f"{PATH}[{index}]"
        name = entry.get("name", "")
        errors += container_errors(entry, path, volumes)
        if name in others:
            errors.append(FieldError.duplicate(f"{path}.name", name))
        others.add(name)
        target = entry.get("targetContainerName")
        if target and target not in regular:
            errors.append(FieldError.not_found(f"{path}.targetContainerName", target))
        # The server reports unset and empty alike: a field counts when it carries a value.
        errors += [
            FieldError.forbidden(f"{path}.{field}", "cannot be set for an Ephemeral Container")
            for field in sorted(entry)
            if field not in ALLOWED_FIELDS and entry[field] not in (None, {}, [])
        ]
        for place, mount in enumerate(entry.get("volumeMounts") or []):
            errors += [
                FieldError.forbidden(
                    f"{path}.volumeMounts[{place}].{field}", "cannot be set for an Ephemeral Container"
                )
                for field in ("subPath", "subPathExpr")
                if mount.get(field)
            ]
    return errors


def ephemeral_update_errors(old: Object, new: Object) -> list[FieldError]:
    """What is wrong with replacing one pod's ephemeral containers by another's."""
    after = {entry.get("name"): entry for entry in new["spec"].get("ephemeralContainers") or []}
    errors: list[FieldError] = []
    for entry in old["spec"].get("ephemeralContainers") or []:
        name = entry["name"]
        if name not in after:
            text = f'existing ephemeral containers "{name}" may not be removed\n'
            errors.append(FieldError.forbidden(PATH, text))
        elif after[name] != entry:
            text = f'existing ephemeral containers "{name}" may not be changed\n'
            errors.append(FieldError.forbidden(PATH, text + _difference(entry, after[name])))
    annotations = old["metadata"].get("annotations") or {}
    if "kubernetes.io/config.mirror" in annotations:
        errors.append(FieldError.forbidden("", "static pods do not support ephemeral containers"))
    return errors + ephemeral_errors(new["spec"])


def _difference(old: Object, new: Object) -> str:
    fields = sorted(field for field in {*old, *new} if old.get(field) != new.get(field))
    return "\n".join(f"{field}: {old.get(field)!r} -> {new.get(field)!r}" for field in fields)
