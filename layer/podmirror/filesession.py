"""The session with an agent that reads a capture file: what a fleet is to pods, with one member and an end of its own."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from podmirror.errors import AgentLost
from podmirror.localagent import Reading, start
from podmirror.member import Receiver
from podmirror.progress import Progress
from podmirror.session import Session
from podmirror_wire.values import CAPTURE_ENDED

if TYPE_CHECKING:
    from podmirror.ledger import Move


class FileSession:
    """A file that is being read."""

    def __init__(self, session: Session, progress: Progress, file: str) -> None:
        self.moves: list[Move] = []
        """None: a file stays where it is."""
        self._session = session
        self._progress = progress
        self._file = file

    @property
    def loss(self) -> AgentLost | None:
        """What ended the session, if it was not the end of the file."""
        return self._session.loss

    async def subscribe(self, port: int) -> None:
        """Ask for the connections of a port.

        Raises:
            NotStarted: The agent refused.
            AgentLost: It was lost meanwhile.
        """
        await self._session.subscribe(port)

    async def wait(self) -> None:
        """Wait for the end of the file.

        Raises:
            AgentLost: It was not reached.
        """
        reason = await self._session.wait()
        complaint = reason.removeprefix(CAPTURE_ENDED).removeprefix("; ")
        if complaint:
            self._progress.note(f"{self._file}: {complaint}")


@asynccontextmanager
async def open_file(
    reading: Reading, progress: Progress, join: Callable[[str], Receiver]
) -> AsyncIterator[FileSession]:
    """Start an agent that reads a file.

    Args:
        reading: Which, and how.
        progress: Told of it.
        join: Called with the name of no pod; it gives what takes the session's frames.

    Raises:
        NotStarted: The file cannot be read.
    """
    receiver = join("")
    async with start(reading, receiver.receive_frame) as (agent, link):
        session = Session(link, agent.explain, settings=reading.settings)
        receiver.attach(session)
        try:
            yield FileSession(session, progress, reading.file)
        finally:
            await session.part("the session is over")
            await link.stream.close()
