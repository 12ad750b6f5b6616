"""The options that say which exchanges are wanted, and what must not leave the pod: decided in the agent."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from podmirror.errors import UsageError
from podmirror_http import redaction, selection
from podmirror_http.pseudonyms import KEY_BYTES

Command = TypeVar("Command", bound=Callable[..., Any])

_SELECTION = [
    click.option(
        "--method", "methods", multiple=True, help="Only exchanges with this method; may be repeated."
    ),
    click.option(
        "--path",
        "paths",
        multiple=True,
        help="Only exchanges of this path and what is below it, or with * and ?; may be repeated.",
    ),
    click.option(
        "--header",
        "headers",
        multiple=True,
        metavar="NAME[:VALUE]",
        help="Only exchanges whose request has this header, VALUE with * and ?; may be repeated, and all must fit.",
    ),
    click.option(
        "--status",
        "statuses",
        multiple=True,
        metavar="404|5xx|200-299",
        help="Only exchanges that were answered so; may be repeated.",
    ),
]

_REDACT = click.option(
    "--redact",
    "rules",
    multiple=True,
    metavar="header:NAME|json:$.PATH|re:PATTERN",
    help="Replace what this finds, besides credentials, before it leaves the pod; may be repeated.",
)

_NO_REDACT = click.option(
    "--no-redact", is_flag=True, help="Let everything leave the pod as it is, secrets included."
)


@dataclass(frozen=True, slots=True)
class Screening:
    """What is wanted of exchanges, and how it is to leave the pod."""

    selection: str
    """The option `select`; empty for everything."""
    rules: tuple[str, ...]
    redacts: bool

    @property
    def settings(self) -> dict[str, str]:
        """What is to be asked of every agent (docs/protocol.md, Options): pseudonyms are the same in all pods."""
        asked = {"select": self.selection} if self.selection else {}
        if self.redacts:
            asked["redact"] = redaction.format_option(secrets.token_bytes(KEY_BYTES), list(self.rules))
        return asked


def delivered_exchanges_options(command: Command) -> Command:
    """Add the options that `take_screening` takes, for a command that redacts where it is asked to."""
    for option in reversed([*_SELECTION, _REDACT]):
        command = option(command)
    return command


def inspected_exchanges_options(command: Command) -> Command:
    """Add the same for one that redacts unless it is forbidden."""
    return delivered_exchanges_options(_NO_REDACT(command))


def take_screening(values: dict[str, Any]) -> Screening:
    """Take out of the options' values those that either of them added.

    Raises:
        UsageError: One of them cannot be read, or they contradict each other.
    """
    rules = tuple(values.pop("rules"))
    forbidden = values.pop("no_redact", None)
    wanted = {name: list(values.pop(name)) for name in ("methods", "paths", "statuses")}
    fields = list(values.pop("headers"))
    if forbidden and rules:
        raise UsageError("--redact and --no-redact exclude each other")
    try:
        selection.Selection.parse(fields=fields, **wanted)
        redaction.Rules.parse(list(rules))
    except (selection.BadSelection, redaction.BadRules) as error:
        raise UsageError(str(error)) from None
    named = any(wanted.values()) or bool(fields)
    option = selection.format_option(fields=fields, **wanted) if named else ""
    return Screening(option, rules, redacts=bool(rules) if forbidden is None else not forbidden)
