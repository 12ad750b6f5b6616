"""The packet socket: scapy opens it, the kernel fills a memory-mapped ring, and blocks of packets are read from there.

Theory of operation. An AF_PACKET socket sees copies of the packets of the network namespace that it was opened in; nothing is
ever held back from the app. The socket is opened without a protocol, so that it receives nothing, then gets a filter that
drops everything and its ring, and is bound last: no packet passes unfiltered. It is never promiscuous. A new filter replaces
the old one atomically (SO_ATTACH_FILTER).

The ring is TPACKET_V3 (linux/if_packet.h, Documentation/networking/packet_mmap.rst): the kernel writes packets into blocks, and
gives a block to us when it is full or has waited for its time-out; we give it back when we have read it. Its memory belongs to
the host and is not charged to the pod. Packets that find the ring full are counted by the kernel (PACKET_STATISTICS).

On loopback every packet passes twice, going out and coming in; the filter drops the outgoing copy.

This is the agent's only module that needs Linux.
"""

import contextlib
import ctypes
import fcntl
import logging
import mmap
import os
import socket
import struct
import time
from collections.abc import Iterator

from podmirror_agent.expressions import compile_expression
from podmirror_agent.filters import DROP_ALL, Instruction, program, why_not
from podmirror_agent.governor import ALL_KEPT
from podmirror_agent.mirror import Interest, Mirror
from podmirror_agent.packet import CapturedPacket, Way
from podmirror_agent.segment import Link

_SOL_PACKET = 263
_PACKET_RX_RING, _PACKET_STATISTICS, _PACKET_VERSION = 5, 6, 10
_TPACKET_V3 = 2
_SO_ATTACH_FILTER = 26
_ETH_P_ALL = 0x0003
_PACKET_OUTGOING = 4
_ARPHRD_ETHER, _ARPHRD_LOOPBACK = 1, 772
_TP_STATUS_KERNEL, _TP_STATUS_USER = 0, 1

BLOCK_BYTES = 256 * 1024
"""A super-packet must fit into a block whole: four of the largest that GSO makes without BIG TCP."""

RING_MEBIBYTES = 64
"""A burst of a tenth of a second at 600 MB/s while the agent does not run. It is also 256 blocks, so, since each is given up
after its time-out however empty, a quarter of a second of light traffic: more than a CPU quota's pause of 100 ms."""

BLOCK_TIMEOUT_MS = 1
"""A packet waits no longer than this for its block to fill up: the smallest that the kernel takes, for latency."""

BLOCKS_PER_WAKE_UP = 8
"""Then the event loop gets its turn, so that sending and pings go on under load."""

_RING_REQUEST = struct.Struct("@7I")
_BLOCK = struct.Struct(
    "@IIIIII"
)  # version, offset to private area, status, packets, offset to the first packet, bytes
_BLOCK_STATUS_OFFSET = 8
_STATUS = struct.Struct("@I")
_PACKET = struct.Struct(
    "@IIIIIIHH"
)  # next offset, seconds, nanoseconds, captured, on the wire, status, mac, net
_ADDRESS = struct.Struct(
    "@HHiHB"
)  # struct sockaddr_ll: family, protocol, interface, hardware type, packet type
_ADDRESS_OFFSET = 48  # TPACKET_ALIGN(sizeof(struct tpacket3_hdr))
_TP_STATUS_VLAN_VALID, _TP_STATUS_VLAN_TPID_VALID = 1 << 4, 1 << 6
_TAG_OFFSET = 32  # of hv1.tp_vlan_tci in struct tpacket3_hdr
_TAG = struct.Struct("@IH")
_STATISTICS = struct.Struct("@III")
_SIOCGIFNAME = 0x8910  # linux/sockios.h
_INTERFACE_REQUEST = struct.Struct("@16si20x")
"""struct ifreq of linux/if.h: name, index, and the rest of its union."""


class Capture:
    """A packet socket on all interfaces of the current network namespace, accepting nothing until `set_interest`."""

    def __init__(self, control_port: int, *, blocks: int = (RING_MEBIBYTES << 20) // BLOCK_BYTES) -> None:
        """Open the socket; needs CAP_NET_RAW.

        Args:
            control_port: The agent's own port, whose traffic on loopback is never captured; 0 if it is in another
                namespace than what is captured.
            blocks: Ring size in blocks of `BLOCK_BYTES`.

        Raises:
            PermissionError: CAP_NET_RAW is missing.
            OSError: The kernel has no TPACKET_V3, or no memory for the ring.
        """
        with _scapy_kept_from_the_disk():
            # scapy takes a third of a second to import, and only a capture needs it.
            from scapy.arch.linux import L2ListenSocket

        logging.getLogger("scapy.runtime").setLevel(
            logging.ERROR
        )  # it cannot name loopback's link type, and says so
        self._control_port = control_port
        self._names: dict[int, str] = {}
        self._loopback = socket.if_nametoindex("lo")
        self._opened = L2ListenSocket(iface="lo", type=0, promisc=False, nofilter=1)
        self._socket: socket.socket = self._opened.ins
        self._attach(list(DROP_ALL))
        self._blocks = blocks
        self._block = 0
        self._socket.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V3)
        self._socket.setsockopt(
            _SOL_PACKET,
            _PACKET_RX_RING,
            _RING_REQUEST.pack(
                BLOCK_BYTES, blocks, 2048, BLOCK_BYTES // 2048 * blocks, BLOCK_TIMEOUT_MS, 0, 0
            ),
        )
        self._ring = mmap.mmap(self._socket.fileno(), BLOCK_BYTES * blocks)
        self._view = memoryview(self._ring)
        self._drops = 0
        self._bind_to_all_interfaces()

    def fileno(self) -> int:
        """Give the descriptor that turns readable when a block is ready."""
        return self._socket.fileno()

    def set_interest(self, interest: Interest) -> None:
        """Let packets of this interest through from now on; none at all if it has no ports."""
        if interest.ports:
            self._attach(
                program(
                    compile_expression,
                    interest.ports,
                    self._control_port,
                    self._loopback,
                    responder_whole=interest.responder_bytes,
                    # A shed connection is not followed; its packets are still asked for.
                    kept=ALL_KEPT if interest.packets else interest.kept,
                    packets=interest.everything,
                    others=interest.others,
                    expression=interest.expression,
                )
            )
        else:
            self._attach(list(DROP_ALL))

    def why_not(self, expression: str) -> str:
        """Say why packets cannot be filtered by a tcpdump expression; nothing if they can."""
        return why_not(compile_expression, expression)

    def read_into(self, mirror: Mirror, now: float) -> Iterator[int]:
        """Give the blocks that are ready to the mirror, at most `BLOCKS_PER_WAKE_UP` of them; `now` is monotonic seconds.

        Blocks that together hold no more than one can are given as one. Yields how much they hold, in bytes, while what the
        mirror's sessions have of them in their outboxes may still refer to the ring.
        """
        left = min(BLOCKS_PER_WAKE_UP, self._blocks)
        while left and (ready := self._ready(left)):
            blocks = [block for block, _ in ready]
            mirror.receive_blocks(self._ring, self._view, blocks, self.packet_at, now)
            yield sum(size for _, size in ready)
            for _ in ready:
                start = self._block * BLOCK_BYTES
                _STATUS.pack_into(self._ring, start + _BLOCK_STATUS_OFFSET, _TP_STATUS_KERNEL)
                self._block = (self._block + 1) % self._blocks
            left -= len(ready)

    def _ready(self, most: int) -> list[tuple[tuple[int, int], int]]:
        """Give the next blocks that are ready, as places of their first packets, numbers of packets, and sizes in bytes."""
        ready: list[tuple[tuple[int, int], int]] = []
        room = BLOCK_BYTES
        while len(ready) < most:
            start = (self._block + len(ready)) % self._blocks * BLOCK_BYTES
            _, _, status, count, first, size = _BLOCK.unpack_from(self._ring, start)
            room -= size
            if not status & _TP_STATUS_USER or (ready and room < 0):
                break
            ready.append(((start + first, count), size))
        return ready

    def packet_at(self, position: int) -> CapturedPacket | None:
        """Give the packet at a position of the ring; None for one that is not for us.

        Its bytes are valid until its block is given back.
        """
        _, seconds, nanoseconds, captured, length, status, mac, net = _PACKET.unpack_from(
            self._ring, position
        )
        _, _, interface, hardware, kind = _ADDRESS.unpack_from(self._ring, position + _ADDRESS_OFFSET)
        way = self._way(kind, interface)
        if way is None:
            return None
        # Tunnels have headers of their own kind before the IP packet, or none.
        link = Link.ETHERNET if hardware in (_ARPHRD_ETHER, _ARPHRD_LOOPBACK) else Link.RAW
        start, end = position + mac, position + mac + captured
        if link is Link.RAW:
            start, length = position + net, length - (net - mac)
        return CapturedPacket(
            self._view[start:end],
            length,
            way,
            (interface, self._name(interface)),
            seconds * 1_000_000_000 + nanoseconds,
            link,
            kind,
            self._tag(position, status) if status & _TP_STATUS_VLAN_VALID else b"",
        )

    def seen_until(self, now: float) -> float:
        """Give the time up to which every packet was read; both are monotonic seconds."""
        start = self._block * BLOCK_BYTES
        _, _, status, count, first, _ = _BLOCK.unpack_from(self._ring, start)
        if not status & _TP_STATUS_USER or not count:
            return now
        # Of the packet, since the block's own time is when it was begun, in which it may have been empty for hours.
        _, seconds, nanoseconds, *_ = _PACKET.unpack_from(self._ring, start + first)
        waited: float = time.time() - seconds - nanoseconds / 1e9
        return now - max(waited, 0.0)

    def drops(self) -> int:
        """Count the packets that the kernel dropped since the socket was opened, because the ring was full."""
        statistics = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, _STATISTICS.size)
        self._drops += _STATISTICS.unpack(statistics)[1]  # reading resets the kernel's counter
        return self._drops

    def close(self) -> None:
        """Give the ring and the socket back."""
        with contextlib.suppress(BufferError):  # somebody still holds a packet, a traceback perhaps
            self._view.release()
            self._ring.close()
        self._opened.close()

    def _tag(self, position: int, status: int) -> bytes:
        """Give the VLAN tag that the kernel took off a packet."""
        control, protocol = _TAG.unpack_from(self._ring, position + _TAG_OFFSET)
        return struct.pack("!HH", protocol if status & _TP_STATUS_VLAN_TPID_VALID else 0x8100, control)

    def _way(self, kind: int, interface: int) -> Way | None:
        if kind < _PACKET_OUTGOING:  # broadcast, multicast and what is for others come in, too
            return Way.EITHER if interface == self._loopback else Way.INCOMING
        if kind == _PACKET_OUTGOING and interface != self._loopback:
            return Way.OUTGOING
        return None

    def _name(self, interface: int) -> str:
        if interface not in self._names:
            try:
                # By this socket, since the namespace that it was opened in may be another than the process's.
                request = fcntl.ioctl(self._socket, _SIOCGIFNAME, _INTERFACE_REQUEST.pack(b"", interface))
                name = _INTERFACE_REQUEST.unpack(request)[0].rstrip(b"\0")
                self._names[interface] = name.decode(
                    errors="backslashreplace"
                )  # Linux takes almost any bytes
            except OSError:  # it is gone already
                self._names[interface] = f"if{interface}"
        return self._names[interface]

    def _attach(self, instructions: list[Instruction]) -> None:
        code = b"".join(struct.pack("@HBBI", *instruction) for instruction in instructions)
        buffer = ctypes.create_string_buffer(code, len(code))
        program = struct.pack("@HxxxxxxP" if ctypes.sizeof(ctypes.c_void_p) == 8 else "@HxxP",
                              len(instructions), ctypes.addressof(buffer))  # fmt: skip  # struct sock_fprog
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)

    def _bind_to_all_interfaces(self) -> None:
        # The socket module insists on an interface name; index 0 stands for all of them (packet(7)).
        address = struct.pack("@HHiHBB8s", socket.AF_PACKET, socket.htons(_ETH_P_ALL), 0, 0, 0, 0, b"")
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.bind(self.fileno(), address, len(address)) != 0:
            raise OSError(
                ctypes.get_errno(), f"cannot bind the packet socket: {os.strerror(ctypes.get_errno())}"
            )


@contextlib.contextmanager
def _scapy_kept_from_the_disk() -> Iterator[None]:
    """Give scapy no folder for its cache of service and vendor names: the agent leaves no files where it runs.

    It would make a folder that is not there, so this path is one that cannot be made.
    """
    variables = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
    before = {variable: os.environ.get(variable) for variable in variables}
    os.environ.update(dict.fromkeys(variables, f"{os.devnull}/none"))
    try:
        yield
    finally:
        for variable, value in before.items():
            if value is None:
                del os.environ[variable]
            else:
                os.environ[variable] = value
