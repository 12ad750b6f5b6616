"""The live view: the latest exchanges as a table that fits the terminal, with what is in progress, the rates and the ledger.

To take a record costs the same whatever is shown, and to draw costs the same whatever came: at most as many rows are made as
the terminal has. How often it is drawn is for the caller (`watch.py`).
"""

from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from typing import NamedTuple

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from podmirror.inspection.connection import ConnectionSummary, Record
from podmirror.inspection.escape import escaped
from podmirror.inspection.exchange import Exchange, State
from podmirror.inspection.lines import latency, look, remarks, status
from podmirror.inspection.rates import Rates
from podmirror.inspection.timestamps import clock
from podmirror.stats import amount

MAX_ROWS = 200
"""No terminal shows more."""

OPEN_SHARE = 4
"""The part of the rows, one in so many, that exchanges in progress may take."""

_WIDE_COLUMNS = 96
"""From this width on sizes have room beside a path that can be read."""
_POD_COLUMNS = 120
"""From this width on the pod's name has, too."""

Figures = Callable[[], list[tuple[str, str]]]
"""Gives what to say below the table: pairs of a name and a text."""


class _Row(NamedTuple):
    time: int
    pod: str
    method: str
    what: str
    status: str
    latency: str
    sent: str
    received: str
    state: str
    style: str


class LiveRenderer:
    """Keeps the terminal up to date."""

    def __init__(
        self, console: Console, in_progress: Callable[[], Iterable[Exchange]], figures: Figures
    ) -> None:
        """Begin with an empty table.

        Args:
            console: The terminal.
            in_progress: Gives the exchanges that are not finished, the oldest first.
            figures: Gives the ledger's lines.
        """
        self.console = console
        self._in_progress = in_progress
        self._figures = figures
        self._latest: deque[Record] = deque(maxlen=MAX_ROWS)
        self._rates = Rates()
        self._newest = 0
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")

    def receive(self, record: Record) -> None:
        """Take a finished exchange or connection."""
        self._latest.append(record)
        if isinstance(record, Exchange):
            self._rates.receive(record)
            if record.began > self._newest:
                self._newest = record.began

    def draw(self, now: float) -> None:
        """Draw what there is.

        Args:
            now: Monotonic seconds, for the rates.
        """
        self._rates.sample(now)
        if not self._live.is_started:
            self._live.start()
        self._live.update(self.picture(), refresh=True)

    def finish(self) -> None:
        """Leave the last picture on the terminal."""
        if self._live.is_started:
            self._live.update(self.picture(), refresh=True)
            self._live.stop()

    def picture(self) -> RenderableType:
        """Give what fits the terminal now."""
        figures = [("now", self._rates.text), *self._figures()]
        rows = max(3, self.console.height - len(figures) - 3)
        going = [self._open_row(each) for each in islice(self._in_progress(), max(1, rows // OPEN_SHARE))]
        latest = list(islice(reversed(self._latest), rows - len(going)))
        shown = [*(_row(record) for record in reversed(latest)), *going]
        return Group(self._table(shown), _figures_table(figures))

    def _open_row(self, exchange: Exchange) -> _Row:
        """Its duration so far is told by the newest time that the pod told us."""
        seconds = max(0, self._newest - exchange.began) / 1e9
        row = _exchange_row(exchange)
        return row._replace(latency=f"{seconds:,.1f} s …", state="in progress", style="dim")

    def _table(self, rows: list[_Row]) -> Table:
        width = self.console.width
        table = Table(box=None, expand=True, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold dim")
        table.add_column("TIME", width=12, no_wrap=True)
        if width >= _POD_COLUMNS:
            table.add_column("POD", width=24, no_wrap=True, overflow="ellipsis")
        table.add_column("METHOD", width=7, no_wrap=True)
        table.add_column("PATH", ratio=1, no_wrap=True, overflow="ellipsis")
        table.add_column("STATUS", width=6, no_wrap=True)
        table.add_column("LATENCY", width=11, justify="right", no_wrap=True)
        if width >= _WIDE_COLUMNS:
            table.add_column("SENT", width=8, justify="right", no_wrap=True)
            table.add_column("RECEIVED", width=8, justify="right", no_wrap=True)
        table.add_column("STATE", width=14, no_wrap=True, overflow="ellipsis")
        for row in rows:
            table.add_row(*_cells(row, width))
        return table


def _cells(row: _Row, width: int) -> list[Text]:
    cells = [Text(clock(row.time), "dim")]
    if width >= _POD_COLUMNS:
        cells.append(Text(row.pod))
    cells += [Text(row.method), Text(row.what), Text(row.status, row.style), Text(row.latency)]
    if width >= _WIDE_COLUMNS:
        cells += [Text(row.sent), Text(row.received)]
    cells.append(Text(row.state, "dim" if row.state.startswith(State.COMPLETE.value) else "yellow"))
    return cells


def _row(record: Record) -> _Row:
    return _connection_row(record) if isinstance(record, ConnectionSummary) else _exchange_row(record)


def _exchange_row(exchange: Exchange) -> _Row:
    return _Row(
        exchange.began,
        escaped(exchange.pod),
        escaped(exchange.request.method),
        escaped(exchange.request.target),
        status(exchange),
        latency(exchange),
        amount(exchange.request.size),
        amount(exchange.response.size) if exchange.response else "-",
        ", ".join([exchange.state.value, *remarks(exchange)]),
        _STATUS_STYLES.get((exchange.status or 0) // 100, ""),
    )


def _connection_row(summary: ConnectionSummary) -> _Row:
    sent, received = summary.bytes
    return _Row(
        summary.began,
        escaped(summary.pod),
        "-",
        f"{look(summary)} {summary.initiator} > {summary.responder}",
        "  -",
        f"{summary.seconds:,.1f} s",
        amount(sent),
        amount(received),
        ", ".join([summary.state.value, *remarks(summary)]),
        "",
    )


_STATUS_STYLES = {2: "green", 3: "cyan", 4: "yellow", 5: "bold red"}


def _figures_table(figures: list[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(style="dim")
    for name, text in figures:
        table.add_row(name, Text(escaped(text), no_wrap=True, overflow="ellipsis"))
    return table
