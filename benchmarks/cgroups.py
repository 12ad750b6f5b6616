"""Control groups with the CPU weights that a kubelet gives to containers, of whichever version this machine has.

The kubelet turns a container's CPU request into `cpu.shares` (1,024 a core, at least 2, which is what a container without a
request gets). With cgroup v1 the kernel takes shares as they are; with v2 the container runtime turns them into a `cpu.weight`
(runc, libcontainer/cgroups: ConvertCPUSharesToCgroupV2Value).
"""

import contextlib
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

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


def why_not() -> str:
    """Give the reason why groups with weights cannot be made here; nothing if they can."""
    try:
        with shared(2, 2):
            return ""
    except OSError as error:
        return f"no control groups with CPU weights: {error}"


def version() -> int:
    """Give the version of control groups whose CPU controller is in use: 1 or 2."""
    return 1 if (_V1 / "cpu.shares").exists() else 2


def weight_of(shares: int) -> int:
    """Give the `cpu.weight` of cgroup v2 for `cpu.shares`, as runc does: 2 to 262,144 become 1 to 10,000."""
    return 1 + ((shares - 2) * 9999) // 262142


@contextlib.contextmanager
def shared(*shares: int) -> Iterator[list[Group]]:
    """Make a group for each of the shares, side by side, and remove them at the end.

    Raises:
        OSError: Groups cannot be made here.
    """
    first = version() == 1
    parent = (_V1 if first else _V2) / f"podmirror-bench-{uuid.uuid4().hex[:8]}"
    groups = [Group(parent / f"{position}") for position, _ in enumerate(shares)]
    if not first:
        (_V2 / "cgroup.subtree_control").write_text("+cpu")
    try:
        parent.mkdir()
        if not first:
            (parent / "cgroup.subtree_control").write_text("+cpu")
        for group, share in zip(groups, shares, strict=True):
            group.path.mkdir()
            if first:
                (group.path / "cpu.shares").write_text(str(share))
            else:
                (group.path / "cpu.weight").write_text(str(weight_of(share)))
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
