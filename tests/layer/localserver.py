"""A local process that mirrored connections are delivered to: a small server, in the test's own event loop."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

PATIENCE_SECONDS = 20.0
"""For visits to end when the server does."""


@dataclass
class Visit:
    """One local connection as the local process sees it."""

    writer: asyncio.StreamWriter
    received: bytearray = field(default_factory=bytearray)
    ended: bool = False
    """FIN came."""
    was_reset: bool = False
    """RST came."""

    def reset(self) -> None:
        """Send RST."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class LocalServer:
    """Reads what comes, while `reading` is set, and answers at the end."""

    def __init__(self, *, answer: bytes = b"", leave_after: int | None = None) -> None:
        self.visits: list[Visit] = []
        self.visiting: list[asyncio.Task[None]] = []
        self.reading = asyncio.Event()
        self.reading.set()
        self._answer = answer
        self._leave_after = leave_after
        """Close, and read no more, once so many bytes have come."""
        self.may_close = asyncio.Event()
        """Whether the server closes its side after FIN."""
        self.may_close.set()

    async def visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visiting = asyncio.current_task()
        assert visiting is not None
        self.visiting.append(visiting)
        visit = Visit(writer)
        self.visits.append(visit)
        try:
            while True:
                await self.reading.wait()
                data = await reader.read(65536)
                visit.received += data
                if not data:
                    visit.ended = True
                    break
                if self._leave_after is not None and len(visit.received) >= self._leave_after:
                    break
            if self._answer:
                writer.write(self._answer)
                await writer.drain()
            await self.may_close.wait()
        except ConnectionError:
            visit.was_reset = True
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    @property
    def received(self) -> list[bytes]:
        return [bytes(visit.received) for visit in self.visits]


@asynccontextmanager
async def listening(
    server: LocalServer, host: str = "127.0.0.1", port: int = 0, *, receive_buffer: int | None = None
) -> AsyncIterator[int]:
    """Let a server listen, and give its port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if receive_buffer is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        raw.bind((host, port))
        limit = 65536 if receive_buffer is None else receive_buffer  # asyncio reads ahead up to twice that
        running = await asyncio.start_server(server.visit, sock=raw, limit=limit)
        try:
            yield raw.getsockname()[1]
        finally:
            server.reading.set()
            server.may_close.set()
            running.close()
            for visit in server.visits:
                visit.writer.transport.abort()
            async with asyncio.timeout(PATIENCE_SECONDS):
                await asyncio.gather(*server.visiting)


@contextlib.contextmanager
def reserved_port():
    """Give a port on which nothing listens, and on which something may later."""
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        raw.bind(("127.0.0.1", 0))
        yield raw.getsockname()[1]
