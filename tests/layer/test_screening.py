"""What a user names of exchanges and secrets, as the agent is asked for it."""

import click
import pytest
from click.testing import CliRunner

from podmirror.errors import UsageError
from podmirror.filteroptions import filter_options, inspected_filter_options, take_settings
from podmirror.screening import is_screened
from podmirror_http import redaction, selection


def taken(*arguments: str, inspect: bool = False) -> dict[str, str]:
    got: dict[str, str] = {}

    @click.command()
    @(inspected_filter_options if inspect else filter_options)
    @click.argument("rest", nargs=-1)
    def command(rest: tuple[str, ...], **values: object) -> None:
        got.update(take_settings(values))
        assert not values

    result = CliRunner().invoke(command, arguments, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return got


def test_nothing_is_asked_for_unless_it_is_named():
    assert taken() == {}
    assert not is_screened({"sample": "0.1"})


def test_a_selection():
    settings = taken(
        "--method",
        "post",
        "--path",
        "/a",
        "--path",
        "/b*",
        "--header",
        "X-A:b",
        "--status",
        "5xx",
        "--sample",
        "10%",
    )
    assert selection.parse_option(settings["select"]) == selection.Selection.parse(
        methods=["post"], paths=["/a", "/b*"], fields=["X-A:b"], statuses=["5xx"]
    )
    assert settings["sample"] == "0.100000000"
    assert is_screened(settings)


def test_redaction_with_and_without_rules():
    key, rules = redaction.parse_option(taken("--redact")["redact"])
    assert rules == redaction.Rules()
    other, rules = redaction.parse_option(taken("--redact", "header:X-A", "--redact", "json:$.a")["redact"])
    assert rules == redaction.Rules.parse(["header:X-A", "json:$.a"])
    assert key != other


def test_inspect_redacts_unless_it_is_told_not_to():
    assert redaction.parse_option(taken(inspect=True)["redact"])[1] == redaction.Rules()
    assert taken("--no-redact", inspect=True) == {}
    assert redaction.parse_option(taken("--redact", "re:x", inspect=True)["redact"])[1].patterns


@pytest.mark.parametrize(
    "wrong",
    [
        ("--status", "9xx"),
        ("--method", "a b"),
        ("--path", ""),
        ("--header", ":x"),
        ("--redact", "x:y"),
        ("--redact", "re:("),
    ],
)
def test_what_cannot_be_read_is_a_usage_error(wrong):
    with pytest.raises(UsageError):
        taken(*wrong)


def test_redacting_and_not_redacting_exclude_each_other():
    with pytest.raises(UsageError):
        taken("--no-redact", "--redact", "re:x", inspect=True)
