"""Options from `podmirror.toml` and from the environment, by the names that they have on the command line.

    namespace = "shop"              # for every command that has such an option
    agent-image = "registry.example/podmirror-agent:0.1.0"

    [mirror]                        # for this command alone
    port = ["80:3000", "9090"]

The file is the nearest one in the working directory and its parents, else the one in the user's configuration folder; they
are not merged. What is nearer to the user goes first: the command line, PODMIRROR_AGENT_IMAGE and its like, the command's own
table, the top of the file, the built-in default.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from podmirror.errors import UsageError

FILE_NAME = "podmirror.toml"
PREFIX = "PODMIRROR_"
"""Of environment variables; PODMIRROR_DEBUG is one as well, and no option has that name."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a file says."""

    path: Path | None = None
    """None if there is no file."""
    common: Mapping[str, Any] = field(default_factory=dict)
    of_command: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    given: bool = False
    """Whether the user named the file, and did not just stand near it."""

    def options(self, command: str) -> dict[str, Any]:
        """Give all that may hold for a command, by the options' names."""
        return {**self.common, **self.of_command.get(command, {})}


def option_name(parameter: click.Parameter) -> str:
    """Give the name of an option as the command line has it, without its dashes; nothing for an argument."""
    if not isinstance(parameter, click.Option) or not parameter.expose_value:
        return ""
    return max(parameter.opts, key=len).lstrip("-")


def variable_of(parameter: click.Parameter) -> str:
    """Give the name of the environment variable for an option."""
    return PREFIX + option_name(parameter).replace("-", "_").upper()


def read_environment(command: click.Command) -> click.Command:
    """Let the options of a command be taken from the environment, too."""
    for parameter in command.params:
        if option_name(parameter):
            parameter.envvar = variable_of(parameter)
    return command


def load(given: Path | None) -> Configuration:
    """Read the file that is given, else the nearest one, else the user's own.

    Raises:
        UsageError: It cannot be read, or somebody else put it there.
    """
    path = given or _nearest(Path.cwd()) or _own()
    if path is None:
        return Configuration()
    if given is None and path.stat().st_uid not in (os.getuid(), 0):
        raise UsageError(
            f"{path} belongs to another user, and may name what runs beside your pods; give --config {path} if you trust it"
        )
    import tomllib  # only where there is a file

    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"the configuration {path} cannot be read: {error}") from error
    tables = {name: value for name, value in content.items() if isinstance(value, dict)}
    common = {name: value for name, value in content.items() if name not in tables}
    return Configuration(path, common, tables, given=given is not None)


def defaults_for(configuration: Configuration, name: str, command: click.Command) -> dict[str, Any]:
    """Give click's default map for a command: what the file says of its options, by click's names."""
    options = configuration.options(name)
    by_name = {option_name(each): each for each in command.params if option_name(each)}
    return {
        str(by_name[key].name): _as_given(by_name[key], value)
        for key, value in options.items()
        if key in by_name
    }


def check_names(configuration: Configuration, options: Mapping[str, Iterable[str]]) -> None:
    """Refuse names that no command knows.

    Args:
        configuration: What the file says.
        options: The names of each command's options.

    Raises:
        UsageError: With the names that come close.
    """
    every = {name for names in options.values() for name in names}
    for key in configuration.common:
        _check(configuration.path, key, every, "option")
    for command, table in configuration.of_command.items():
        _check(configuration.path, command, options, "command")
        for key in table:
            _check(configuration.path, key, options[command], f"option of {command}")


def _check(path: Path | None, name: str, known: Iterable[str], what: str) -> None:
    names = sorted(known)
    if name in names:
        return
    close = get_close_matches(name, names, n=1)
    hint = f"; {close[0]!r} is one" if close else f"; there are {', '.join(names)}"
    raise UsageError(f"{path}: {name!r} is no {what}{hint}")


def _as_given(parameter: click.Parameter, value: Any) -> Any:
    """Write a value as the command line has it, for click's types to read."""
    values = [
        each if isinstance(each, bool) else str(each)
        for each in (value if isinstance(value, list) else [value])
    ]
    if isinstance(parameter, click.Option) and parameter.multiple:
        return values
    return values[0] if not isinstance(value, list) else ",".join(map(str, values))


def _nearest(folder: Path) -> Path | None:
    candidates = (each / FILE_NAME for each in (folder, *folder.parents))
    return next((path for path in candidates if path.is_file()), None)


def _own() -> Path | None:
    path = Path(click.get_app_dir("podmirror")) / FILE_NAME
    return path if path.is_file() else None
