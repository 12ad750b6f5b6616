"""Captures under loads, interleaved, and the numbers that come of it."""

from collections.abc import Iterator, Sequence

from benchmarks.accounts import accounted_bytes
from benchmarks.capture import Running, Seen
from benchmarks.captures import CAPTURES, available
from benchmarks.loads import Achieved, Load, quiet_namespaces
from benchmarks.rows import Row
from benchmarks.sections import Asked
from tests.namespaces import Namespaces


def compare(
    section: str, loads: Sequence[Load], asked: Asked, names: Sequence[str] = tuple(CAPTURES)
) -> Iterator[Row]:
    """Run each capture under each load.

    The captures of a load come right after one another, in an order that rotates from repeat to repeat: what else the machine
    does meets all of them alike.
    """
    usable = usable_captures(asked, names)
    with quiet_namespaces() as made:
        for repeat in range(asked.repeats):
            order = usable[repeat % len(usable) :] + usable[: repeat % len(usable)]
            for load in loads:
                for name in order:
                    asked.tell(f"{section}, repeat {repeat + 1} of {asked.repeats}: {load.name}; {name}")
                    values = measure_once(made, name, load, asked.seconds)
                    yield Row(section, load.name, name, repeat, values)


def usable_captures(asked: Asked, names: Sequence[str]) -> list[str]:
    """Give those of the captures that this machine can run and that are asked for, and say why others are left out.

    Raises:
        RuntimeError: None is left.
    """
    usable, left_out = available()
    for name, reason in left_out.items():
        if name in names:
            asked.tell(f"{name}: left out, {reason}")
    chosen = [name for name in usable if name in names and asked.wants(name)]
    if not chosen:
        raise RuntimeError("none of the captures that were asked for can run")
    return chosen


def measure_once(made: Namespaces, name: str, load: Load, seconds: float) -> dict[str, float]:
    """Run one load under a capture of its own."""
    with CAPTURES[name](made) as running:
        with running.measuring():
            achieved = load.run(made, seconds)
        seen = running.stop()
    values = _of_load(load, achieved)
    return values | _of_capture(achieved, running, seen) if running.processes else values


def _of_load(load: Load, achieved: Achieved) -> dict[str, float]:
    values = {f"load_{name}": value for name, value in achieved.details.items()}
    values |= {"sent_bytes": achieved.sent_bytes, "seconds": achieved.seconds, "rate": achieved.rate}
    if load.rate:
        values["rate_share"] = achieved.rate / load.rate
    return values


def _of_capture(achieved: Achieved, running: Running, seen: Seen) -> dict[str, float]:
    other, rings = running.memory
    values = seen.details | {
        "packets": seen.packets,
        "drops": seen.drops,
        "cpu_seconds": running.cpu,
        "core_share": running.cpu / achieved.seconds,
        "resident_bytes": other,
        "ring_bytes": rings,
    }
    if "packets" in achieved.details:
        values["seen_share"] = seen.packets / achieved.details["packets"]
        values["drop_share"] = seen.drops / achieved.details["packets"]
    if seen.packets:
        values["us_per_packet"] = running.cpu / seen.packets * 1e6
        values["packets_per_us"] = 1 / values["us_per_packet"]
        gibibytes = achieved.sent_bytes / (1 << 30)
        values["cpu_seconds_per_gib"] = running.cpu / gibibytes
        values["own_cpu_seconds_per_gib"] = running.own_cpu / gibibytes
    if "delivered" in seen.details:
        values["delivered_share"] = seen.details["delivered"] / achieved.sent_bytes
        values["accounted_share"] = accounted_bytes(seen.details) / achieved.sent_bytes
    return values
