"""What an agent can tell of itself, for comparisons: read from /proc and from its control group, with no right beyond its own.

The namespaces of the target are another container's, and to see them takes SYS_PTRACE: a Job's agent reads them when it looks
for its target, before it gives up its capabilities, and keeps the numbers. An agent in the target's pod has no such right.
"""

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
"""As /proc/PID/ns calls them (namespaces(7)); time has no place in a container's specification."""

_KIBIBYTES = ("VmRSS", "VmHWM", "RssAnon")
_MASKS = ("CapBnd", "CapEff")
_V1_MEMORY = {
    "memory.current": "memory.usage_in_bytes",
    "memory.peak": "memory.max_usage_in_bytes",
    "memory.max": "memory.limit_in_bytes",
}
_V1_UNLIMITED = 1 << 62
"""What no limit comes to is the greatest number of pages, in bytes (PAGE_COUNTER_MAX)."""

_CGROUP_FILES = ("memory.current", "memory.peak", "memory.max", "cpu.max")


def examine(
    packets: int,
    kept: Mapping[str, str],
    *,
    target: Path = Path("/proc/self"),
    proc: Path = Path("/proc/self"),
    cgroup: Path = Path("/sys/fs/cgroup"),
) -> dict[str, str]:
    """Give all findings, by the names of docs/protocol.md.

    Args:
        packets: Captured so far.
        kept: Findings of the agent's start.
        target: The target's process, whose network is looked at.
        proc: This process.
        cgroup: This container's control group.
    """
    return {
        "cpu_ns": str(time.process_time_ns()),
        "packets": str(packets),
        **dict(_status(proc)),
        **dict(_control_group(cgroup)),
        **{f"ns.{name}": number for name, number in namespaces_of(proc).items()},
        **dict(_network(target)),
        **kept,
    }


def namespaces_of(process: Path) -> dict[str, str]:
    """Give the inode numbers of a process's namespaces; where one cannot be read, `-` and the reason."""
    found = {}
    for name in NAMESPACES:
        try:
            found[name] = str((process / "ns" / name).stat().st_ino)
        except OSError as error:
            found[name] = f"- {error.strerror}"
    return found


def _status(proc: Path) -> Iterator[tuple[str, str]]:
    for line in _lines(proc / "status"):
        name, _, value = line.partition(":")
        if name in _KIBIBYTES:
            yield name, str(int(value.split()[0]) << 10)
        elif name in _MASKS:
            yield name, value.strip()


def _control_group(folder: Path) -> Iterator[tuple[str, str]]:
    """Read cgroup v2, or v1 by the names of v2; nothing where the control group is another's."""
    own = str(os.getpid())
    if own in _lines(folder / "cgroup.procs"):
        for name in _CGROUP_FILES:
            for line in _lines(folder / name)[:1]:
                yield f"cgroup.{name}", line
        for line in _lines(folder / "cpu.stat"):
            if line.startswith("usage_usec "):
                yield "cgroup.cpu.usage_usec", line.split()[1]
    elif own in _lines(folder / "memory" / "cgroup.procs"):
        yield from _first_version(folder)


def _first_version(folder: Path) -> Iterator[tuple[str, str]]:
    for name, file in _V1_MEMORY.items():
        for line in _lines(folder / "memory" / file)[:1]:
            yield f"cgroup.{name}", "max" if int(line) >= _V1_UNLIMITED else line
    for line in _lines(folder / "cpuacct" / "cpuacct.usage")[:1]:
        yield "cgroup.cpu.usage_usec", str(int(line) // 1000)
    quota, period = (_lines(folder / "cpu" / f"cpu.cfs_{each}_us")[:1] for each in ("quota", "period"))
    if quota and period:
        yield "cgroup.cpu.max", f"{'max' if quota[0] == '-1' else quota[0]} {period[0]}"


def _network(process: Path) -> Iterator[tuple[str, str]]:
    sockets = [line for name in ("sockstat", "sockstat6") for line in _lines(process / "net" / name)]
    counts = [int(line.split()[2]) for line in sockets if line.startswith(("TCP: inuse", "TCP6: inuse"))]
    if counts:
        yield "net.sockets", str(sum(counts))
    tables = [process / "net" / name for name in ("ip_tables_names", "ip6_tables_names")]
    if any(table.exists() for table in tables):
        yield "net.tables", " ".join(line for table in tables for line in _lines(table))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return []
