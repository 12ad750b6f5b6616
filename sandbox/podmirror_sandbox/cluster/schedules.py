"""The schedules of CronJobs: five fields of numbers, in UTC. Names of months and days are not known. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

_FIELDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
"""The least and the greatest minute, hour, day, month and weekday (crontab(5)); weekday 7 is Sunday, as is 0."""


def parse_schedule(text: str) -> tuple[frozenset[int], ...]:
    """Read the five fields of a schedule.

    Raises:
        ValueError: It has others.
    """
    fields = text.split()
    if len(fields) != len(_FIELDS):
        raise ValueError(f"expected exactly 5 fields, found {len(fields)}: [{text}]")
    return tuple(
        frozenset().union(*(_range(part, low, high) for part in field.split(",")))
        for field, (low, high) in zip(fields, _FIELDS, strict=True)
    )


def is_due(schedule: tuple[frozenset[int], ...], moment: datetime) -> bool:
    """Whether a schedule names the minute of a moment.

    Of the day and the weekday, one is enough if both are restricted.
    """
    minutes, hours, days, months, weekdays = schedule
    weekday = moment.isoweekday()
    by_day, by_weekday = moment.day in days, bool({weekday, weekday % 7} & weekdays)
    either = len(days) < 31 and len(weekdays) < 8  # 31 and 8 are all of them
    on_day = by_day or by_weekday if either else by_day and by_weekday
    return moment.minute in minutes and moment.hour in hours and moment.month in months and on_day


def _range(part: str, low: int, high: int) -> range:
    span, _, step = part.partition("/")
    first, _, last = span.partition("-")
    if first == "*":
        first, last = str(low), str(high)
    numbers = range(int(first), int(last or (high if step else first)) + 1)
    if not numbers or numbers[0] < low or numbers[-1] > high:
        raise ValueError(f"{part} is not within {low} to {high}")
    return numbers[:: int(step or 1)]
