"""Figures that are shown while a session runs."""

import asyncio

import pytest

from podmirror import livestats
from podmirror.ledger import LayerLedger
from podmirror.livestats import LiveStats
from podmirror.progress import Progress
from podmirror.stats import Sample
from tests.layer.deadlines import until


class Source:
    """Gives samples a second apart, each with 1,000 bytes more."""

    def __init__(self) -> None:
        self.given = 0

    def __call__(self) -> Sample:
        self.given += 1
        return Sample(float(self.given), LayerLedger(delivered_bytes=self.given * 1000), 0, None)


class Screen(Progress):
    """A terminal that remembers."""

    is_terminal = True

    def __init__(self) -> None:
        super().__init__("none")
        self.shown: list[dict[str, str]] = []
        self.notes: list[str] = []
        self.hidden = False

    def show(self, figures):
        assert not self.hidden
        self.shown.append(dict(figures))

    def hide(self):
        self.hidden = True

    def note(self, text):
        self.notes.append(text)


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    monkeypatch.setattr(livestats, "REFRESH_SECONDS", 0.001)
    monkeypatch.setattr(livestats, "LINE_SECONDS", 0.001)


async def test_on_a_terminal_figures_are_shown_in_place_and_a_line_remains():
    screen, source = Screen(), Source()
    stats = LiveStats(screen, source, in_place=True)
    await until(lambda: len(screen.shown) >= 3)
    assert screen.notes == []
    await stats.stop()

    assert screen.shown[2]["now"] == "0.0 connections/s, 1.0 kB/s"
    assert screen.hidden
    assert len(screen.notes) == 1
    assert f"delivered: 0 connections (0 open), {source.given}.0 kB" in screen.notes[0]


async def test_where_somebody_else_writes_lines_are_written():
    screen = Screen()
    stats = LiveStats(screen, Source(), in_place=False)
    await until(lambda: len(screen.notes) >= 3)
    await stats.stop()

    assert screen.shown == []
    assert all("1.0 kB/s" in note for note in screen.notes)


async def test_in_a_pipe_lines_are_written(capsys):
    stats = LiveStats(Progress("plain"), Source(), in_place=True)
    said = ""

    def told() -> bool:
        nonlocal said
        said += capsys.readouterr().err
        return said.count("\n") >= 2

    await until(told)
    await stats.stop()

    assert said.splitlines()[0] == (
        "podmirror: now: 0.0 connections/s, 1.0 kB/s; delivered: 0 connections (0 open), 2.0 kB; "
        "lost: 0 connections, 0 B; agent: quiet, 0 B waiting"
    )


async def test_stopped_it_leaves_no_task():
    stats = LiveStats(Screen(), Source(), in_place=True)
    await stats.stop()

    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_fault_of_its_own_is_told_and_costs_no_ledger():
    source, screen = Source(), Screen()

    def show(_) -> None:
        raise ZeroDivisionError("oh")

    screen.show = show
    stats = LiveStats(screen, source, in_place=True)
    await until(lambda: source.given == 2)
    await stats.stop()

    assert screen.notes[0] == "a fault of podmirror's own in --stats: ZeroDivisionError('oh')"
    assert len(screen.notes) == 2
