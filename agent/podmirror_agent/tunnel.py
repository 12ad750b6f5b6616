"""The socket to one layer: what its outbox has ready is written at once, and never waited for."""

import asyncio
import contextlib
import socket

from podmirror_agent.replay import Replay


class Tunnel:
    """Writes a session's output to a socket that does not block, and after that one broke to another."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay
        self._socket: socket.socket | None = None
        self._full = False
        self._finishing = False

    def open(self, connection: socket.socket) -> None:
        """Write to this socket from now on."""
        self._socket = connection

    def write(self) -> None:
        """Write as much as the kernel takes, and let the event loop go on with the rest.

        Afterwards nothing here or in the outbox refers to the capture's ring. A connection that is broken is shut down, so that
        whoever reads from it hears of it.
        """
        if not self._full:
            self._write_on()
        self._replay.copy_rest()

    def finish(self) -> None:
        """Write the rest, and the end of the stream behind it."""
        self._finishing = True
        self.write()

    def close(self) -> None:
        """Write no more, until another socket is opened."""
        self._resume()
        self._socket = None

    def _write_on(self) -> None:
        if self._socket is None:
            return
        try:
            while buffers := self._replay.next_buffers():
                self._replay.receive_written(self._socket.sendmsg(buffers))
            if self._finishing and not self._replay.has_rest:
                self._socket.shutdown(socket.SHUT_WR)
                self.close()  # writing behind the end would fail, and reset what the layer has not read yet
        except BlockingIOError:
            if not self._full:
                self._full = True
                asyncio.get_running_loop().add_writer(self._socket, self._write_on)
        except OSError:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self.close()
        else:
            self._resume()

    def _resume(self) -> None:
        if self._full and self._socket is not None:
            self._full = False
            asyncio.get_running_loop().remove_writer(self._socket)
