"""Pod times as text."""

from podmirror.inspection.timestamps import clock, timestamp
from tests.layer.inspection.exchanges import BEGAN


def test_a_time_is_given_in_utc():
    assert timestamp(BEGAN) == "2023-11-14T22:13:20.123456Z"
    assert clock(BEGAN) == "22:13:20.123"


def test_a_time_beyond_all_calendars_is_given_as_something():
    assert timestamp((1 << 64) - 1).startswith("2554-")
    assert timestamp(1 << 90).startswith("1970-")
