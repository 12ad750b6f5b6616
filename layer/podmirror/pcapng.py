"""Packets as a pcapng file: its blocks, and what belongs into a section of a capture of pods.

The format is IETF draft-ietf-opsawg-pcapng. A section begins with a header block; each interface is described before its first
packet; each packet is an enhanced packet block; statistics of each interface come last. All numbers are little-endian, times
are nanoseconds. A file is valid after each of its blocks.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from podmirror_wire.frames import Interface, Packet

_SECTION, _INTERFACE, _STATISTICS, _ENHANCED_PACKET = 0x0A0D0D0A, 1, 5, 6
_BYTE_ORDER_MAGIC = 0x1A2B3C4D
_UNKNOWN_LENGTH = (1 << 64) - 1

_COMMENT = 1
_HARDWARE, _SYSTEM, _APPLICATION = 2, 3, 4
_NAME, _DESCRIPTION, _RESOLUTION, _FILTER = 2, 3, 9, 11
_FLAGS, _DROPS = 2, 4
_STARTED, _ENDED, _RECEIVED, _DROPPED, _DELIVERED = 2, 3, 4, 5, 8
"""Codes of options, by the block that they belong to."""

_NANOSECONDS = b"\x09"
"""if_tsresol: ten to the minus ninth."""

_FILTER_TEXT = b"\x00"
"""if_filter: what follows is a tcpdump expression."""

_WAYS = {0: 1 | 1 << 2, 1: 1 | 3 << 2, 2: 1 | 2 << 2, 3: 1 | 4 << 2, 4: 2}
"""epb_flags by sll_pkttype of packet(7): inbound (1) as unicast, broadcast, multicast or promiscuous, and outbound (2)."""

_BLOCK = struct.Struct("<II")
_TRAILER = struct.Struct("<I")
_OPTION = struct.Struct("<HH")
_SECTION_BODY = struct.Struct("<IHHQ")
_INTERFACE_BODY = struct.Struct("<HHI")
_PACKET_BODY = struct.Struct("<IIIII")
_STATISTICS_BODY = struct.Struct("<III")
_LONG = struct.Struct("<Q")
_WORD = struct.Struct("<I")

Options = Iterable[tuple[int, bytes]]


def section_header(options: Options) -> bytes:
    """Give the block that a section begins with."""
    return _block(_SECTION, _SECTION_BODY.pack(_BYTE_ORDER_MAGIC, 1, 0, _UNKNOWN_LENGTH), options)


def interface_description(linktype: int, snaplen: int, options: Options) -> bytes:
    """Give the block that describes the next interface; they are numbered from 0 by their order."""
    return _block(_INTERFACE, _INTERFACE_BODY.pack(linktype, 0, snaplen), options)


def enhanced_packet(interface: int, time: int, packet: bytes, length: int, options: Options) -> bytes:
    """Give the block of a packet that was `length` bytes long on the wire; the time is in nanoseconds since 1970."""
    fixed = _PACKET_BODY.pack(interface, *_halves(time), len(packet), length)
    return _block(_ENHANCED_PACKET, fixed + _padded(packet), options)


def interface_statistics(interface: int, time: int, options: Options) -> bytes:
    """Give the block that says what became of an interface's packets; the time is in nanoseconds since 1970."""
    return _block(_STATISTICS, _STATISTICS_BODY.pack(interface, *_halves(time)), options)


def is_packet(block: bytes) -> bool:
    """Whether a block is a packet's."""
    return block.startswith(_WORD.pack(_ENHANCED_PACKET))


@dataclass(frozen=True, slots=True)
class Origin:
    """What a file says of how it was made."""

    application: str
    hardware: str = ""
    system: str = ""
    comment: str = ""
    filter: str = ""
    """The tcpdump expression that packets had to match."""
    snaplen: int = 0
    """Bytes that were kept of a packet at most; 0 for no limit."""


@dataclass(slots=True)
class _Known:
    """An interface of a pod, and its packets in this section."""

    number: int
    pod: str
    described: Interface
    packets: int = 0
    drops: int = 0
    first: int = 0
    last: int = 0
    """Times of packets, nanoseconds since 1970."""


class Section:
    """One file's content. Interfaces of several pods stand side by side, named `pod/interface`."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._interfaces: list[_Known] = []
        self._by_index: dict[tuple[str, int], _Known] = {}
        """Of each pod's interfaces, by their indices there."""

    @property
    def packets(self) -> int:
        """Packets in the section."""
        return sum(known.packets for known in self._interfaces)

    def begin(self) -> bytes:
        """Give what the section begins with: its header, and the interfaces that are known already."""
        origin = self._origin
        texts = (
            (_COMMENT, origin.comment),
            (_HARDWARE, origin.hardware),
            (_SYSTEM, origin.system),
            (_APPLICATION, origin.application),
        )
        header = section_header([(code, text.encode()) for code, text in texts if text])
        return header + b"".join(self._describe(known) for known in self._interfaces)

    def following(self) -> "Section":
        """Give the section of the next file: the same interfaces, and none of the packets."""
        section = Section(self._origin)
        for (pod, _), known in self._by_index.items():
            section._add(pod, known.described)
        return section

    def receive_interface(self, pod: str, interface: Interface) -> bytes:
        """Describe an interface of a pod; nothing if it is described already."""
        known = self._by_index.get((pod, interface.index))
        if known is not None and known.described == interface:
            return b""
        return self._describe(self._add(pod, interface))

    def receive_packet(self, pod: str, packet: Packet, missing: int = 0) -> bytes:
        """Give the block of a packet of an interface that was described.

        Args:
            pod: Where it was seen.
            packet: As it is to be kept.
            missing: Packets before it that are missing besides those that it names itself.
        """
        known = self._by_index[pod, packet.interface]
        drops = packet.drops + missing
        known.packets += 1
        known.drops += drops
        known.first = min(known.first or packet.pod_time, packet.pod_time)
        known.last = max(known.last, packet.pod_time)
        options = []
        if packet.packet_type in _WAYS:
            options.append((_FLAGS, _WORD.pack(_WAYS[packet.packet_type])))
        if drops:
            options.append((_DROPS, _LONG.pack(drops)))
            options.append((_COMMENT, f"{drops} packets before this one are missing".encode()))
        return enhanced_packet(known.number, packet.pod_time, packet.packet, packet.length, options)

    def end(self) -> bytes:
        """Give what the section ends with."""
        return b"".join(self._statistics(known) for known in self._interfaces)

    def _add(self, pod: str, interface: Interface) -> _Known:
        known = _Known(len(self._interfaces), pod, interface)
        self._interfaces.append(known)
        self._by_index[pod, interface.index] = known
        return known

    def _describe(self, known: _Known) -> bytes:
        interface = known.described
        name = "/".join(filter(None, (known.pod, interface.name)))
        description = " of pod ".join(filter(None, (interface.name, known.pod)))
        options = [
            (code, text.encode()) for code, text in ((_NAME, name), (_DESCRIPTION, description)) if text
        ]
        options.append((_RESOLUTION, _NANOSECONDS))
        if self._origin.filter:
            options.append((_FILTER, _FILTER_TEXT + self._origin.filter.encode()))
        return interface_description(interface.linktype, self._origin.snaplen, options)

    def _statistics(self, known: _Known) -> bytes:
        options = [
            (_RECEIVED, _LONG.pack(known.packets + known.drops)),
            (_DROPPED, _LONG.pack(known.drops)),
            (_DELIVERED, _LONG.pack(known.packets)),
        ]
        if known.packets:
            times = ((_STARTED, known.first), (_ENDED, known.last))
            options = [
                (code, _WORD.pack(high) + _WORD.pack(low))
                for code, time in times
                for high, low in [_halves(time)]
            ] + options
        return interface_statistics(known.number, known.last, options)


def _halves(time: int) -> tuple[int, int]:
    return time >> 32, time & 0xFFFFFFFF


def _block(kind: int, body: bytes, options: Options) -> bytes:
    encoded = b"".join(_OPTION.pack(code, len(value)) + _padded(value) for code, value in options)
    if encoded:
        encoded += _OPTION.pack(0, 0)
    length = _BLOCK.size + len(body) + len(encoded) + _TRAILER.size
    return b"".join((_BLOCK.pack(kind, length), body, encoded, _TRAILER.pack(length)))


def _padded(value: bytes) -> bytes:
    return value + bytes(-len(value) % 4)
