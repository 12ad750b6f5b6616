"""Local connections: one for each mirrored one, carrying the same bytes to the local process.

Each local connection is a task of its own with a queue of steps. The queue needs no bound of its own, since it holds no more
than the credit that this module gives: credit for bytes is given back only when the local process has taken them, so a slow
local process stalls its own connection, at the agent, and no other.

What the local process answers is read and thrown away: the real client has its answer from the app.
"""

import asyncio
import contextlib
import fcntl
import socket
import struct
import termios
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
from podmirror.link import ConnectionFrame
from podmirror_wire.frames import Closed, Opened

CONNECT_SECONDS = 30.0
"""For the local process to accept connections: it may be compiling, or restarting after a change."""

CONNECT_PAUSE_SECONDS = 0.1

LINGER_SECONDS = 10.0
"""For the local process to finish its answer after the mirrored connection has ended; then the local one is closed."""

DRAIN_SECONDS = 5.0
"""For the local process to read what stands before a reset, which would otherwise overtake it."""

READ_BYTES = 64 * 1024

LOOPBACK = ("127.0.0.1", "::1")
"""Tried in turn, since a local process may listen on either (`localhost` means the second to some)."""


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

    async def finish(self, seconds: float) -> None:
        """Let the local connections of mirrored ones that ended come to their end; reset what is left after that time."""
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
        lane = _Lane(forwarding, local, self._give_credit, self._connect_seconds)
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
        connect_seconds: float,
    ) -> None:
        self.forwarding = forwarding
        self.steps: asyncio.Queue[Step | None] = asyncio.Queue()
        self.trouble = ""
        """What went wrong locally, as a phrase."""
        self.undelivered = 0
        """Bytes that the local process did not take."""
        self._port = port
        self._give_credit = give_credit
        self._connect_seconds = connect_seconds
        self._local: _LocalConnection | None = None

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
            case Write(payload):
                await self._write(payload)
                self._give_credit(self.forwarding.opened.connection, len(payload))
            case Pass(size):
                self._give_credit(self.forwarding.opened.connection, size)
            case HalfClose() if self._local is not None:
                self._local.half_close()
            case Finish() if self._local is not None:
                await self._local.finish()
                self._local = None
            case Reset() if self._local is not None:
                await self._local.reset()
                self._local = None

    async def _connect(self) -> None:
        try:
            self._local = await _connect_patiently(self._port, self._connect_seconds)
        except OSError as error:
            reason = error.strerror or str(error)
            self.trouble = f"nothing accepts connections on local port {self._port} ({reason})"

    async def _write(self, payload: bytes) -> None:
        if self._local is not None:
            try:
                await self._local.write(payload)
            except OSError:
                self.trouble = "the local process closed the connection before it had read everything"
                self._local.abort()
                self._local = None
            else:
                return
        self.undelivered += len(payload)


async def _connect_patiently(port: int, seconds: float) -> "_LocalConnection":
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        for address in LOOPBACK:
            try:
                return _LocalConnection(*await asyncio.open_connection(address, port))
            except OSError as error:
                refusal = error
        if asyncio.get_running_loop().time() >= deadline:
            raise refusal
        await asyncio.sleep(CONNECT_PAUSE_SECONDS)


class _LocalConnection:
    """A TCP connection to the local process, whose answers are thrown away."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._discarding = asyncio.create_task(_discard(reader), name="discard")

    async def write(self, payload: bytes) -> None:
        """Write, and wait while the local process does not keep up."""
        self._writer.write(payload)
        await self._writer.drain()

    def half_close(self) -> None:
        """Send FIN behind what was written."""
        with contextlib.suppress(OSError):
            self._writer.write_eof()

    async def finish(self) -> None:
        """Close once the local process has closed, too, or after `LINGER_SECONDS`."""
        self.half_close()
        await asyncio.wait([self._discarding], timeout=LINGER_SECONDS)
        await self._close()

    async def reset(self) -> None:
        """Send RST, once what was written has reached the local process's socket."""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await self._writer.drain()
                while self._unsent_bytes():  # noqa: ASYNC110  # the kernel tells nobody when its queue has drained
                    await asyncio.sleep(0.005)
        self.abort()

    def abort(self) -> None:
        """Send RST now."""
        raw = self._writer.get_extra_info("socket")
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()
        self._discarding.cancel()

    def _unsent_bytes(self) -> int:
        return self._writer.transport.get_write_buffer_size() + _queued_bytes(
            self._writer.get_extra_info("socket")
        )

    async def _close(self) -> None:
        self._discarding.cancel()
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


def _queued_bytes(connected: socket.socket) -> int:
    """Count what the kernel holds for the peer: sent, and not acknowledged, bytes among them."""
    # TIOCOUTQ means the same for a TCP socket on Linux (SIOCOUTQ, tcp(7)) and on macOS (SO_NWRITE's bytes).
    return int(struct.unpack("i", fcntl.ioctl(connected.fileno(), termios.TIOCOUTQ, bytes(4)))[0])


async def _discard(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(OSError):
        while await reader.read(READ_BYTES):
            pass
