"""Tasks that work side by side until the first of them ends."""

import asyncio
from typing import TypeVar

Result = TypeVar("Result")


async def first_end(*tasks: "asyncio.Task[Result]") -> Result:
    """Wait for the first task that ends, end the others, and give what it gives or raise what it raises.

    A cancellation is heard at any time. `asyncio.TaskGroup` forgets one that comes together with an error, before Python 3.13
    (What's New in Python 3.13, asyncio), and then whoever waits for the end waits for as long as is done about the error.

    Args:
        tasks: The first of those that end at the same time counts.
    """
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        first = next(task for task in tasks if task.done())
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return first.result()
