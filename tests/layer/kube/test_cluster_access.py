"""What a WebSocket needs to reach a cluster: its address, credentials, TLS and a proxy."""

import datetime
import ssl
import sys

from podmirror.kube.cluster import Cluster
from tests.layer.kube.apiserver import PATH

# What a WebSocket needs.


async def test_a_token_and_no_tls(kubeconfig):
    kubeconfig("http://api.test:8080/")
    access = await Cluster.connect(None, None).websocket_access(PATH)

    assert access.url == f"http://api.test:8080{PATH}"
    assert access.headers["authorization"] == "Bearer t0ken"
    assert (access.ssl_context, access.server_hostname, access.proxy) == (None, None, None)


async def test_a_server_under_a_path(kubeconfig):
    kubeconfig("http://rancher.test/k8s/clusters/c-1")
    access = await Cluster.connect(None, None).websocket_access(PATH)

    assert access.url == f"http://rancher.test/k8s/clusters/c-1{PATH}"


async def test_tls_with_an_authority(kubeconfig, certificates):
    kubeconfig(
        "https://api.test",
        cluster={"certificate-authority": str(certificates.authority), "tls-server-name": "kubernetes.test"},
    )
    access = await Cluster.connect(None, None).websocket_access(PATH)

    assert access.server_hostname == "kubernetes.test"
    assert access.ssl_context.verify_mode is ssl.CERT_REQUIRED
    assert access.ssl_context.check_hostname
    assert len(access.ssl_context.get_ca_certs()) == 1


async def test_tls_without_verification_is_what_the_user_asked_for(kubeconfig):
    kubeconfig("https://api.test", cluster={"insecure-skip-tls-verify": True})
    access = await Cluster.connect(None, None).websocket_access(PATH)

    assert access.ssl_context.verify_mode is ssl.CERT_NONE
    assert not access.ssl_context.check_hostname


async def test_a_proxy(kubeconfig):
    kubeconfig("http://api.test", cluster={"proxy-url": "http://proxy.test:3128"})

    assert (await Cluster.connect(None, None).websocket_access(PATH)).proxy == "http://proxy.test:3128"


PLUGIN = """
import json, os, pathlib, sys
count = pathlib.Path(sys.argv[1])
number = int(count.read_text()) + 1 if count.exists() else 1
count.write_text(str(number))
status = {"token": f"token-{number}", "expirationTimestamp": sys.argv[2]}
info = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
json.dump({"apiVersion": info["apiVersion"], "kind": "ExecCredential", "status": status}, sys.stdout)
"""


def plugin(tmp_path, expires: str) -> dict:
    return {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": sys.executable,
            "args": ["-c", PLUGIN, str(tmp_path / "count"), expires],
            "interactiveMode": "Never",
        }
    }


async def test_a_credential_plugin_is_asked_again_when_its_token_has_expired(kubeconfig, tmp_path):
    kubeconfig(user=plugin(tmp_path, "2020-01-01T00:00:00Z"))
    cluster = Cluster.connect(None, None)
    tokens = [(await cluster.websocket_access(PATH)).headers["authorization"] for _ in range(2)]

    assert all(token.startswith("Bearer token-") for token in tokens)
    assert tokens[0] != tokens[1]


async def test_a_credential_plugin_is_not_asked_again_before(kubeconfig, tmp_path):
    tomorrow = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
    kubeconfig(user=plugin(tmp_path, tomorrow.strftime("%Y-%m-%dT%H:%M:%SZ")))
    cluster = Cluster.connect(None, None)
    for _ in range(2):
        assert (await cluster.websocket_access(PATH)).headers["authorization"] == "Bearer token-1"


async def test_a_server_that_is_reached_without_the_proxy(kubeconfig, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    kubeconfig("http://127.0.0.1:1")

    access = await Cluster.connect(None, None).websocket_access("/x")

    assert access.proxy is None
