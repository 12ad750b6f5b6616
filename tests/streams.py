"""A connected socket as the byte stream that a link runs over."""

import asyncio
import socket

from podmirror.errors import TunnelLost


class SocketStream:
    """What a port-forward is elsewhere."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tap: bytearray | None = None
    ) -> None:
        self._tap = tap
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, connected: socket.socket, tap: bytearray | None = None) -> "SocketStream":
        connected.setblocking(False)
        return cls(*await asyncio.open_connection(sock=connected), tap)

    async def receive(self) -> bytes:
        try:
            data = await self._reader.read(65536)
        except OSError as error:
            raise TunnelLost(str(error)) from error
        if self._tap is not None:
            self._tap += data
        return data

    async def send(self, data: bytes) -> None:
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as error:
            raise TunnelLost(str(error)) from error

    async def close(self) -> None:
        self._writer.close()
