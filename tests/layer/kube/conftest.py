"""What the tests of the Kubernetes calls share: a kubeconfig, and certificates."""

import json
from pathlib import Path

import pytest
from kubernetes.config import kube_config

from tests.layer.kube.apiserver import Certificates, make_certificates


@pytest.fixture(scope="session")
def certificates(tmp_path_factory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def kubeconfig(tmp_path, monkeypatch):
    """Write a kubeconfig and let it be the one that is read."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))

    def write(
        server: str = "http://127.0.0.1:1",
        *,
        cluster: dict | None = None,
        user: dict | None = None,
        namespace: str | None = None,
        **changes: object,
    ) -> Path:
        context = {"cluster": "it", "user": "me"}
        if namespace is not None:
            context["namespace"] = namespace
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "contexts": [
                {"name": "here", "context": context},
                {"name": "there", "context": {"cluster": "other", "user": "me", "namespace": "far"}},
            ],
            "clusters": [
                {"name": "it", "cluster": {"server": server, **(cluster or {})}},
                {"name": "other", "cluster": {"server": "http://other.test"}},
            ],
            "users": [{"name": "me", "user": user if user is not None else {"token": "t0ken"}}],
        } | changes
        return use(json.dumps({key: value for key, value in content.items() if value is not None}))

    def use(text: str) -> Path:
        path = tmp_path / "kubeconfig"
        path.write_text(text)
        monkeypatch.setenv("KUBECONFIG", str(path))
        monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(path))
        return path

    write.raw = use
    return write
