"""When looking is over."""

import pytest

from podmirror.errors import UsageError
from podmirror.inspection.ending import Ending, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10s", 10), ("500ms", 0.5), ("1m30s", 90), ("1.5h", 5400), ("7", 7), ("0.5", 0.5)],
)
def test_a_duration_is_read(text: str, seconds: float):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "10x", "-1s", "1s 2s", "0s", "0", "1m30"])
def test_what_is_no_duration_is_refused_in_a_sentence(text: str):
    with pytest.raises(UsageError, match=r"no duration|no time at all"):
        parse_duration(text)


def test_no_more_is_taken_than_was_wanted():
    ending = Ending(count=3)

    assert [ending.take(2), ending.reached, ending.take(2), ending.reached] == [2, False, 1, True]


def test_without_a_count_everything_is_taken():
    ending = Ending()

    assert ending.take(1000) == 1000
    assert not ending.reached
