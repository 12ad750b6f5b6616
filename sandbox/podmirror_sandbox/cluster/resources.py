"""Which kinds of objects the sandbox knows, and what each is called in paths, in messages and by kubectl."""

from __future__ import annotations

from dataclasses import dataclass

READ = ("get", "list", "watch")
ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True)
class Resource:
    """One kind of object."""

    group: str
    version: str
    kind: str
    plural: str
    short_names: tuple[str, ...] = ()
    namespaced: bool = True
    subresources: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    """Name, kind and verbs of each subresource."""
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS

    @property
    def api_version(self) -> str:
        """What stands in `apiVersion`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified_name(self) -> str:
        """What the server calls it in messages: `pods`, `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def singular(self) -> str:
        """What kubectl prints after creating one."""
        return self.kind.lower()


_STATUS_VERBS = ("get", "patch", "update")

NAMESPACES = Resource("", "v1", "Namespace", "namespaces", ("ns",), namespaced=False)
NODES = Resource("", "v1", "Node", "nodes", ("no",), namespaced=False)
SERVICES = Resource("", "v1", "Service", "services", ("svc",), categories=("all",))
EVENTS = Resource("", "v1", "Event", "events", ("ev",))
CONFIG_MAPS = Resource("", "v1", "ConfigMap", "configmaps", ("cm",))
SECRETS = Resource("", "v1", "Secret", "secrets")
SERVICE_ACCOUNTS = Resource("", "v1", "ServiceAccount", "serviceaccounts", ("sa",))
RESOURCE_QUOTAS = Resource("", "v1", "ResourceQuota", "resourcequotas", ("quota",))
PODS = Resource(
    "",
    "v1",
    "Pod",
    "pods",
    ("po",),
    subresources=(
        ("attach", "PodAttachOptions", ("create", "get")),
        ("ephemeralcontainers", "Pod", _STATUS_VERBS),
        ("exec", "PodExecOptions", ("create", "get")),
        ("log", "Pod", ("get",)),
        ("portforward", "PodPortForwardOptions", ("create", "get")),
        ("status", "Pod", _STATUS_VERBS),
    ),
    categories=("all",),
)
DEPLOYMENTS = Resource(
    "apps",
    "v1",
    "Deployment",
    "deployments",
    ("deploy",),
    subresources=(("scale", "Scale", _STATUS_VERBS), ("status", "Deployment", _STATUS_VERBS)),
    categories=("all",),
)
REPLICA_SETS = Resource(
    "apps",
    "v1",
    "ReplicaSet",
    "replicasets",
    ("rs",),
    subresources=(("status", "ReplicaSet", _STATUS_VERBS),),
    categories=("all",),
)
STATEFUL_SETS = Resource(
    "apps",
    "v1",
    "StatefulSet",
    "statefulsets",
    ("sts",),
    subresources=(("scale", "Scale", _STATUS_VERBS), ("status", "StatefulSet", _STATUS_VERBS)),
    categories=("all",),
)
DAEMON_SETS = Resource(
    "apps",
    "v1",
    "DaemonSet",
    "daemonsets",
    ("ds",),
    subresources=(("status", "DaemonSet", _STATUS_VERBS),),
    categories=("all",),
)
CRON_JOBS = Resource(
    "batch",
    "v1",
    "CronJob",
    "cronjobs",
    ("cj",),
    subresources=(("status", "CronJob", _STATUS_VERBS),),
    categories=("all",),
)
JOBS = Resource(
    "batch",
    "v1",
    "Job",
    "jobs",
    subresources=(("status", "Job", _STATUS_VERBS),),
    categories=("all",),
)
ENDPOINT_SLICES = Resource("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices")
ACCESS_REVIEWS = Resource(
    "authorization.k8s.io",
    "v1",
    "SelfSubjectAccessReview",
    "selfsubjectaccessreviews",
    namespaced=False,
    verbs=("create",),
)
IDENTITY_REVIEWS = Resource(
    "authentication.k8s.io",
    "v1",
    "SelfSubjectReview",
    "selfsubjectreviews",
    namespaced=False,
    verbs=("create",),
)
ROLES = Resource("rbac.authorization.k8s.io", "v1", "Role", "roles")
ROLE_BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings")

RESOURCES = (
    NAMESPACES,
    NODES,
    PODS,
    SERVICES,
    EVENTS,
    CONFIG_MAPS,
    SECRETS,
    SERVICE_ACCOUNTS,
    RESOURCE_QUOTAS,
    DEPLOYMENTS,
    REPLICA_SETS,
    STATEFUL_SETS,
    DAEMON_SETS,
    JOBS,
    CRON_JOBS,
    ENDPOINT_SLICES,
    ROLES,
    ROLE_BINDINGS,
    ACCESS_REVIEWS,
    IDENTITY_REVIEWS,
)

ANSWERED = (ACCESS_REVIEWS, IDENTITY_REVIEWS)
"""Answered and never stored."""

STORED = tuple(resource for resource in RESOURCES if resource not in ANSWERED)


def by_path(group: str, version: str, plural: str) -> Resource | None:
    """The resource that a request path names."""
    for resource in RESOURCES:
        if (resource.group, resource.version, resource.plural) == (group, version, plural):
            return resource
    return None


def by_kind(api_version: str, kind: str) -> Resource | None:
    """The resource that an object's `apiVersion` and `kind` name."""
    for resource in STORED:
        if (resource.api_version, resource.kind) == (api_version, kind):
            return resource
    return None
