"""Comparisons to render and to judge, made by hand."""

from collections.abc import Sequence

from podmirror.clockreading import ClockReading
from podmirror.compare.figures import (
    PHASES,
    Ask,
    Column,
    Comparison,
    Cost,
    Effect,
    Fidelity,
    Leftovers,
    Mode,
    Run,
    Window,
)
from podmirror.compare.spread import Figure, Unknown
from podmirror.ledger import LayerLedger

OWN = {"cgroup": "1", "ipc": "2", "mnt": "3", "net": "4", "pid": "5", "user": "6", "uts": "7"}
TARGET = {**OWN, "mnt": "33", "pid": "55"}


def ledger(*, lost: int = 0) -> LayerLedger:
    made = LayerLedger(delivered_bytes=1_000_000 - lost)
    made.agent = {"bytes_seen": 1_000_000, "gap_bytes": 0, "cut_bytes": lost}
    return made


def run(
    mode: Mode,
    start: float = 0.5,
    *,
    cpu: Figure = 0.1,
    lost: int = 0,
    failed: int = 0,
    load: bool = True,
    latency: float = 0.001,
    target: bool | None = None,
) -> Run:
    job = mode is Mode.JOB
    names = [name for name in PHASES if job or name != "scheduled"]
    phases: dict[str, Figure] = {name: start / (len(names) - 1) for name in names}
    none = Unknown("no load")
    window = Window(
        [latency] * 99 + [0.5], {"status 500": failed} if failed else {}, 200_000, 1_700_000_000.0, 2.0
    )
    sees = job if target is None else target
    return Run(
        mode=mode,
        agent="podmirror-1",
        began=1_700_000_000.0,
        phases=phases,
        fidelity=Fidelity(
            ledger=ledger(lost=lost),
            passed_requests=100.0 if load else none,
            passed_bytes=200_000.0 if load else none,
            arrived_requests=100.0 if load else none,
            latencies=[0.002, 0.003, 0.1],
            latency_to="the delivery of its first request",
            sent_to_delivered=[0.001, 0.002] if load else [],
            clock=ClockReading(0.00001, 0.0001),
        ),
        cost=Cost(
            cpu=cpu,
            began=1_700_000_000.0,
            seconds=2.0,
            seen_bytes=1_000_000.0,
            packets=4_000.0,
            memory=125.0 * 2**20,
            memory_peak=126.0 * 2**20,
            memory_anonymous=47.0 * 2**20,
            tunnel_in=1_100_000,
            tunnel_out=600,
            limits={"cgroup.memory.max": str(128 << 20), "cgroup.cpu.max": "100000 100000"} if job else {},
        ),
        ask=Ask(
            added=("NET_RAW",),
            dropped=("ALL",),
            host_namespaces=("hostPID",) if job else (),
            privileged=False,
            level="privileged",
            held="given NET_RAW, holds none",
            may_change_rules=False,
        ),
        namespaces={**OWN, **({"net": "44"} if job else {})},
        target_namespaces=TARGET if sees else {},
        effect=Effect(
            dict.fromkeys(("before", "starting", "during", "after"), window if load else none),
            restarts=0.0,
            sockets=("4", "4"),
            tables=("", "nat"),
        ),
        leftovers=Leftovers(
            (-1 if job else 1, 0 if job else 1), 0.5, 0.03 if job else Unknown("there was no Job")
        ),
    )


def comparison(
    ephemeral: Sequence[Run] = (),
    job: Sequence[Run] = (),
    *,
    refusals: Sequence[str] = (),
    failures: Sequence[str] = (),
) -> Comparison:
    """Make one; the words are said of the mode that has no run."""
    columns = [Column(Mode.EPHEMERAL, list(ephemeral)), Column(Mode.JOB, list(job))]
    for column in columns:
        if not column.runs:
            column.refusals.extend(refusals)
            column.failures.extend(failures)
        column.verbs = ("pods: get list watch",)
    return Comparison(
        target="deployment/web",
        pod="shop/web-1",
        container="web",
        server="https://cluster",
        version="v1.36.2",
        date="2026-01-01 00:00 UTC",
        ports=(80, 81),
        rounds=3,
        seconds=5.0,
        load="100 requests/s",
        together=False,
        columns=columns,
        notes=["mind the <gap> | of *it*"],
    )


def both(count: int = 3) -> Comparison:
    """Make one that is complete: the Job is slower by more than the runs spread."""
    return comparison(
        [run(Mode.EPHEMERAL, 0.5 + each / 100) for each in range(count)],
        [run(Mode.JOB, 0.9 + each / 100) for each in range(count)],
    )
