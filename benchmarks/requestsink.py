"""`python -m benchmarks.requestsink PORT`: the local process of a mirrored app, which only counts.

It answers each request at once. When its standard input ends it prints how many came, and how many that were all different, so
that a request that was delivered twice cannot stand for one that was not delivered.
"""

import asyncio
import json
import sys


class Sink:
    """What came so far."""

    def __init__(self) -> None:
        self.requests = 0
        self.paths: set[bytes] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take the requests of a connection until it ends."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(_length(head))
                self.requests += 1
                self.paths.add(head.split(b" ", 2)[1])
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def _length(head: bytes) -> int:
    lines = (line.partition(b":") for line in head.lower().split(b"\r\n"))
    return next((int(value) for name, _, value in lines if name == b"content-length"), 0)


async def main(port: int) -> None:
    """Serve until standard input ends."""
    sink = Sink()
    await asyncio.start_server(sink.serve, "127.0.0.1", port)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    print(json.dumps({"requests": sink.requests, "different": len(sink.paths)}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
