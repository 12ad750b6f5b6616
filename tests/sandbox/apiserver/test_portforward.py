"""Port-forward into a real pod, and what clients have to live with."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from podmirror_sandbox.apiserver.portforward import parse_ports
from podmirror_sandbox.cluster.apierrors import ApiError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.sandbox.conftest import Api

# Port 7000 echoes, on IPv6 port 7001 too; 7002 says a word and closes; 7003 reads nothing; 7004 sends without end.
SERVER = """
import socket, sys, threading, time
def serve(family, address, port, handle):
    listening = socket.socket(family); listening.bind((address, port)); listening.listen()
    def loop():
        while True:
            threading.Thread(target=handle, args=(listening.accept()[0],), daemon=True).start()
    threading.Thread(target=loop).start()
def echo(connection):
    while data := connection.recv(65536):
        connection.sendall(data)
def word(connection):
    connection.sendall(b"bye"); connection.close()
def deaf(connection):
    connection.recv(1); time.sleep(1000)
def flood(connection):
    sent = 0
    try:
        while True:
            sent += connection.send(bytes(65536)); print(sent, flush=True)
    except OSError:
        print("closed", flush=True)
serve(socket.AF_INET, "127.0.0.1", 7000, echo)
serve(socket.AF_INET6, "::1", 7001, echo)
serve(socket.AF_INET, "127.0.0.1", 7002, word)
serve(socket.AF_INET, "127.0.0.1", 7003, deaf)
serve(socket.AF_INET, "127.0.0.1", 7004, flood)
print("ready", flush=True)
threading.Event().wait()  # Python 3.12.1 starts no thread once the first one is over
"""
# A blocked forward does not read the goodbye either.
CLOSE = aiohttp.ClientWSTimeout(ws_close=0.5)
V4 = "v4.channel.k8s.io"


def test_ports_are_read_in_every_spelling() -> None:
    assert parse_ports(["1,2", "65535"]) == [1, 2, 65535]
    for values in ([], [""], ["0"], ["65536"], ["x"], ["1,,2"]):
        with pytest.raises(ApiError):
            parse_ports(values)


pytestmark = pytest.mark.namespaces


class Forward:
    def __init__(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        self.websocket = websocket

    async def receive(self) -> tuple[int, bytes] | None:
        message = await self.websocket.receive(timeout=10)
        if message.type is not aiohttp.WSMsgType.BINARY:
            return None
        assert len(message.data) <= 32 * 1024 + 1
        return message.data[0], message.data[1:]

    async def receive_bytes(self, channel: int, length: int) -> bytes:
        found = b""
        while len(found) < length:
            received = await self.receive()
            assert received is not None
            assert received[0] == channel
            found += received[1]
        return found


@pytest.fixture
async def pod(api: Api) -> str:
    """One server for all tests of this module; made by the first of them."""
    status, _ = await api.call("GET", "pods/forwarded")
    if status == 404:
        await api.create_pod("forwarded", "python3", "-c", SERVER)
        await api.until_running("forwarded")
    return "forwarded"


@contextlib.asynccontextmanager
async def forward(
    api: Api, pod: str, *ports: int, protocols: tuple[str, ...] = (V4,)
) -> AsyncIterator[Forward]:
    url = f"{api.server}/api/v1/namespaces/default/pods/{pod}/portforward"
    query = [("ports", str(port)) for port in ports]
    async with (
        asyncio.timeout(20),
        api.session.ws_connect(
            url, params=query, protocols=protocols, max_msg_size=0, timeout=CLOSE
        ) as websocket,
    ):
        forward = Forward(websocket)
        for index, port in enumerate(ports):
            for channel in (2 * index, 2 * index + 1):
                assert await forward.receive() == (channel, port.to_bytes(2, "little"))
        yield forward


@pytest.fixture
async def listening(api: Api, pod: str) -> None:
    """The pod runs before its server listens: ask until it answers."""
    async with asyncio.timeout(15):
        while "ready" not in await api.log(pod):  # noqa: ASYNC110  # the pod says it in its log
            await asyncio.sleep(0.05)


@pytest.mark.usefixtures("listening")
async def test_bytes_go_through_in_both_directions(api: Api, pod: str) -> None:
    content = bytes(range(256)) * 4096
    async with forward(api, pod, 7000) as tunnel:
        assert tunnel.websocket.protocol == V4
        sending = asyncio.create_task(tunnel.websocket.send_bytes(b"\0" + content))
        assert await tunnel.receive_bytes(0, len(content)) == content
        await sending


@pytest.mark.usefixtures("listening")
async def test_ipv6_is_dialled_when_ipv4_refuses(api: Api, pod: str) -> None:
    async with forward(api, pod, 7001, protocols=()) as tunnel:
        await tunnel.websocket.send_bytes(b"\0hello")
        assert await tunnel.receive_bytes(0, 5) == b"hello"


@pytest.mark.usefixtures("listening")
async def test_refusal_comes_on_the_error_channel_and_ends_the_forward(api: Api, pod: str) -> None:
    async with forward(api, pod, 81) as tunnel:
        received = await tunnel.receive()
        assert received is not None
        channel, text = received[0], received[1].decode()
        assert channel == 1
        assert text.startswith("error forwarding port 81 to pod ")
        assert "IPv4: dial tcp4 127.0.0.1:81: connect: connection refused" in text
        assert "IPv6 dial tcp6 [::1]:81: connect: connection refused" in text
        assert await tunnel.receive() is None


@pytest.mark.usefixtures("listening")
async def test_two_ports_have_channels_of_their_own(api: Api, pod: str) -> None:
    async with forward(api, pod, 7000, 7002) as tunnel:
        assert await tunnel.receive() == (2, b"bye")
        await tunnel.websocket.send_bytes(b"\0hello")
        assert await tunnel.receive() == (0, b"hello")


@pytest.mark.usefixtures("listening")
async def test_the_end_of_the_pods_side_ends_all_a_second_later(api: Api, pod: str) -> None:
    loop = asyncio.get_running_loop()
    before = loop.time()
    async with forward(api, pod, 7002) as tunnel:
        assert await tunnel.receive() == (0, b"bye")
        assert await tunnel.receive() is None
        assert loop.time() - before > 0.99


@pytest.mark.usefixtures("listening")
async def test_a_pod_that_reads_nothing_stops_the_client(api: Api, pod: str) -> None:
    async with forward(api, pod, 7003) as tunnel:

        async def send() -> None:
            for _ in range(400):
                await tunnel.websocket.send_bytes(b"\0" + bytes(256 * 1024))

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(send(), 1)
        # Closing would wait until all of it has gone out.
        connection = tunnel.websocket._response.connection
        assert connection is not None
        assert connection.transport is not None
        connection.transport.abort()


@pytest.mark.usefixtures("listening")
async def test_a_client_that_reads_nothing_stops_the_pod(api: Api, pod: str) -> None:
    async with forward(api, pod, 7004):
        before, sent = "", "0"
        while (
            sent != before
        ):  # until nothing moves for a while: what the buffers on the way hold is far less than this
            await asyncio.sleep(0.3)
            before, sent = sent, await api.log(pod, tailLines="1")
            assert sent.strip() == "ready" or int(sent) < 64 * 1024 * 1024
    async with asyncio.timeout(10):
        while "closed" not in await api.log(pod, tailLines="1"):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


@pytest.mark.usefixtures("listening")
async def test_pings_are_answered(api: Api, pod: str) -> None:
    async with forward(api, pod, 7000) as tunnel:
        await tunnel.websocket.ping(b"x")
        await tunnel.websocket.send_bytes(b"\0hello")
        assert await tunnel.receive() == (0, b"hello")


async def refused(api: Api, pod: str, **options: Any) -> int:
    url = f"{api.server}/api/v1/namespaces/default/pods/{pod}/portforward"
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await api.session.ws_connect(url, **options)
    return caught.value.status


async def test_refused_handshakes(api: Api, pod: str) -> None:
    assert await refused(api, "nobody", params={"ports": "1"}) == 404
    assert await refused(api, pod) == 400
    for protocol in ("SPDY/3.1+portforward.k8s.io", "v5.channel.k8s.io", "v2.portforward.k8s.io"):
        assert await refused(api, pod, params={"ports": "1"}, protocols=(protocol,)) == 400
    status, body = await api.call("POST", f"pods/{pod}/portforward", ports="1")
    assert (status, body["message"]) == (400, "Upgrade request required")


async def test_a_pod_that_does_not_run_cannot_be_forwarded(api: Api) -> None:
    await api.create_pod("unscheduled", "true", nodeSelector={"no": "where"})
    assert await refused(api, "unscheduled", params={"ports": "1"}) == 400
    await api.delete_pod("unscheduled")
