"""`podmirror inspect`: look at the traffic of a target, or of a capture file."""

import asyncio
import signal
import sys
from contextlib import suppress
from typing import Any

import click

from podmirror.errors import UsageError
from podmirror.inspection.account import sentences
from podmirror.inspection.connections import ConnectionLines
from podmirror.inspection.observation import Observation
from podmirror.inspection.view import View
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
from podmirror.source import open_source
from podmirror_wire.values import EVERY_PORT


@click.command("inspect")
@source_options
@inspected_ports_option
@click.option(
    "-o",
    "--output",
    type=click.Choice(["connections"]),
    default="connections",
    show_default=True,
    help="What to write to stdout.",
)
@sample_option
@progress_option
def command(ports: tuple[int, ...], output: str, sample: float, progress_style: Any, **options: Any) -> None:
    r"""Look at a target's traffic, or at a capture file's.

    \b
    podmirror inspect -t deployment/web -p 80
    podmirror inspect -r capture.pcapng -o connections
    """
    progress = Progress(progress_style)
    view = _view(output)
    wanted = tuple(dict.fromkeys(ports)) or (EVERY_PORT,)
    settings = dict(view.settings)
    if sample < 1:
        settings["sample"] = fraction(sample)
    reading = Reading("", subscriptions=len(wanted), settings=settings)
    asyncio.run(_inspect(source_of(options, reading), wanted, view, progress))


def _view(output: str) -> View:
    if output == "connections":
        return ConnectionLines(sys.stdout)
    raise UsageError(f"there is no output {output}")


def _named(ports: tuple[int, ...]) -> str:
    if ports == (EVERY_PORT,):
        return "every connection"
    return f"port {', '.join(map(str, ports))}"


async def _inspect(
    origin: SessionOptions | Reading, ports: tuple[int, ...], view: View, progress: Progress
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

    def join(pod: str) -> Observation:
        observations.append(Observation(pod, view))
        return observations[-1]

    loss = None
    try:
        async with open_source(origin, progress, join) as source:
            # All at once: a file is read as soon as the last port is subscribed.
            await asyncio.gather(*(source.subscribe(port) for port in ports))
            if isinstance(origin, SessionOptions):
                progress.note(f"watching {_named(ports)} of {origin.target}; Ctrl-C ends it")
            with suppress(asyncio.CancelledError):
                await source.wait()
        loss = source.loss
    finally:
        view.finish()
        begun = [each for each in observations if each.session is not None]
        if begun:
            seen = sum(each.connections for each in begun)
            cut_short = any(each.cut_short for each in begun)
            counts = [each.counts for each in begun]
            progress.tell(sentences(counts, connections=seen, cut_short=cut_short))
    if loss is not None:
        raise loss
