"""`podmirror mirror`: to a process that already runs."""

import asyncio
from contextlib import suppress
from typing import Any

import click

from podmirror.errors import UsageError
from podmirror.interruption import cancel_at_a_signal
from podmirror.localagent import Reading
from podmirror.mirroring import Mirroring
from podmirror.mirroroptions import mirroring_options, take_wish
from podmirror.portmap import PortPair
from podmirror.progress import Progress
from podmirror.session import SessionOptions
from podmirror.source import open_source


@click.command("mirror")
@mirroring_options
def command(pairs: tuple[PortPair, ...], **options: Any) -> None:
    """Mirror the target's traffic to a process that already runs, until Ctrl-C.

    With -r, the connections of a capture file instead, with the timing and concurrency that they had.

    \b
    podmirror mirror -t deployment/web -p 80:3000
    podmirror mirror -t deployment/web -p 80:3000 --path /api --method POST
    podmirror mirror -r capture.pcapng -p 80:3000 --speed 2x
    """
    if not pairs:
        raise UsageError("name at least one port: -p REMOTE:LOCAL")
    wish = take_wish(pairs, options)
    asyncio.run(_mirror(wish.origin, wish.pairs, wish.progress, wish.mirroring))


async def _mirror(
    origin: SessionOptions | Reading, pairs: list[PortPair], progress: Progress, mirroring: Mirroring
) -> None:
    cancel_at_a_signal()
    try:
        await mirroring.begin()
        async with open_source(origin, progress, mirroring.join) as source:
            mirroring.attach(source)
            await asyncio.gather(
                *(mirroring.subscribe(pair.remote, pair.local or pair.remote) for pair in pairs)
            )
            progress.note("mirroring; Ctrl-C ends it")
            with suppress(asyncio.CancelledError):
                await source.wait()
                await mirroring.drain()
    finally:
        await mirroring.finish()
    if source.loss is not None:
        raise source.loss
    mirroring.check_loss()
