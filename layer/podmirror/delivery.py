"""Local connections: one for each mirrored one, carrying the same bytes to the local process.

Each local connection is a task of its own with a queue of steps. The queue needs no bound of its own, since it holds no more
than the credit that this module gives: credit for bytes is given back only when the local process has taken them, so a slow
local process stalls its own connection, at the agent, and no other.

A local process may close a connection that goes on in the pod: it speaks HTTP/1.0, or its keep-alive time is shorter. When the
next bytes are a new HTTP request, they go to a new local connection; otherwise what the local process did not take is counted.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable

from podmirror.forwarding import (
    Begin,
    Finish,
    Forwarding,
    HalfClose,
    OnGap,
    Pass,
    Reset,
    Step,
    Write,
)
from podmirror.ledger import LayerLedger
from podmirror.localconnection import LocalConnection
from podmirror_http.boundary import is_request_head
from podmirror_wire.frames import Closed, ConnectionFrame, Opened

CONNECT_SECONDS = 30.0
"""For the local process to accept connections: it may be compiling, or restarting after a change."""

CONNECT_PAUSE_SECONDS = 0.1

LINGER_SECONDS = 10.0
"""For the local process to finish its answer after the mirrored connection has ended; then the local one is closed."""

DRAIN_SECONDS = 5.0
"""For the local process to read what stands before a reset, which would otherwise overtake it."""

TROUBLE_SECONDS = 0.5
"""Between a local connection that fails and the news that its process has ended: its sockets close first."""

CLOSED_EARLY = "the local process closed the connection before it had read everything"


class Delivery:
    """Delivers mirrored connections to local ports."""

    def __init__(
        self,
        ledger: LayerLedger,
        give_credit: Callable[[int, int], None],
        *,
        on_gap: OnGap = "reset",
        connect_seconds: float = CONNECT_SECONDS,
        on_outcome: Callable[[Forwarding, str], None] = lambda _forwarding, _detail: None,
    ) -> None:
        """Set where to count, how to give credit, and what to tell of each connection that ended.

        Args:
            ledger: Counts what became of the connections.
            give_credit: Called with a connection's number and a number of bytes.
            on_gap: Whether a connection with missing bytes ends there or is taken up at its next HTTP request.
            connect_seconds: How long a local process that does not accept connections is tried.
            on_outcome: Called with every connection that ended, and with what went wrong locally, if anything did.
        """
        self._ledger = ledger
        self._give_credit = give_credit
        self._on_gap = on_gap
        self._connect_seconds = connect_seconds
        self._on_outcome = on_outcome
        self._local_ports: dict[int, int] = {}
        self._lanes: dict[int, _Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()

    def map_port(self, remote: int, local: int) -> None:
        """Deliver connections of the pod's port to this local one; before the port is subscribed."""
        self._local_ports[remote] = local

    def receive_frame(self, frame: ConnectionFrame) -> None:
        """Take the next frame of some connection."""
        if isinstance(frame, Opened):
            local = self._local_ports.get(frame.responder.port)
            if local is not None:
                self._lanes[frame.connection] = self._open_lane(frame, local)
        lane = self._lanes.get(frame.connection)
        if lane is None:
            return
        for step in lane.forwarding.receive_frame(frame):
            lane.steps.put_nowait(step)
        if isinstance(frame, Closed):
            lane.steps.put_nowait(None)
            del self._lanes[frame.connection]

    def end(self) -> None:
        """The local process has ended, or the session: what fails from now on is no loss."""
        self._ended.set()

    async def finish(self, seconds: float) -> None:
        """Let the local connections of mirrored ones that ended come to their end; reset what is left after that time."""
        self.end()
        for lane in self._lanes.values():
            lane.steps.put_nowait(Reset())
            lane.steps.put_nowait(None)
            lane.forwarding.abandon()
        self._lanes.clear()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _open_lane(self, opened: Opened, local: int) -> "_Lane":
        forwarding = Forwarding(opened, on_gap=self._on_gap)
        lane = _Lane(forwarding, local, self._give_credit, self._ended, self._connect_seconds)
        task = asyncio.create_task(self._run_lane(lane), name=f"deliver {opened.initiator}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return lane

    async def _run_lane(self, lane: "_Lane") -> None:
        try:
            await lane.run()
        finally:
            self._ledger.settle(lane.forwarding, lane.undelivered, lane.trouble)
            self._on_outcome(lane.forwarding, lane.trouble)


class _Lane:
    """The local side of one mirrored connection."""

    def __init__(
        self,
        forwarding: Forwarding,
        port: int,
        give_credit: Callable[[int, int], None],
        ended: asyncio.Event,
        connect_seconds: float,
    ) -> None:
        self.forwarding = forwarding
        self.steps: asyncio.Queue[Step | None] = asyncio.Queue()
        self.trouble = ""
        """What went wrong locally, as a phrase."""
        self._port = port
        self._give_credit = give_credit
        self._ended = ended
        self._connect_seconds = connect_seconds
        self._local: LocalConnection | None = None
        self._taken = 0

    @property
    def undelivered(self) -> int:
        """Bytes that were to be written and that the local process did not take."""
        return self.forwarding.written - self._taken

    async def run(self) -> None:
        """Carry out the steps until there are no more."""
        try:
            while (step := await self.steps.get()) is not None:
                await self._carry_out(step)
        finally:
            if self._local is not None:
                self._local.abort()

    async def _carry_out(self, step: Step) -> None:
        match step:
            case Begin():
                await self._connect()
            case Write(payload, begins_turn):
                if (
                    begins_turn
                    and self._local is not None
                    and self._local.closed_by_peer
                    and is_request_head(payload)
                ):
                    self._local.abort()
                    await self._connect()
                await self._write(payload)
                self._give_credit(self.forwarding.opened.connection, len(payload))
            case Pass(size):
                self._give_credit(self.forwarding.opened.connection, size)
            case HalfClose() if self._local is not None:
                self._local.half_close()
            case Finish() if self._local is not None:
                await self._leave(await self._local.finish(LINGER_SECONDS))
            case Reset() if self._local is not None:
                await self._leave(await self._local.reset(DRAIN_SECONDS))

    async def _connect(self) -> None:
        """Connect to the local process, which may still be starting."""
        self._local = None
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._connect_seconds
        while True:
            try:
                self._local = await LocalConnection.open(self._port)
            except OSError as error:
                if loop.time() >= deadline or self._ended.is_set():
                    reason = os.strerror(error.errno) if error.errno else str(error)
                    await self._fail(f"nothing accepts connections on local port {self._port} ({reason})")
                    return
                await asyncio.sleep(CONNECT_PAUSE_SECONDS)
            else:
                return

    async def _write(self, payload: bytes) -> None:
        if self._local is None:
            return
        try:
            await self._local.write(payload)
        except OSError:
            self._local.abort()
            self._local = None
            await self._fail(CLOSED_EARLY)
        else:
            self._taken += len(payload)

    async def _leave(self, left: int) -> None:
        self._local = None
        if left:
            self._taken -= left
            await self._fail(CLOSED_EARLY)

    async def _fail(self, trouble: str) -> None:
        """Take a note of what went wrong, unless it is that the local process has ended."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), TROUBLE_SECONDS)
            return
        self.trouble = self.trouble or trouble
