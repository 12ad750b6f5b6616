"""`podmirror config show`: which options hold, and where each comes from."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass

import click
from click.core import ParameterSource

from podmirror.configuration import Configuration, defaults_for, option_name, variable_of
from podmirror.options import output_option
from podmirror.tables import print_table


@dataclass(frozen=True, slots=True)
class Setting:
    """An option's value as a command would take it."""

    name: str
    value: object
    origin: str


@click.group("config")
def command() -> None:
    """Look at the options that come from podmirror.toml and from the environment."""


@command.command("show")
@click.argument("commands", nargs=-1, metavar="[COMMAND]...")
@output_option
@click.pass_context
def show(ctx: click.Context, commands: tuple[str, ...], output: str) -> None:
    """Show the value of every option, and where it comes from: of all commands, or of those that are named."""
    group = ctx.find_root().command
    assert isinstance(group, click.Group), "the root is the group of all commands"
    configuration = ctx.find_object(Configuration) or Configuration()
    settings: dict[str, list[Setting]] = {}
    for name in commands or group.list_commands(ctx):
        each = group.get_command(ctx, name)
        if each is None:
            raise click.UsageError(
                f"there is no command {name!r}; there are {', '.join(group.list_commands(ctx))}"
            )
        settings[name] = _settings(name, each, configuration)
    if output == "json":
        click.echo(json.dumps(_as_json(configuration, settings), indent=2, default=str))
    else:
        click.echo(f"configuration: {configuration.path or 'no podmirror.toml was found'}")
        print_table(("option", "value", "from", "commands"), _rows(settings))


def _settings(name: str, command: click.Command, configuration: Configuration) -> list[Setting]:
    defaults = defaults_for(configuration, name, command)
    # Resilient: what is required may be missing here.
    context = command.make_context(name, [], resilient_parsing=True, default_map=defaults)
    settings = []
    for parameter in command.params:
        if option_name(parameter):
            source = context.get_parameter_source(str(parameter.name))
            value = _as_written(parameter, source, defaults, context.params.get(str(parameter.name)))
            settings.append(Setting(option_name(parameter), value, _origin(parameter, source, configuration)))
    return settings


def _as_written(
    parameter: click.Parameter, source: ParameterSource | None, defaults: Mapping[str, object], value: object
) -> object:
    """Give a value as it stands where it comes from, not what click made of it."""
    if source is ParameterSource.ENVIRONMENT:
        return os.environ[variable_of(parameter)]
    return defaults[str(parameter.name)] if source is ParameterSource.DEFAULT_MAP else value


def _origin(parameter: click.Parameter, source: ParameterSource | None, configuration: Configuration) -> str:
    if source is ParameterSource.ENVIRONMENT:
        return variable_of(parameter)
    return str(configuration.path) if source is ParameterSource.DEFAULT_MAP else "default"


def _rows(settings: dict[str, list[Setting]]) -> list[tuple[str, str, str, str]]:
    """Give one row for all commands that take an option alike."""
    rows: dict[tuple[str, str, str], list[str]] = {}
    for name, several in settings.items():
        for each in several:
            rows.setdefault((each.name, _shown(each.value), each.origin), []).append(name)
    return [(*row, " ".join(commands)) for row, commands in sorted(rows.items())]


def _shown(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value)) or "-"
    return "-" if value is None else str(value)


def _as_json(configuration: Configuration, settings: dict[str, list[Setting]]) -> dict[str, object]:
    return {
        "file": str(configuration.path) if configuration.path else None,
        "commands": {
            name: {each.name: {"value": each.value, "from": each.origin} for each in several}
            for name, several in settings.items()
        },
    }
