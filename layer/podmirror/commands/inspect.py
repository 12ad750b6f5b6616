"""`podmirror inspect`: look at the traffic of a target, or of a capture file."""

import asyncio
import signal
from contextlib import suppress
from dataclasses import replace
from typing import Any

import click
from click.core import ParameterSource

from podmirror.errors import UsageError
from podmirror.inspection.account import figures, sentences
from podmirror.inspection.observation import Observation
from podmirror.inspection.showing import Showing, Viewing
from podmirror.inspection.viewoptions import take_viewing, view_options
from podmirror.localagent import Reading
from podmirror.options import (
    inspected_filter_options,
    inspected_ports_option,
    progress_option,
    source_of,
    source_options,
    take_settings,
)
from podmirror.packetoptions import Recording, packet_options, take_recording
from podmirror.packetrecorder import PacketRecorder
from podmirror.progress import Progress
from podmirror.session import SessionOptions
from podmirror.source import Source, open_source
from podmirror_http.redaction import parse_option
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
    r"""Look at a target's traffic, or at a capture file's.

    \b
    podmirror inspect -t deployment/web -p 80
    podmirror inspect -t pod/web -vv --count 10
    podmirror inspect -t pod/web -o har --duration 1m > web.har
    podmirror inspect -r capture.pcapng -o connections
    podmirror inspect -t pod/web --filter 'port 80 or udp' -w web.pcapng
    podmirror inspect -t pod/web -w - | wireshark -k -i -
    """
    progress = Progress(progress_style)
    recording = take_recording(options)
    viewing = take_viewing(options)
    if recording.takes_stdout:
        if ctx.get_parameter_source("output") is not ParameterSource.DEFAULT:
            raise UsageError("-w - and -o both write to stdout; give -w a file")
        viewing = replace(viewing, output="none")
    wanted = tuple(dict.fromkeys(ports)) or (EVERY_PORT,)
    narrowing = take_settings(options)
    redacts = "redact" in narrowing
    settings = dict(viewing.settings) | narrowing | recording.settings(redacts=redacts)
    if redacts and recording.file is not None:
        settings |= {"initiator": "bytes", "responder": "bytes"}  # which packets are filled from
    reading = Reading("", subscriptions=len(wanted), settings=settings)
    asyncio.run(_inspect(source_of(options, reading), wanted, viewing, recording, progress))


def _named(ports: tuple[int, ...]) -> str:
    if ports == (EVERY_PORT,):
        return "every connection"
    return f"port {', '.join(map(str, ports))}"


async def _inspect(
    origin: SessionOptions | Reading,
    ports: tuple[int, ...],
    viewing: Viewing,
    recording: Recording,
    progress: Progress,
) -> None:
    working = asyncio.current_task()
    assert working is not None, "a coroutine runs in a task"
    stopped = False

    def stop() -> None:
        nonlocal stopped
        if not stopped:  # a second Ctrl-C would only cost the account
            stopped = True
            working.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    observations: list[Observation] = []
    redact = origin.settings.get("redact")
    showing = Showing(
        viewing,
        progress,
        on_room=lambda: _release(observations),
        redaction=parse_option(redact)[1] if redact else None,
    )
    showing.figures = lambda: figures([each.counts for each in observations])
    packets = await recording.begin(dict(origin.settings)) if "packets" in origin.settings else None

    def join(pod: str) -> Observation:
        observations.append(Observation(pod, showing, packets.join(pod) if packets is not None else None))
        return observations[-1]

    loss = None
    try:
        async with open_source(origin, progress, join) as source:
            # All at once: a file is read as soon as the last port is subscribed.
            await asyncio.gather(*(source.subscribe(port) for port in ports))
            if isinstance(origin, SessionOptions):
                progress.note(f"watching {_named(ports)} of {origin.target}; Ctrl-C ends it")
            showing.begin()
            with suppress(asyncio.CancelledError):
                await _wait(source, showing, packets)
        loss = source.loss
    finally:
        await showing.leave()
        failure = await packets.finish() if packets is not None else None
        begun = [each for each in observations if each.session is not None]
        if begun:
            seen = sum(each.connections for each in begun)
            cut_short = any(each.cut_short for each in begun)
            counts = [each.counts for each in begun]
            progress.tell(sentences(counts, connections=seen, cut_short=cut_short))
            if packets is not None:
                progress.tell(packets.sentences(counts))
    showing.check()
    if failure is not None:
        raise failure
    if loss is not None:
        raise loss


async def _wait(source: Source, showing: Showing, packets: PacketRecorder | None) -> None:
    """Wait for the end of the traffic, until enough of it was seen, or until nobody wants its packets any more.

    Raises:
        AgentLost: There is no more traffic to be had, though there should be.
    """
    waiting = [asyncio.create_task(each.wait(), name="wait for the end") for each in (source, showing)]
    if packets is not None:
        waiting.append(asyncio.create_task(packets.wait(), name="wait for the packets' end"))
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if waiting[0].done():
            await waiting[0]
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


def _release(observations: list[Observation]) -> None:
    for each in observations:
        each.release()
