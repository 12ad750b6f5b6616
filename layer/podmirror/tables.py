"""Tables on stdout. rich is imported when there is one to print."""

import os
import sys
from collections.abc import Sequence

PLAIN_COLUMNS = 160
"""Width where stdout is no terminal that has one: long enough for most of a server's sentences."""


def print_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; what a cell holds is text, never markup."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PLAIN_COLUMNS
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, title in enumerate(titles):
        table.add_column(title, overflow="fold", no_wrap=number == 0)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console(width=width, highlight=False, emoji=False).print(table)
