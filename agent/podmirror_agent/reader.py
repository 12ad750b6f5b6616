"""The agent as a process of one's own machine, reading a capture file: `python -m podmirror_agent.reader`.

The layer starts it with a listening socket of its own, so that there is no port to agree on; all else is as beside a pod.
"""

import argparse
import asyncio
import logging
import os
import signal
import socket

from podmirror_agent.budget import Budget
from podmirror_agent.capturefile import UnreadableCapture
from podmirror_agent.filesource import FileSource
from podmirror_agent.mirror import Mirror
from podmirror_agent.program import DEFAULT_MEMORY, EXIT_ENDED, EXIT_NOT_STARTED, leave_reason
from podmirror_agent.server import Server
from podmirror_wire.values import TOLD_TO_END

TTL_SECONDS = 10.0
"""For the layer that started it to connect, or after it was lost."""

FAREWELL_SECONDS = 10.0
"""For the layer to read the last frames: nobody waits for this process to end."""


def main(argv: list[str] | None = None) -> int:
    """Read a file and serve it, and give the exit code: 0 read, 2 usage, 5 not started."""
    parser = argparse.ArgumentParser(
        prog="podmirror-agent-reader", description="Read a capture file for a layer."
    )
    parser.add_argument("--listener", type=int, required=True, metavar="FD", help="a listening socket")
    parser.add_argument(
        "--verifier", type=bytes.fromhex, required=True, metavar="HEX", help="SHA-256 of the secret"
    )
    parser.add_argument(
        "--speed", type=float, metavar="X", help="times the file's own (default: as fast as it goes)"
    )
    parser.add_argument("--times", type=int, default=1, metavar="N", help="how often it is read")
    parser.add_argument(
        "--subscriptions", type=int, default=1, metavar="N", help="to wait for before it is read"
    )
    parser.add_argument("file", help="pcap or pcapng, or gzip of them; - for the standard input")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    try:
        return asyncio.run(_serve(arguments))
    except UnreadableCapture as error:
        leave_reason(str(error), EXIT_NOT_STARTED)
        return EXIT_NOT_STARTED


async def _serve(arguments: argparse.Namespace) -> int:
    mirror = Mirror(Budget(DEFAULT_MEMORY << 20))
    source = FileSource(
        arguments.file,
        mirror,
        speed=arguments.speed,
        times=arguments.times,
        subscriptions=arguments.subscriptions,
    )
    listener = socket.socket(fileno=arguments.listener)
    server = Server(
        source, mirror, arguments.verifier, ttl=TTL_SECONDS, max_age=float("inf"), farewell=FAREWELL_SECONDS
    )
    source.on_end = server.stop
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, server.stop, TOLD_TO_END)
    loop.add_signal_handler(signal.SIGINT, lambda: None)  # Ctrl-C is the layer's, which says goodbye
    leave_reason(await server.serve(listener), EXIT_ENDED)
    return EXIT_ENDED


if __name__ == "__main__":
    code = main()
    # A thread may still wait for a pipe that nobody writes to, and there is nothing left to be done.
    os._exit(code)
