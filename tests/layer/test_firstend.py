"""The first task that ends, and a cancellation at that very moment."""

import asyncio

import pytest

from podmirror.firstend import first_end

TICKS = 8
"""Of the event loop, from the end of a task to that of whoever waits for it, and some more."""


async def for_ever() -> None:
    await asyncio.Event().wait()


async def give_when(event: asyncio.Event) -> str:
    await event.wait()
    return "given"


async def fail_when(event: asyncio.Event) -> None:
    await event.wait()
    raise OSError("broken")


def now() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


async def test_what_the_first_gives_is_given_and_the_others_end():
    other = asyncio.create_task(for_ever())

    assert await first_end(other, asyncio.create_task(give_when(now()))) == "given"
    assert other.cancelled()


async def test_what_the_first_raises_is_raised_and_the_others_end():
    other = asyncio.create_task(for_ever())
    with pytest.raises(OSError, match="broken"):
        await first_end(other, asyncio.create_task(fail_when(now())))

    assert other.cancelled()


async def test_of_those_that_end_together_the_first_counts():
    tasks = [asyncio.create_task(each(now())) for each in (give_when, fail_when)]

    assert await first_end(*tasks) == "given"


async def test_a_time_limit_that_is_over_ends_them_all():
    tasks = [asyncio.create_task(for_ever()) for _ in range(2)]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await first_end(*tasks)

    assert all(task.cancelled() for task in tasks)


@pytest.mark.parametrize("ticks", range(TICKS))
@pytest.mark.parametrize("ending", [give_when, fail_when])
async def test_a_cancellation_is_heard_whatever_ends_just_then(ending, ticks):
    event = asyncio.Event()
    tasks = [asyncio.create_task(for_ever()), asyncio.create_task(ending(event))]
    running = asyncio.create_task(first_end(*tasks))
    for _ in range(TICKS):
        await asyncio.sleep(0)
    event.set()
    for _ in range(ticks):
        await asyncio.sleep(0)
    heard = running.cancel()  # unless it has ended

    (outcome,) = await asyncio.gather(running, return_exceptions=True)
    assert isinstance(outcome, asyncio.CancelledError if heard else str | OSError)
    assert all(task.done() for task in tasks)
