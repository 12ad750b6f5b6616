"""CPU time per packet: every capture under the same paced frames."""

from collections.abc import Iterator

from benchmarks.capture import Running, Seen
from benchmarks.captures import CAPTURES, SNIFF, TCPDUMP_U, available
from benchmarks.loads import Achieved, Injection, Load, quiet_namespaces
from benchmarks.rows import Row
from benchmarks.sections import Asked, Column, Section

LOADS = (
    Injection(payload=200, rate=50_000),
    Injection(payload=200, rate=200_000, ack_every=64),
    Injection(payload=1_400, rate=50_000),
)

COLUMNS = (
    Column("% of its rate", "rate_share", factor=100),
    Column("% seen", "seen_share", factor=100),
    Column("kernel drops", "drops"),
    Column("CPU us/packet", "us_per_packet"),
    Column("x tcpdump -U", "us_per_packet", over=TCPDUMP_U),
    Column("x less than sniff", "packets_per_us", over=SNIFF),
    Column("% delivered", "delivered_share", factor=100),
)


def compare(
    section: str, loads: tuple[Load, ...], asked: Asked, names: list[str] | None = None
) -> Iterator[Row]:
    """Run each capture under each load.

    The captures of a load come right after one another, in an order that rotates from repeat to repeat: what else the machine
    does meets all of them alike.
    """
    usable, left_out = available()
    for reason in left_out:
        asked.tell(reason)
    usable = [name for name in usable if names is None or name in names]
    with quiet_namespaces() as made:
        for repeat in range(asked.repeats):
            order = usable[repeat % len(usable) :] + usable[: repeat % len(usable)]
            for load in loads:
                for name in order:
                    asked.tell(f"{section}, repeat {repeat + 1} of {asked.repeats}: {load.name}; {name}")
                    with CAPTURES[name](made) as running:
                        with running.measuring():
                            achieved = load.run(made, asked.seconds)
                        seen = running.stop()
                    yield Row(section, load.name, name, repeat, _values(load, achieved, running, seen))


def _values(load: Load, achieved: Achieved, running: Running, seen: Seen) -> dict[str, float]:
    values = {f"load_{name}": value for name, value in achieved.details.items()} | seen.details
    values |= {"sent_bytes": achieved.sent_bytes, "seconds": achieved.seconds, "rate": achieved.rate}
    wanted = getattr(load, "rate", 0)
    if wanted:
        values["rate_share"] = achieved.rate / wanted
    if not running.processes:
        return values
    other, rings = running.memory
    values |= {
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
    if "delivered" in seen.details and achieved.sent_bytes:
        values["delivered_share"] = seen.details["delivered"] / achieved.sent_bytes
        values["cpu_seconds_per_gib"] = running.cpu / seen.details["delivered"] * (1 << 30)
    elif seen.packets and achieved.sent_bytes:
        values["cpu_seconds_per_gib"] = running.cpu / achieved.sent_bytes * (1 << 30)
    return values


PACKETS = Section(
    "packets",
    "CPU time per packet, capture to tunnel",
    COLUMNS,
    lambda asked: compare("packets", LOADS, asked),
)
