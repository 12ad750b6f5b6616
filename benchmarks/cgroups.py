"""Control groups with the CPU weights that containers get, of whichever version this machine has.

The kubelet turns a container's CPU request into `cpu.shares`: 1,024 a core, and 2 without a request, which is the least. With
cgroup v1 the kernel takes shares as they are. With v2 the container runtime turns them into a `cpu.weight`, and not in
proportion: by one formula up to runc 1.3.1, and by another since (opencontainers/cgroups, ConvertCPUSharesToCgroupV2Value;
https://github.com/opencontainers/runc/issues/4896). So what counts here is the ratio of two weights, which either version can
be given.
"""

import contextlib
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LEAST_SHARES = 2

_V1 = Path("/sys/fs/cgroup/cpu")
_V2 = Path("/sys/fs/cgroup")
_EMPTY_SECONDS = 5.0
"""For the processes of a group to be gone; they were told to end already."""


@dataclass(frozen=True)
class Group:
    """A control group."""

    path: Path

    def add(self, pid: int) -> None:
        """Move a process there, with all of its threads."""
        (self.path / "cgroup.procs").write_text(str(pid))


def linear_weight(shares: int) -> int:
    """Give the `cpu.weight` for `cpu.shares` as runc did up to 1.3.1 and crun up to 1.22: 2 to 262,144 become 1 to 10,000."""
    return 1 + ((shares - 2) * 9999) // 262142


def why_not() -> str:
    """Give the reason why groups with weights cannot be made here; nothing if they can."""
    try:
        with weighted(1, 1):
            return ""
    except OSError as error:
        return f"no control groups with CPU weights: {error}"


def version() -> int:
    """Give the version of control groups whose CPU controller is in use: 1 or 2."""
    return 1 if (_V1 / "cpu.shares").exists() else 2


@contextlib.contextmanager
def weighted(*weights: int) -> Iterator[list[Group]]:
    """Make a group for each of the weights, side by side, and remove them at the end.

    A weight of 1 is the least there is, as a container without a CPU request has it.

    Raises:
        OSError: Groups cannot be made here.
    """
    first = version() == 1
    parent = (_V1 if first else _V2) / f"podmirror-bench-{uuid.uuid4().hex[:8]}"
    groups = [Group(parent / f"{position}") for position, _ in enumerate(weights)]
    if not first:
        (_V2 / "cgroup.subtree_control").write_text("+cpu")
    try:
        parent.mkdir()
        if not first:
            (parent / "cgroup.subtree_control").write_text("+cpu")
        for group, weight in zip(groups, weights, strict=True):
            group.path.mkdir()
            if first:
                (group.path / "cpu.shares").write_text(str(weight * LEAST_SHARES))
            else:
                (group.path / "cpu.weight").write_text(str(weight))
        yield groups
    finally:
        for path in (*(group.path for group in groups), parent):
            _remove(path)


def _remove(path: Path) -> None:
    until = time.monotonic() + _EMPTY_SECONDS
    while path.exists():
        try:
            path.rmdir()
        except OSError:  # a process that was killed is still on its way out
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
