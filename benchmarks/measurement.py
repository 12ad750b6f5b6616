"""Measure each capture under each load, in interleaved repeats."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

from benchmarks.captures import CAPTURES, Seen
from benchmarks.load import LOADS, Achieved, Load, run_load
from tests.namespaces import Namespaces, namespaces


@dataclass(frozen=True)
class Measurement:
    """One capture under one load, once."""

    repeat: int
    load: Load
    capture: str
    achieved: Achieved
    seen: Seen
    cpu_seconds: float

    @property
    def microseconds_per_packet(self) -> float | None:
        """CPU time of the capture for each packet that it saw; None where nothing captures, or nothing was seen."""
        return self.cpu_seconds / self.seen.packets * 1e6 if self.seen.packets else None

    @property
    def core_share(self) -> float:
        """CPU time as a share of one core, for as long as the load took."""
        return self.cpu_seconds / self.achieved.seconds

    def as_json(self) -> dict[str, object]:
        """Give all figures, derived ones included."""
        derived = {
            "microseconds_per_packet": self.microseconds_per_packet,
            "core_share": self.core_share,
            "writes_per_second": self.achieved.rate,
        }
        return asdict(self) | derived


def measure_all(repeats: int, seconds: float, tell: Callable[[str], None]) -> list[Measurement]:
    """Run all, and call `tell` before each.

    In each repeat every capture gets every load, and the captures of a load come right after one another, in an order that
    rotates from repeat to repeat: what else the machine does meets all of them alike.
    """
    measurements = []
    with namespaces() as made:
        for repeat in range(repeats):
            names = list(CAPTURES)
            names = names[repeat % len(names) :] + names[: repeat % len(names)]
            for load in LOADS:
                for name in names:
                    tell(f"repeat {repeat + 1} of {repeats}: {load.name}, {name}")
                    measurements.append(_measure(repeat, load, name, seconds, made))
    return measurements


def _measure(repeat: int, load: Load, name: str, seconds: float, made: Namespaces) -> Measurement:
    with CAPTURES[name](made) as running:
        with running.measuring():
            achieved = run_load(load, seconds, made)
        seen = running.stop(achieved.sent_bytes)
    return Measurement(repeat, load, name, achieved, seen, running.cpu)
