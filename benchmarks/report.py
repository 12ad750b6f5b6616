"""The result, as tables for people and as JSON for programs."""

import json
import os
import platform
import statistics
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.captures import AGENT, CAPTURES, NOTHING, SCAPY, TCPDUMP
from benchmarks.load import LOADS, Load
from benchmarks.measurement import Measurement

WIDTH = 132
"""Of the tables where the terminal is narrower, or is none."""

HEADINGS = (
    "% of its rate",
    "packets",
    "kernel drops",
    "% of a core",
    "CPU µs/packet",
    "x tcpdump",
    "x scapy.sniff",
)


def machine() -> dict[str, object]:
    """Say where and when this is."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": models[0] if models else platform.machine(),
        "processors": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average": os.getloadavg()[0],
    }


def print_tables(measurements: list[Measurement], where: dict[str, object], repeats: int) -> None:
    """Print a table for each load: minimum / median / maximum of the repeats."""
    console = Console()
    console = Console(width=max(console.width, WIDTH), highlight=False)
    console.print(
        f"{where['date']}, {where['processors']} x {where['processor']}, Linux {where['kernel']}, "
        f"Python {where['python']}, load average {where['load_average']:.2f} at the start"
    )
    console.print(
        f"minimum/median/maximum of {repeats} interleaved repeats (packets: the median); each ratio is within one repeat\n"
    )
    for load in LOADS:
        console.print(_table([each for each in measurements if each.load == load], load))
    sent = sum(each.achieved.sent_bytes for each in measurements if each.capture == AGENT)
    missed = sum(each.seen.missed_bytes or 0 for each in measurements)
    console.print(f"of {sent:,} bytes that were sent under the agent's eyes it missed {missed:,}")


def _table(measurements: list[Measurement], load: Load) -> Table:
    table = Table(title=str(load), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.add_column("capture", no_wrap=True)
    for heading in HEADINGS:
        table.add_column(heading, justify="right", overflow="fold")
    for name in CAPTURES:
        mine = [each for each in measurements if each.capture == name]
        captures = name != NOTHING
        table.add_row(
            name,
            _spread(each.achieved.rate / load.rate * 100 for each in mine),
            f"{statistics.median(each.seen.packets for each in mine):.0f}" if captures else "-",
            _spread(each.seen.drops for each in mine if captures),
            _spread(each.core_share * 100 for each in mine if captures),
            _spread(each.microseconds_per_packet for each in mine),
            *(_spread(_ratios(mine, measurements, other)) for other in (TCPDUMP, SCAPY)),
        )
    return table


def _ratios(mine: list[Measurement], all_of_load: list[Measurement], other: str) -> list[float | None]:
    """Give the CPU time per packet of each measurement over that of another capture in the same repeat."""
    others = {each.repeat: each.microseconds_per_packet for each in all_of_load if each.capture == other}
    ratios: list[float | None] = []
    for each in mine:
        ours, theirs = each.microseconds_per_packet, others.get(each.repeat)
        ratios.append(ours / theirs if ours is not None and theirs else None)
    return ratios


def _spread(values: Iterable[float | None]) -> str:
    numbers = [value for value in values if value is not None]
    if not numbers:
        return "-"
    return "/".join(map(_short, (min(numbers), statistics.median(numbers), max(numbers))))


def _short(number: float) -> str:
    """Give about three digits: more would be noise."""
    decimals = 0 if number == int(number) or number >= 99.95 else 1 if number >= 10 else 2
    return f"{number:.{decimals}f}"


def write_json(path: Path, measurements: list[Measurement], where: dict[str, object]) -> None:
    """Write every single measurement."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"machine": where, "measurements": [each.as_json() for each in measurements]}
    path.write_text(json.dumps(content, indent=1) + "\n")
