"""Port-forward over a WebSocket with the legacy channels, as kubelet and containerd do it together.

Theory of operation: for the i-th port, channel 2i carries the data both ways and channel 2i+1 errors to the client. Each
message begins with its channel; the first one on each channel carries the port, two bytes, little endian. One WebSocket
is exactly one TCP connection for each port, dialled at once to `localhost` in the pod: 127.0.0.1, and if that fails ::1.

Three properties are what clients have to live with, so they are kept:

- The handshake succeeds whether or not anybody listens; the refusal is text on the error channel.
- There is no half-close: a second after either side of a connection has ended, all of it ends.
- Back-pressure goes both ways: the socket is not read while the client does not take what was read before, and the
  WebSocket is not read while the socket takes nothing, so one blocked channel blocks the others too.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import WSMsgType, web

from podmirror_sandbox.cluster.apierrors import ApiError
from podmirror_sandbox.cluster.objects import Object, name_of, uid_of
from podmirror_sandbox.node.netns import socket_in

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podmirror_sandbox.node.network import PodNetwork

SUBPROTOCOL = "v4.channel.k8s.io"

_CHUNK = 32 * 1024
"""Most bytes in a message to the client: the buffer of Go's `io.Copy`."""

_LARGEST_MESSAGE = 32 * 1024 * 1024
"""Most bytes in a message from the client: the limit of the WebSocket library that the kubelet uses."""

_LINGER = 1.0
"""Seconds between the end of one direction and the end of all (containerd, `sandbox_portforward_linux.go`)."""


@dataclass(frozen=True)
class _Forward:
    """One port of a port-forward."""

    index: int
    port: int
    connected: asyncio.Future[socket.socket | None]
    """The connection into the pod; None when nobody listens."""

    @property
    def data_channel(self) -> int:
        return 2 * self.index

    @property
    def error_channel(self) -> int:
        return 2 * self.index + 1


def parse_ports(values: Iterable[str]) -> list[int]:
    """The ports of a request, given once or more, each with commas or without.

    Raises:
        ApiError: 400 when there are none or one is no port.
    """
    words = [word for value in values for word in value.split(",")]
    if not words:
        raise ApiError.bad_request('query parameter "port" is required')
    ports = []
    for word in words:
        if not word.isdecimal() or not 0 < int(word) < 65536:
            raise ApiError.bad_request(f'could not parse "{word}" as a port: must be > 0 and <= 65535')
        ports.append(int(word))
    return ports


def check_handshake(request: web.Request) -> None:
    """Refuse what the runtime would refuse before it upgrades the connection.

    Raises:
        ApiError: 400.
    """
    if request.headers.get("Upgrade", "").lower() != "websocket":
        raise ApiError.bad_request("Upgrade request required")
    offered = request.headers.getall("Sec-WebSocket-Protocol", [])
    names = [name.strip() for value in offered for name in value.split(",")]
    if names and SUBPROTOCOL not in names:
        raise ApiError.bad_request(f"unable to upgrade: no supported subprotocol among {', '.join(names)}")


async def port_forward(request: web.Request, pod: Object, network: PodNetwork | None) -> web.StreamResponse:
    """Forward ports of a pod until the client or the pod ends it.

    Raises:
        ApiError: 400 when the request is no port-forward or the pod does not run.
    """
    # The subprotocol first: kubectl's own, which tunnels SPDY, names no ports in the query.
    check_handshake(request)
    ports = parse_ports([*request.query.getall("ports", []), *request.query.getall("port", [])])
    phase = pod["status"].get("phase")
    if network is None or phase != "Running":
        raise ApiError.bad_request(
            f"unable to forward port because pod is not running. Current status={phase}"
        )
    response = web.WebSocketResponse(protocols=(SUBPROTOCOL,), max_msg_size=_LARGEST_MESSAGE, compress=False)
    await response.prepare(request)
    await _Session(response, ports, pod, network).run()
    return response


class _Session:
    """One WebSocket and its connections into the pod."""

    def __init__(
        self, websocket: web.WebSocketResponse, ports: list[int], pod: Object, network: PodNetwork
    ) -> None:
        loop = asyncio.get_running_loop()
        self._websocket = websocket
        self._forwards = [_Forward(i, port, loop.create_future()) for i, port in enumerate(ports)]
        self._network = network
        self._sandbox_id = hashlib.sha256(f"{name_of(pod)} {uid_of(pod)}".encode()).hexdigest()

    async def run(self) -> None:
        """Forward until all connections have ended or the client has gone."""
        reader = asyncio.create_task(self._read_client(), name="port-forward from client")
        writers = [
            asyncio.create_task(self._serve(forward), name=f"port-forward {forward.port}")
            for forward in self._forwards
        ]
        served = asyncio.create_task(self._wait_for(writers), name="port-forward served")
        try:
            # Either everything in the pod has ended, or the client's side has.
            await asyncio.wait([reader, served], return_when=asyncio.FIRST_COMPLETED)
            if reader.done():
                await asyncio.wait([served], timeout=_LINGER)
        finally:
            for task in (reader, served, *writers):
                task.cancel()
            await asyncio.gather(reader, served, *writers, return_exceptions=True)
            for forward in self._forwards:
                if forward.connected.done() and not forward.connected.cancelled():
                    connection = forward.connected.result()
                    if connection is not None:
                        connection.close()
        with contextlib.suppress(OSError):
            await self._websocket.close()

    async def _wait_for(self, writers: list[asyncio.Task[None]]) -> None:
        await asyncio.wait(writers)

    async def _serve(self, forward: _Forward) -> None:
        """Dial one port and copy what comes from it."""
        with contextlib.suppress(ConnectionError):
            preface = forward.port.to_bytes(2, "little")
            for channel in (forward.data_channel, forward.error_channel):
                await self._send(channel, preface)
            try:
                connection = await self._dial(forward.port)
            except OSError as error:
                forward.connected.set_result(None)
                await self._send(forward.error_channel, str(error).encode())
                return
            forward.connected.set_result(connection)
            loop = asyncio.get_running_loop()
            while chunk := await loop.sock_recv(connection, _CHUNK):
                await self._send(forward.data_channel, chunk)
        await asyncio.sleep(_LINGER)

    async def _read_client(self) -> None:
        """Copy what comes from the client; ends when it has gone or a connection takes no more."""
        loop = asyncio.get_running_loop()
        while True:
            message = await self._websocket.receive()
            if message.type is not WSMsgType.BINARY:
                if message.type is WSMsgType.TEXT:
                    continue
                return
            if not message.data:
                continue
            index, is_error = divmod(message.data[0], 2)
            if is_error or index >= len(self._forwards):
                continue
            connection = await self._forwards[index].connected
            if connection is None:
                continue
            try:
                await loop.sock_sendall(connection, memoryview(message.data)[1:])
            except ConnectionError:
                return

    async def _send(self, channel: int, data: bytes) -> None:
        await self._websocket.send_bytes(bytes((channel,)) + data)

    async def _dial(self, port: int) -> socket.socket:
        """Connect to `localhost` in the pod.

        Raises:
            OSError: with containerd's text, when neither address family answers.
        """
        texts = []
        for family, address, label in (
            (socket.AF_INET, "127.0.0.1", f"dial tcp4 127.0.0.1:{port}"),
            (socket.AF_INET6, "::1", f"dial tcp6 [::1]:{port}"),
        ):
            connection = None
            try:
                connection = await socket_in(self._network.path, family)
                await asyncio.get_running_loop().sock_connect(connection, (address, port))
            except OSError as error:
                if connection is not None:
                    connection.close()
                # asyncio words its errors differently; the number is the kernel's.
                reason = os.strerror(error.errno or 0).lower()
                texts.append(f"{label}: connect: {reason}")
                continue
            return connection
        namespace = self._network.path
        raise OSError(
            f"error forwarding port {port} to pod {self._sandbox_id}, uid : failed to execute portforward in "
            f'network namespace "{namespace}": failed to connect to localhost:{port} inside namespace '
            f'"{namespace}", IPv4: {texts[0]} IPv6 {texts[1]} '
        )
