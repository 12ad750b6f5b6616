"""Which cluster: kubeconfigs of every sort, and the service account of a pod."""

import pytest
from kubernetes import client
from kubernetes.config import incluster_config, kube_config

from podmirror.errors import NotStarted
from podmirror.kube import cluster as cluster_module
from podmirror.kube.cluster import Cluster

# Which configuration.


def test_the_current_context(kubeconfig):
    kubeconfig(namespace="shop")
    cluster = Cluster.connect(None, None)

    assert (cluster.context, cluster.namespace) == ("here", "shop")


def test_a_context_without_a_namespace_means_default(kubeconfig):
    kubeconfig()

    assert Cluster.connect(None, None).namespace == "default"


def test_a_namespace_that_is_given_wins(kubeconfig):
    kubeconfig(namespace="shop")

    assert Cluster.connect(None, "other").namespace == "other"


async def test_a_context_that_is_named(kubeconfig):
    kubeconfig()
    cluster = Cluster.connect("there", None)

    assert (cluster.context, cluster.namespace) == ("there", "far")
    assert (await cluster.websocket_access("/x")).url == "http://other.test/x"


async def test_a_context_that_is_named_needs_no_current_one(kubeconfig):
    kubeconfig(**{"current-context": None})

    assert Cluster.connect("there", None).context == "there"


def test_a_context_that_is_not_there(kubeconfig):
    kubeconfig()
    with pytest.raises(NotStarted) as refusal:
        Cluster.connect("nowhere", None)

    assert str(refusal.value) == "the kubeconfig has no context 'nowhere'; it has here, there"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "apiVersion: v1\nkind: Config\n",
        '{"contexts": [], "clusters": [], "users": [], "current-context": ""}',
        "not: [valid",
        "just words",
        "- a\n- list\n",
    ],
)
def test_a_kubeconfig_that_cannot_be_used(kubeconfig, text):
    kubeconfig.raw(text)
    with pytest.raises(NotStarted, match="no usable kubeconfig: "):
        Cluster.connect(None, None)


def test_a_kubeconfig_that_is_a_folder(kubeconfig, tmp_path, monkeypatch):
    kubeconfig()
    monkeypatch.setenv("KUBECONFIG", str(tmp_path))
    with pytest.raises(NotStarted, match="no usable kubeconfig: "):
        Cluster.connect(None, None)


def test_no_kubeconfig(kubeconfig):
    kubeconfig().unlink()
    with pytest.raises(
        NotStarted, match=r"no usable kubeconfig: .*; set KUBECONFIG, or try .*`podmirror demo`"
    ):
        Cluster.connect(None, None)


def test_a_context_of_a_cluster_that_is_not_there(kubeconfig):
    kubeconfig(clusters=[])
    with pytest.raises(NotStarted, match="no usable kubeconfig: "):
        Cluster.connect(None, None)


def test_a_certificate_that_is_not_there(kubeconfig):
    kubeconfig("https://127.0.0.1:1", cluster={"certificate-authority": "/nowhere/ca.crt"})
    with pytest.raises(NotStarted, match=r"no usable kubeconfig: .*/nowhere/ca.crt"):
        Cluster.connect(None, None)


def test_a_certificate_that_is_no_base64(kubeconfig):
    kubeconfig("https://127.0.0.1:1", cluster={"certificate-authority-data": "x"})
    with pytest.raises(NotStarted, match="no usable kubeconfig: "):
        Cluster.connect(None, None)


def test_kubeconfig_is_read_from_the_environment_of_the_moment(kubeconfig, monkeypatch):
    """Not of the moment at which the client was imported: the layer is a library, too."""
    path = kubeconfig(namespace="shop")
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", "/nowhere")
    monkeypatch.setenv("KUBECONFIG", str(path))

    assert Cluster.connect(None, None).namespace == "shop"


# In a pod.


@pytest.fixture
def in_a_pod(tmp_path, monkeypatch, certificates):
    """Look like a pod with a service account."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    (tmp_path / "token").write_text("pod-token")
    (tmp_path / "namespace").write_text("shop\n")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(certificates.authority))
    monkeypatch.setattr(cluster_module, "_IN_CLUSTER_NAMESPACE", tmp_path / "namespace")
    monkeypatch.setattr(client.Configuration, "_default", None)
    return tmp_path


async def test_in_a_pod_the_service_account_is_used(in_a_pod):
    cluster = Cluster.connect(None, None)
    access = await cluster.websocket_access("/x")

    assert (cluster.context, cluster.namespace) == ("in-cluster", "shop")
    assert access.url == "https://10.96.0.1:443/x"
    assert access.headers["authorization"].lower() == "bearer pod-token"
    assert access.ssl_context is not None


def test_in_a_pod_without_a_namespace_file(in_a_pod):
    (in_a_pod / "namespace").unlink()

    assert Cluster.connect(None, None).namespace == "default"


def test_in_a_pod_a_kubeconfig_wins(in_a_pod, kubeconfig, monkeypatch):
    kubeconfig(namespace="mine")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")

    assert Cluster.connect(None, None).namespace == "mine"


def test_in_a_pod_a_context_that_is_named_wins(in_a_pod, kubeconfig, monkeypatch):
    path = kubeconfig()
    path.parent.joinpath(".kube").mkdir()
    path.rename(path.parent / ".kube" / "config")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.delenv("KUBECONFIG")

    assert Cluster.connect("there", None).context == "there"


def test_in_a_pod_without_a_token(in_a_pod):
    (in_a_pod / "token").unlink()
    with pytest.raises(NotStarted, match="token"):
        Cluster.connect(None, None)
