"""The way to the app: to the pod's address if the pod has it here, else through the API server's tunnel.

The tunnel is slower and reaches the app by the pod's loopback, so the address is the better way; but where this machine is, it
may be somebody else's: another network can have the same addresses as the cluster's pods, and some gateways answer for every
address there is. Hence one request goes each way first, and the address is taken only if its answer is like the tunnel's.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import h11

from podmirror.bytestream import ByteStream
from podmirror.compare.numbers import request
from podmirror.errors import NotStarted, TunnelLost
from podmirror.kube.cluster import Refusal

REACH_SECONDS = 1.0
"""For the pod's address to take a connection; in the cluster's own network it does within milliseconds."""

ANSWER_SECONDS = 10.0

Connect = Callable[[], Awaitable[ByteStream]]
"""Opens a connection to the app. Raises one of `NO_CONNECTION`; the connection then raises `OSError` or `TunnelLost`."""

NO_CONNECTION = (OSError, TunnelLost, NotStarted, Refusal, TimeoutError)
NO_ANSWER = (OSError, TunnelLost, TimeoutError, h11.RemoteProtocolError)


@dataclass(frozen=True, slots=True)
class Answer:
    """How the app answered a request."""

    status: int
    server: bytes
    content_type: bytes
    more: bool = field(compare=False)
    """Whether another request may follow on the connection."""

    def __str__(self) -> str:
        server = self.server.decode("ascii", "replace")
        return f"{self.status} from {server}" if server else str(self.status)


async def receive_answer(connection: ByteStream) -> Answer:
    """Read one answer.

    Raises:
        OSError, TunnelLost: The connection broke.
        h11.RemoteProtocolError: It is no HTTP.
    """
    parser = h11.Connection(h11.CLIENT)
    parser.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    parser.send(h11.EndOfMessage())
    status = 0
    headers: dict[bytes, bytes] = {}
    while True:
        event = parser.next_event()
        if event is h11.NEED_DATA:
            parser.receive_data(await connection.receive())
        elif isinstance(event, h11.Response):
            status = event.status_code
            headers = dict(event.headers)
        elif isinstance(event, h11.EndOfMessage):
            more = parser.their_state is h11.DONE
            return Answer(status, headers.get(b"server", b""), headers.get(b"content-type", b""), more)
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
