"""What the launcher and the node say to each other: one JSON line each way, over the node's stdin and stdout.

The node's stdin stays open for as long as the launcher lives; its end is how the node learns that the launcher died.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class NodeConfig:
    """What the node is told. It carries the token, so it goes through a pipe and not through an argument list."""

    listening: int
    """The descriptor of the API's listening socket, inherited."""
    server: str
    """The URL clients use, without the token."""
    token: str
    kubeconfig: str
    private_directory: bool
    """Whether the kubeconfig's directory is made for it and removed with it."""
    is_root: bool
    agent_version: str
    manifests: list[dict[str, Any]] = field(default_factory=list)

    def encode(self) -> bytes:
        """The line to send."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> NodeConfig:
        """The line received."""
        return cls(**json.loads(line))


@dataclass(frozen=True)
class NodeReport:
    """What the node answers: it is ready, or why it is not."""

    error: str = ""

    def encode(self) -> bytes:
        """The line to send."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> NodeReport:
        """The line received."""
        return cls(**json.loads(line))
