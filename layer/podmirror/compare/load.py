"""Bounded load of our own on the target: requests at a steady rate, each of them numbered.

It goes to the pod's address if that can be reached from here, else through the API server's tunnel to the pod's port, which is
slower and reaches the app by the pod's loopback. Either way its requests are the same.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Protocol

import h11

from podmirror.compare.figures import Window
from podmirror.compare.numbers import HEADER
from podmirror.errors import NotStarted, TunnelLost
from podmirror.kube.cluster import Cluster, Refusal
from podmirror.kube.portforward import PortForward
from podmirror.kube.resolve import ResolvedTarget

REACH_SECONDS = 1.0
"""For the pod's address to answer; in the cluster's own network it does within milliseconds."""

ANSWER_SECONDS = 10.0
WORKERS = 8
"""Connections at a time, so that a slow app is not swamped: what it cannot answer in time is sent later."""

REQUESTS_EACH = 4
"""On one connection, if the app keeps it open."""


class Connection(Protocol):
    """A stream of bytes to the app. All methods raise `OSError` or `TunnelLost` when it breaks."""

    async def send(self, data: bytes) -> None:
        """Send bytes."""

    async def receive(self) -> bytes:
        """Give the next bytes; none at the end."""

    async def close(self) -> None:
        """Close it."""


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


class Load:
    """Sends requests to one port of a pod."""

    def __init__(
        self, connect: Callable[[], Awaitable[Connection]], way: str, *, rate: float, path: str, size: int
    ) -> None:
        """Set what is sent.

        Args:
            connect: Opens a connection to the app.
            way: How it gets there, in words.
            rate: Requests a second.
            path: What is asked for.
            size: Bytes that a header pads each request with.
        """
        self.way = way
        self.rate = rate
        self.sent: dict[int, float] = {}
        """When each request was sent, seconds since 1970, by its number."""
        self._connect = connect
        self._path = path
        self._size = size
        self.number = 0
        """Of the latest request."""

    @property
    def words(self) -> str:
        """Say what is sent."""
        return f"{self.rate:g} requests/s, GET {self._path} with {self._size} bytes of padding, {self.way}"

    async def run(self, seconds: float) -> Window:
        """Send for so long, and wait for the answers."""
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(seconds, stop.set)
        return await self.run_until(stop)

    async def run_until(self, stop: asyncio.Event) -> Window:
        """Send until told otherwise, and wait for the answers."""
        pace = _Pace(self.rate, stop)
        latencies: list[float] = []
        errors: Counter[str] = Counter()
        before = self.number
        at, began = time.time(), time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(WORKERS):
                group.create_task(self._work(pace, latencies, errors), name=f"load {number}")
        count = self.number - before
        sent = count * len(request(0, self._path, self._size))
        return Window(latencies, dict(errors), sent, at, time.monotonic() - began)

    async def _work(self, pace: "_Pace", latencies: list[float], errors: Counter[str]) -> None:
        while await pace.wait():
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    connection = await self._connect()
            except (OSError, TunnelLost, NotStarted, Refusal, TimeoutError) as error:
                errors[f"no connection: {_words(error)}"] += 1
                continue
            try:
                for _ in range(REQUESTS_EACH):
                    more = await self._ask(connection, latencies, errors)
                    if not more or not await pace.wait():
                        break
            finally:
                with contextlib.suppress(OSError, TunnelLost):
                    await connection.close()

    async def _ask(self, connection: Connection, latencies: list[float], errors: Counter[str]) -> bool:
        """Send one request and wait for its answer; give whether the connection takes another."""
        self.number += 1
        number = self.number
        began = time.perf_counter()
        self.sent[number] = time.time()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await connection.send(request(number, self._path, self._size))
                status, more = await _receive_answer(connection)
        except (OSError, TunnelLost, TimeoutError, h11.RemoteProtocolError) as error:
            errors[f"no answer: {_words(error)}"] += 1
            return False
        if status >= 500:
            errors[f"status {status}"] += 1
        else:
            latencies.append(time.perf_counter() - began)
        return more


def request(number: int, path: str, size: int) -> bytes:
    """Give a request, padded with so many bytes."""
    lines = (
        f"GET {path} HTTP/1.1",
        "Host: podmirror-compare",
        f"{HEADER}: {number:08}",
        f"X-Podmirror-Padding: {'x' * size}",
    )
    return "\r\n".join((*lines, "", "")).encode()


class _Pace:
    """Lets requests go at a steady rate; those that come late go at once."""

    def __init__(self, rate: float, stop: asyncio.Event) -> None:
        self._interval = 1 / rate
        self._next = asyncio.get_running_loop().time()
        self._stop = stop

    async def wait(self) -> bool:
        """Wait for the next request's turn; give whether there is one."""
        now = asyncio.get_running_loop().time()
        self._next = max(self._next, now - 1)  # a second of delay is made up for, and no more
        delay = self._next - now
        self._next += self._interval
        if delay > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._stop.wait()
        return not self._stop.is_set()


async def _receive_answer(connection: Connection) -> tuple[int, bool]:
    """Read one answer; give its status, and whether another request may follow."""
    parser = h11.Connection(h11.CLIENT)
    parser.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    parser.send(h11.EndOfMessage())
    status = 0
    while True:
        event = parser.next_event()
        if event is h11.NEED_DATA:
            parser.receive_data(await connection.receive())
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.EndOfMessage):
            return status, parser.their_state is h11.DONE
        elif isinstance(event, h11.ConnectionClosed):
            raise ConnectionResetError("closed before an answer")


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__


async def open_load(
    cluster: Cluster, target: ResolvedTarget, address: str, port: int, *, rate: float, path: str, size: int
) -> Load:
    """Find a way to the target's port.

    Raises:
        NotStarted: There is none.
    """

    async def direct() -> Connection:
        return DirectConnection(*await asyncio.open_connection(address, port))

    async def tunnel() -> Connection:
        return await PortForward.open(cluster, target.namespace, target.pod, port)

    connect, way = direct, f"to the pod's address {address}, port {port}"
    try:
        async with asyncio.timeout(REACH_SECONDS):
            await (await direct()).close()
    except (OSError, TimeoutError):
        connect, way = (
            tunnel,
            f"through a tunnel to the pod's port {port}, for its address cannot be reached from here",
        )
    load = Load(connect, way, rate=rate, path=path, size=size)
    window = await load.run(0.2)
    if not window.latencies:
        what = next(iter(window.errors), "nothing was sent")
        raise NotStarted(
            f"{target} does not answer GET {path} on port {port} ({what}); name another port with -p, another path with "
            "--load-path, or leave out --load"
        )
    return load
