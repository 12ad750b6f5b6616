"""Packets into a pipe, for somebody who reads them live.

The reader may be slow, or stop reading: what it does not take waits here up to a limit, then packets are left out and counted,
and never is anything else held up. When it closes its end, that is the end.
"""

import asyncio
import os
from contextlib import suppress

from podmirror.pcapng import Section
from podmirror_wire.frames import Interface, Packet

MAX_WAITING_BYTES = 64 << 20
"""For the reader: some seconds of a fast capture."""

DRAIN_SECONDS = 2.0
"""For the reader to take the rest at the end; Ctrl-C should not feel slow."""


class PacketPipe:
    """Where `-w -` leads."""

    where = "the standard output"
    unwritten = 0
    """Nothing that was taken is lost, but for what a reader that went away left."""

    def __init__(
        self, section: Section, transport: asyncio.WriteTransport, ended: asyncio.Future[None]
    ) -> None:
        self._section = section
        self._transport = transport
        self.ended = ended
        """Done when the reader has closed its end."""
        transport.write(section.begin())

    @classmethod
    async def open(cls, descriptor: int, section: Section) -> "PacketPipe":
        """Write to a pipe, which stays open behind us."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        pipe = os.fdopen(os.dup(descriptor), "wb", buffering=0)
        transport, _ = await loop.connect_write_pipe(lambda: _Watch(ended), pipe)
        transport.set_write_buffer_limits(MAX_WAITING_BYTES)
        return cls(section, transport, ended)

    @property
    def packets(self) -> int:
        """Packets that were written."""
        return self._section.packets

    def has_room(self, size: int) -> bool:
        """Whether a block of that size is taken now."""
        return self._transport.get_write_buffer_size() + size <= MAX_WAITING_BYTES

    def receive_interface(self, pod: str, interface: Interface) -> None:
        """Describe an interface."""
        self._write(self._section.receive_interface(pod, interface))

    def receive_packet(self, pod: str, packet: Packet, now: float, missing: int = 0) -> None:  # noqa: ARG002  # as a file's
        """Write a packet; `missing` are not here before it."""
        self._write(self._section.receive_packet(pod, packet, missing))

    def tick(self, now: float) -> None:
        """Nothing is due: what is written is seen at once."""

    async def close(self) -> None:
        """Let the reader take the rest."""
        self._write(self._section.end())
        self._transport.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await asyncio.shield(self.ended)
        if not self.ended.done():
            self._transport.abort()

    def _write(self, block: bytes) -> None:
        if block and not self._transport.is_closing():
            self._transport.write(block)


class _Watch(asyncio.BaseProtocol):
    """Waits for the end of a pipe."""

    def __init__(self, ended: asyncio.Future[None]) -> None:
        self._ended = ended

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # why does not matter
        """Whoever reads has enough."""
        if not self._ended.done():
            self._ended.set_result(None)
