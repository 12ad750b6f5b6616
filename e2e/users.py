"""Users of the cluster that begin without rights: service accounts, as every cluster has them."""

import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client

from e2e.cluster import E2ECluster


@dataclass(frozen=True)
class User:
    """A service account, and a kubeconfig of its own."""

    name: str
    cluster: E2ECluster
    """The cluster as this user sees it."""
    admin: E2ECluster

    @property
    def subject(self) -> str:
        return f"{self.admin.namespace}:{self.name}"

    def apply(self, manifests: str, *, without: int | None = None) -> None:
        """Create or replace Roles and RoleBindings.

        Args:
            manifests: As `podmirror rbac` prints them.
            without: The number of a rule of the first Role to leave out.
        """
        api = client.RbacAuthorizationV1Api(self.admin.core.api_client)
        for number, each in enumerate(yaml.safe_load_all(manifests)):
            if number == 0 and without is not None:
                del each["rules"][without]
            name, namespace = each["metadata"]["name"], each["metadata"]["namespace"]
            kind = "role" if each["kind"] == "Role" else "role_binding"
            try:
                getattr(api, f"create_namespaced_{kind}")(namespace, each)
            except client.ApiException as error:
                if error.status != 409:
                    raise
                getattr(api, f"replace_namespaced_{kind}")(name, namespace, each)

    def forget(self) -> None:
        """Take away all rights."""
        api = client.RbacAuthorizationV1Api(self.admin.core.api_client)
        for each in api.list_namespaced_role_binding(self.admin.namespace).items:
            api.delete_namespaced_role_binding(each.metadata.name, self.admin.namespace)


def make_user(k8s: E2ECluster, name: str, folder: Path | None = None) -> User:
    """Make a service account, and a kubeconfig with a token for it."""
    content = yaml.safe_load(Path(k8s.kubeconfig).read_text())
    if k8s.is_sandbox:
        token = f"{content['users'][0]['user']['token']}:system:serviceaccount:{k8s.namespace}:{name}"
    else:
        k8s.core.create_namespaced_service_account(k8s.namespace, {"metadata": {"name": name}})
        asked = {"spec": {"expirationSeconds": 3600}}
        answer = k8s.core.create_namespaced_service_account_token(name, k8s.namespace, asked)
        token = answer.status.token
    content["users"] = [{**each, "user": {"token": token}} for each in content["users"]]
    return User(name, replace(k8s, kubeconfig=str(write_kubeconfig(content, folder))), k8s)


def write_kubeconfig(content: dict[str, Any], folder: Path | None = None) -> Path:
    """Write a kubeconfig into a folder, or one of its own."""
    path = (folder or Path(tempfile.mkdtemp(prefix="podmirror-e2e-"))) / "kubeconfig"
    path.write_text(json.dumps(content))
    return path
