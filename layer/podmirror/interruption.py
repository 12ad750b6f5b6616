"""Ctrl-C and SIGTERM, for commands that end in good order."""

import asyncio
import signal


def cancel_at_a_signal() -> None:
    """Cancel the current task at the first SIGINT or SIGTERM, and let later ones pass.

    Taking leave is quick, and a second Ctrl-C would only cost the account of the session, or leave something behind.
    """
    working = asyncio.current_task()
    assert working is not None, "a coroutine runs in a task"
    loop = asyncio.get_running_loop()
    stopped = False

    def stop() -> None:
        nonlocal stopped
        if not stopped:
            stopped = True
            working.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
