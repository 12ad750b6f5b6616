"""The result, as tables for people and as JSON for programs."""

import json
import os
import platform
import shutil
import subprocess
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.rows import Row, ratios, spread, values_of
from benchmarks.sections import Section

WIDTH = 140
"""Of the tables where the terminal is narrower, or is none."""


def machine() -> dict[str, object]:
    """Say where and when this is, and with which versions."""
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
        "scapy": version("scapy"),
        "cc": _first_line("cc", "--version"),
        "tcpdump": _first_line("tcpdump", "--version"),
        "dumpcap": _first_line("dumpcap", "--version"),
        "commit": _first_line("git", "describe", "--always", "--dirty"),
        "load_average": os.getloadavg()[0],
    }


def _first_line(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return "missing"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).partition("\n")[0]


def print_heading(where: dict[str, object], repeats: int) -> None:
    """Say under which circumstances the tables were made."""
    console = _console()
    console.print(
        f"{where['date']}, {where['processors']} x {where['processor']}, Linux {where['kernel']}, "
        f"Python {where['python']}, commit {where['commit']}, load average {where['load_average']:.2f} at the start"
    )
    console.print(
        f"minimum/median/maximum of {repeats} interleaved repeats; each ratio is within one repeat\n"
    )


def print_section(section: Section, rows: list[Row], notes: list[str]) -> None:
    """Print a table for each load of a section, and its notes."""
    console = _console()
    console.rule(section.title, align="left")
    for load in dict.fromkeys(row.load for row in rows):
        console.print(load, style="bold")
        console.print(_table(section, [row for row in rows if row.load == load]))
    for note in notes:
        console.print(note)
    console.print()


def _console() -> Console:
    console = Console()
    return Console(width=max(console.width, WIDTH), highlight=False)


def _table(section: Section, rows: list[Row]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    for column in section.columns:
        table.add_column(column.heading, justify="right", overflow="fold")
    for subject in dict.fromkeys(row.subject for row in sorted(rows, key=lambda row: row.repeat)):
        cells = []
        for column in section.columns:
            if column.over is None:
                numbers = values_of(rows, subject, column.key)
            else:
                numbers = ratios(rows, subject, column.over, column.key)
            cells.append(spread([number * column.factor for number in numbers]))
        if any(cell != "-" for cell in cells):
            table.add_row(subject, *cells)
    return table


def write_json(path: Path, rows: list[Row], notes: dict[str, list[str]], where: dict[str, object]) -> None:
    """Write every single measurement, and the notes by section."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"machine": where, "notes": notes, "measurements": [asdict(row) for row in rows]}
    path.write_text(json.dumps(content, indent=1) + "\n")
