"""Pod times as text, all in UTC."""

from datetime import UTC, datetime

_NANOSECONDS = 1_000_000_000


def timestamp(time: int) -> str:
    """Give nanoseconds since 1970 as RFC 3339, in microseconds."""
    seconds, rest = divmod(time, _NANOSECONDS)
    return f"{_date(seconds):%Y-%m-%dT%H:%M:%S}.{rest // 1000:06d}Z"


def clock(time: int) -> str:
    """Give the same in milliseconds, without its date."""
    seconds, rest = divmod(time, _NANOSECONDS)
    return f"{_date(seconds):%H:%M:%S}.{rest // 1_000_000:03d}"


def _date(seconds: int) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):  # of a capture file whose times are nonsense
        return datetime.fromtimestamp(0, UTC)
