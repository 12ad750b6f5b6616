"""What a view is: something that is told of connections, and says what it made of them."""

from collections.abc import Mapping
from typing import ClassVar, Protocol

from podmirror_wire.frames import ConnectionFrame


class View(Protocol):
    """Takes the frames of the connections of every pod, and writes what it is for."""

    @property
    def is_full(self) -> bool:
        """Whether it can take no more for now: those who send get no credit until it can."""

    def receive_frame(self, pod: str, frame: ConnectionFrame) -> None:
        """Take the next frame of a connection of a pod; it must not block for long."""

    def finish(self) -> None:
        """Say the rest; no frame comes any more."""


class NoView:
    """Shows nothing, where somebody else has the standard output."""

    is_full: bool = False
    settings: ClassVar[Mapping[str, str]] = {"initiator": "lengths", "responder": "lengths"}
    """What it asks of the agents (docs/protocol.md, Options)."""

    def receive_frame(self, pod: str, frame: ConnectionFrame) -> None:
        """Pass over it."""

    def finish(self) -> None:
        """Say nothing."""
