"""One pod of a fleet, and the session beside it."""

import asyncio
from typing import Protocol

from podmirror.roster import PodView
from podmirror.session import Session
from podmirror_wire.frames import ConnectionFrame

LEAVE_SECONDS = 3.0
"""For the agent of a pod that goes away to say goodbye: it promises to, within a second of SIGTERM."""


class Receiver(Protocol):
    """What takes the frames of one pod's session."""

    def receive_frame(self, frame: ConnectionFrame) -> None:
        """Take the next frame of a connection; it must not block."""

    def attach(self, session: Session) -> None:
        """Answer to this session from now on."""

    def expect_end(self) -> None:
        """The pod goes away, and its agent with it: that is told as such, and is no agent lost."""

    async def finish(self) -> None:
        """Let what is under way end; after the session has ended."""


class Member:
    """One pod, and the session beside it."""

    def __init__(self, pod: PodView, inflow: Receiver, *, origin: str, since: float) -> None:
        self.pod = pod
        self.inflow = inflow
        self.origin = origin
        """The pod that it is the successor of, if it is."""
        self.since = since
        """When its traffic began to be wanted, seconds of the loop's clock."""
        self.session: Session | None = None
        self.live: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.over = asyncio.Event()
        """The session has ended, and what that means for the others is settled."""
        self.leaving = ""
        self.task: asyncio.Task[None] | None = None
        self._patience: asyncio.Timeout | None = None

    async def wait(self, session: Session) -> None:
        """Wait for the end of the session.

        Raises:
            AgentLost: It ended.
            TimeoutError: The pod is leaving, and the agent has not said so for a while.
        """
        try:
            async with asyncio.timeout(LEAVE_SECONDS if self.leaving else None) as self._patience:
                await session.wait()
        finally:
            self._patience = None

    def leave(self, why: str) -> None:
        """The pod is going away, and its agent with it."""
        self.leaving = why
        if self._patience is not None:
            self._patience.reschedule(asyncio.get_running_loop().time() + LEAVE_SECONDS)
