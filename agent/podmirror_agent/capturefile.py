"""Capture files as packets: pcap and pcapng, gzip of both, in the order of their times.

scapy reads the files. What it says of a damaged one is kept, so that somebody can be told how far the file could be read, and
no read is larger than any sound block, whatever a damaged length says.

Cards and kernels with several queues write packets a little out of order, and an acknowledgment before what it acknowledges is
evidence of a loss. So packets go through a small heap that orders them by time.
"""

import gzip
import heapq
import logging
import sys
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, NamedTuple

from podmirror_agent.packet import UNKNOWN_TYPE, CapturedPacket, Way
from podmirror_agent.segment import Link

MAX_READ_BYTES = 16 << 20
"""Of one block or packet: far above any snapshot length that is in use (tcpdump's is 262,144)."""

REORDERED_PACKETS = 64
"""Packets among which an earlier one may stand too late."""

_GZIP_MAGIC = b"\x1f\x8b"

_LINKTYPE_BITS = 0xFFFF
"""Of pcap's field; the others say how long a frame's check sequence is (draft-ietf-opsawg-pcap, 4)."""

_HEADER_BYTES = {104: 4, 109: 12}
"""Of Cisco HDLC and of OpenBSD's IPsec (tcpdump.org, link-layer header types), in front of an IP packet."""

_NFLOG = 239
_NFLOG_HEADER_BYTES = 4
_NFLOG_PAYLOAD = 9
"""The kind of the field that holds the packet (tcpdump.org, LINKTYPE_NFLOG)."""


class UnreadableCapture(Exception):
    """The file is no capture, or cannot be read at all."""


class _Raw(NamedTuple):
    """A packet as the file has it; compared by its time, then by its place."""

    pod_time: int
    number: int
    data: bytes
    wire_length: int
    interface: str
    linktype: int


class _Bounded:
    """A file that gives no more than `MAX_READ_BYTES` at a time."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.name = ""

    def read(self, size: int) -> bytes:
        """Read as `io.RawIOBase.read` does."""
        if size > MAX_READ_BYTES:
            raise OSError(f"a block of {size} bytes is longer than any packet")
        return self._file.read(size)

    def close(self) -> None:
        """Do nothing: who opened the file closes it."""


class _Complaints(logging.Handler):
    """What scapy says of the file that it reads."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.first = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the first."""
        self.first = self.first or record.getMessage().rstrip(" !")


class CaptureFile:
    """The packets of a capture file, once."""

    def __init__(self, path: str) -> None:
        """Open a file; `-` stands for the standard input.

        Raises:
            UnreadableCapture: It is no capture file, or cannot be read.
        """
        from scapy.error import Scapy_Exception, log_runtime  # scapy takes a third of a second to import

        self.damage = ""
        """What is wrong with the file, once it was read, if anything is."""
        self.unknown_links: dict[int, int] = {}
        """Packets of link types that nobody here can read, by the type's number."""
        self._path = path
        self._interfaces: dict[str, int] = {}
        self._numbered: int = 0
        self._complaints = _Complaints()
        log_runtime.setLevel(logging.WARNING)
        log_runtime.handlers = [self._complaints]
        log_runtime.propagate = False
        self._opened = ExitStack()
        try:
            self._reader = _open(path, self._opened)
        except (OSError, EOFError, zlib.error, Scapy_Exception) as error:
            self._opened.close()
            words = getattr(error, "strerror", None) or self._complaints.first or str(error)
            raise UnreadableCapture(f"{path} cannot be read as pcap or pcapng: {words}") from error

    def __iter__(self) -> Iterator[CapturedPacket]:
        """Give the packets."""
        waiting: list[_Raw] = []
        for raw in self._raw():
            heapq.heappush(waiting, raw)
            if len(waiting) > REORDERED_PACKETS:
                yield from self._captured(heapq.heappop(waiting))
        while waiting:
            yield from self._captured(heapq.heappop(waiting))

    def close(self) -> None:
        """Close the file."""
        self._opened.close()

    def _raw(self) -> Iterator[_Raw]:
        latest = 0
        while True:
            try:
                # Not `read_packet`, which is for dissected packets; and without a size, 65,535 bytes are the most.
                data, metadata = self._reader._read_packet(MAX_READ_BYTES)  # noqa: SLF001
            except EOFError as end:
                self.damage = self._complaints.first or str(end)
                return
            except Exception as error:  # noqa: BLE001  # whatever a damaged file makes of its reader
                self.damage = self._complaints.first or str(error) or type(error).__name__
                return
            latest = _time_of(self._reader, metadata, latest)
            self._numbered += 1
            name = getattr(metadata, "ifname", None) or b""
            linktype = getattr(metadata, "linktype", getattr(self._reader, "linktype", 1)) & _LINKTYPE_BITS
            yield _Raw(
                latest, self._numbered, data, metadata.wirelen, name.decode(errors="replace"), linktype
            )
            if len(data) < min(metadata.wirelen, getattr(metadata, "caplen", 0)):
                self.damage = "the last packet is cut off"
                return

    def _captured(self, raw: _Raw) -> Iterator[CapturedPacket]:
        link = Link.of_linktype(raw.linktype)
        data, length = raw.data, raw.wire_length
        if link is None:
            found = _ip_packet(raw.linktype, data)
            if found is None:
                self.unknown_links[raw.linktype] = self.unknown_links.get(raw.linktype, 0) + 1
                return
            link, length, data = Link.RAW, max(0, length - len(data) + len(found)), found
        number = self._interfaces.setdefault(raw.interface, len(self._interfaces))
        interface = (number, raw.interface)
        yield CapturedPacket(
            memoryview(data), length, Way.EITHER, interface, raw.pod_time, link, UNKNOWN_TYPE
        )


def _open(path: str, opened: ExitStack) -> Any:  # scapy has no types
    from scapy.utils import RawPcapReader

    file: Any = sys.stdin.buffer if path == "-" else opened.enter_context(Path(path).open("rb"))  # noqa: SIM115  # entered here
    if file.peek(2)[:2] == _GZIP_MAGIC:
        file = opened.enter_context(gzip.GzipFile(fileobj=file))
    return RawPcapReader(_Bounded(file))


def _time_of(reader: Any, metadata: Any, latest: int) -> int:
    """Give the time of a packet in nanoseconds since 1970; of one without, that of the one before."""
    if hasattr(metadata, "sec"):
        return int(metadata.sec * 1_000_000_000 + metadata.usec * (1 if reader.nano else 1000))
    if metadata.tshigh is None:
        return latest
    return int(((metadata.tshigh << 32) + metadata.tslow) * 1_000_000_000 // (metadata.tsresol or 1))


def _ip_packet(linktype: int, data: bytes) -> bytes | None:
    """Find the IP packet in one of a kind of link that is rare; None if the kind is unknown, or there is none."""
    size = _nflog_header_bytes(data) if linktype == _NFLOG else _HEADER_BYTES.get(linktype)
    if size is not None:
        return data[size:] if data[size : size + 1].hex()[:1] in ("4", "6") else None
    return _found_by_scapy(linktype, data)


def _nflog_header_bytes(data: bytes) -> int:
    """Give where the packet begins that the firewall logged: fields of length, kind and value, each at a multiple of four."""
    at = _NFLOG_HEADER_BYTES
    while at + 4 <= len(data):
        length, kind = (int.from_bytes(data[place : place + 2], "little") for place in (at, at + 2))
        if kind == _NFLOG_PAYLOAD:
            return at + 4
        at += max(4, (length + 3) & ~3)
    return len(data)


def _found_by_scapy(linktype: int, data: bytes) -> bytes | None:
    import scapy.layers.all  # noqa: F401  # registers what scapy can read
    from scapy.config import conf

    kind = conf.l2types.num2layer.get(linktype)
    if kind is None:
        return None
    try:
        packet = kind(data)
        found = packet.getlayer("IP") or packet.getlayer("IPv6")
    except Exception:  # noqa: BLE001  # a damaged packet is one without IP in it
        return None
    return bytes(found.original) if found is not None else None
