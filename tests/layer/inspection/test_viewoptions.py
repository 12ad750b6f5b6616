"""The options that say what is shown."""

from typing import Any

import click
import pytest
from click.testing import CliRunner

from podmirror.errors import UsageError
from podmirror.inspection.showing import Viewing
from podmirror.inspection.viewoptions import take_viewing, view_options


def taken(*arguments: str) -> Viewing:
    found: list[Viewing] = []

    @click.command()
    @view_options
    def command(**options: Any) -> None:
        found.append(take_viewing(options))
        assert options == {}

    result = CliRunner().invoke(command, list(arguments), catch_exceptions=False, standalone_mode=False)
    assert result.exit_code == 0
    return found[0]


def test_without_options_it_is_text_without_an_end():
    assert taken() == Viewing("text", 0, None, None)


def test_everything_is_taken():
    assert taken("-vv", "--count", "5", "--duration", "1m30s") == Viewing("text", 2, 5, 90.0)
    assert taken("-o", "har") == Viewing("har")


def test_a_bad_duration_is_a_usage_error():
    with pytest.raises(click.BadParameter, match="'soon' is no duration"):
        taken("--duration", "soon")


def test_verbosity_is_the_texts_alone():
    with pytest.raises(UsageError, match="-v adds to the text"):
        taken("-v", "-o", "jsonl")


def test_each_output_asks_for_what_it_needs():
    assert Viewing("jsonl").settings == {"responder": "bytes", "times": "yes"}
    assert Viewing("connections").settings["digests"] == "yes"
