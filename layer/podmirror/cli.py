"""The command line: `podmirror`, and `kubectl podmirror`."""

import asyncio
import importlib
import os
import signal
import sys
import threading
from pathlib import Path

import click
from click.core import ParameterSource

from podmirror.configuration import (
    Configuration,
    check_names,
    defaults_for,
    load,
    option_name,
    read_environment,
    variable_of,
)
from podmirror.errors import PodmirrorError
from podmirror_wire.version import __version__

INTERRUPTED = 130
"""128 + SIGINT, as a shell says it."""

_COMMANDS = {
    "agents": ("podmirror.commands.agents", "List the agents there are, and end what can be ended."),
    "compare": ("podmirror.commands.compare", "Compare an ephemeral agent with a Job's, measured."),
    "completion": ("podmirror.commands.completion", "Print what makes a shell complete podmirror's words."),
    "config": ("podmirror.commands.config", "Show which options hold, and where each comes from."),
    "demo": ("podmirror.commands.demo", "Show the whole thing on a built-in sandbox: no cluster, no root."),
    "doctor": ("podmirror.commands.doctor", "Try what this cluster allows, without leaving a trace."),
    "exec": ("podmirror.commands.execute", "Run a command with the target's traffic."),
    "inspect": ("podmirror.commands.inspect", "Look at the target's traffic, or at a capture file's."),
    "ls": ("podmirror.commands.ls", "List what can be mirrored."),
    "mirror": ("podmirror.commands.mirror", "Mirror the target's traffic to a process that already runs."),
    "rbac": ("podmirror.commands.rbac", "Print the Role and RoleBinding that podmirror needs."),
}


class _LazyGroup(click.Group):
    """Imports a command's module when the command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # click's signature
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(_COMMANDS[cmd_name][0]).command
        return read_environment(command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand:
            # click looks for similar ones among those that were added, and these never are.
            raise click.exceptions.NoSuchCommand(args[0], possibilities=_COMMANDS, ctx=ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # click's signature
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in _COMMANDS.items()])


@click.command(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.option(
    "--config",
    "config_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="PODMIRROR_CONFIG",
    help="Options as TOML (default: podmirror.toml here, in a folder above, or in the user's configuration).",
)
@click.pass_context
def podmirror(ctx: click.Context, config_file: Path | None) -> None:
    """Copy a Kubernetes pod's live TCP traffic to a process on this machine, without touching that traffic.

    Exit codes: 0 all went well; 2 usage; 3 more was lost than --max-loss allows; 4 the agent or the tunnel was lost;
    5 refused or not started; 6 what was seen could not be written. `exec` gives its command's own code first.

    Every option can also be given in podmirror.toml, and as an environment variable: --agent-image is PODMIRROR_AGENT_IMAGE.
    """
    configuration = ctx.obj = load(config_file)
    name = ctx.invoked_subcommand
    if configuration.path is None or name is None:
        return
    check_names(configuration, _option_names(ctx))
    command = podmirror.get_command(ctx, name)
    if command is None:
        return
    holding = defaults_for(configuration, name, command)
    ctx.default_map = {name: holding}
    if holding and not configuration.given:
        names = sorted(option_name(each) for each in command.params if each.name in holding)
        _say(f"options of {configuration.path} hold here: {', '.join(names)}")


def _option_names(ctx: click.Context) -> dict[str, list[str]]:
    """Give the names of the options of each command."""
    names = {}
    for name in _COMMANDS:
        command = podmirror.get_command(ctx, name)
        assert command is not None, "it is one of ours"
        names[name] = [option_name(each) for each in command.params if option_name(each)]
    return names


def main() -> int:
    """Run the command line and give its exit code."""
    _open_closed_streams()
    try:
        code = _run()
    except KeyboardInterrupt:  # another one, while the first was answered
        code = INTERRUPTED
    # All is said and done. An interrupt in Python's shutdown would end in a traceback of whoever is just cleaning up.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if threading.active_count() > 1:
        # A daemon thread may be inside the Kubernetes client. Python's shutdown would end it in the middle of compiled
        # code, which aborts the process on that; so this process ends without Python's shutdown.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def _open_closed_streams() -> None:
    """Stand in for standard streams that were closed (`2>&-`), whose numbers would go to the next files and sockets."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)  # the lowest that is free
            setattr(sys, name, os.fdopen(descriptor, mode, closefd=descriptor != number))


def _run() -> int:
    try:
        result = podmirror.main(standalone_mode=False)
    except click.ClickException as error:
        _with_origin(error).show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt, asyncio.CancelledError):
        return INTERRUPTED
    except PodmirrorError as error:
        _say(str(error))
        return error.exit_code
    except Exception as error:
        if "PODMIRROR_DEBUG" in os.environ:
            raise
        _say(
            f"a fault of podmirror's own: {error!r}; set PODMIRROR_DEBUG=1 to see where, and please report it"
        )
        return 1
    return result if isinstance(result, int) else 0


def _with_origin(error: click.ClickException) -> click.ClickException:
    """Say where a bad value came from, if it was not the command line."""
    if not isinstance(error, click.BadParameter) or error.ctx is None or error.param is None:
        return error
    source = error.ctx.get_parameter_source(str(error.param.name))
    if source is ParameterSource.ENVIRONMENT:
        origin = variable_of(error.param)
    elif source is ParameterSource.DEFAULT_MAP:
        configuration = error.ctx.find_object(Configuration)
        origin = str(configuration.path if configuration else "the configuration")
    else:
        return error
    return click.BadParameter(f"{error.message} (from {origin})", error.ctx, error.param, error.param_hint)


def _say(text: str) -> None:
    print(f"podmirror: {text}", file=sys.stderr)  # noqa: T201  # the last word, where no progress is left to say it
