import asyncio
from contextlib import asynccontextmanager

import pytest

from podmirror.bytestream import SocketStream
from podmirror.compare.ways import find_way

APP = b"HTTP/1.1 200 OK\r\nServer: app\r\nDate: today\r\nContent-Length: 2\r\n\r\nok"
LATER = APP.replace(b"today", b"later").replace(b"ok", b"no")
GATEWAY = b"HTTP/1.1 404 Not Found\r\nserver: gateway\r\nContent-Length: 0\r\n\r\n"
NAMELESS = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
NO_HTTP = b"220 mail.test ESMTP\r\n"


@asynccontextmanager
async def answering(answer: bytes | None):
    """Serve one answer for each connection, and give how to connect; nobody listens if there is none."""
    asked: list[bytes] = []

    async def talk(reader, writer):
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        writer.close()

    async def connect():
        return SocketStream(*await asyncio.open_connection("127.0.0.1", port))

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    connect.asked = asked
    if answer is None:
        server.close()
    async with server:
        yield connect


@pytest.mark.parametrize(
    ("at_the_address", "through_the_tunnel", "uses_address", "why"),
    [
        (APP, APP, True, ""),
        (APP, LATER, True, ""),
        (APP, None, True, ""),
        (APP, NO_HTTP, True, ""),
        (None, APP, False, "for its address cannot be reached from here"),
        (NO_HTTP, APP, False, "for its address cannot be reached from here"),
        (None, None, False, "for its address cannot be reached from here"),
        (
            GATEWAY,
            APP,
            False,
            "for something else answers at its address from here (404 from gateway; the pod 200 from app)",
        ),
        (
            NAMELESS,
            GATEWAY,
            False,
            "for something else answers at its address from here (404; the pod 404 from gateway)",
        ),
    ],
)
async def test_the_address_is_used_if_the_pod_has_it(at_the_address, through_the_tunnel, uses_address, why):
    async with answering(at_the_address) as direct, answering(through_the_tunnel) as tunnel:
        found = await find_way(direct, tunnel, "/x")

    assert found == (direct if uses_address else tunnel, why)
    assert len(direct.asked) <= 1
    assert all(each.startswith(b"GET /x HTTP/1.1\r\n") for each in (*direct.asked, *tunnel.asked))


async def test_an_address_that_swallows_connections_is_given_up(monkeypatch):
    monkeypatch.setattr("podmirror.compare.ways.REACH_SECONDS", 0.05)

    async def swallowed():
        await asyncio.Event().wait()

    async with answering(APP) as tunnel:
        connect, why = await find_way(swallowed, tunnel, "/")

    assert connect is tunnel
    assert why == "for its address cannot be reached from here"
