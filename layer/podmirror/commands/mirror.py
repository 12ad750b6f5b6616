"""`podmirror mirror`: to a process that already runs."""

import asyncio
import signal
from contextlib import suppress
from typing import Any

import click

from podmirror.errors import UsageError
from podmirror.fleet import open_fleet
from podmirror.mirroring import Mirroring
from podmirror.options import delivery_options, ports_option, session_options, take_mirroring, target_options
from podmirror.portmap import PortPair, without_repeats
from podmirror.progress import Progress
from podmirror.session import SessionOptions


@click.command("mirror")
@target_options
@ports_option
@delivery_options
def command(pairs: tuple[PortPair, ...], **options: Any) -> None:
    r"""Mirror the target's traffic to a process that already runs, until Ctrl-C.

    \b
    podmirror mirror -t deployment/web -p 80:3000
    """
    if not pairs:
        raise UsageError("name at least one port: -p REMOTE:LOCAL")
    progress, mirroring = take_mirroring(options)
    asyncio.run(_mirror(session_options(**options), without_repeats(pairs), progress, mirroring))


async def _mirror(
    options: SessionOptions, pairs: list[PortPair], progress: Progress, mirroring: Mirroring
) -> None:
    working = asyncio.current_task()
    assert working is not None, "a coroutine runs in a task"
    loop = asyncio.get_running_loop()
    stopped = False

    def stop() -> None:
        nonlocal stopped
        if not stopped:  # taking leave is quick, and a second Ctrl-C would only cost the ledger
            stopped = True
            working.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        await mirroring.begin()
        async with open_fleet(options, progress, mirroring.join) as fleet:
            mirroring.attach(fleet)
            for pair in pairs:
                await mirroring.subscribe(pair.remote, pair.local or pair.remote)
            progress.note("mirroring; Ctrl-C ends it")
            with suppress(asyncio.CancelledError):
                await fleet.wait()
    finally:
        await mirroring.finish()
    if fleet.loss is not None:
        raise fleet.loss
    mirroring.check_loss()
