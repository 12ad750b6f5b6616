"""`scapy.sniff(prn=...)` as a process of its own, until SIGTERM; prints what it saw and lost as a line of JSON.

The socket is opened as `sniff` itself opens it, so that the kernel's count of drops, which scapy never reads, can be asked
for at the end.
"""

import json
import signal
import struct
import sys
from types import FrameType

from scapy.all import Packet, conf, sniff

_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_STATISTICS = struct.Struct("@II")  # struct tpacket_stats: packets, drops


def main() -> None:
    """Sniff a TCP port of an interface: `python -m benchmarks.sniffer INTERFACE PORT`."""
    interface, port = sys.argv[1], int(sys.argv[2])
    seen = 0

    def count(_: Packet) -> None:
        nonlocal seen
        seen += 1

    opened = conf.L2listen(iface=interface, filter=f"tcp port {port}")
    signal.signal(signal.SIGTERM, _interrupt)
    sniff(opened_socket=opened, prn=count, store=False, started_callback=lambda: print("ready", flush=True))
    statistics = opened.ins.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, _STATISTICS.size)
    print(json.dumps({"packets": seen, "drops": _STATISTICS.unpack(statistics)[1]}))


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt  # which `sniff` takes for its end


if __name__ == "__main__":
    main()
