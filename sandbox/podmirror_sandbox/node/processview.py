"""The node's processes as a pod with `hostPID` sees them: which container each belongs to, and its namespaces.

On a real node that stands in /proc/PID/cgroup, where the kernel writes the control groups that the runtime made. The sandbox
makes none, which takes rights that a plain user does not have. So containers that see the node's processes find this folder
named in the environment variable PODMIRROR_PROC: `PID/cgroup` as containerd's systemd driver would have it, and `PID/ns` and
`PID/net`, which lead to the process's own.
"""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VARIABLE = "PODMIRROR_PROC"


class ProcessView:
    """Such a folder."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @contextlib.contextmanager
    def showing(self, pid: int | None, container_id: str, pod_uid: str) -> Iterator[None]:
        """Show the first process of a container, if there is one, for as long as the block lasts."""
        if pid is None:
            yield
            return
        entry = self.directory / str(pid)
        entry.mkdir(parents=True, exist_ok=True)
        slices = f"kubepods.slice/kubepods-pod{pod_uid.replace('-', '_')}.slice"
        scope = f"cri-containerd-{container_id.rpartition('://')[2]}.scope"
        (entry / "cgroup").write_text(f"0::/{slices}/{scope}\n")
        for name in ("ns", "net"):
            (entry / name).symlink_to(f"/proc/{pid}/{name}")
        try:
            yield
        finally:
            shutil.rmtree(entry, ignore_errors=True)
