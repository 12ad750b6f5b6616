"""What is done when the tunnel to an agent is lost: it is opened again, until the agent is known to have ended."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping

from podmirror.bytestream import ByteStream
from podmirror.errors import AgentLost, NobodyListens, NotStarted, TunnelLost
from podmirror.link import Link
from podmirror.progress import Progress
from podmirror.verdict import counted
from podmirror_wire.errors import ProtocolError

ATTEMPT_SECONDS = 5.0
"""For one try: an API server that comes up takes connections before it answers them."""

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0
"""Between two tries: an API server that restarts meets all of its clients at once, and a few seconds go unnoticed here."""

LEDGER_SECONDS = 5.0
"""For the agent's word on what was missed; it comes behind all that waited at the agent."""

_LOSSES = {
    "cut_connections": "connection given up, because the agent's buffers were full",
    "shed_connections": "connection shed, to keep to the agent's CPU budget",
    "gaps": "gap in what was captured",
    "kernel_drops": "packet dropped by the agent's kernel",
}


class Reopening:
    """Opens another tunnel to the same agent, and has the link go on over it."""

    def __init__(
        self,
        open_stream: Callable[[], Awaitable[ByteStream]],
        has_ended: Callable[[], Awaitable[bool]],
        secret: bytes,
        *,
        ttl: float,
        progress: Progress,
    ) -> None:
        """Set how that is done.

        Args:
            open_stream: Opens a stream to the agent.
            has_ended: Whether the agent is known to have ended.
            secret: The agent's.
            ttl: Seconds that the agent waits for us.
            progress: Told of it.
        """
        self._open_stream = open_stream
        self._has_ended = has_ended
        self._secret = secret
        self._ttl = ttl
        self._progress = progress
        self._telling: set[asyncio.Task[None]] = set()
        self._closing: set[asyncio.Task[None]] = set()

    async def resume(self, link: Link, lost: TunnelLost) -> None:
        """Open the tunnel again, and return when `link.run` can be called again.

        Raises:
            AgentLost: The agent has ended, or must have by now.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        counts = link.counts
        self._progress.note(f"the tunnel was lost ({lost}); trying again")
        self._keep(self._closing, asyncio.create_task(link.stream.close(), name="close the lost tunnel"))
        resumed = await self._try_until(link, lost, began + self._ttl)
        telling = self._tell(link, counts, loop.time() - began, resumed=resumed)
        self._keep(self._telling, asyncio.create_task(telling, name="tell what was missed"))

    async def stop(self) -> None:
        """Tell no more."""
        for task in self._telling:
            task.cancel()
        await asyncio.gather(*self._telling, *self._closing, return_exceptions=True)

    def _keep(self, tasks: "set[asyncio.Task[None]]", task: "asyncio.Task[None]") -> None:
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _try_until(self, link: Link, lost: TunnelLost, deadline: float) -> bool:
        loop = asyncio.get_running_loop()
        for pause in _pauses():
            try:
                async with asyncio.timeout(ATTEMPT_SECONDS):
                    return await self._try_once(link)
            except NobodyListens:
                raise AgentLost(f"{lost}; nothing listens on the agent's port any more") from None
            except (AgentLost, NotStarted, ProtocolError, TimeoutError) as error:
                trouble = str(error) or f"no answer within {ATTEMPT_SECONDS:g} s"
            if await self._is_over():
                raise lost
            if loop.time() + pause > deadline:
                raise AgentLost(
                    f"{lost}; it could not be opened again within the {self._ttl:g} s that the agent waits: {trouble}"
                )
            await asyncio.sleep(pause)
        raise AssertionError("the pauses have no end")

    async def _try_once(self, link: Link) -> bool:
        stream = await self._open_stream()
        try:
            return await link.resume(stream, self._secret)
        except BaseException:
            await stream.close()
            raise

    async def _is_over(self) -> bool:
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                return await self._has_ended()
        except TimeoutError:
            return False

    async def _tell(self, link: Link, before: Mapping[str, int], seconds: float, *, resumed: bool) -> None:
        if not resumed:
            self._progress.note(
                f"the agent had given the session up, so it began anew after {seconds:.1f} s: what passed meanwhile was "
                "missed, and connections that are open are joined late"
            )
            return
        try:
            async with asyncio.timeout(LEDGER_SECONDS):
                await link.ledger_heard()
        except TimeoutError:
            self._progress.note(f"resumed after {seconds:.1f} s")
            return
        losses = {name: link.counts.get(name, 0) - before.get(name, 0) for name in _LOSSES}
        missed = "; ".join(_counted(number, _LOSSES[name]) for name, number in losses.items() if number > 0)
        self._progress.note(f"resumed after {seconds:.1f} s, {missed or 'nothing was missed'}")


def _counted(number: int, what: str) -> str:
    noun, _, rest = what.partition(" ")
    return f"{counted(number, noun)} {rest}"


def _pauses() -> Iterator[float]:
    pause = FIRST_PAUSE_SECONDS
    while True:
        yield pause * random.uniform(0.5, 1)  # noqa: S311  # many layers should not try at the same moment
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
