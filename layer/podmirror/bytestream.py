"""What a conversation with an agent runs over: any stream of bytes, with the handshake at its beginning."""

import asyncio
from contextlib import suppress
from typing import Protocol

from podmirror.errors import TunnelLost
from podmirror_wire.decoder import Decoder
from podmirror_wire.frames import Accepted, AnyFrame
from podmirror_wire.handshake import LayerHandshake

READ_BYTES = 64 * 1024


class ByteStream(Protocol):
    """A stream to an agent. Both methods raise `TunnelLost` when it breaks."""

    async def receive(self) -> bytes:
        """Give the next bytes; none at all at the end of the stream."""

    async def send(self, data: bytes) -> None:
        """Send bytes, waiting while the other side does not keep up."""

    async def close(self) -> None:
        """Let go of the stream."""


class SocketStream:
    """A connected socket as such a stream, but that it raises `OSError`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def receive(self) -> bytes:
        """Give the next bytes; none at all at the end."""
        return await self._reader.read(READ_BYTES)

    async def send(self, data: bytes) -> None:
        """Send bytes, waiting while the other side does not keep up."""
        self._writer.write(data)
        await self._writer.drain()

    async def close(self) -> None:
        """Let go of the socket."""
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()


async def shake_hands(stream: ByteStream, decoder: Decoder, secret: bytes) -> Accepted:
    """Carry the handshake through; what comes right behind it stays in the decoder, which counts from there.

    Raises:
        ProtocolError: Whoever is on the other side is not this session's agent.
        TunnelLost: The stream ended.
    """
    handshake = LayerHandshake(secret)
    while handshake.accepted is None:
        answer = handshake.receive_frame(await receive_one(stream, decoder))
        if answer is not None:
            await stream.send(answer.encode())
    decoder.received = 0
    return handshake.accepted


async def receive_one(stream: ByteStream, decoder: Decoder) -> AnyFrame:
    """Wait for the next frame, and leave those behind it in the decoder.

    Raises:
        ProtocolError: It is none.
        TunnelLost: The stream ended.
    """
    frame = decoder.receive_one()
    while frame is None:
        data = await stream.receive()
        if not data:
            raise TunnelLost("the agent closed the connection during the handshake")
        frame = decoder.receive_one(data)
    return frame
