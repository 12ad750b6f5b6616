"""Where traffic comes from: the pods of a target, live, or a capture file. What follows is the same for both."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol

from podmirror.errors import AgentLost
from podmirror.filesession import open_file
from podmirror.fleet import open_fleet
from podmirror.ledger import Move
from podmirror.localagent import Reading
from podmirror.member import Receiver
from podmirror.progress import Progress
from podmirror.session import SessionOptions


class Source(Protocol):
    """The sessions of one command."""

    moves: list[Move]
    """From pod to pod."""

    @property
    def loss(self) -> AgentLost | None:
        """What ended everything before it should have."""

    async def subscribe(self, port: int) -> None:
        """Ask for the connections of a port of every pod.

        Raises:
            NotStarted: An agent refused.
            AgentLost: The last agent was lost meanwhile.
        """

    async def wait(self) -> None:
        """Wait for as long as there is something to see, or may be.

        Raises:
            AgentLost: There is not, though there should be.
        """


@asynccontextmanager
async def open_source(
    origin: SessionOptions | Reading, progress: Progress, join: Callable[[str], Receiver]
) -> AsyncIterator[Source]:
    """Start agents beside pods, or one that reads a file.

    Args:
        origin: Where the pods are, or the file.
        progress: Told of each step.
        join: Called with the name of each pod whose session begins, or with none for a file; it gives what takes its frames.

    Raises:
        NotStarted: Nothing could be started, and why.
    """
    async with AsyncExitStack() as leaving:
        opened = (
            open_file(origin, progress, join)
            if isinstance(origin, Reading)
            else open_fleet(origin, progress, join)
        )
        yield await leaving.enter_async_context(opened)
