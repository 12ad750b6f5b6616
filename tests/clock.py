"""An event loop's clock that stands still until a test winds it on: however slow the machine is, no deadline passes unasked."""

import asyncio
import time


class Clock:
    """The running loop's clock from now on. Sockets and threads do not mind that it stands."""

    step = 0.01
    """Seconds at a time."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.now = loop.time()
        loop.time = lambda: self.now

    async def wind(self, seconds: float) -> None:
        """Let so much time pass, and all that is due in it be done."""
        until = self.now + seconds
        while self.now < until:
            await self._step()
        await self._step()

    async def until_done(self, task: "asyncio.Future[object]", *, seconds: float = 10.0) -> None:
        """Let time pass until a task is done, `seconds` of it at most."""
        until = self.now + seconds
        while not task.done():
            assert self.now < until, f"not within {seconds} s: {task}"
            await self._step()

    async def _step(self) -> None:
        self.now += self.step
        await asyncio.to_thread(time.sleep, 0.001)  # for what the kernel carries from socket to socket
