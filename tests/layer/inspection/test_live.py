"""The live view, drawn on a terminal of a known size."""

import io
import time

import pytest
from rich.console import Console

from podmirror.inspection.exchange import Exchange, State
from podmirror.inspection.live import LiveRenderer
from tests.layer.inspection.exchanges import MS, exchange, summary


def terminal(width: int = 140, height: int = 24) -> Console:
    return Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)


def picture(view: LiveRenderer, console: Console) -> list[str]:
    with console.capture() as captured:
        console.print(view.picture())
    return captured.get().splitlines()


def view_of(console: Console, *records: object, going: list[Exchange] | None = None) -> LiveRenderer:
    view = LiveRenderer(console, lambda: going or [], lambda: [("lost", "0 connections, 0 B")])
    for record in records:
        view.receive(record)
    view._rates.sample(1.0)
    return view


@pytest.mark.parametrize("height", [8, 24, 60])
@pytest.mark.parametrize("width", [60, 100, 140])
def test_it_fits_the_terminal(width: int, height: int):
    console = terminal(width, height)
    records = [exchange(target="/" + "long" * 50, number=number) for number in range(500)]
    lines = picture(view_of(console, *records, going=records[:100]), console)

    assert len(lines) < height
    assert all(len(line) <= width for line in lines)


def test_an_exchange_is_a_row():
    console = terminal()
    lines = picture(view_of(console, exchange()), console)

    assert lines[0].split() == [
        "TIME",
        "POD",
        "METHOD",
        "PATH",
        "STATUS",
        "LATENCY",
        "SENT",
        "RECEIVED",
        "STATE",
    ]
    assert lines[1].split() == [
        "22:13:20.123",
        "web-1",
        "GET",
        "/orders?id=7",
        "200",
        "12.0",
        "ms",
        "40",
        "B",
        "56",
        "B",
        "complete",
    ]
    assert lines[2].startswith("now ")
    assert lines[3].rstrip() == "lost 0 connections, 0 B"


def test_the_latest_are_shown_with_the_newest_at_the_bottom():
    console = terminal(height=10)
    lines = picture(view_of(console, *(exchange(target=f"/{number}") for number in range(50))), console)

    assert [line.split()[3] for line in lines[1:-2]] == ["/45", "/46", "/47", "/48", "/49"]


def test_what_is_in_progress_is_shown_with_the_time_so_far():
    console = terminal()
    slow = exchange(target="/slow", status=None, state=State.UNFINISHED)
    slow.began -= 2500 * MS
    (row,) = [
        line for line in picture(view_of(console, exchange(), going=[slow]), console) if "/slow" in line
    ]

    assert "2.5 s …" in row
    assert row.rstrip().endswith("in progress")


def test_a_connection_is_a_row_with_what_it_looks_like():
    console = terminal()

    row = picture(view_of(console, summary()), console)[1]

    assert "TLS (SNI shop.example) 10.0.0.1:40000 > 1…" in row


def test_nothing_of_the_network_commands_the_terminal_nor_is_markup():
    console = terminal()
    lines = picture(view_of(console, exchange("\x1b[2J", "/[bold]\x9b")), console)

    assert all(line.isprintable() for line in lines)
    assert "/[bold]\\x9b" in lines[1]


def test_the_last_picture_stays():
    console = terminal()
    view = view_of(console, exchange())
    view.finish()
    view.draw(1.0)
    view.draw(2.0)
    view.finish()

    assert console.file.getvalue().count("/orders") >= 2


def test_drawing_costs_the_same_whatever_came():
    console = terminal(height=50)
    few, many = view_of(console, *[exchange()] * 100), view_of(console, *[exchange()] * 20_000)

    def cost(view: LiveRenderer) -> float:
        times = []
        for _ in range(5):
            began = time.perf_counter()
            picture(view, console)
            times.append(time.perf_counter() - began)
        return min(times)

    assert cost(many) < 3 * cost(few) + 0.01
