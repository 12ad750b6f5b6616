"""Local connections: one for each mirrored one, carrying the same bytes to the local process.

Each local connection is a task of its own with a queue of steps. The queue needs no bound of its own, since it holds no more
than the credit that this module gives: credit for bytes is given back only when the local process has taken them, so a slow
local process stalls its own connection, at the agent, and no other. The agent is asked for no more bytes of a connection of
which nothing more will be delivered.

A local process may close a connection that goes on in the pod: it speaks HTTP/1.0, or its keep-alive time is shorter. When the
next bytes are a new HTTP request, they go to a new local connection; otherwise what the local process did not take is counted.
"""

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable

from podmirror.credit import Credit
from podmirror.forwarding import (
    Begin,
    Dismiss,
    Finish,
    Forwarding,
    HalfClose,
    LateJoins,
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

WAITING_SECONDS = 2.0
"""Without anybody who accepts connections on a local port, after which the user should hear of it."""

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
        dismiss: Callable[[int], None] = lambda _connection: None,
        on_gap: OnGap = "reset",
        late_joins: LateJoins = "http",
        screened: bool = False,
        connect_seconds: float = CONNECT_SECONDS,
        on_outcome: Callable[[Forwarding, str], None] = lambda _forwarding, _detail: None,
        on_waiting: Callable[[int], None] = lambda _port: None,
    ) -> None:
        """Set where to count, how to give credit, and what to tell of each connection that ended.

        Args:
            ledger: Counts what became of the connections.
            give_credit: Called with a connection's number and a number of bytes.
            dismiss: Called with a connection's number, once, when no more bytes of it are wanted.
            on_gap: Whether a connection with missing bytes ends there or is taken up at its next HTTP request.
            late_joins: What is done with a connection whose beginning was not seen.
            screened: Whether the session selects exchanges or redacts, so that bytes are left out on purpose.
            connect_seconds: How long a local process that does not accept connections is tried.
            on_outcome: Called with every connection that ended, and with what went wrong locally, if anything did.
            on_waiting: Called with a local port, once, when nothing has accepted connections there for a while.
        """
        self._ledger = ledger
        self._give_credit = give_credit
        self._dismiss = dismiss
        self._on_gap: OnGap = on_gap
        self._late_joins: LateJoins = late_joins
        self._screened = screened
        self._on_outcome = on_outcome
        self._local_ports: dict[int, int] = {}
        self._lanes: dict[int, _Lane] = {}
        self._running: set[_Lane] = set()
        """Those whose local side has not ended; some of the mirrored connections have."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._local = _LocalProcess(connect_seconds, on_waiting)

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
        lane.take(lane.forwarding.receive_frame(frame))
        if isinstance(frame, Closed):
            lane.close()
            del self._lanes[frame.connection]

    def end(self) -> None:
        """The local process has ended: what it does not take from now on is no loss."""
        self._local.ended.set()

    @property
    def open_connections(self) -> int:
        """Connections that have not ended."""
        return len(self._running)

    def take_stock(self) -> LayerLedger:
        """Give a copy of the ledger in which the open connections are counted as they stand."""
        ledger = self._ledger.copy()
        for lane in self._running:
            ledger.settle(lane.forwarding, lane.undelivered, lane.trouble)
        return ledger

    async def drain(self) -> None:
        """Wait until every local connection has come to its end, those aside whose mirrored ones go on."""
        waiting = [task for task in self._tasks if not task.done()]
        if waiting:
            await asyncio.wait(waiting)

    async def finish(self, seconds: float) -> None:
        """Let the local connections of mirrored ones that ended come to their end; reset what is left after that time."""
        self._local.session_over = True
        for lane in self._lanes.values():
            lane.take([Reset()])
            lane.close()
            lane.forwarding.abandon()
        self._lanes.clear()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _open_lane(self, opened: Opened, local: int) -> "_Lane":
        forwarding = Forwarding(
            opened, on_gap=self._on_gap, late_joins=self._late_joins, screened=self._screened
        )
        lane = _Lane(forwarding, local, self._give_credit, self._dismiss, self._local)
        task = asyncio.create_task(self._run_lane(lane), name=f"deliver {opened.initiator}")
        self._running.add(lane)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return lane

    async def _run_lane(self, lane: "_Lane") -> None:
        try:
            await lane.run()
        except Exception as error:  # noqa: BLE001  # one connection's fault must not end the others, nor go unseen
            lane.trouble = f"a fault of podmirror's own: {error!r}"
        finally:
            self._running.discard(lane)
            self._ledger.settle(
                lane.forwarding, lane.undelivered, lane.trouble, local_ended=self._local.ended.is_set()
            )
            self._on_outcome(lane.forwarding, lane.trouble)


class _LocalProcess:
    """What is known of the local process by all lanes."""

    def __init__(self, connect_seconds: float, on_waiting: Callable[[int], None]) -> None:
        self.ended = asyncio.Event()
        self.session_over = False
        self._connect_seconds = connect_seconds
        self._on_waiting = on_waiting
        self._waited_for: set[int] = set()

    async def connect(self, port: int) -> LocalConnection:
        """Connect, for as long as the local process may still be starting.

        Raises:
            OSError: Nothing accepts connections there.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            try:
                return await LocalConnection.open(port)
            except OSError as error:
                waited = loop.time() - began
                given_up = waited >= self._connect_seconds or self.session_over or self.ended.is_set()
                if given_up or error.errno in (errno.EMFILE, errno.ENFILE):
                    raise
                if waited >= WAITING_SECONDS and port not in self._waited_for:
                    self._waited_for.add(port)
                    self._on_waiting(port)
                await asyncio.sleep(CONNECT_PAUSE_SECONDS)

    async def has_ended(self) -> bool:
        """Whether the local process has ended; the news of that comes a little after its sockets have closed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TROUBLE_SECONDS):
                await self.ended.wait()
        return self.ended.is_set()


class _Lane:
    """The local side of one mirrored connection."""

    def __init__(
        self,
        forwarding: Forwarding,
        port: int,
        give_credit: Callable[[int, int], None],
        dismiss: Callable[[int], None],
        process: _LocalProcess,
    ) -> None:
        self.forwarding = forwarding
        self.trouble = ""
        """What went wrong locally, as a phrase."""
        self._number = forwarding.opened.connection
        self._port = port
        self._steps: asyncio.Queue[Step | None] = asyncio.Queue()
        self._give_credit = give_credit
        self._dismiss = dismiss
        self._process = process
        self._credit = Credit()
        self._closed = False
        self._begun = 0
        self._connection: LocalConnection | None = None
        self._taken = 0
        self._held = b""
        """What may be the beginning of a request, for which a new connection is opened once that is sure."""

    @property
    def undelivered(self) -> int:
        """Bytes that were to be written and that the local process did not take."""
        return self.forwarding.written - self._taken

    def take(self, steps: list[Step]) -> None:
        """Take steps to carry out, after those that were taken before."""
        for step in steps:
            if isinstance(step, Dismiss):
                self._dismiss(self._number)  # which need not wait for a slow local process
            else:
                self._steps.put_nowait(step)

    def close(self) -> None:
        """No more steps come: the mirrored connection, or the session, has ended."""
        self._closed = True
        self._steps.put_nowait(None)

    async def run(self) -> None:
        """Carry out the steps until there are no more."""
        try:
            while (step := await self._steps.get()) is not None:
                await self._carry_out(step)
        finally:
            if self._connection is not None:
                self._connection.abort()

    async def _carry_out(self, step: Step) -> None:
        match step:
            case Begin():
                self._begun += 1
                await self._connect()
            case Write(payload, begins_turn):
                await self._write(payload, begins_turn=begins_turn)
                self._pay(len(payload))
            case Pass(size):
                self._pay(size)
            case HalfClose() if self._connection is not None:
                self._connection.half_close()
            case Finish() if self._connection is not None:
                await self._leave(await self._connection.finish(LINGER_SECONDS))
            case Reset() if self._connection is not None:
                await self._leave(await self._connection.reset(DRAIN_SECONDS))

    def _pay(self, size: int) -> None:
        due = self._credit.take(size)
        if due and not self._closed:
            self._give_credit(self._number, due)

    async def _connect(self) -> bool:
        """Connect, if that can be done; a reason why not is noted."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._connection = None
        try:
            self._connection = await self._process.connect(self._port)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            trouble = f"nothing accepts connections on local port {self._port} ({reason})"
            self._give_up()
            if loop.time() - began > TROUBLE_SECONDS:
                self.trouble = trouble  # nothing listened while the local process did run
            else:
                await self._fail(trouble)
        return self._connection is not None

    async def _write(self, payload: bytes, *, begins_turn: bool) -> None:
        if self._connection is None:
            return
        if self._held or (begins_turn and self._connection.closed_by_peer):
            payload = self._held + payload
            request = is_request_head(payload)
            self._held = payload if request is None else b""
            if request is None:
                return
            if request:
                self._connection.abort()
                if not await self._connect():
                    return
        try:
            await self._connection.write(payload)
        except OSError:
            self._connection.abort()
            self._connection = None
            self._give_up()
            await self._fail(CLOSED_EARLY)
        else:
            self._taken += len(payload)

    async def _leave(self, left: int) -> None:
        self._connection = None
        self._taken -= left
        if left or self._held:
            await self._fail(CLOSED_EARLY)

    def _give_up(self) -> None:
        """The local connection failed for good: the agent need not send what would be written to it."""
        self.take(self.forwarding.fail(self._begun))

    async def _fail(self, trouble: str) -> None:
        """Take a note of what went wrong, unless it is that the local process has ended."""
        if not await self._process.has_ended():
            self.trouble = self.trouble or trouble
