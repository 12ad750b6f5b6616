"""What a layer costs that mirrors many pods at once, in the sandbox: from 1 pod to 50.

The layer, the sandbox and every app and agent share this machine, as they never do in a cluster. So the time to start is set
beside that of the same agents without a layer, and the CPU time of the layer is its own process' alone.
"""

import contextlib
import json
import math
import os
import signal
import socket
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.children import Child, python, resident_bytes, result_of, started, wait_until_said
from benchmarks.replicas import (
    LOOK_SECONDS,
    START_SECONDS,
    Replicas,
    agent_pids,
    deployed,
    node_cpu_seconds,
    process_cpu_seconds,
)
from benchmarks.rows import Row, short, values_of
from benchmarks.sections import Asked, Column, Section
from e2e.cluster import E2ECluster, cluster
from e2e.sessions import Podmirror

COUNTS = (1, 10, 25, 50)
RATE = 4.0
"""Requests a second to each pod: apps, agents and all else together use about one core of two at 50."""

STRETCH = 10
"""Of --seconds: this load is light, and what a layer does in a second is little to measure."""

REPEATS_OF_THREE = 3
"""One repeat takes about two minutes, so there is one for as many of the others."""

SETTLE_SECONDS = 2.0
STOP_SECONDS = 60.0


def measure(asked: Asked) -> Iterator[Row]:
    """Mirror each number of pods, without a load and with one."""
    repeats = math.ceil(asked.repeats / REPEATS_OF_THREE)
    seconds = STRETCH * asked.seconds
    load = f"{RATE:g} requests/s to each pod, of 1,000 bytes, {seconds:g} s"
    with _without_kubeconfig(), cluster() as k8s:
        for repeat in range(repeats):
            for count in COUNTS:
                asked.tell(f"scale, repeat {repeat + 1} of {repeats}: {_subject(count)}")
                yield Row("scale", load, _subject(count), repeat, _measure_once(k8s, repeat, count, seconds))


def _subject(count: int) -> str:
    return f"{count} pod{'s' if count > 1 else ''}"


@contextlib.contextmanager
def _without_kubeconfig() -> Iterator[None]:
    """Have the scenarios' helpers start a sandbox, whatever cluster is named."""
    named = os.environ.pop("KUBECONFIG", None)
    try:
        yield
    finally:
        if named is not None:
            os.environ["KUBECONFIG"] = named


def _measure_once(k8s: E2ECluster, repeat: int, count: int, seconds: float) -> dict[str, float]:
    with deployed(k8s, f"alone-{repeat}-{count}", count) as replicas:
        time.sleep(SETTLE_SECONDS)
        alone = replicas.start_agents_alone()
    with deployed(k8s, f"app-{repeat}-{count}", count) as replicas:
        time.sleep(SETTLE_SECONDS)
        return {"alone_seconds": alone, **_mirror(replicas, seconds)}


def _mirror(replicas: Replicas, seconds: float) -> dict[str, float]:
    k8s, count, port = replicas.k8s, replicas.count, _free_port()
    with (
        tempfile.TemporaryDirectory(prefix="podmirror-bench-") as folder,
        started(python("benchmarks.requestsink", str(port)), stdin=-1, stdout=-1) as sink,
    ):
        wait_until_said(sink, "ready")
        ledger = Path(folder) / "ledger.json"
        options = ["-p", f"8080:{port}", "--all-pods", "--max-pods", str(count), "--ledger", str(ledger)]
        node_before, began = node_cpu_seconds(), time.monotonic()
        arguments = k8s.session_arguments(f"deployment/{replicas.name}")
        with Podmirror(k8s, "mirror", *arguments, *options) as layer:
            _wait_until_mirroring(layer)
            values = {"start_seconds": time.monotonic() - began}
            pid = layer.process.pid
            values["start_cpu"] = process_cpu_seconds(pid)
            values["node_cpu"] = node_cpu_seconds() - node_before
            values["agents_cpu"] = sum(map(process_cpu_seconds, agent_pids()))
            values["others_cpu"] = values["node_cpu"] + values["agents_cpu"]
            time.sleep(SETTLE_SECONDS)
            values |= _idle_and_loaded(replicas, pid, seconds)
            began = time.monotonic()
            layer.process.send_signal(signal.SIGINT)
            values["exit_code"] = layer.wait(STOP_SECONDS)
            values["stop_seconds"] = time.monotonic() - began
        return values | _delivered(sink, json.loads(ledger.read_text()))


def _idle_and_loaded(replicas: Replicas, pid: int, seconds: float) -> dict[str, float]:
    cpu, began = process_cpu_seconds(pid), time.monotonic()
    time.sleep(seconds)
    idle = (process_cpu_seconds(pid) - cpu) / (time.monotonic() - began)
    cpu, began = process_cpu_seconds(pid), time.monotonic()
    sent = replicas.load(RATE, seconds)
    time.sleep(SETTLE_SECONDS)
    busy, lasted = process_cpu_seconds(pid) - cpu, time.monotonic() - began
    resident = resident_bytes(pid)[0]
    return {
        "idle_each": idle / replicas.count,
        "load_each": busy / seconds / replicas.count,
        "request_cpu": (busy - idle * lasted) / sent,
        "resident_bytes": resident,
        "resident_each": resident / replicas.count,
        "descriptors": sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()),
        "sent": sent,
    }


def _delivered(sink: Child, ledger: dict[str, float]) -> dict[str, float]:
    told = result_of(sink)
    return {
        "delivered": told["different"],
        "twice": told["requests"] - told["different"],
        "lost_connections": ledger["lost_connections"],
        "lost_bytes": ledger["lost_bytes"],
    }


def _wait_until_mirroring(layer: Podmirror) -> None:
    deadline = time.monotonic() + START_SECONDS
    while "mirroring; Ctrl-C ends it" not in layer.err:
        if layer.process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"not all pods are mirrored: {layer.err}")
        time.sleep(LOOK_SECONDS)
    if "is not mirrored" in layer.err:
        raise RuntimeError(f"some pods are not mirrored: {layer.err}")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def notes(rows: list[Row]) -> list[str]:
    """Say what each further pod costs, and what became of what was not delivered."""
    least, most = (_subject(count) for count in (COUNTS[0], COUNTS[-1]))
    further = COUNTS[-1] - COUNTS[0]
    lines = []
    for what, key, factor, unit in (
        ("start", "start_cpu", 1e3, "ms of the layer's CPU"),
        ("memory", "resident_bytes", 1 / 1024, "KiB resident"),
        ("descriptors", "descriptors", 1.0, "open files"),
    ):
        first, last = values_of(rows, least, key), values_of(rows, most, key)
        if first and last:
            each = statistics.median((b - a) / further for a, b in zip(first, last, strict=False))
            lines.append(f"{what}: each pod behind the first takes {short(each * factor)} {unit}")
    for row in rows:
        missing = row.values["sent"] - row.values["delivered"]
        if missing or row.values["twice"] or row.values["exit_code"]:
            lines.append(
                f"{row.subject}: {missing:g} requests were not delivered and {row.values['twice']:g} twice; the ledger has "
                f"{row.values['lost_connections']:g} connections with loss, {row.values['lost_bytes']:g} bytes; exit code "
                f"{row.values['exit_code']:g}"
            )
    return lines


SCALE_SECTION = Section(
    "scale",
    "Many pods at once",
    (
        Column("s to start", "start_seconds"),
        Column("agents alone", "alone_seconds"),
        Column("CPU s to start", "start_cpu"),
        Column("of all else", "others_cpu"),
        Column("idle ms/s a pod", "idle_each", factor=1e3),
        Column("loaded", "load_each", factor=1e3),
        Column("x 1 pod", "load_each", over=_subject(1)),
        Column("ms a request", "request_cpu", factor=1e3),
        Column("RSS MiB", "resident_bytes", factor=1 / (1 << 20)),
        Column("a pod", "resident_each", factor=1 / (1 << 20)),
        Column("files", "descriptors"),
        Column("sent", "sent"),
        Column("delivered", "delivered"),
        Column("exit", "exit_code"),
    ),
    measure,
    notes,
    needs_compiler=False,
)
