"""How much a capture can take: at the highest rate that the injector manages, and the highest without loss."""

from collections.abc import Callable, Iterator

from benchmarks.captures import AGENT, COMPILED, READER, TCPDUMP_U
from benchmarks.comparison import compare, measure_once, usable_captures
from benchmarks.injection import Injection
from benchmarks.loads import quiet_namespaces
from benchmarks.rows import Row
from benchmarks.sections import Asked, Column, Section

CAPTURES = (AGENT, COMPILED, TCPDUMP_U, READER)
"""The others have their figures under `packets`, where it shows that scapy.sniff is hopeless here."""

ACK_EVERY = 64
"""So that what was dropped is known to have arrived: an acknowledgment is what tells a gap from a delay."""

LINGER_SECONDS = 2.0
"""For a capture that is behind by a whole ring to see the ends of the connections, and with them the last gaps."""

SATURATED = (Injection(payload=200, rate=0, ack_every=ACK_EVERY, linger=LINGER_SECONDS),)

LADDER = (25, 50, 75, 100, 125, 150, 175, 200, 250, 300, 350, 400, 500)
"""Thousands of segments a second."""

LADDER_SECONDS = 2.0
"""At least, on each step: a ring of 64 MiB holds more than half a second of the highest, which is no lasting rate."""

REACHED_SHARE = 0.98
"""Of a step's rate, or the load did not make it."""

SATURATED_SECTION = Section(
    "saturated",
    "As many packets as the injector can send",
    (
        Column("1,000 segments/s", "rate", factor=1e-3),
        Column("% seen", "seen_share", factor=100),
        Column("% dropped", "drop_share", factor=100),
        Column("% of a core", "core_share", factor=100),
        Column("CPU us/packet", "us_per_packet"),
        Column("1,000/s of a whole core", "packets_per_us", factor=1e3),
        Column("x tcpdump -U", "us_per_packet", over=TCPDUMP_U),
        Column("% delivered", "delivered_share", factor=100),
        Column("% accounted", "accounted_share", factor=100),
    ),
    lambda asked: compare("saturated", SATURATED, asked, CAPTURES),
)


def climb(asked: Asked) -> Iterator[Row]:
    """Find the highest step of the ladder without loss, for each capture, by halving.

    That takes for granted that what survives a step survives the lower ones, which noise can belie; so the repeats differ. A
    repeat first tries the step that the one before found, and the next one.
    """
    usable = usable_captures(asked, CAPTURES)
    seconds = max(asked.seconds, LADDER_SECONDS)
    before: dict[str, int] = {}
    with quiet_namespaces() as made:
        for repeat in range(asked.repeats):
            for name in usable:
                asked.tell(f"lossfree, repeat {repeat + 1} of {asked.repeats}: {name}")

                def measure(step: int, name: str = name) -> dict[str, float]:
                    load = Injection(payload=200, rate=LADDER[step] * 1e3, ack_every=ACK_EVERY)
                    return measure_once(made, name, load, seconds)

                found = highest(len(LADDER), measure, before.get(name))
                before[name] = int(found.pop("step"))
                yield Row("lossfree", "254-byte frames, each step 2 s or longer", name, repeat, found)


def highest(
    steps: int, measure: Callable[[int], dict[str, float]], first: int | None = None
) -> dict[str, float]:
    """Give the highest step without loss (-1 for none), the rate there, and whether the load was what ended the climb."""
    passed, failed = -1, steps
    found = {"step": -1.0, "rate": 0.0, "bounded_by_load": 0.0}
    guesses = [] if first is None else [first + 1, first]
    while failed - passed > 1:
        step = guesses.pop() if guesses else (passed + failed) // 2
        if not passed < step < failed:
            continue
        values = measure(step)
        whole, reached = is_whole(values), values["rate_share"] >= REACHED_SHARE
        if whole:
            found["rate"] = max(found["rate"], values["rate"])
        if whole and reached:
            passed = step
        else:
            failed = step
            found["bounded_by_load"] = float(whole)
    return found | {"step": float(passed)}


def is_whole(values: dict[str, float]) -> bool:
    """Whether nothing was dropped and all was seen, in less than a core's time; of an agent, whether all was delivered."""
    lasting = values["core_share"] <= 1  # what takes longer than the load only got by with its buffer's help
    return (
        lasting
        and values["drops"] == 0
        and values["seen_share"] >= 1
        and values.get("delivered_share", 1) == 1
    )


def _notes(rows: list[Row]) -> list[str]:
    bounded = sorted({row.subject for row in rows if row.values["bounded_by_load"]})
    return (
        [f"bounded by what the injector can send, so at least that: {', '.join(bounded)}"] if bounded else []
    )


LOSS_FREE_SECTION = Section(
    "lossfree",
    "The highest rate without loss",
    (Column("1,000 segments/s", "rate", factor=1e-3),),
    climb,
    _notes,
)
