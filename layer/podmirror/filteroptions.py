"""The options that narrow traffic to exchanges, and redact it, before it leaves the pod."""

from typing import Any

import click

from podmirror.errors import UsageError
from podmirror.optionkit import Command, add_options
from podmirror.options import fraction, sample_option
from podmirror.screening import redact_settings, select_settings

_SELECTION_OPTIONS = [
    click.option(
        "--method",
        "methods",
        multiple=True,
        metavar="NAME",
        help="Only exchanges with that method; may be repeated.",
    ),
    click.option(
        "--path",
        "paths",
        multiple=True,
        metavar="PATH",
        help="Only of that path and what is below it, or, with * (also over /) and ?, of paths like that; may be repeated.",
    ),
    click.option(
        "--header",
        "headers",
        multiple=True,
        metavar="NAME[:VALUE]",
        help="Only whose request has that header, with that value (* and ? as in --path); if repeated, all of them.",
    ),
    click.option(
        "--status",
        "statuses",
        multiple=True,
        metavar="404|5xx|200-299",
        help="Only with such a response; may be repeated.",
    ),
]

_REDACT = "--redact"
_REDACT_HELP = "header:NAME, json:$.path or re:PATTERN; may be repeated."
_USUAL = "usual"
"""What --redact means where no rule follows it."""

_redact_option = click.option(
    _REDACT,
    "rules",
    is_flag=False,
    flag_value=_USUAL,
    multiple=True,
    metavar="[RULE]",
    help=f"Replace credentials before they leave the pod, and what a rule names: {_REDACT_HELP}",
)
_inspected_redact_options = [
    click.option(
        _REDACT,
        "rules",
        multiple=True,
        metavar="RULE",
        help=f"Replace this, too, before it leaves the pod: {_REDACT_HELP}",
    ),
    click.option("--no-redact", is_flag=True, help="Show credentials as they are."),
]


def filter_options(command: Command) -> Command:
    """Add what narrows `mirror` and `exec`; `take_settings` takes it."""
    return add_options(command, [*_SELECTION_OPTIONS, _redact_option, sample_option])


def inspected_filter_options(command: Command) -> Command:
    """Add what narrows `inspect`, which redacts unless it is told not to; `take_settings` takes it."""
    return add_options(command, [*_SELECTION_OPTIONS, *_inspected_redact_options, sample_option])


def take_settings(values: dict[str, Any]) -> dict[str, str]:
    """Take out of the options' values those that `filter_options` or `inspected_filter_options` added, and ask for them.

    Raises:
        UsageError: One of them is none, or they contradict each other.
    """
    names = ("methods", "paths", "headers", "statuses")
    settings = select_settings(*(values.pop(name) for name in names))
    rules, plain = values.pop("rules"), values.pop("no_redact", None)
    if plain and rules:
        raise UsageError("--redact and --no-redact exclude each other")
    if rules or plain is False:
        settings |= redact_settings([rule for rule in rules if rule != _USUAL])
    sample = values.pop("sample")
    if sample < 1:
        settings["sample"] = fraction(sample)
    return settings
