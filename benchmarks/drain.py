"""A layer that only drains: authenticates, subscribes, and becomes the program that reads and gives credit.

The secret comes in hexadecimal as the first line of standard input. The handshake is done here, frame by frame, so that no byte
behind it is read; then this process is replaced by `native/drain.c`, which keeps the connected socket.
"""

import os
import signal
import socket
import sys
import time

from benchmarks.native import program
from podmirror_wire.codec import HEADER
from podmirror_wire.decoder import Decoder
from podmirror_wire.frames import AnyFrame, Subscribe, Subscribed
from podmirror_wire.handshake import LayerHandshake

CONNECT_SECONDS = 15.0
HANDSHAKE_SECONDS = 15


class Conversation:
    """The beginning of the conversation with the agent, on a blocking socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._decoder = Decoder()

    @property
    def received(self) -> int:
        """Bytes of frames so far, which the answer to a ping tells."""
        return self._decoder.received

    def begin(self, secret: bytes, port: int) -> None:
        """Authenticate and subscribe; on return every packet of the port passes the agent's filter."""
        handshake = LayerHandshake(secret)
        while handshake.accepted is None:
            answer = handshake.receive_frame(self._read_frame())
            if answer is not None:
                self._connection.sendall(answer.encode())
        self._connection.sendall(Subscribe(1, port).encode())
        while not isinstance(self._read_frame(), Subscribed):
            pass

    def _read_frame(self) -> AnyFrame:
        while True:
            header = self._read_exactly(HEADER.size)
            length, _ = HEADER.unpack(header)
            frames = self._decoder.receive_data(header + self._read_exactly(length - 1))
            if frames:  # a kind that is not known is skipped
                return frames[0]

    def _read_exactly(self, size: int) -> bytes:
        data = self._connection.recv(size, socket.MSG_WAITALL) if size else b""
        if len(data) < size:
            raise ConnectionError("the agent closed the connection")
        return data


def main() -> None:
    """Drain a port: `python -m benchmarks.drain AGENT-PORT PORT [NAME=VALUE of native/drain.c ...]`."""
    secret = bytes.fromhex(sys.stdin.readline())
    connection = _connect(int(sys.argv[1]))
    conversation = Conversation(connection)
    signal.alarm(HANDSHAKE_SECONDS)  # ends this process; the socket must stay a blocking one
    conversation.begin(secret, int(sys.argv[2]))
    signal.alarm(0)
    connection.set_inheritable(True)
    command = program("drain", agent=connection.fileno(), received=conversation.received)
    os.execv(command[0], command + sys.argv[3:])


def _connect(port: int) -> socket.socket:
    """Connect to the agent as soon as it listens."""
    deadline = time.monotonic() + CONNECT_SECONDS
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


if __name__ == "__main__":
    main()
