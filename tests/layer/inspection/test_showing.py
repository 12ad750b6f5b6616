"""What is shown, and where."""

import asyncio
import contextlib
import io
import json
import os
import sys
from collections.abc import Iterator

import pytest

from podmirror.errors import PodmirrorError
from podmirror.inspection.showing import Showing, Viewing
from podmirror.progress import Progress
from tests.layer.frames import HEAD, Talk
from tests.layer.inspection.schemas import EXCHANGE, HAR

OK = b"HTTP/1.1 204 No Content\r\n\r\n"
SECONDS = 10


class Terminal(io.StringIO):
    """A standard output that is a terminal."""

    def isatty(self) -> bool:
        return True


def standard_output(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stdout", stream)
    return stream


def terminal_of(monkeypatch: pytest.MonkeyPatch, kind: str = "xterm") -> io.StringIO:
    stream = Terminal()
    monkeypatch.setattr("sys.stdout", stream)
    monkeypatch.setenv("TERM", kind)
    monkeypatch.setenv("COLUMNS", "120")
    return stream


@contextlib.contextmanager
def broken_output(monkeypatch: pytest.MonkeyPatch, path: str | None) -> Iterator[None]:
    """Put a file, or a pipe that nobody reads, in place of standard output."""
    if path is None:
        reading, writing = os.pipe()
        os.close(reading)
    else:
        writing = os.open(path, os.O_WRONLY)
    stream = os.fdopen(writing, "w")
    monkeypatch.setattr("sys.stdout", stream)
    yield
    with contextlib.suppress(OSError):
        stream.close()


def showing_of(viewing: Viewing) -> Showing:
    return Showing(viewing, Progress("none"), on_room=lambda: None)


def tell(showing: Showing, exchanges: int) -> None:
    talk = Talk()
    showing.receive_frame("web-1", talk.opened())
    for _ in range(exchanges):
        showing.receive_frame("web-1", talk.says(HEAD))
        showing.receive_frame("web-1", talk.answers(OK))
    showing.receive_frame("web-1", talk.closes())


async def test_lines_are_written(monkeypatch: pytest.MonkeyPatch):
    output = standard_output(monkeypatch)
    showing = showing_of(Viewing(verbosity=1))
    showing.begin()
    tell(showing, 2)
    await showing.leave()
    showing.check()

    assert output.getvalue().count(" web-1 GET     /orders?id=7") == 2
    assert "Host: shop" in output.getvalue()


@pytest.mark.parametrize("count", [0, 3])
async def test_a_har_is_whole(monkeypatch: pytest.MonkeyPatch, count: int):
    output = standard_output(monkeypatch)
    showing = showing_of(Viewing("har"))
    tell(showing, count)
    await showing.leave()

    har = json.loads(output.getvalue())
    HAR.validate(har)
    assert len(har["log"]["entries"]) == count


async def test_json_lines_are_valid(monkeypatch: pytest.MonkeyPatch):
    output = standard_output(monkeypatch)
    showing = showing_of(Viewing("jsonl"))
    tell(showing, 3)
    await showing.leave()

    lines = [json.loads(line) for line in output.getvalue().splitlines()]
    for line in lines:
        EXCHANGE.validate(line)
    assert [line["exchange"] for line in lines] == [1, 2, 3]


async def test_it_is_over_when_enough_was_seen(monkeypatch: pytest.MonkeyPatch):
    output = standard_output(monkeypatch)
    showing = showing_of(Viewing("jsonl", count=2))
    tell(showing, 5)
    await asyncio.wait_for(showing.wait(), SECONDS)
    await showing.leave()

    assert len(output.getvalue().splitlines()) == 2


async def test_connections_are_counted_as_well(monkeypatch: pytest.MonkeyPatch):
    output = standard_output(monkeypatch)
    showing = showing_of(Viewing("connections", count=1))
    tell(showing, 1)
    tell(showing, 1)
    await asyncio.wait_for(showing.wait(), SECONDS)
    await showing.leave()

    assert len(output.getvalue().splitlines()) == 1


async def test_it_is_over_when_the_time_is_up(monkeypatch: pytest.MonkeyPatch):
    output = standard_output(monkeypatch)
    showing = showing_of(Viewing(duration=0.01))
    showing.begin()
    await asyncio.wait_for(showing.wait(), SECONDS)
    await showing.leave()

    assert output.getvalue() == ""


async def test_it_is_over_when_the_reader_has_gone_and_that_is_no_failure(monkeypatch: pytest.MonkeyPatch):
    with broken_output(monkeypatch, None):
        showing = showing_of(Viewing())
        tell(showing, 1)
        await asyncio.wait_for(showing.wait(), SECONDS)
        await showing.leave()
        showing.check()
        sys.stdout.write("nobody sees that")
        sys.stdout.flush()


async def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch):
    with broken_output(monkeypatch, "/dev/full"):
        showing = showing_of(Viewing("har"))
        await asyncio.wait_for(showing.wait(), SECONDS)
        await showing.leave()
        with pytest.raises(PodmirrorError, match="could not be written: No space left on device"):
            showing.check()


async def test_a_terminal_gets_a_table_with_the_ledger_below(monkeypatch: pytest.MonkeyPatch):
    terminal = terminal_of(monkeypatch)
    showing = showing_of(Viewing())
    showing.figures = lambda: [("lost", "nothing at all")]
    showing.begin()
    tell(showing, 1)
    await asyncio.sleep(0)
    await showing.leave()
    showing.check()

    assert "/orders?id=7" in terminal.getvalue()
    assert "nothing at all" in terminal.getvalue()
    assert not showing.is_full


async def test_a_terminal_that_cannot_be_drawn_over_gets_lines(monkeypatch: pytest.MonkeyPatch):
    terminal = terminal_of(monkeypatch, "dumb")
    showing = showing_of(Viewing())
    tell(showing, 1)
    await showing.leave()

    assert terminal.getvalue().endswith("complete\n")
    assert "\x1b" not in terminal.getvalue()


async def test_verbosity_gives_lines_on_a_terminal_too(monkeypatch: pytest.MonkeyPatch):
    terminal = terminal_of(monkeypatch)
    showing = showing_of(Viewing(verbosity=1))
    tell(showing, 1)
    await showing.leave()

    assert "\x1b" not in terminal.getvalue()
