"""The options that say what is shown, and until when."""

from typing import Any

import click

from podmirror.errors import UsageError
from podmirror.inspection.ending import parse_duration
from podmirror.inspection.showing import Viewing
from podmirror.optionkit import Command, ParsedType, add_options

_OPTIONS = [
    click.option(
        "-o",
        "--output",
        type=click.Choice(["text", "jsonl", "har", "connections"]),
        default="text",
        show_default=True,
        help="What to write to stdout; text is a live table on a terminal, and a line for each exchange elsewhere.",
    ),
    click.option(
        "-v", "--verbose", "verbosity", count=True, help="Add headers (-v), and bodies (-vv), to the text."
    ),
    click.option(
        "--count",
        type=click.IntRange(min=1),
        help="End after so many exchanges, or connections of -o connections.",
    ),
    click.option(
        "--duration", type=ParsedType("TIME", parse_duration), help="End after this time: 10s, 1m30s, 500ms."
    ),
]


def view_options(command: Command) -> Command:
    """Add the options; `take_viewing` takes them."""
    return add_options(command, _OPTIONS)


def take_viewing(values: dict[str, Any]) -> Viewing:
    """Take out of the options' values those that `view_options` added.

    Raises:
        UsageError: They contradict each other.
    """
    viewing = Viewing(**{name: values.pop(name) for name in ("output", "verbosity", "count", "duration")})
    if viewing.verbosity and viewing.output != "text":
        raise UsageError(f"-v adds to the text; -o {viewing.output} holds everything that it can without")
    return viewing
