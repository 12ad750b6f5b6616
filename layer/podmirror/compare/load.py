"""Bounded load of our own on the target: requests at a steady rate, each of them numbered."""

import asyncio
import contextlib
import time
from collections import Counter

from podmirror.bytestream import ByteStream, SocketStream
from podmirror.compare.figures import Window
from podmirror.compare.numbers import request
from podmirror.compare.ways import (
    ANSWER_SECONDS,
    NO_ANSWER,
    NO_CONNECTION,
    Connect,
    find_way,
    receive_answer,
)
from podmirror.errors import NotStarted, TunnelLost
from podmirror.kube.cluster import Cluster
from podmirror.kube.portforward import PortForward
from podmirror.kube.resolve import ResolvedTarget

WORKERS = 8
"""Connections at a time, so that a slow app is not swamped: what it cannot answer in time is sent later."""

REQUESTS_EACH = 4
"""On one connection, if the app keeps it open."""


class Load:
    """Sends requests to one port of a pod."""

    def __init__(self, connect: Connect, way: str, *, rate: float, path: str, size: int) -> None:
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
            except NO_CONNECTION as error:
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

    async def _ask(self, connection: ByteStream, latencies: list[float], errors: Counter[str]) -> bool:
        """Send one request and wait for its answer; give whether the connection takes another."""
        self.number += 1
        number = self.number
        began = time.perf_counter()
        self.sent[number] = time.time()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await connection.send(request(number, self._path, self._size))
                answer = await receive_answer(connection)
        except NO_ANSWER as error:
            errors[f"no answer: {_words(error)}"] += 1
            return False
        if answer.status >= 500:
            errors[f"status {answer.status}"] += 1
        else:
            latencies.append(time.perf_counter() - began)
        return answer.more


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


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__


async def open_load(
    cluster: Cluster, target: ResolvedTarget, address: str, port: int, *, rate: float, path: str, size: int
) -> Load:
    """Find a way to the target's port.

    Raises:
        NotStarted: There is none.
    """

    async def direct() -> ByteStream:
        return SocketStream(*await asyncio.open_connection(address, port))

    async def tunnel() -> ByteStream:
        return await PortForward.open(cluster, target.namespace, target.pod, port)

    connect, why = await find_way(direct, tunnel, path)
    way = (
        f"through a tunnel to the pod's port {port}, {why}"
        if why
        else f"to the pod's address {address}, port {port}"
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
