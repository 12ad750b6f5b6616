"""From moments to the time that each phase of a start took. No I/O."""

from collections.abc import Mapping

from podmirror.compare.figures import PHASES
from podmirror.compare.spread import Figure, Unknown


def durations(began: float, moments: Mapping[str, Figure]) -> dict[str, Figure]:
    """Give the time of each phase.

    A phase whose end was not seen is unknown, and its time is in the next one's. What is seen later than what follows it (two
    watches tell of them) took until then, and what follows took none.

    Args:
        began: When the first phase began.
        moments: When each ended, by its name; those that are missing are no phases of this start.
    """
    found: dict[str, Figure] = {}
    for name in PHASES:
        moment = moments.get(name)
        if moment is None:
            continue
        if isinstance(moment, Unknown):
            found[name] = moment
            continue
        found[name] = max(0.0, moment - began)
        began = max(began, moment)
    return found
