"""`podmirror completion`: what makes a shell complete podmirror's words."""

import click
from click.shell_completion import get_completion_class

VARIABLE = "_PODMIRROR_COMPLETE"
"""By which the shell asks podmirror for completions; click derives it from the program's name."""


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print a script that makes a shell complete commands, options and their values.

    \b
    source <(podmirror completion bash)         # in ~/.bashrc; zsh likewise
    podmirror completion fish > ~/.config/fish/completions/podmirror.fish
    """
    completion = get_completion_class(shell)
    assert completion is not None, "click knows these three"
    click.echo(completion(ctx.find_root().command, {}, "podmirror", VARIABLE).source())
