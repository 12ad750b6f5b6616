import asyncio

from podmirror.bytestream import SocketStream
from podmirror.compare.figures import Window
from podmirror.compare.load import WORKERS, Load
from podmirror.compare.numbers import request
from tests.clock import Clock


async def serve(answer: bytes, seen: list[bytes]) -> asyncio.Server:
    async def talk(reader, writer):
        try:
            more = True
            while more:
                seen.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(answer)
                more = b"close" not in answer
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    return await asyncio.start_server(talk, "127.0.0.1", 0)


def load_on(server: asyncio.Server, **options) -> Load:
    port = server.sockets[0].getsockname()[1]

    async def connect():
        return SocketStream(*await asyncio.open_connection("127.0.0.1", port))

    return Load(connect, "here", **{"rate": 100, "path": "/x", "size": 5, **options})


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def run(load: Load, clock: Clock, seconds: float) -> Window:
    running = asyncio.create_task(load.run(seconds))
    await clock.until_done(running)
    return running.result()


async def test_requests_come_at_the_rate_and_are_numbered(clock):
    seen: list[bytes] = []
    async with await serve(OK, seen) as server:
        load = load_on(server)
        window = await run(load, clock, 0.5)

    assert window.failed == 0
    assert 49 - WORKERS <= window.requests == len(seen) <= 51, (
        "when it is over, those whose turn would be next are not sent"
    )
    assert window.sent_bytes == sum(map(len, seen))
    assert sorted(load.sent) == list(range(1, window.requests + 1))
    assert request(1, "/x", 5) in seen


async def test_a_server_that_closes_each_connection_is_no_failure(clock):
    seen: list[bytes] = []
    async with await serve(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok", seen) as server:
        window = await run(load_on(server), clock, 0.3)

    assert window.failed == 0
    assert window.requests == len(seen) > 5


async def test_a_servers_error_is_a_failure():
    async with await serve(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", []) as server:
        window = await load_on(server).run(0.2)

    assert window.errors == {"status 503": window.requests}


async def test_no_server_is_a_failure():
    server = await serve(OK, [])
    load = load_on(server)
    server.close()
    await server.wait_closed()

    window = await load.run(0.1)

    assert not window.latencies
    assert all("no connection" in each for each in window.errors)


async def test_load_is_bounded_when_the_app_is_slow():
    async def never(reader, writer):
        try:
            await reader.read()
        finally:
            writer.close()

    async with await asyncio.start_server(never, "127.0.0.1", 0) as server:
        load = load_on(server, rate=1000)
        task = asyncio.create_task(load.run(5))
        await asyncio.sleep(0.3)
        assert load.number <= 8
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
