"""A layer that only drains: it authenticates, subscribes, reads and gives credit, and throws the bytes away.

It is a process of its own, so that its CPU time is not the agent's. The secret comes in hexadecimal as the first line of
standard input; at the end of that input it says goodbye and prints the agent's ledger as a line of JSON.
"""

import json
import select
import socket
import sys
import time
from collections import Counter

from podmirror_wire.decoder import Decoder
from podmirror_wire.frames import AnyFrame, Credit, Data, Goodbye, Ledger, Ping, Pong, Subscribe, Subscribed
from podmirror_wire.handshake import LayerHandshake

CONNECT_SECONDS = 15.0
GOODBYE_SECONDS = 5.0
READ_BYTES = 256 * 1024


class Drain:
    """The conversation with the agent, on a blocking socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._decoder = Decoder()
        self._subscribed = False
        self._ended = False
        self._counts: dict[str, int] = {}

    def begin(self, secret: bytes, port: int) -> None:
        """Authenticate and subscribe; on return every packet of the port passes the agent's filter."""
        handshake = LayerHandshake(secret)
        while handshake.accepted is None:
            for frame in self._read_frames():  # nothing follows the last of them before a subscription
                answer = handshake.receive_frame(frame)
                if answer is not None:
                    self._connection.sendall(answer.encode())
        self._connection.sendall(Subscribe(1, port).encode())
        while not self._subscribed:
            self._receive(self._read_frames())

    def run(self) -> None:
        """Drain until standard input ends."""
        while True:
            readable, _, _ = select.select([self._connection, sys.stdin], [], [])
            if sys.stdin in readable:
                return
            self._receive(self._read_frames())

    def end(self) -> dict[str, int]:
        """Say goodbye and give the agent's last ledger."""
        self._connection.settimeout(GOODBYE_SECONDS)
        self._connection.sendall(Goodbye("the benchmark is done").encode())
        while not self._ended:
            self._receive(self._read_frames())
        return self._counts

    def _read_frames(self) -> list[AnyFrame]:
        data = self._connection.recv(READ_BYTES)
        if not data:
            raise ConnectionError("the agent closed the connection")
        return self._decoder.receive_data(data)

    def _receive(self, frames: list[AnyFrame]) -> None:
        credit: Counter[int] = Counter()
        for frame in frames:
            match frame:
                case Data():
                    credit[frame.connection] += len(frame.payload)
                case Ledger():
                    self._counts = frame.counts
                case Ping():
                    pong = Pong(frame.time, time.time_ns(), self._decoder.received)
                    self._connection.sendall(pong.encode())
                case Subscribed():
                    self._subscribed = True
                case Goodbye():
                    self._ended = True
                case _:
                    pass
        if credit and not self._ended:
            self._connection.sendall(b"".join(Credit(*each).encode() for each in credit.items()))


def main() -> None:
    """Drain a port: `python -m benchmarks.drain AGENT-PORT PORT`."""
    secret = bytes.fromhex(sys.stdin.readline())
    with _connect(int(sys.argv[1])) as connection:
        drain = Drain(connection)
        drain.begin(secret, int(sys.argv[2]))
        print("ready", flush=True)
        drain.run()
        print(json.dumps(drain.end()))


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
