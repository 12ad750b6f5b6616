"""A process for `test_server_backpressure`: an agent with packets of its own, which ends when its standard input says so.

The first line of its output is its port; another tells that the packets were read. Its socket buffers are small, so that
part of what it mirrors waits inside of the event loop.
"""

import asyncio
import socket
import sys
from collections.abc import Iterator

from podmirror_agent.budget import Budget
from podmirror_agent.mirror import Interest, Mirror
from podmirror_agent.packet import Way
from podmirror_agent.server import Server
from podmirror_wire.handshake import verifier_of
from tests.agent import packets
from tests.agent.conversation import FakeSource

BYTES = 180_000
"""Less than the agent's write buffer, so that it does not wait for the layer to take them."""


class _Source(FakeSource):
    def set_interest(self, interest: Interest) -> None:
        super().set_interest(interest)
        if interest.ports:
            talk = packets.Talk()
            segments = [*talk.handshake(), *(talk.says(bytes(BYTES // 9)) for _ in range(9))]
            self.put(*(packets.captured(each, Way.EITHER) for each in segments))

    def read_into(self, mirror: Mirror, now: float) -> Iterator[int]:
        yield from super().read_into(mirror, now)
        asyncio.get_running_loop().call_soon(say, "packets were read")


def say(line: object) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def serve(secret: bytes) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * 1024)
    server = Server(_Source(), Mirror(Budget(64 << 20)), verifier_of(secret), ttl=60, max_age=60)
    asyncio.get_running_loop().add_reader(sys.stdin, server.stop, "asked to")
    say(listener.getsockname()[1])
    await server.serve(listener)


if __name__ == "__main__":
    asyncio.run(serve(bytes.fromhex(sys.argv[1])))
