"""Measure what a capture costs: `python -m benchmarks`, as root on Linux; README.md says what the figures mean."""

import argparse
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

RESULT = Path(__file__).parent.parent / "build" / "bench.json"


def main() -> int:
    """Run the benchmarks and give the exit code: 0 done, 1 failed on the way, 2 usage, 5 not started."""
    asked = _parse()
    reason = _why_not()
    if reason:
        print(f"the benchmarks cannot run: {reason}", file=sys.stderr)
        return 5
    # Imported late: `--help` needs none of it.
    from benchmarks.measurement import measure_all
    from benchmarks.report import machine, print_tables, write_json

    where = machine()
    try:
        measurements = measure_all(asked.repeats, asked.seconds, lambda text: print(text, file=sys.stderr))
    except RuntimeError as error:
        print(f"the benchmarks failed: {error}", file=sys.stderr)
        return 1
    print_tables(measurements, where, asked.repeats)
    write_json(RESULT, measurements, where)
    print(f"every measurement is in {RESULT}", file=sys.stderr)
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure the agent's CPU time per packet beside tcpdump's and scapy.sniff's. Needs root.",
    )
    parser.add_argument(
        "--repeats", type=_positive(int, 100), default=3, metavar="N", help="(default: %(default)s)"
    )
    parser.add_argument(
        "--seconds",
        type=_positive(float, 60),
        default=0.5,
        metavar="S",
        help="length of each load (default: %(default)s)",
    )
    return parser.parse_args()


def _positive(kind: type[int] | type[float], limit: int) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = kind(text)
        if not 0 < value <= limit:
            raise argparse.ArgumentTypeError(f"{text} is not between 0 and {limit}")
        return value

    return parse


def _why_not() -> str:
    if sys.platform != "linux":
        return "network namespaces and packet sockets are Linux's"
    from tests.namespaces import why_not

    return why_not() or ("" if shutil.which("tcpdump") else "tcpdump is missing (Debian: tcpdump)")


if __name__ == "__main__":
    sys.exit(main())
