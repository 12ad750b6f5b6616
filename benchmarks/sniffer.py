"""`scapy.sniff(prn=...)` as a process of its own, until SIGTERM; prints what it saw and lost as a line of JSON.

The socket is opened as `sniff` itself opens it, then given a receive buffer as large as the others' rings, and asked at the end
for the kernel's count of drops, which scapy never reads.
"""

import json
import signal
import socket
import struct
import sys
from types import FrameType

from scapy.all import Packet, conf, sniff

_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_SO_RCVBUFFORCE = 33
_STATISTICS = struct.Struct("@II")  # struct tpacket_stats: packets, drops


def main() -> None:
    """Sniff a TCP port of an interface: `python -m benchmarks.sniffer INTERFACE PORT MEBIBYTES`."""
    interface, port, buffer = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) << 20
    seen = 0

    def count(_: Packet) -> None:
        nonlocal seen
        seen += 1

    opened = conf.L2listen(iface=interface, filter=f"tcp port {port}")
    # The kernel doubles what is asked for, and charges its own structures against it (socket(7)).
    opened.ins.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, buffer)
    signal.signal(signal.SIGTERM, _interrupt)
    sniff(opened_socket=opened, prn=count, store=False, started_callback=lambda: print("ready", flush=True))
    statistics = opened.ins.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, _STATISTICS.size)
    print(json.dumps({"packets": seen, "drops": _STATISTICS.unpack(statistics)[1]}))


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt  # which `sniff` takes for its end


if __name__ == "__main__":
    main()
