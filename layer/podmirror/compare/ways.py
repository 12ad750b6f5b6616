"""The way to the app: to the pod's address if the pod has it here, else through the API server's tunnel.

The tunnel is slower and reaches the app by the pod's loopback, so the address is the better way; but where this machine is, it
may be somebody else's: another network can have the same addresses as the cluster's pods, and some gateways answer for every
address there is. Hence one request goes each way first, and the address is taken only if its answer is like the tunnel's.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

import h11

from podmirror.compare.numbers import request
from podmirror.errors import NotStarted, TunnelLost
from podmirror.kube.cluster import Refusal

REACH_SECONDS = 1.0
"""For the pod's address to take a connection; in the cluster's own network it does within milliseconds."""

ANSWER_SECONDS = 10.0

_TELLING = (b"server", b"content-type")
"""Headers that one app's answers have alike."""


class Connection(Protocol):
    """A stream of bytes to the app. All methods raise `OSError` or `TunnelLost` when it breaks."""

    async def send(self, data: bytes) -> None:
        """Send bytes."""

    async def receive(self) -> bytes:
        """Give the next bytes; none at the end."""

    async def close(self) -> None:
        """Close it."""


Connect = Callable[[], Awaitable[Connection]]
"""Opens a connection to the app. Raises one of `NO_CONNECTION`."""

NO_CONNECTION = (OSError, TunnelLost, NotStarted, Refusal, TimeoutError)
NO_ANSWER = (OSError, TunnelLost, TimeoutError, h11.RemoteProtocolError)


class DirectConnection:
    """A TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        """Send bytes."""
        self._writer.write(data)
        await self._writer.drain()

    async def receive(self) -> bytes:
        """Give the next bytes; none at the end."""
        return await self._reader.read(64 * 1024)

    async def close(self) -> None:
        """Close it."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


@dataclass(frozen=True, slots=True)
class Answer:
    """How the app answered a request."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    """Those of one app's answers that are alike."""
    more: bool = field(compare=False)
    """Whether another request may follow on the connection."""

    def __str__(self) -> str:
        server = dict(self.headers).get(b"server", b"").decode("ascii", "replace")
        return f"{self.status} from {server}" if server else str(self.status)


async def receive_answer(connection: Connection) -> Answer:
    """Read one answer.

    Raises:
        OSError, TunnelLost: The connection broke.
        h11.RemoteProtocolError: It is no HTTP.
    """
    parser = h11.Connection(h11.CLIENT)
    parser.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    parser.send(h11.EndOfMessage())
    status = 0
    headers: tuple[tuple[bytes, bytes], ...] = ()
    while True:
        event = parser.next_event()
        if event is h11.NEED_DATA:
            parser.receive_data(await connection.receive())
        elif isinstance(event, h11.Response):
            status = event.status_code
            headers = tuple(sorted((name, value) for name, value in event.headers if name in _TELLING))
        elif isinstance(event, h11.EndOfMessage):
            return Answer(status, headers, parser.their_state is h11.DONE)
        elif isinstance(event, h11.ConnectionClosed):
            raise ConnectionResetError("closed before an answer")


async def find_way(direct: Connect, tunnel: Connect, path: str) -> tuple[Connect, str]:
    """Choose between the pod's address and the tunnel.

    Args:
        direct: Connects to the pod's address.
        tunnel: Connects through the API server.
        path: What is asked for.

    Returns:
        How to connect, and in words why the address is not used; no words if it is. Where only the address answers, an app
        may listen there alone; where neither does, the tunnel's errors tell the more.
    """
    here, there = await asyncio.gather(
        _ask(direct, path, REACH_SECONDS),
        _ask(tunnel, path, ANSWER_SECONDS),
    )
    if here is None:
        return tunnel, "for its address cannot be reached from here"
    if there is None or here == there:
        return direct, ""
    return tunnel, f"for something else answers at its address from here ({here}; the pod {there})"


async def _ask(connect: Connect, path: str, reach: float) -> Answer | None:
    """Send one request; give nothing if there is no answer."""
    try:
        async with asyncio.timeout(reach):
            connection = await connect()
    except NO_CONNECTION:
        return None
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await connection.send(request(0, path, 0))
            return await receive_answer(connection)
    except NO_ANSWER:
        return None
    finally:
        with contextlib.suppress(OSError, TunnelLost):
            await connection.close()
