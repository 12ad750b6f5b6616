"""What is asked of agents about exchanges: which are wanted, and what must not leave the pod."""

import json

import click
import pytest

from podmirror.errors import UsageError
from podmirror.screenoptions import delivered_exchanges_options, inspected_exchanges_options, take_screening


def taken(add, *arguments):
    found = []

    @add
    def command(**values):
        found.append(take_screening(values))
        assert values == {}, "all of them are taken"

    click.command(command).main(list(arguments), standalone_mode=False)
    return found[0]


def test_what_is_looked_at_is_redacted_unless_that_is_forbidden():
    screening = taken(inspected_exchanges_options)

    assert screening.redacts
    assert set(screening.settings) == {"redact"}
    assert json.loads(screening.settings["redact"])["rules"] == []
    assert taken(inspected_exchanges_options, "--no-redact").settings == {}


def test_what_is_delivered_is_redacted_where_it_is_asked_for():
    assert taken(delivered_exchanges_options).settings == {}
    rules = ("--redact", "header:X-Secret", "--redact", "json:$.password")
    option = json.loads(taken(delivered_exchanges_options, *rules).settings["redact"])

    assert option["rules"] == ["header:X-Secret", "json:$.password"]


def test_pseudonyms_differ_from_run_to_run():
    keys = {json.loads(taken(inspected_exchanges_options).settings["redact"])["key"] for _ in range(3)}

    assert len(keys) == 3


def test_a_selection():
    screening = taken(
        inspected_exchanges_options,
        *("--method", "get", "--path", "/api", "--header", "X-A:b*", "--status", "5xx", "--no-redact"),
    )

    assert json.loads(screening.settings["select"]) == {
        "methods": ["get"],
        "paths": ["/api"],
        "headers": ["X-A:b*"],
        "statuses": ["5xx"],
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--redact", "password"), "is none of header:NAME, json"),
        (("--redact", "re:("), "cannot be read"),
        (("--status", "9"), "is no status; say 404, 5xx or 200-299"),
        (("--method", "G T"), "is no method"),
        (("--redact", "header:X", "--no-redact"), "--redact and --no-redact exclude each other"),
    ],
)
def test_what_cannot_be_read_is_refused(arguments, words):
    with pytest.raises(UsageError, match=words.replace("$", r"\$")):
        taken(inspected_exchanges_options, *arguments)
