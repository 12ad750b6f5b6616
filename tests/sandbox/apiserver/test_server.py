"""The API of a running sandbox, as clients see it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp.test_utils import make_mocked_request

from podmirror_sandbox.apiserver.server import ApiServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.conftest import Api, RunningSandbox

pytestmark = pytest.mark.namespaces

DOWN_SECONDS = 0.5


async def test_a_client_that_has_gone_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def write_to_nobody(*_: object) -> None:
        raise aiohttp.ClientConnectionResetError("Cannot write to closing transport")

    monkeypatch.setattr(ApiServer, "_answer", write_to_nobody)
    server = object.__new__(ApiServer)  # one that asks nobody
    assert (await server._handle(make_mocked_request("GET", "/api/v1/pods"))).status == 499


async def test_the_token_is_demanded(api: Api, sandbox: RunningSandbox) -> None:
    url = sandbox.ready["server"] + "/api/v1/pods"
    async with api.session.get(url) as response:
        assert response.status == 401
        assert (await response.json())["reason"] == "Unauthorized"
    async with api.session.get(url, headers={"Authorization": "Bearer wrong"}) as response:
        assert response.status == 401
    async with api.session.get(url, headers={"Authorization": f"Bearer {sandbox.token}"}) as response:
        assert response.status == 200
    async with api.session.get(sandbox.ready["server"] + "/readyz") as response:
        assert await response.text() == "ok"


def test_the_kubeconfig_is_private(sandbox: RunningSandbox) -> None:
    assert sandbox.kubeconfig.stat().st_mode & 0o777 == 0o600
    assert sandbox.kubeconfig.parent.stat().st_mode & 0o777 == 0o700
    assert sandbox.token not in sandbox.ready["server"]


async def test_errors_are_statuses(api: Api) -> None:
    status, body = await api.call("GET", "pods/nobody")
    assert (status, body["kind"], body["message"]) == (404, "Status", 'pods "nobody" not found')
    status, body = await api.call("GET", "/apis/apps/v1/namespaces/default/deployments/nobody")
    assert body["message"] == 'deployments.apps "nobody" not found'
    status, body = await api.call("GET", "/apis/apps/v1/namespaces/default/controllerrevisions/x")
    assert (status, body["message"]) == (404, "the server could not find the requested resource")
    status, body = await api.call("PUT", "pods", {})
    assert (status, body["reason"]) == (405, "MethodNotAllowed")
    status, body = await api.call("PATCH", "pods/nobody", {}, "application/apply-patch+yaml")
    assert (status, body["reason"]) == (415, "UnsupportedMediaType")
    url = api.server + "/api/v1/namespaces/default/pods"
    async with api.session.post(url, data="{", headers={"Content-Type": "application/json"}) as response:
        assert response.status == 400
    status, _ = await api.call("POST", "pods", {}, "application/vnd.kubernetes.protobuf")
    assert status == 415


async def test_objects_live_and_change(api: Api) -> None:
    body = {"metadata": {"name": "c", "labels": {"test": "objects"}}, "data": {"a": "1"}}
    status, made = await api.call("POST", "configmaps", body)
    assert status == 201
    kind = "application/merge-patch+json"
    status, _ = await api.call("PATCH", "configmaps/c", {"data": {"b": "2"}}, kind, dryRun="All")
    assert (await api.get("configmaps/c"))["data"] == {"a": "1"}
    status, patched = await api.call("PATCH", "configmaps/c", {"data": {"b": "2"}}, kind)
    assert patched["data"] == {"a": "1", "b": "2"}
    status, conflict = await api.call("PUT", "configmaps/c", made)
    assert (status, conflict["reason"]) == (409, "Conflict")
    operations = [{"op": "remove", "path": "/data/a"}]
    status, patched = await api.call("PATCH", "configmaps/c", operations, "application/json-patch+json")
    assert patched["data"] == {"b": "2"}
    listed = await api.get("/api/v1/configmaps", labelSelector="test in (objects)")
    assert [item["metadata"]["name"] for item in listed["items"]] == ["c"]
    assert listed["kind"] == "ConfigMapList"
    status, _ = await api.call("DELETE", "configmaps", labelSelector="test=objects")
    assert (await api.get("configmaps", labelSelector="test=objects"))["items"] == []


async def test_watch_sees_objects_come_change_and_go(api: Api) -> None:
    version = (await api.get("configmaps"))["metadata"]["resourceVersion"]
    kind = "application/merge-patch+json"
    await api.call("POST", "configmaps", {"metadata": {"name": "w", "labels": {"a": "b"}}})
    await api.call("PATCH", "configmaps/w", {"metadata": {"labels": {"a": "c"}}}, kind)
    await api.call("PATCH", "configmaps/w", {"metadata": {"labels": {"a": "b"}}}, kind)
    await api.call("DELETE", "configmaps/w")
    all_of_them: list[str] = []
    with_label: list[str] = []
    for seen, selector in ((all_of_them, ""), (with_label, "a=b")):
        query = {"labelSelector": selector, "resourceVersion": version, "timeoutSeconds": "1"}
        async for event in api.watch("configmaps", **query):
            seen.append(event["type"])
    assert all_of_them == ["ADDED", "MODIFIED", "MODIFIED", "DELETED"]
    # To a selector, leaving and coming back is deletion and addition.
    assert with_label == ["ADDED", "DELETED", "ADDED", "DELETED"]


async def test_watch_as_table_carries_its_columns_once(api: Api) -> None:
    headers = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    url = f"{api.server}/api/v1/namespaces"
    query = {"watch": "1", "timeoutSeconds": "1", "sendInitialEvents": "true"}
    async with api.session.get(url, headers=headers, params=query) as response:
        events = [json.loads(line) async for line in response.content]
    tables = [event["object"] for event in events if event["type"] == "ADDED"]
    assert [bool(table["columnDefinitions"]) for table in tables] == [True] + [False] * (len(tables) - 1)
    assert events[-1]["type"] == "BOOKMARK"


async def test_watch_of_a_bad_version_is_refused(api: Api) -> None:
    status, _ = await api.call("GET", "pods", watch="true", resourceVersion="x")
    assert status == 400


async def test_watches_end_when_their_clients_go(api: Api) -> None:
    # More than any connection pool of the server could hold if they stayed.
    for _ in range(20):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                async for _ in api.watch("pods", resourceVersion="999999999"):
                    pass
    assert (await api.get("pods"))["kind"] == "PodList"


async def test_scale_subresource(api: Api) -> None:
    path = "/apis/apps/v1/namespaces/default/deployments"
    labels = {"app": "scaled"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "x:1"}]}}
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
    await api.call("POST", path, {"metadata": {"name": "scaled"}, "spec": spec})
    scale = await api.get(f"{path}/scaled/scale")
    assert (scale["kind"], scale["spec"]) == ("Scale", {"replicas": 0})
    scale["spec"]["replicas"] = 1
    status, scaled = await api.call("PUT", f"{path}/scaled/scale", scale)
    assert scaled["spec"] == {"replicas": 1}
    status, _ = await api.call("PUT", f"{path}/scaled/scale", scale)
    assert status == 409
    kind = "application/merge-patch+json"
    status, scaled = await api.call("PATCH", f"{path}/scaled/scale", {"spec": {"replicas": 0}}, kind)
    assert scaled["spec"] == {"replicas": 0}
    status, answer = await api.call("DELETE", f"{path}/scaled")
    assert answer["status"] == "Success"


async def test_everything_is_allowed(api: Api) -> None:
    attributes = {
        "resourceAttributes": {"verb": "patch", "resource": "pods", "subresource": "ephemeralcontainers"}
    }
    status, review = await api.call(
        "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {"spec": attributes}
    )
    assert (status, review["status"]["allowed"]) == (201, True)


async def test_the_official_client_accepts_what_it_gets(api: Api, sandbox: RunningSandbox) -> None:
    """It validates every object that it reads, and is strict about what may be missing."""
    config: Any = pytest.importorskip("kubernetes.config")
    client: Any = pytest.importorskip("kubernetes.client")
    labels = {"app": "typed"}
    container = {"name": "c", "image": "sandbox/host", "command": ["sh", "-c", "echo hello; sleep 1000"]}
    pod_spec: dict[str, Any] = {"containers": [container]}
    template = {"metadata": {"labels": labels}, "spec": pod_spec}
    deployment = {
        "metadata": {"name": "typed"},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    }
    job = {
        "metadata": {"name": "typed"},
        "spec": {"template": {"spec": {**pod_spec, "restartPolicy": "Never"}}},
    }
    service = {"metadata": {"name": "typed"}, "spec": {"selector": labels, "ports": [{"port": 80}]}}

    def use() -> None:
        with config.new_client_from_config(str(sandbox.kubeconfig)) as api_client:
            core, apps = client.CoreV1Api(api_client), client.AppsV1Api(api_client)
            batch, discovery = client.BatchV1Api(api_client), client.DiscoveryV1Api(api_client)
            timeout = {"_request_timeout": 10}
            apps.create_namespaced_deployment("default", deployment, **timeout)
            batch.create_namespaced_job("default", job, **timeout)
            core.create_namespaced_service("default", service, **timeout)
            selector = {"label_selector": "app=typed", **timeout}
            for event in client_watch(core.list_namespaced_pod, "default", **selector):
                if event["object"].status.phase == "Running":
                    name = event["object"].metadata.name
                    break
            patch = {"spec": {"ephemeralContainers": [{"name": "e", "image": "nope:1"}]}}
            pod = core.patch_namespaced_pod_ephemeralcontainers(name, "default", patch, **timeout)
            assert pod.spec.ephemeral_containers[0].name == "e"
            assert core.read_namespaced_pod(name, "default", **timeout).status.pod_ip
            core.list_pod_for_all_namespaces(**timeout)
            assert core.list_namespaced_event("default", **timeout).items
            assert apps.list_namespaced_replica_set("default", **selector).items
            assert apps.read_namespaced_deployment("typed", "default", **timeout).status.conditions
            assert batch.read_namespaced_job("typed", "default", **timeout).status.start_time
            assert discovery.list_namespaced_endpoint_slice("default", **selector).items is not None
            assert [node.metadata.name for node in core.list_node(**timeout).items] == ["node1"]
            core.list_namespace(**timeout)
            authorization = client.AuthorizationV1Api(api_client)
            review = {"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}}
            assert authorization.create_self_subject_access_review(review, **timeout).status.allowed
            background = {"propagation_policy": "Background", **timeout}
            batch.delete_namespaced_job("typed", "default", **background)
            apps.delete_namespaced_deployment("typed", "default", **background)
            core.delete_namespaced_service("typed", "default", **timeout)
            with pytest.raises(client.ApiException) as caught:
                core.read_namespaced_pod("nobody", "default", **timeout)
            assert json.loads(caught.value.body)["reason"] == "NotFound"

    client_watch = pytest.importorskip("kubernetes.watch").Watch().stream
    await asyncio.to_thread(use)
    for pod in (await api.get("pods"))["items"]:
        if pod["metadata"]["name"].startswith("typed-"):
            await api.delete_pod(pod["metadata"]["name"])


async def test_unknown_upgrade_is_refused(api: Api) -> None:
    url = f"{api.server}/api/v1/namespaces/default/pods/nobody/exec"
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await api.session.ws_connect(url)
    assert caught.value.status == 404


async def test_the_server_can_be_restarted_again_and_again(
    start_sandbox: Callable[..., RunningSandbox],
) -> None:
    sandbox = start_sandbox()
    headers = {"Authorization": f"Bearer {sandbox.token}"}
    server = sandbox.ready["server"]
    async with aiohttp.ClientSession(headers=headers) as session:
        for _ in range(3):
            asked = asyncio.get_running_loop().time()
            async with session.get(server + "/api/v1/pods?watch=true") as watching:
                async with session.post(f"{server}/sandbox/restart?seconds={DOWN_SECONDS}") as response:
                    assert response.status == 202
                with contextlib.suppress(aiohttp.ClientError):
                    await watching.content.read()
            answered = await _answers(session, server)
            assert not answered or asyncio.get_running_loop().time() - asked > DOWN_SECONDS
            async with asyncio.timeout(10):
                while not await _answers(session, server):  # noqa: ASYNC110  # it tells nobody
                    await asyncio.sleep(0.05)


async def _answers(session: aiohttp.ClientSession, server: str) -> bool:
    try:
        async with session.get(server + "/api/v1/pods") as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False
