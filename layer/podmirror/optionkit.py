"""What the modules of options are made with: click types of our own parsers, and several options as one decorator."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from podmirror.errors import UsageError

Command = TypeVar("Command", bound=Callable[..., Any])


class ParsedType(click.ParamType[Any]):
    """A click type made of one of our parsers, which raises `UsageError`."""

    def __init__(self, name: str, parse: Callable[[str], object]) -> None:
        """Name the type as `--help` shows it."""
        self.name = name
        self._parse = parse

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        """Give what the parser makes of the words."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except UsageError as error:
            self.fail(str(error), param, ctx)


def add_options(command: Command, options: Sequence[Callable[[Command], Command]]) -> Command:
    """Add options to a command, so that `--help` shows them in their order."""
    for option in reversed(options):
        command = option(command)
    return command
