"""Measure what a capture costs: `python -m benchmarks`, as root on Linux; README.md says what the figures mean."""

import argparse
import signal
import sys
from collections.abc import Callable
from pathlib import Path

RESULT = Path(__file__).parent.parent / "build" / "bench.json"
NAMES = (
    "packets",
    "saturated",
    "lossfree",
    "bulk",
    "connections",
    "latency",
    "footprint",
    "sharing",
    "scale",
)


def main() -> int:
    """Run the benchmarks and give the exit code: 0 done, 1 failed on the way, 2 usage, 5 not started."""
    asked = _parse()
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(143)
    )  # so that namespaces and children go, as after Ctrl-C
    reason = _why_not()
    if reason:
        print(f"the benchmarks cannot run: {reason}", file=sys.stderr)
        return 5
    # Imported late: `--help` needs none of it.
    from benchmarks import native
    from benchmarks.report import machine, print_heading, print_section, write_json
    from benchmarks.sections import Asked
    from benchmarks.suite import SECTIONS

    where = machine()
    asks = Asked(asked.repeats, asked.seconds, _tell, asked.pairs, tuple(asked.captures))
    rows, notes, failed = [], {}, False
    print_heading(where, asked.repeats)
    for section in SECTIONS:
        if asked.only and section.name not in asked.only:
            continue
        if section.needs_compiler and native.why_not():
            _tell(f"{section.name}: left out, {native.why_not()}")
            continue
        measured = []
        try:
            for row in section.measure(asks):
                measured.append(row)  # noqa: PERF402  what was measured before a failure counts
        except (RuntimeError, OSError) as error:
            failed = True
            print(f"{section.name} failed: {error}", file=sys.stderr)
        notes[section.name] = section.notes(measured)
        print_section(section, measured, notes[section.name])
        rows += measured
        write_json(RESULT, rows, notes, where)
    print(f"every measurement is in {RESULT}", file=sys.stderr)
    return 1 if failed else 0


def _tell(text: str) -> None:
    print(text, file=sys.stderr)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure what the agent costs, beside other captures. Needs root.",
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=NAMES,
        metavar="NAME",
        help=f"(again for more) one of {', '.join(NAMES)}",
    )
    parser.add_argument(
        "--captures",
        nargs="+",
        default=[],
        metavar="PART",
        help="only captures with such a part in their names, as in `agent tcpdump`",
    )
    parser.add_argument(
        "--repeats", type=_positive(int, 100), default=3, metavar="N", help="(default: %(default)s)"
    )
    parser.add_argument(
        "--pairs",
        type=_positive(int, 1000),
        default=20,
        metavar="N",
        help="of `sharing` (default: %(default)s)",
    )
    parser.add_argument(
        "--seconds",
        type=_positive(float, 60),
        default=1.0,
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

    return why_not()


if __name__ == "__main__":
    sys.exit(main())
