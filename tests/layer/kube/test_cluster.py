"""Kubeconfigs of every sort, and calls to a small API server on loopback."""

import asyncio
import datetime
import json
import ssl
import sys
import threading

import pytest
from aiohttp import web
from kubernetes import client
from kubernetes.config import incluster_config, kube_config

from podmirror.errors import NotStarted
from podmirror.kube import cluster as cluster_module
from podmirror.kube.cluster import Cluster, Refusal
from tests.layer.deadlines import PATIENCE_SECONDS, until
from tests.layer.kube.apiserver import serving, status

POD = {
    "kind": "Pod",
    "apiVersion": "v1",
    "metadata": {"name": "web-1", "namespace": "shop"},
    "spec": {"containers": [{"name": "app"}]},
    "status": {"phase": "Running"},
}
PATH = "/api/v1/namespaces/shop/pods/web-1/portforward?ports=61001"


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


# Calls.


async def test_a_call(kubeconfig):
    seen = []

    async def answer(request):
        seen.append((request.method, request.path, request.headers["authorization"]))
        return web.json_response(POD)

    async with serving(answer) as server:
        kubeconfig(server)
        cluster = Cluster.connect(None, "shop")
        pod = await cluster.call(cluster.core.read_namespaced_pod, "web-1", "shop")

    assert pod.metadata.name == "web-1"
    assert seen == [("GET", "/api/v1/namespaces/shop/pods/web-1", "Bearer t0ken")]


async def test_a_call_over_tls_with_a_client_certificate_and_another_server_name(kubeconfig, certificates):
    certificate, key = certificates.of("client")
    seen = []

    async def answer(request):
        seen.append(dict(request.transport.get_extra_info("peercert")["subject"][0])["commonName"])
        return web.json_response(POD)

    async with serving(answer, certificates.server_context()) as server:
        kubeconfig(
            server,
            cluster={
                "certificate-authority": str(certificates.authority),
                "tls-server-name": "kubernetes.test",
            },
            user={"client-certificate": str(certificate), "client-key": str(key)},
        )
        cluster = Cluster.connect(None, None)
        await cluster.call(cluster.core.read_namespaced_pod, "web-1", "shop")
        access = await cluster.websocket_access(PATH)
        host, _, port = server.removeprefix("https://").partition(":")
        _, writer = await asyncio.open_connection(
            host, int(port), ssl=access.ssl_context, server_hostname=access.server_hostname
        )
        writer.close()
        await writer.wait_closed()

    assert seen == ["me"]


async def test_a_server_of_another_authority_is_not_believed(kubeconfig, certificates):
    async def answer(_):
        pytest.fail("it was believed")

    async with serving(answer, certificates.server_context()) as server:
        kubeconfig(server)
        cluster = Cluster.connect(None, None)
        with pytest.raises(NotStarted, match=r"cannot be reached: .*certificate"):
            await cluster.call(cluster.core.read_namespaced_pod, "web-1", "shop")


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (
            lambda: status(404, "NotFound", 'pods "web-1" not found'),
            (404, "NotFound", 'pods "web-1" not found'),
        ),
        (lambda: status(403, "Forbidden", "you may not"), (403, "Forbidden", "you may not")),
        (
            lambda: web.Response(status=502, text="<html>Bad Gateway</html>", reason="Bad Gateway"),
            (502, "", "Bad Gateway"),
        ),
        (lambda: web.json_response(["no", "Status"], status=500), (500, "", "Internal Server Error")),
        (lambda: web.json_response({"kind": "Status"}, status=409), (409, "", "Conflict")),
        (lambda: web.json_response({"message": "no reason"}, status=409), (409, "", "no reason")),
    ],
)
async def test_refusals_hold_the_servers_words(kubeconfig, response, expected):
    async def answer(_):
        return response()

    async with serving(answer) as server:
        kubeconfig(server)
        cluster = Cluster.connect(None, None)
        with pytest.raises(Refusal) as refusal:
            await cluster.call(cluster.core.read_namespaced_pod, "web-1", "shop")

    assert (refusal.value.status, refusal.value.reason, refusal.value.message) == expected
    assert str(refusal.value) == expected[2]


async def test_a_server_that_is_not_there(kubeconfig):
    kubeconfig("http://127.0.0.1:1")
    cluster = Cluster.connect(None, None)
    with pytest.raises(NotStarted) as unreachable:
        await cluster.call(cluster.core.read_namespaced_pod, "web-1", "shop")

    assert str(unreachable.value) == (
        "the API server of context 'here' (http://127.0.0.1:1) cannot be reached: [Errno 111] Connection refused; "
        "check that the cluster runs and that KUBECONFIG names the right one"
    )


async def test_a_server_that_does_not_answer_in_time(kubeconfig, monkeypatch):
    monkeypatch.setattr(cluster_module, "REQUEST_SECONDS", (0.1, 0.1))
    asked = threading.Event()
    leave = asyncio.Event()

    async def answer(_):
        asked.set()
        await leave.wait()
        return web.json_response(POD)

    async with serving(answer) as server:
        kubeconfig(server)
        cluster = Cluster.connect(None, None)
        with pytest.raises(NotStarted, match=r"cannot be reached: .*timed out"):
            async with asyncio.timeout(PATIENCE_SECONDS):
                await cluster.call(cluster.core.read_namespaced_pod, "web-1", "shop")
        leave.set()
    assert asked.is_set()


async def test_a_call_can_be_cancelled_while_the_server_does_not_answer(kubeconfig):
    asked, leave = asyncio.Event(), asyncio.Event()

    async def answer(_):
        asked.set()
        await leave.wait()
        return web.json_response(POD)

    async with serving(answer) as server:
        kubeconfig(server)
        cluster = Cluster.connect(None, None)
        calling = asyncio.create_task(cluster.call(cluster.core.read_namespaced_pod, "web-1", "shop"))
        await asked.wait()
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        leave.set()
        await until(lambda: "kubernetes call" not in {thread.name for thread in threading.enumerate()})


# Watches.


def line(kind: str, **changes: object) -> bytes:
    return json.dumps({"type": kind, "object": {**POD, **changes}}).encode() + b"\n"


def streaming(*lines: bytes, hold: asyncio.Event | None = None, seen: list | None = None):
    async def answer(request):
        if seen is not None:
            seen.append((request.path, dict(request.query)))
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for each in lines:
            await response.write(each)
        if hold is not None:
            await hold.wait()
        await response.write_eof()
        return response

    return answer


async def watch_threads_end() -> None:
    await until(lambda: not [each for each in threading.enumerate() if each.name.startswith("watch pod")])


async def test_a_watch(kubeconfig):
    seen = []
    changed = {**POD["status"], "podIP": "10.0.0.2"}
    async with serving(streaming(line("ADDED"), line("MODIFIED", status=changed), seen=seen)) as server:
        kubeconfig(server)
        cluster = Cluster.connect(None, None)
        changes = [(kind, pod.status.pod_ip) async for kind, pod in cluster.watch_pod("web-1", "shop")]

    assert changes == [("ADDED", None), ("MODIFIED", "10.0.0.2")]
    ((path, query),) = seen
    assert path == "/api/v1/namespaces/shop/pods"
    assert query["fieldSelector"] == "metadata.name=web-1"
    assert query["watch"].lower() == "true"
    assert int(query["timeoutSeconds"]) > 0
    await watch_threads_end()


async def test_changes_are_given_as_they_come(kubeconfig):
    hold = asyncio.Event()
    async with serving(streaming(line("ADDED"), hold=hold)) as server:
        kubeconfig(server)
        watching = Cluster.connect(None, None).watch_pod("web-1", "shop")
        async with asyncio.timeout(PATIENCE_SECONDS):
            kind, _ = await anext(watching)
        assert kind == "ADDED"
        await watching.aclose()
        hold.set()
        await watch_threads_end()


async def test_a_watch_that_is_refused(kubeconfig):
    async def answer(_):
        return status(403, "Forbidden", "no watching")

    async with serving(answer) as server:
        kubeconfig(server)
        with pytest.raises(Refusal, match="no watching"):
            await anext(Cluster.connect(None, None).watch_pod("web-1", "shop"))
        await watch_threads_end()


async def test_a_watch_that_is_refused_in_its_midst(kubeconfig):
    gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
    error = json.dumps({"type": "ERROR", "object": gone}).encode() + b"\n"
    async with serving(streaming(line("ADDED"), error)) as server:
        kubeconfig(server)
        watching = Cluster.connect(None, None).watch_pod("web-1", "shop")
        await anext(watching)
        with pytest.raises(Refusal, match="too old resource version") as refusal:
            await anext(watching)
        assert refusal.value.status == 410
        await watch_threads_end()


async def test_a_watch_of_a_server_that_is_not_there(kubeconfig):
    kubeconfig("http://127.0.0.1:1")
    with pytest.raises(NotStarted, match=r"cannot be reached: .*Connection refused"):
        await anext(Cluster.connect(None, None).watch_pod("web-1", "shop"))
    await watch_threads_end()
