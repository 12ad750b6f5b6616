"""One TCP connection to a port of a pod, through the API server.

Theory of operation. The legacy channel protocol over a WebSocket, as every server speaks it (kubernetes
staging/src/k8s.io/cri-streaming/pkg/streaming/portforward/websocket.go): each binary message begins with a channel byte.
Channel 0 carries data both ways, channel 1 error text from the server. The first message on each holds only the port, two
bytes, little endian. That the WebSocket opens says nothing about the port: a refused connection is told on channel 1, later.
There is no half-close; when one side ends, the runtime ends everything.

Back-pressure is the WebSocket's: bytes that are not received here stay in the pod.
"""

import asyncio
from contextlib import suppress
from http import HTTPStatus

import aiohttp

from podmirror.errors import NobodyListens, NotStarted, TunnelLost
from podmirror.kube.cluster import Cluster, Refusal, WebSocketAccess
from podmirror.kube.lookup import Lookup

SUBPROTOCOL = "v4.channel.k8s.io"
DATA_CHANNEL, ERROR_CHANNEL = 0, 1
PORT_BYTES = 2

HEARTBEAT_SECONDS = 10.0
"""Keeps load balancers from closing an idle WebSocket; the agent's own pings show that the agent is there."""

OPEN_SECONDS = 10.0
CLOSE_SECONDS = 1.0
"""For the server to close its side, too; Ctrl-C should not wait longer for it."""

MAX_MESSAGE_BYTES = 1 << 20
"""Of a message to the server, which takes up to 32 MiB; smaller ones keep pings from waiting."""


class PortForward:
    """A stream of bytes to a port of a pod."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        websocket: "aiohttp.ClientWebSocketResponse[bool]",
        what: str,
        port: int,
    ) -> None:
        self._session = session
        self._websocket = websocket
        self._what = what
        self.port = port
        """Of the pod."""
        self._opened_channels: set[int] = set()

    @classmethod
    async def open(cls, cluster: Cluster, namespace: str, pod: str, port: int) -> "PortForward":
        """Open a forward; whether anything listens on the port shows only when bytes arrive.

        Raises:
            Refusal: The API server refused, with its words.
            NotStarted: It cannot be reached.
        """
        access = await cluster.websocket_access(
            f"/api/v1/namespaces/{namespace}/pods/{pod}/portforward?ports={port}"
        )
        session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=Lookup()))
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                websocket = await _connect(session, access)
        except TimeoutError:
            await session.close()
            raise NotStarted(
                f"port-forward to pod {namespace}/{pod} failed: no answer within {OPEN_SECONDS:g} s"
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            await session.close()
            raise NotStarted(f"port-forward to pod {namespace}/{pod} failed: {error}") from error
        except BaseException:
            await session.close()
            raise
        return cls(session, websocket, f"port {port} of pod {namespace}/{pod}", port)

    async def receive(self) -> bytes:
        """Give the next bytes from the pod; none at all when the forward has ended.

        Raises:
            TunnelLost: The server told an error, or the WebSocket broke.
        """
        while True:
            message = await self._websocket.receive()
            match message.type:
                case aiohttp.WSMsgType.BINARY if message.data:
                    channel, content = message.data[0], message.data[1:]
                    if channel not in self._opened_channels:
                        self._opened_channels.add(channel)
                        content = content[PORT_BYTES:]
                    if content and channel == DATA_CHANNEL:
                        return bytes(content)
                    if content and channel == ERROR_CHANNEL:
                        raise self._error(content.decode(errors="replace").strip())
                case aiohttp.WSMsgType.CLOSE | aiohttp.WSMsgType.CLOSING | aiohttp.WSMsgType.CLOSED:
                    return b""
                case aiohttp.WSMsgType.ERROR:
                    reason = self._websocket.exception() or "no reason was given"
                    raise TunnelLost(f"the tunnel to {self._what} broke: {reason}")

    def _error(self, words: str) -> TunnelLost:
        # The runtimes' own words: "connect: connection refused" (containerd, CRI-O), "Connection refused" (socat).
        kind = NobodyListens if "connection refused" in words.lower() else TunnelLost
        return kind(f"port-forward to {self._what}: {words}")

    async def send(self, data: bytes) -> None:
        """Send bytes to the pod, waiting while the tunnel does not keep up.

        Raises:
            TunnelLost: The tunnel broke.
        """
        for start in range(0, len(data), MAX_MESSAGE_BYTES):
            try:
                await self._websocket.send_bytes(
                    bytes((DATA_CHANNEL,)) + data[start : start + MAX_MESSAGE_BYTES]
                )
            except (ConnectionError, aiohttp.ClientError) as error:
                raise TunnelLost(f"the tunnel to {self._what} broke: {error}") from error

    async def close(self) -> None:
        """Close the WebSocket, whatever the server does."""
        try:
            # aiohttp's own limit begins anew with each message that still comes.
            with suppress(ConnectionError, aiohttp.ClientError, TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._websocket.close()
        finally:
            await self._session.close()


async def _connect(
    session: aiohttp.ClientSession, access: WebSocketAccess
) -> "aiohttp.ClientWebSocketResponse[bool]":
    try:
        return await session.ws_connect(
            access.url,
            protocols=(SUBPROTOCOL,),
            headers=access.headers,
            ssl=access.ssl_context if access.ssl_context is not None else True,
            server_hostname=access.server_hostname,
            proxy=access.proxy,
            proxy_headers=access.proxy_headers or None,
            heartbeat=HEARTBEAT_SECONDS,
            timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_SECONDS),
            max_msg_size=0,
        )
    except aiohttp.WSServerHandshakeError as error:
        raise await _server_words(session, access, error.status) from error


async def _server_words(session: aiohttp.ClientSession, access: WebSocketAccess, code: int) -> Refusal:
    """Ask again without the upgrade: aiohttp does not keep the body of a refused handshake, and there the reason stands."""
    with suppress(aiohttp.ClientError, OSError, ValueError):
        async with session.get(
            access.url,
            headers=access.headers,
            ssl=access.ssl_context if access.ssl_context is not None else True,
            server_hostname=access.server_hostname,
            proxy=access.proxy,
            proxy_headers=access.proxy_headers or None,
        ) as response:
            status = await response.json(content_type=None)
            if response.status == code and isinstance(status, dict) and status.get("message"):
                return Refusal(code, str(status.get("reason", "")), str(status["message"]))
    phrase = HTTPStatus(code).phrase if code in set(HTTPStatus) else ""
    return Refusal(code, "", f"HTTP {code} {phrase}".strip())
