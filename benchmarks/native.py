"""The programs in C: compiled when the benchmarks start, from the sources in `native/`.

They make the loads and take the agent's output, since one in Python would cost more than what is measured.
"""

import functools
import shutil
import subprocess
from pathlib import Path

SOURCES = Path(__file__).parent / "native"
BUILD = Path(__file__).parent.parent / "build"
PROGRAMS = BUILD / "bench"
FLAGS = ("-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror")


@functools.cache
def why_not() -> str:
    """Compile all of them; give the reason why that is not possible, nothing if it is."""
    compiler = shutil.which("cc")
    if compiler is None:
        return "no C compiler is found as cc (Debian: gcc)"
    PROGRAMS.mkdir(parents=True, exist_ok=True)
    headers = max(header.stat().st_mtime for header in SOURCES.glob("*.h"))
    for source in sorted(SOURCES.glob("*.c")):
        made = PROGRAMS / source.stem
        if made.exists() and made.stat().st_mtime > max(headers, source.stat().st_mtime):
            continue
        done = subprocess.run(
            [compiler, *FLAGS, str(source), "-o", str(made)], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            return f"{source.name} does not compile: {done.stderr.strip()}"
    return ""


def program(name: str, **options: object) -> list[str]:
    """Give the command line of a program, its options as `name=value`."""
    return [str(PROGRAMS / name), *(f"{option}={value}" for option, value in options.items())]
