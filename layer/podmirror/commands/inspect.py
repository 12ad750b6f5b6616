"""`podmirror inspect`: look at the traffic of a target, or of a capture file."""

import asyncio
import signal
from contextlib import suppress
from typing import Any

import click

from podmirror.inspection.account import figures, sentences
from podmirror.inspection.observation import Observation
from podmirror.inspection.showing import Showing, Viewing
from podmirror.inspection.viewoptions import take_viewing, view_options
from podmirror.localagent import Reading
from podmirror.options import (
    fraction,
    inspected_ports_option,
    progress_option,
    sample_option,
    source_of,
    source_options,
)
from podmirror.progress import Progress
from podmirror.session import SessionOptions
from podmirror.source import Source, open_source
from podmirror_http.redaction import parse_option
from podmirror_wire.values import EVERY_PORT


@click.command("inspect")
@source_options
@inspected_ports_option
@view_options
@sample_option
@progress_option
def command(ports: tuple[int, ...], sample: float, progress_style: Any, **options: Any) -> None:
    r"""Look at a target's traffic, or at a capture file's.

    \b
    podmirror inspect -t deployment/web -p 80
    podmirror inspect -t pod/web -vv --count 10
    podmirror inspect -t pod/web -o har --duration 1m > web.har
    podmirror inspect -r capture.pcapng -o connections
    """
    progress = Progress(progress_style)
    viewing = take_viewing(options)
    wanted = tuple(dict.fromkeys(ports)) or (EVERY_PORT,)
    settings = dict(viewing.settings)
    if sample < 1:
        settings["sample"] = fraction(sample)
    reading = Reading("", subscriptions=len(wanted), settings=settings)
    asyncio.run(_inspect(source_of(options, reading), wanted, viewing, progress))


def _named(ports: tuple[int, ...]) -> str:
    if ports == (EVERY_PORT,):
        return "every connection"
    return f"port {', '.join(map(str, ports))}"


async def _inspect(
    origin: SessionOptions | Reading, ports: tuple[int, ...], viewing: Viewing, progress: Progress
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

    def join(pod: str) -> Observation:
        observations.append(Observation(pod, showing))
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
                await _wait(source, showing)
        loss = source.loss
    finally:
        await showing.leave()
        begun = [each for each in observations if each.session is not None]
        if begun:
            seen = sum(each.connections for each in begun)
            cut_short = any(each.cut_short for each in begun)
            counts = [each.counts for each in begun]
            progress.tell(sentences(counts, connections=seen, cut_short=cut_short))
    showing.check()
    if loss is not None:
        raise loss


async def _wait(source: Source, showing: Showing) -> None:
    """Wait for the end of the traffic, or until enough of it was seen.

    Raises:
        AgentLost: There is no more traffic to be had, though there should be.
    """
    waiting = [asyncio.create_task(each.wait(), name="wait for the end") for each in (source, showing)]
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
