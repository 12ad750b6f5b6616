"""What the agent is asked to leave out and to replace, as options of the conversation (docs/protocol.md, Options)."""

import secrets
from collections.abc import Mapping, Sequence

from podmirror.errors import UsageError
from podmirror_http import redaction, selection
from podmirror_http.pseudonyms import KEY_BYTES

SETTINGS = frozenset({"select", "redact"})
"""Options with which an agent leaves bytes out on purpose."""


def select_settings(
    methods: Sequence[str], paths: Sequence[str], headers: Sequence[str], statuses: Sequence[str]
) -> dict[str, str]:
    """Ask for the exchanges that a user named, if any were.

    Raises:
        UsageError: One of the names is none.
    """
    if not (methods or paths or headers or statuses):
        return {}
    text = selection.format_option(
        methods=list(methods), paths=list(paths), fields=list(headers), statuses=list(statuses)
    )
    try:
        selection.parse_option(text)
    except selection.BadSelection as error:
        raise UsageError(str(error)) from None
    return {"select": text}


def redact_settings(rules: Sequence[str]) -> dict[str, str]:
    """Ask for redaction, by default and by these rules, under a key of this run alone.

    Raises:
        UsageError: One of the rules is none.
    """
    try:
        redaction.Rules.parse(list(rules))
    except redaction.BadRules as error:
        raise UsageError(str(error)) from None
    return {"redact": redaction.format_option(secrets.token_bytes(KEY_BYTES), list(rules))}


def is_screened(settings: Mapping[str, str]) -> bool:
    """Whether these options have bytes left out on purpose."""
    return not SETTINGS.isdisjoint(settings)
