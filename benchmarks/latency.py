"""How much later than at the app the bytes are at the layer.

Each request carries when it was written. The app notes when it has read a request's last byte, the drain when it has: the added
latency is the difference, request by request. All share one clock. The drain stands where the tunnel would begin, so what a
port-forward adds is not in it.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import agents
from benchmarks.captures import AGENT, COMPILED
from benchmarks.children import result_of
from benchmarks.comparison import usable_captures
from benchmarks.loads import quiet_namespaces
from benchmarks.rows import Row, percentile
from benchmarks.sections import Asked, Column, Section
from benchmarks.stamps import added_microseconds, parse_records
from benchmarks.transfers import app, run_client
from tests.namespaces import Namespaces

RATES = (500, 10_000)
"""Requests a second."""

CONNECTIONS = 10
MESSAGE_BYTES = 256
SETTLE_SECONDS = 0.3


def measure(asked: Asked) -> Iterator[Row]:
    """Measure the plain and the compiled agent in turn, at each rate."""
    names = usable_captures(asked, (AGENT, COMPILED))
    with quiet_namespaces() as made, tempfile.TemporaryDirectory() as folder:
        for repeat in range(asked.repeats):
            for rate in RATES:
                for name in names[repeat % len(names) :] + names[: repeat % len(names)]:
                    asked.tell(f"latency, repeat {repeat + 1} of {asked.repeats}: {rate}/s; {name}")
                    values = _measure_once(made, rate, asked.seconds, Path(folder), compiled=name == COMPILED)
                    load = f"{rate:,} requests/s of {MESSAGE_BYTES} bytes on {CONNECTIONS} connections"
                    yield Row("latency", load, name, repeat, values)


def _measure_once(
    made: Namespaces, rate: int, seconds: float, folder: Path, *, compiled: bool
) -> dict[str, float]:
    direct, mirrored = folder / "direct", folder / "mirrored"
    to_drain = (f"message={MESSAGE_BYTES}", f"record={mirrored}")
    with (
        agents.drained(made, compiled=compiled, drain_options=to_drain) as agent,
        app(made, message=MESSAGE_BYTES, record=direct) as serving,
    ):
        shape = {"message": MESSAGE_BYTES, "connections": CONNECTIONS, "rate": rate}
        told = run_client(made, "client", seconds, shape)
        agent.settle(SETTLE_SECONDS)
        counts = agent.finish()
        result_of(serving)
    arrived, seen = parse_records(direct.read_bytes()), parse_records(mirrored.read_bytes())
    added = added_microseconds(arrived, seen)
    if not added:
        raise RuntimeError("no request was mirrored")
    there = [(each.received - each.sent) / 1e3 for each in arrived.values()]
    return {
        "requests": told["requests"],
        "rate_share": told["answered"] / told["seconds"] / rate,
        "mirrored_share": len(added) / len(arrived),
        "added_p50_us": percentile(added, 0.5),
        "added_p99_us": percentile(added, 0.99),
        "direct_p50_us": percentile(there, 0.5),
        "direct_p99_us": percentile(there, 0.99),
        "drops": counts["ledger_kernel_drops"],
    }


LATENCY_SECTION = Section(
    "latency",
    "Added latency: at the layer's end of the agent's socket, over at the app",
    (
        Column("% of its rate", "rate_share", factor=100),
        Column("% mirrored", "mirrored_share", factor=100),
        Column("added p50 ms", "added_p50_us", factor=1e-3),
        Column("added p99 ms", "added_p99_us", factor=1e-3),
        Column("direct p50 ms", "direct_p50_us", factor=1e-3),
        Column("direct p99 ms", "direct_p99_us", factor=1e-3),
        Column("kernel drops", "drops"),
    ),
    measure,
)
