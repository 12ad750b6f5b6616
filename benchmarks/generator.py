"""The two ends of a load, each a process of its own: `sink` reads all that `send` writes at a fixed rate.

Both are bounded in count and in time, and print one line of JSON at their end. Only the standard library is imported, so that
they start quickly.
"""

import argparse
import json
import selectors
import socket
import time

TICK_SECONDS = 0.001
"""Writes that have become due are made this often, so that pacing does not cost more than the load."""

LATE_FACTOR = 2.0
"""A sender that cannot keep its rate gives up after so many times the asked duration; what it achieved is the result."""

IO_SECONDS = 10.0
"""No single accept, read or write may take longer."""

READ_BYTES = 256 * 1024


def sink(port: int, connections: int) -> dict[str, float]:
    """Accept that many connections, read each to its end, and count the bytes."""
    received = 0
    with socket.create_server(("", port), backlog=256) as listener, selectors.DefaultSelector() as selector:
        listener.settimeout(IO_SECONDS)
        print("ready", flush=True)
        for _ in range(connections):
            accepted, _ = listener.accept()
            selector.register(accepted, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(IO_SECONDS)
            if not ready:
                raise TimeoutError(f"the sender was silent for {IO_SECONDS:g} s")
            for key, _ in ready:
                assert isinstance(key.fileobj, socket.socket)
                data = key.fileobj.recv(READ_BYTES)
                received += len(data)
                if not data:
                    selector.unregister(key.fileobj)
                    key.fileobj.close()
    return {"received_bytes": received}


def send(
    address: tuple[str, int], connections: int, size: int, rate: float, seconds: float
) -> dict[str, float]:
    """Write `rate * seconds` times `size` bytes, on the connections in turn, and say what was achieved."""
    payload = b"p" * size
    total = max(1, round(rate * seconds))
    opened = [socket.create_connection(address, IO_SECONDS) for _ in range(connections)]
    for connection in opened:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    written = 0
    began = time.monotonic()
    while written < total and (elapsed := time.monotonic() - began) < seconds * LATE_FACTOR:
        due = min(total, int(elapsed * rate) + 1)
        while written < due:
            opened[written % connections].sendall(payload)
            written += 1
        time.sleep(TICK_SECONDS)
    elapsed = time.monotonic() - began
    for connection in opened:
        connection.close()
    return {"writes": written, "sent_bytes": written * size, "seconds": elapsed}


def main() -> None:
    """Be one of the two ends."""
    parser = argparse.ArgumentParser(prog="benchmarks.generator", description=__doc__)
    ends = parser.add_subparsers(dest="end", required=True)
    for name in ("sink", "send"):
        end = ends.add_parser(name)
        end.add_argument("--port", type=int, required=True)
        end.add_argument("--connections", type=int, required=True)
    sender = ends.choices["send"]
    sender.add_argument("--address", required=True)
    sender.add_argument("--size", type=int, required=True)
    sender.add_argument("--rate", type=float, required=True)
    sender.add_argument("--seconds", type=float, required=True)
    asked = parser.parse_args()
    if asked.end == "sink":
        result = sink(asked.port, asked.connections)
    else:
        result = send((asked.address, asked.port), asked.connections, asked.size, asked.rate, asked.seconds)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
