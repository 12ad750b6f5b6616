"""Calls to a small API server on loopback, and watches."""

import asyncio
import json
import threading

import pytest
from aiohttp import web

from podmirror.errors import NotStarted
from podmirror.kube import cluster as cluster_module
from podmirror.kube.cluster import Cluster, Refusal
from tests.layer.deadlines import PATIENCE_SECONDS, until
from tests.layer.kube.apiserver import PATH, serving, status

POD = {
    "kind": "Pod",
    "apiVersion": "v1",
    "metadata": {"name": "web-1", "namespace": "shop"},
    "spec": {"containers": [{"name": "app"}]},
    "status": {"phase": "Running"},
}


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
