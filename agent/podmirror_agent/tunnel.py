"""The socket to one layer: what its outbox has ready is written at once, and never waited for."""

import asyncio
import contextlib
import socket
from itertools import islice

from podmirror_agent.outbox import Outbox

BUFFERS_PER_WRITE = 512
"""Parts that are given to the kernel at a time: half of its limit (UIO_MAXIOV, linux/uio.h)."""


class Tunnel:
    """Writes an outbox's output to a socket that does not block."""

    def __init__(self, connection: socket.socket, outbox: Outbox) -> None:
        self._socket = connection
        self._outbox = outbox
        self._parts: list[bytes | memoryview] = []
        """Taken from the outbox and not yet written."""
        self._full = False
        self._finishing = False

    def write(self) -> None:
        """Write as much as the kernel takes, and let the event loop go on with the rest.

        Afterwards nothing here or in the outbox refers to the capture's ring. A connection that is broken is shut down, so that
        whoever reads from it hears of it.
        """
        if not self._full:
            self._write_on()
        if self._full:
            self._parts = [bytes(part) if isinstance(part, memoryview) else part for part in self._parts]
            self._outbox.keep()

    def finish(self) -> None:
        """Write the rest, and the end of the stream behind it."""
        self._finishing = True
        self.write()

    def close(self) -> None:
        """Write no more."""
        self._parts.clear()
        self._resume()

    def _write_on(self) -> None:
        try:
            while self._parts or self._outbox.has_output:
                if not self._parts:
                    self._parts = self._outbox.take_output()
                self._forget(self._socket.sendmsg(islice(self._parts, BUFFERS_PER_WRITE)))
            if self._finishing:
                self._socket.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            if not self._full:
                self._full = True
                asyncio.get_running_loop().add_writer(self._socket, self._write_on)
        except OSError:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._parts.clear()
            self._outbox.discard()
            self._resume()
        else:
            self._resume()

    def _resume(self) -> None:
        if self._full:
            self._full = False
            asyncio.get_running_loop().remove_writer(self._socket)

    def _forget(self, written: int) -> None:
        """Drop what was written from the parts."""
        for index, part in enumerate(self._parts):
            if written < len(part):
                del self._parts[:index]
                if written:
                    self._parts[0] = memoryview(part)[written:]
                return
            written -= len(part)
        self._parts.clear()
