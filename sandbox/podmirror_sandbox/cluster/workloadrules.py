"""What the server fills in and checks in Deployments, ReplicaSets and Jobs."""

from __future__ import annotations

import copy

from podmirror_sandbox.cluster.apierrors import FieldError
from podmirror_sandbox.cluster.objects import Object, name_of, uid_of
from podmirror_sandbox.cluster.podrules import default_pod_spec, pod_spec_errors
from podmirror_sandbox.cluster.selectors import matches_selector


def default_replicated(item: Object) -> Object:
    """A Deployment or ReplicaSet with the server's defaults."""
    spec = {"replicas": 1, **copy.deepcopy(item.get("spec") or {})}
    if item["kind"] == "Deployment":
        rolling = {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
        }
        spec = {
            "strategy": rolling,
            "revisionHistoryLimit": 10,
            "progressDeadlineSeconds": 600,
            **spec,
        }
    spec["template"] = _default_template(spec.get("template") or {})
    return {**item, "spec": spec}


def default_job(item: Object) -> Object:
    """A Job with the server's defaults and the selector it generates."""
    spec = {
        "parallelism": 1,
        "completions": 1,
        "backoffLimit": 6,
        "suspend": False,
        "completionMode": "NonIndexed",
        "manualSelector": False,
        **copy.deepcopy(item.get("spec") or {}),
    }
    spec["template"] = _default_template(spec.get("template") or {})
    if "selector" not in spec:
        uid, name = uid_of(item), name_of(item)
        spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
        labels = spec["template"]["metadata"].setdefault("labels", {})
        labels.update(
            {
                "batch.kubernetes.io/controller-uid": uid,
                "batch.kubernetes.io/job-name": name,
                # The names without a prefix are older, and still what most tools select by.
                "controller-uid": uid,
                "job-name": name,
            }
        )
    return {**item, "spec": spec}


def replicated_errors(item: Object) -> list[FieldError]:
    """What is wrong with a Deployment or ReplicaSet."""
    spec = item["spec"]
    errors: list[FieldError] = []
    if not spec.get("selector"):
        errors.append(FieldError.required("spec.selector"))
    else:
        labels = spec["template"]["metadata"].get("labels") or {}
        if not matches_selector(spec["selector"], labels):
            detail = "`selector` does not match template `labels`"
            errors.append(FieldError.invalid("spec.template.metadata.labels", labels, detail))
    if not isinstance(spec["replicas"], int) or spec["replicas"] < 0:
        detail = "must be greater than or equal to 0"
        errors.append(FieldError.invalid("spec.replicas", spec["replicas"], detail))
    policy = spec["template"]["spec"].get("restartPolicy")
    if policy != "Always":
        errors.append(FieldError.unsupported("spec.template.spec.restartPolicy", policy, ["Always"]))
    return errors + _template_errors(spec["template"])


def job_errors(item: Object) -> list[FieldError]:
    """What is wrong with a Job."""
    template = item["spec"]["template"]
    errors = _template_errors(template)
    if template["spec"].get("restartPolicy") not in ("OnFailure", "Never"):
        field = "spec.template.spec.restartPolicy"
        errors.append(FieldError.required(field, 'valid values: "OnFailure", "Never"'))
    return errors


def workload_update_errors(old: Object, new: Object) -> list[FieldError]:
    """What may not be changed once it is there."""
    fields = ["selector", "template"] if new["kind"] == "Job" else ["selector"]
    return [
        FieldError.invalid(f"spec.{field}", new["spec"].get(field), "field is immutable")
        for field in fields
        if old["spec"].get(field) != new["spec"].get(field)
    ]


def _default_template(template: Object) -> Object:
    return {
        "metadata": {**(template.get("metadata") or {})},
        "spec": default_pod_spec(template.get("spec") or {}),
    }


def _template_errors(template: Object) -> list[FieldError]:
    errors = pod_spec_errors(template["spec"], "spec.template.spec")
    if template["spec"].get("ephemeralContainers"):
        field = "spec.template.spec.ephemeralContainers"
        errors.append(FieldError.forbidden(field, "ephemeral containers not allowed in pod template"))
    return errors
