"""What every pod of the node needs, in one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from podmirror_sandbox.cluster.objects import Object, uid_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from podmirror_sandbox.cluster.registry import Registry
    from podmirror_sandbox.node.network import Network
    from podmirror_sandbox.node.processes import Processes

NODE_NAME = "node1"


@dataclass(frozen=True)
class Host:
    """The node as its pods see it."""

    registry: Registry
    network: Network
    processes: Processes
    data: Path
    """Logs and termination messages: a tmpfs that vanishes with the node."""
    agent_version: str
    environment: Mapping[str, str]
    """What every container's environment begins with."""
    is_root: bool
    """Whether the sandbox was started by root, so that all user ids exist."""

    @property
    def process_view(self) -> Path:
        """Where the node's processes show to pods with `hostPID`."""
        return self.data / "processes"

    def now(self) -> datetime:
        """The time."""
        return self.registry.clock()

    def container_directory(self, pod: Object, container: str) -> Path:
        """Where one container's files are; made when it is not there."""
        directory = self.data / "pods" / uid_of(pod) / container
        directory.mkdir(parents=True, exist_ok=True)
        return directory
