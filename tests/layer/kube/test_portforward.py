"""The legacy channel protocol, against a server on loopback that speaks it."""

import asyncio
from contextlib import suppress

import pytest

from podmirror.errors import AgentLost
from podmirror.kube import portforward as portforward_module
from podmirror.kube.cluster import Cluster, Refusal
from podmirror.kube.portforward import PortForward
from tests.layer.deadlines import PATIENCE_SECONDS, until
from tests.layer.kube.apiserver import serving, status
from tests.layer.kube.forwards import (
    DATA,
    ERROR,
    PORT,
    PREFACE,
    every_session_is_closed,  # noqa: F401  # an autouse fixture
    open_forward,
    receive,
    speaking,
)


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


async def test_a_server_that_goes_on_sending_is_left_all_the_same(monkeypatch):
    monkeypatch.setattr(portforward_module, "CLOSE_SECONDS", 0.1)

    async def talk(websocket):
        with suppress(ConnectionError):
            while True:
                await websocket.send_bytes(DATA + b"more")
                await asyncio.sleep(0)

    async with serving(speaking(talk)) as server:
        forward = await open_forward(server)
        async with asyncio.timeout(PATIENCE_SECONDS):
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
        while not sent or seen != sent:  # until nothing moves for a while
            seen = sent
            await asyncio.sleep(0.1)
        assert 0 < sent < pieces / 2
        received = 0
        while data := await receive(forward):
            received += len(data)
        assert received == pieces * len(piece)
        await forward.close()


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
