"""The options about packets: which, how much of each, and where they are written."""

import os
import platform
import re
import stat
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from podmirror.errors import UsageError
from podmirror.optionkit import Command, ParsedType, add_options
from podmirror.packetfile import PacketFiles, Rotation
from podmirror.packetpipe import PacketPipe
from podmirror.packetrecorder import PacketRecorder, Sink
from podmirror.pcapng import Origin, Section
from podmirror_wire.version import __version__

MAX_SNAPLEN = 262_144
"""What an agent takes at most (docs/protocol.md, Options)."""

_SIZE = re.compile(r"(\d+(?:\.\d+)?)([kKMG]i?)?B?")
_UNITS = {
    "": 1,
    "k": 10**3,
    "K": 10**3,
    "M": 10**6,
    "G": 10**9,
    "ki": 2**10,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
}

MIN_SIZE = 1000
"""Of a file that is rotated, in bytes: what comes before its first packet takes some hundred."""

_REDACTED = (
    "Redacted: some values were replaced by pseudonyms of the same length before they left the pod, and packets are cut "
    "where their payload could not be redacted."
)


def _parse_size(text: str) -> int:
    match = _SIZE.fullmatch(text)
    size = round(float(match[1]) * _UNITS[match[2] or ""]) if match else 0
    if size < MIN_SIZE:
        raise UsageError(f"{text!r} is no size of at least {MIN_SIZE} bytes; write 100MB or 64MiB")
    return size


filter_option = click.option(
    "--filter",
    "expression",
    metavar="EXPR",
    default="",
    help="Only packets, and so connections, that match this tcpdump expression, decided in the pod's kernel.",
)

_OPTIONS = [
    click.option(
        "-w",
        "--write",
        "file_written",
        metavar="FILE",
        help="Write the packets to this pcapng file (- for stdout, into a pipe): of every protocol, or of TCP on -p.",
    ),
    click.option(
        "--snaplen",
        type=click.IntRange(1, MAX_SNAPLEN),
        metavar="BYTES",
        help="Cut the packets that -w writes to so many bytes.",
    ),
    click.option(
        "--rotate-size",
        type=ParsedType("SIZE", _parse_size),
        help="Go on in another file before one is larger than this (100MB, 64MiB).",
    ),
    click.option(
        "--rotate-seconds",
        type=click.FloatRange(min=0, min_open=True),
        metavar="SECONDS",
        help="Go on in another file after this time.",
    ),
    click.option(
        "--rotate-keep",
        type=click.IntRange(min=1),
        metavar="N",
        help="Keep only so many of those files, the latest.",
    ),
]


@dataclass(frozen=True, slots=True)
class Recording:
    """What is to become of packets."""

    file: str | None = None
    """`-` for the standard output; None if packets are not written."""
    expression: str = ""
    snaplen: int | None = None
    rotation: Rotation = field(default_factory=Rotation)

    @property
    def takes_stdout(self) -> bool:
        """Whether nothing else may be written to the standard output."""
        return self.file == "-"

    def settings(self, *, redacts: bool, others: bool = False) -> dict[str, str]:
        """Give what is to be asked of agents (docs/protocol.md, Options).

        Args:
            redacts: Whether packets leave the pod without their payload.
            others: Whether flows that are not TCP are to be told, even if packets are not written.
        """
        asked = {"filter": self.expression} if self.expression else {}
        if self.file is not None:
            asked["packets"] = "headers" if redacts else "whole"
        elif others or self.expression:
            asked["packets"] = "others"
        if self.snaplen is not None:
            asked["snaplen"] = str(self.snaplen)
        return asked

    async def begin(self, settings: dict[str, str]) -> PacketRecorder:
        """Open what is written to; before anything is injected.

        Args:
            settings: All that is asked of the agents.

        Raises:
            NotStarted: It cannot be opened.
        """
        cut = settings.get("packets") == "headers"
        sink = await self._open(cut=cut)
        # Bytes that the agent does not redact must not get into a file that is said to be.
        recorder = PacketRecorder(sink, fills=cut and "redact" in settings, snaplen=self.snaplen)
        if isinstance(sink, PacketPipe):
            sink.ended.add_done_callback(lambda _: recorder.end())
        return recorder

    async def _open(self, *, cut: bool) -> Sink | None:
        if self.file is None:
            return None
        origin = Origin(
            application=f"podmirror {__version__}",
            hardware=platform.machine(),
            system=platform.platform(),
            comment=_REDACTED if cut else "",
            filter=self.expression,
            snaplen=self.snaplen or MAX_SNAPLEN,
        )
        if self.file != "-":
            return PacketFiles(Path(self.file), Section(origin), self.rotation)
        if stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode):
            return PacketFiles(Path("/dev/stdout"), Section(origin), self.rotation)
        return await PacketPipe.open(sys.stdout.fileno(), Section(origin))


def take_filter(values: dict[str, Any]) -> dict[str, str]:
    """Take `filter_option` out of the options' values, and give what is to be asked of agents."""
    expression = values.pop("expression").strip()
    return {"filter": expression} if expression else {}


def packet_options(command: Command) -> Command:
    """Add the options that `take_recording` takes."""
    return add_options(command, [*_OPTIONS, filter_option])


def take_recording(values: dict[str, Any]) -> Recording:
    """Take out of the options' values those that `packet_options` added.

    Raises:
        UsageError: They do not fit together.
    """
    file, size = values.pop("file_written"), values.pop("rotate_size")
    rotation = Rotation(size, values.pop("rotate_seconds"), values.pop("rotate_keep"))
    snaplen = values.pop("snaplen")
    if file is None and (rotation != Rotation() or snaplen is not None):
        raise UsageError("--snaplen and --rotate-... are about the packets that -w FILE writes; name a file")
    if file == "-" and rotation != Rotation():
        raise UsageError("-w - writes to one pipe, so --rotate-... have nothing to rotate; name a file")
    if file == "-" and sys.stdout.isatty():
        raise UsageError(
            "-w - writes packets, which a terminal cannot show; pipe them on: | wireshark -k -i -"
        )
    if rotation.keep is not None and not rotation.wanted:
        raise UsageError("--rotate-keep says how many files stay; add --rotate-size or --rotate-seconds")
    return Recording(file, values.pop("expression").strip(), snaplen, rotation)
