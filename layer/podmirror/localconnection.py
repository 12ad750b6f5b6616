"""A TCP connection to the local process, whose answers are thrown away: the real client has its answer from the app.

How much the local process took is not for us to see once its socket is gone. So it is told from what the kernel still holds for
it, and, when the connection ended in an error, from what was written last.
"""

import asyncio
import contextlib
import fcntl
import os
import socket
import struct
import termios

LOOPBACK = ("127.0.0.1", "::1")
"""Tried in turn, since a local process may listen on either (`localhost` means the second to some)."""

READ_BYTES = 64 * 1024
POLL_SECONDS = 0.005
CLOSE_SECONDS = 1.0


class LocalConnection:
    """An open connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._socket: socket.socket = writer.get_extra_info("socket")
        self._discarding = asyncio.create_task(_discard(reader), name="discard")
        self._last_write = 0
        self._wrote_after_close = False

    @classmethod
    async def open(cls, port: int) -> "LocalConnection":
        """Connect to a local port.

        Raises:
            OSError: Nothing accepts connections there.
        """
        refusal: OSError | None = None
        for address in LOOPBACK:
            try:
                reader, writer = await asyncio.open_connection(address, port)
            except OSError as error:
                refusal = refusal or error
            else:
                if writer.get_extra_info("sockname") != writer.get_extra_info("peername"):
                    return cls(reader, writer)
                # Nobody listens, and the kernel chose this very port for our end (simultaneous open, RFC 9293, 3.5).
                writer.transport.abort()
        raise refusal or ConnectionRefusedError(111, os.strerror(111))

    @property
    def closed_by_peer(self) -> bool:
        """Whether the local process has closed its side."""
        return self._discarding.done()

    async def write(self, payload: bytes) -> None:
        """Write, and wait while the local process does not keep up.

        Raises:
            OSError: The connection is gone.
        """
        self._last_write = len(payload)
        self._wrote_after_close = self.closed_by_peer
        self._writer.write(payload)
        await self._writer.drain()

    def half_close(self) -> None:
        """Send FIN behind what was written."""
        with contextlib.suppress(OSError):
            self._writer.write_eof()

    async def finish(self, seconds: float) -> int:
        """Close once the local process has closed, too, or after that time; give the bytes that it did not take."""
        self.half_close()
        await asyncio.wait([self._discarding], timeout=seconds)
        left = self._left()
        if left:
            self.abort()
            return left
        self._discarding.cancel()
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._writer.wait_closed()
        return 0

    async def reset(self, seconds: float) -> int:
        """Send RST once the local process's socket has what was written, or after that time; give the bytes it has not."""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(seconds):
                await self._writer.drain()
                while self._queued() and not self._failed():  # noqa: ASYNC110  # nothing tells when the queue has drained
                    await asyncio.sleep(POLL_SECONDS)
        left = self._left()
        self.abort()
        return left

    def abort(self) -> None:
        """Send RST now."""
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()
        self._discarding.cancel()

    def _left(self) -> int:
        """Count the bytes that the local process has not taken."""
        queued = self._queued()
        return max(queued, self._last_write) if self._failed() else queued

    def _queued(self) -> int:
        """Count the bytes that this process or its kernel still holds for the local process."""
        waiting: int = self._writer.transport.get_write_buffer_size()
        if self._socket.fileno() < 0:
            return waiting
        # Means the same for a TCP socket on Linux (SIOCOUTQ, tcp(7)) and on macOS.
        (unacknowledged,) = struct.unpack("i", fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, bytes(4)))
        return waiting + int(unacknowledged)

    def _failed(self) -> bool:
        if self._discarding.done() and not self._discarding.cancelled() and self._discarding.result():
            return True
        if self._socket.fileno() < 0:
            return self._last_write > 0
        # A local process that closed in good order may answer our FIN with RST much later, and has missed nothing.
        return self._wrote_after_close and self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0


async def _discard(reader: asyncio.StreamReader) -> bool:
    """Read to the end; give whether that was an error."""
    try:
        while await reader.read(READ_BYTES):
            pass
    except OSError:
        return True
    return False
