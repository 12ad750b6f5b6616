"""The legacy channel protocol, against a server on loopback that speaks it."""

import asyncio
import struct

import aiohttp
import pytest
from aiohttp import web

from podmirror.errors import AgentLost, NotStarted
from podmirror.kube import portforward as portforward_module
from podmirror.kube.cluster import Cluster, Refusal, WebSocketAccess
from podmirror.kube.portforward import SUBPROTOCOL, PortForward
from tests.layer.deadlines import PATIENCE_SECONDS, until
from tests.layer.kube.apiserver import serving, status

PORT = 61001
PREFACE = struct.pack("<H", PORT)
DATA, ERROR = b"\x00", b"\x01"


@pytest.fixture(autouse=True)
async def _every_session_is_closed(monkeypatch):
    """Whatever becomes of a forward, it leaves no HTTP session."""
    made = []
    make = aiohttp.ClientSession

    def session(**options):
        made.append(make(**options))
        return made[-1]

    monkeypatch.setattr(portforward_module.aiohttp, "ClientSession", session)
    yield
    left = [each for each in made if not each.closed]
    for each in left:
        await each.close()
    assert not left


class AccessOnly:
    """Stands for a cluster of which only the way to a WebSocket is needed."""

    def __init__(self, server: str) -> None:
        self.server = server

    async def websocket_access(self, path: str) -> WebSocketAccess:
        return WebSocketAccess(self.server + path, {"authorization": "Bearer t0ken"}, None, None, None)


async def open_forward(server: str) -> PortForward:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await PortForward.open(AccessOnly(server), "shop", "web-1", PORT)


def speaking(talk, seen: list | None = None, **options):
    """Make a handler that opens both channels and then does what `talk` says."""

    async def answer(request):
        if seen is not None:
            seen.append(request)
        websocket = web.WebSocketResponse(protocols=(SUBPROTOCOL,), max_msg_size=0, **options)
        await websocket.prepare(request)
        await websocket.send_bytes(DATA + PREFACE)
        await websocket.send_bytes(ERROR + PREFACE)
        await talk(websocket)
        return websocket

    return answer


async def receive(forward: PortForward) -> bytes:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await forward.receive()


async def test_the_request():
    seen = []

    async def talk(websocket):
        await websocket.close()

    async with serving(speaking(talk, seen)) as server:
        forward = await open_forward(server)
        await forward.close()

    (request,) = seen
    assert request.path == "/api/v1/namespaces/shop/pods/web-1/portforward"
    assert dict(request.query) == {"ports": str(PORT)}
    assert request.headers["authorization"] == "Bearer t0ken"
    assert request.headers["Sec-WebSocket-Protocol"] == "v4.channel.k8s.io"


async def test_data_comes_without_the_prefaces():
    async def talk(websocket):
        for payload in (b"one", b"", b"\x01\x02two", PREFACE):
            await websocket.send_bytes(DATA + payload)
        await websocket.close()

    async with serving(speaking(talk)) as server:
        forward = await open_forward(server)

        assert [await receive(forward) for _ in range(4)] == [b"one", b"\x01\x02two", PREFACE, b""]
        assert await receive(forward) == b""
        await forward.close()


async def test_data_goes_on_the_data_channel_alone():
    got = []

    async def talk(websocket):
        got.extend([message.data async for message in websocket])

    async with serving(speaking(talk)) as server:
        forward = await open_forward(server)
        await forward.send(b"hello")
        await forward.send(b"")
        await forward.close()
        await until(lambda: got)

    assert got == [DATA + b"hello"]


async def test_much_data_goes_in_messages_of_limited_size(monkeypatch):
    monkeypatch.setattr(portforward_module, "MAX_MESSAGE_BYTES", 1000)
    got = []

    async def talk(websocket):
        got.extend([message.data async for message in websocket])

    payload = bytes(range(256)) * 10
    async with serving(speaking(talk)) as server:
        forward = await open_forward(server)
        await forward.send(payload)
        await forward.close()
        await until(lambda: got)

    assert [len(message) for message in got] == [1001, 1001, 561]
    assert b"".join(message[1:] for message in got) == payload


async def test_data_goes_both_ways_at_once():
    async def talk(websocket):
        async for message in websocket:
            await websocket.send_bytes(DATA + message.data[1:].upper())

    async with serving(speaking(talk)) as server:
        forward = await open_forward(server)
        for word in (b"one", b"two"):
            await forward.send(word)
            assert await receive(forward) == word.upper()
        await forward.close()


async def test_an_error_is_told_in_the_servers_words():
    async def talk(websocket):
        await websocket.send_bytes(ERROR + b"an error occurred forwarding 61001: connection refused\n")
        await websocket.close()

    async with serving(speaking(talk)) as server:
        forward = await open_forward(server)
        with pytest.raises(AgentLost) as lost:
            await receive(forward)
        await forward.close()

    assert str(lost.value) == (
        "port-forward to port 61001 of pod shop/web-1: an error occurred forwarding 61001: connection refused"
    )


async def test_an_error_that_is_no_utf8():
    async def talk(websocket):
        await websocket.send_bytes(ERROR + b"caf\xe9")
        await websocket.close()

    async with serving(speaking(talk)) as server:
        forward = await open_forward(server)
        with pytest.raises(AgentLost, match="caf�"):
            await receive(forward)
        await forward.close()


async def test_what_is_no_binary_message_is_passed_over():
    async def talk(websocket):
        await websocket.send_str("text")
        await websocket.send_bytes(b"")
        await websocket.send_bytes(b"\x05unknown channel")
        await websocket.send_bytes(DATA + b"data")
        await websocket.close()

    async with serving(speaking(talk)) as server:
        forward = await open_forward(server)

        assert await receive(forward) == b"data"
        await forward.close()


async def test_a_connection_that_breaks_is_an_end():
    async def talk(websocket):
        await websocket.send_bytes(DATA + b"data")
        websocket._req.transport.abort()

    async with serving(speaking(talk)) as server:
        forward = await open_forward(server)
        assert await receive(forward) == b"data"
        try:
            assert await receive(forward) == b""
        except AgentLost as lost:
            assert "broke" in str(lost)  # noqa: PT017  # either is an end: it depends on what the kernel told first
        await forward.close()


async def test_bytes_that_are_no_websocket_break_the_tunnel():
    async def talk(websocket):
        websocket._req.transport.write(b"\xff\xff\xff\xff")
        await asyncio.sleep(0)

    async with serving(speaking(talk)) as server:
        forward = await open_forward(server)
        with pytest.raises(AgentLost, match="the tunnel to port 61001 of pod shop/web-1 broke: "):
            await receive(forward)
        await forward.close()


async def test_a_server_that_does_not_answer_pings_breaks_the_tunnel(monkeypatch):
    monkeypatch.setattr(portforward_module, "HEARTBEAT_SECONDS", 0.05)
    leave = asyncio.Event()

    async def talk(_):
        await leave.wait()

    async with serving(speaking(talk, autoping=False)) as server:
        forward = await open_forward(server)
        with pytest.raises(AgentLost, match="the tunnel to port 61001 of pod shop/web-1 broke: "):
            await receive(forward)
        leave.set()
        await forward.close()


async def test_sending_into_a_closed_tunnel_says_so():
    async def talk(websocket):
        await websocket.close()

    async with serving(speaking(talk)) as server:
        forward = await open_forward(server)
        assert await receive(forward) == b""
        with pytest.raises(AgentLost, match="the tunnel to port 61001 of pod shop/web-1 broke: "):
            await forward.send(b"hello?")
        await forward.close()


async def test_closing_twice_does_no_harm():
    async def talk(websocket):
        await websocket.receive()

    async with serving(speaking(talk)) as server:
        forward = await open_forward(server)
        await forward.close()
        await forward.close()


async def test_bytes_that_nobody_receives_stay_at_the_server():
    """Of much more than every buffer on the way holds, the server gets rid of only a part until they are received."""
    piece, pieces = bytes(64 * 1024), 512  # 32 MiB
    sent = 0

    async def talk(websocket):
        nonlocal sent
        for _ in range(pieces):
            await websocket.send_bytes(DATA + piece)
            sent += 1
        await websocket.close()

    async with serving(speaking(talk)) as server:
        forward = await open_forward(server)
        seen = -1
        while seen != sent:  # until nothing moves for a while
            seen = sent
            await asyncio.sleep(0.1)
        assert 0 < sent < pieces / 2
        received = 0
        while data := await receive(forward):
            received += len(data)
        assert received == pieces * len(piece)
        await forward.close()


# A forward that does not open.


async def test_a_refused_handshake_gives_the_servers_words():
    async def answer(_):
        return status(
            403, "Forbidden", 'pods "web-1" is forbidden: User "me" cannot create "pods/portforward"'
        )

    async with serving(answer) as server:
        with pytest.raises(Refusal) as refusal:
            await open_forward(server)

    assert (refusal.value.status, refusal.value.reason) == (403, "Forbidden")
    assert refusal.value.message == 'pods "web-1" is forbidden: User "me" cannot create "pods/portforward"'


@pytest.mark.parametrize(
    "body", ["<html>no</html>", "", "[]", '{"kind": "Status"}', '{"kind": "Status", "message": "why"}']
)
async def test_a_refused_handshake_with_another_body(body):
    async def answer(_):
        return web.Response(status=503, text=body)

    async with serving(answer) as server:
        with pytest.raises(Refusal) as refusal:
            await open_forward(server)

    assert refusal.value.status == 503
    assert refusal.value.message == ("why" if "why" in body else "HTTP 503 Service Unavailable")


async def test_a_refusal_that_is_another_the_second_time():
    answers = [web.Response(status=418), status(403, "Forbidden", "no")]

    async def answer(_):
        return answers.pop(0)

    async with serving(answer) as server:
        with pytest.raises(Refusal) as refusal:
            await open_forward(server)

    assert (refusal.value.status, refusal.value.message) == (418, "HTTP 418 I'm a Teapot")


async def test_a_refusal_of_a_code_without_a_name():
    async def answer(_):
        return web.Response(status=499, reason="odd")

    async with serving(answer) as server:
        with pytest.raises(Refusal) as refusal:
            await open_forward(server)

    assert (refusal.value.status, refusal.value.message) == (499, "HTTP 499")


async def test_a_server_that_is_not_there():
    with pytest.raises(NotStarted, match=r"port-forward to pod shop/web-1 failed: .*127.0.0.1:1"):
        await open_forward("http://127.0.0.1:1")


async def test_a_server_that_does_not_answer_the_handshake_is_not_waited_for_long(monkeypatch):
    monkeypatch.setattr(portforward_module, "OPEN_SECONDS", 0.1)
    leave = asyncio.Event()

    async def answer(_):
        await leave.wait()
        return web.Response()

    async with serving(answer) as server:
        try:
            with pytest.raises(NotStarted, match="port-forward to pod shop/web-1 failed"):
                async with asyncio.timeout(1.5):
                    await PortForward.open(AccessOnly(server), "shop", "web-1", PORT)
        finally:
            leave.set()


async def test_opening_can_be_cancelled():
    asked, leave = asyncio.Event(), asyncio.Event()

    async def answer(_):
        asked.set()
        await leave.wait()
        return web.Response()

    async with serving(answer) as server:
        opening = asyncio.create_task(open_forward(server))
        await asked.wait()
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        leave.set()


async def test_asking_for_the_servers_words_can_be_cancelled():
    asked, leave = asyncio.Event(), asyncio.Event()

    async def answer(request):
        if "Upgrade" in request.headers:
            return status(403, "Forbidden", "no")
        asked.set()
        await leave.wait()
        return web.Response()

    async with serving(answer) as server:
        opening = asyncio.create_task(open_forward(server))
        await asked.wait()
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        leave.set()


async def test_over_tls_with_a_client_certificate(kubeconfig, certificates):
    """All that a kubeconfig says about TLS reaches the WebSocket, and the request for a refusal's words."""
    certificate, key = certificates.of("client")
    refusing = False

    async def talk(websocket):
        await websocket.send_bytes(DATA + b"secret")
        await websocket.close()

    async def answer(request):
        return status(403, "Forbidden", "not any more") if refusing else await speaking(talk)(request)

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
        forward = await PortForward.open(cluster, "shop", "web-1", PORT)
        assert await receive(forward) == b"secret"
        await forward.close()

        refusing = True
        with pytest.raises(Refusal, match="not any more"):
            await PortForward.open(cluster, "shop", "web-1", PORT)
