"""How often the live view is drawn."""

import asyncio
import time

import pytest

from podmirror.inspection.screen import DRAWING_SHARE, REFRESH_SECONDS, Screen


async def test_it_is_drawn_ten_times_a_second_at_most():
    drawn: list[float] = []
    screen = Screen(drawn.append)
    await asyncio.sleep(4.5 * REFRESH_SECONDS)
    await screen.stop()

    assert 1 <= len(drawn) <= 5


async def test_a_slow_terminal_gets_fewer_pictures():
    drawn: list[float] = []

    def draw(now: float) -> None:
        drawn.append(now)
        time.sleep(0.05)

    screen = Screen(draw)
    await asyncio.sleep(DRAWING_SHARE * 0.05 * 2)
    await screen.stop()

    assert 1 <= len(drawn) <= 3


async def test_a_fault_in_drawing_is_told_at_the_end():
    def fail(now: float) -> None:
        raise ValueError(now)

    screen = Screen(fail)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(ValueError, match=r"\d"):
        await screen.stop()
