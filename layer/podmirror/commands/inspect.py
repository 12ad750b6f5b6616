"""`podmirror inspect`: look at the traffic of a target, or of a capture file."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from podmirror.errors import UsageError
from podmirror.filteroptions import inspected_filter_options, take_settings
from podmirror.inspection.looking import Looking
from podmirror.inspection.viewoptions import take_viewing, view_options
from podmirror.localagent import Reading
from podmirror.options import (
    inspected_ports_option,
    progress_option,
    source_of,
    source_options,
)
from podmirror.packetoptions import packet_options, take_recording
from podmirror.progress import Progress
from podmirror_wire.values import EVERY_PORT


@click.command("inspect")
@source_options
@inspected_ports_option
@view_options
@inspected_filter_options
@packet_options
@progress_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    ports: tuple[int, ...],
    progress_style: Any,
    **options: Any,
) -> None:
    """Look at a target's traffic, or at a capture file's.

    \b
    podmirror inspect -t deployment/web -p 80
    podmirror inspect -t pod/web -vv --count 10
    podmirror inspect -t pod/web -o har --duration 1m > web.har
    podmirror inspect -r capture.pcapng -o connections
    podmirror inspect -t pod/web --filter 'port 80 or udp' -w web.pcapng
    podmirror inspect -t pod/web -w - | wireshark -k -i -
    """
    viewing, recording, asked = take_viewing(options), take_recording(options), take_settings(options)
    if viewing.output == "connections" and "select" in asked:
        raise UsageError(
            "--method, --path, --header and --status select exchanges; -o connections shows connections"
        )
    if _are_one(options["file"], recording.file):
        raise UsageError(
            f"-r and -w name the same file, {recording.file}, which would be lost; write another"
        )
    viewing = replace(viewing, exchanges_only="select" in asked)
    if recording.takes_stdout:
        if ctx.get_parameter_source("output") is not ParameterSource.DEFAULT:
            raise UsageError("-w - and -o both write to stdout; give -w a file")
        viewing = replace(viewing, output="nothing")
    if viewing.output in ("connections", "nothing") and recording.file is None:
        asked.pop("redact", None)  # no content is asked for
    wanted = tuple(dict.fromkeys(ports)) or (EVERY_PORT,)
    others = not ports and viewing.output == "text"
    settings = {
        **viewing.settings,
        **recording.settings(redacts="redact" in asked, others=others),
        **asked,
    }
    if "redact" in asked and recording.file is not None:
        settings |= {"initiator": "bytes", "responder": "bytes"}  # which packets are filled from
    origin = source_of(options, Reading("", subscriptions=len(wanted), settings=settings))
    asyncio.run(Looking(origin, wanted, Progress(progress_style)).run(viewing, recording))


def _are_one(read: str | None, written: str | None) -> bool:
    if read is None or written is None:
        return False
    source = Path("/dev/stdin" if read == "-" else read)
    return source.exists() and Path(written).exists() and source.samefile(written)
