"""How fast a capture file is replayed: `--speed N|Nx|max`."""

import math

from podmirror.errors import UsageError


def parse_speed(text: str) -> float:
    """Read how many times as fast as it was captured a file is to be read; infinity for as fast as it goes.

    Raises:
        UsageError: It is neither a number above 0 nor `max`.
    """
    if text == "max":
        return math.inf
    try:
        speed = float(text.removesuffix("x"))
    except ValueError:
        speed = 0.0
    if not 0 < speed < math.inf:
        raise UsageError(f"speed {text!r} is not understood; write 2x, 0.5x or max")
    return speed
