import asyncio

from benchmarks.requestsink import Sink


async def test_what_comes_twice_is_told_from_what_comes() -> None:
    sink = Sink()
    server = await asyncio.start_server(sink.serve, "127.0.0.1", 0)
    async with server, asyncio.timeout(5):
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for path in (b"/a", b"/b", b"/a"):
            writer.write(b"POST " + path + b" HTTP/1.1\r\nContent-Length: 3\r\n\r\nxyz")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204 ")
        writer.close()
        await writer.wait_closed()
    assert sink.requests == 3
    assert sink.paths == {b"/a", b"/b"}
