"""What the server fills in and checks in workloads."""

from __future__ import annotations

import copy

from podmirror_sandbox.cluster.apierrors import FieldError
from podmirror_sandbox.cluster.objects import Object, name_of, uid_of
from podmirror_sandbox.cluster.podrules import default_pod_spec, pod_spec_errors
from podmirror_sandbox.cluster.schedules import parse_schedule
from podmirror_sandbox.cluster.selectors import matches_selector

_IN_PLACE: dict[str, Object] = {
    "StatefulSet": {
        "podManagementPolicy": "OrderedReady",
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        "revisionHistoryLimit": 10,
    },
    "DaemonSet": {
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}},
        "revisionHistoryLimit": 10,
    },
}
"""Defaults of those that replace their pods in place."""

_ALWAYS_COUNTED = {
    "ReplicaSet": ("replicas",),
    "StatefulSet": ("replicas", "availableReplicas"),
    "DaemonSet": (
        "currentNumberScheduled",
        "desiredNumberScheduled",
        "numberMisscheduled",
        "numberReady",
    ),
}
"""Fields of the status that the server never leaves out (k8s.io/api/apps/v1/types.go); clients insist on them."""


def default_replicated(item: Object) -> Object:
    """A workload of equal pods with the server's defaults."""
    spec = copy.deepcopy(item.get("spec") or {})
    if item["kind"] != "DaemonSet":
        spec = {"replicas": 1, **spec}
    spec = {**_IN_PLACE.get(item["kind"], {}), **spec}
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
    counts = dict.fromkeys(_ALWAYS_COUNTED.get(item["kind"], ()), 0)
    return {**item, "spec": spec, "status": {**counts, **(item.get("status") or {})}}


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


def default_cron_job(item: Object) -> Object:
    """A CronJob with the server's defaults; those of its Jobs come when they are made."""
    spec = {
        "concurrencyPolicy": "Allow",
        "suspend": False,
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 1,
        **copy.deepcopy(item.get("spec") or {}),
    }
    job = spec.get("jobTemplate") or {}
    job_spec = job.get("spec") or {}
    template = _default_template(job_spec.get("template") or {})
    spec["jobTemplate"] = {**job, "spec": {**job_spec, "template": template}}
    return {**item, "spec": spec}


def cron_job_errors(item: Object) -> list[FieldError]:
    """What is wrong with a CronJob."""
    spec = item["spec"]
    errors = job_errors({"spec": spec["jobTemplate"]["spec"]}, "spec.jobTemplate.spec.template")
    if not spec.get("schedule"):
        return [*errors, FieldError.required("spec.schedule")]
    try:
        parse_schedule(spec["schedule"])
    except ValueError as error:
        errors.append(FieldError.invalid("spec.schedule", spec["schedule"], str(error)))
    return errors


def replicated_errors(item: Object) -> list[FieldError]:
    """What is wrong with a workload of equal pods."""
    spec = item["spec"]
    errors: list[FieldError] = []
    if not spec.get("selector"):
        errors.append(FieldError.required("spec.selector"))
    else:
        labels = spec["template"]["metadata"].get("labels") or {}
        if not matches_selector(spec["selector"], labels):
            detail = "`selector` does not match template `labels`"
            errors.append(FieldError.invalid("spec.template.metadata.labels", labels, detail))
    replicas = spec.get("replicas", 0)
    if not isinstance(replicas, int) or replicas < 0:
        detail = "must be greater than or equal to 0"
        errors.append(FieldError.invalid("spec.replicas", replicas, detail))
    policy = spec["template"]["spec"].get("restartPolicy")
    if policy != "Always":
        errors.append(FieldError.unsupported("spec.template.spec.restartPolicy", policy, ["Always"]))
    return errors + _template_errors(spec["template"])


def job_errors(item: Object, path: str = "spec.template") -> list[FieldError]:
    """What is wrong with a Job, whose template stands at a path."""
    template = item["spec"]["template"]
    errors = _template_errors(template, path)
    if template["spec"].get("restartPolicy") not in ("OnFailure", "Never"):
        field = f"{path}.spec.restartPolicy"
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


def _template_errors(template: Object, path: str = "spec.template") -> list[FieldError]:
    errors = pod_spec_errors(template["spec"], f"{path}.spec")
    if template["spec"].get("ephemeralContainers"):
        field = f"{path}.spec.ephemeralContainers"
        errors.append(FieldError.forbidden(field, "ephemeral containers not allowed in pod template"))
    return errors
