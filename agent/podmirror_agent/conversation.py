"""One layer that has authenticated: its frames in, the session's output out, pings and ledgers between."""

import asyncio
import contextlib
import logging
import re
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from podmirror_agent.replay import Replay
from podmirror_agent.tunnel import Tunnel
from podmirror_wire.decoder import Decoder
from podmirror_wire.errors import ProtocolError, UnexpectedFrame
from podmirror_wire.frames import (
    Accepted,
    AnyFrame,
    End,
    Examine,
    Findings,
    Goodbye,
    Ledger,
    Options,
    Ping,
    Pong,
    Received,
    Refused,
    Resume,
    Resumed,
)

if TYPE_CHECKING:
    from podmirror_agent.mirror import Mirror
    from podmirror_agent.reading import PacketSource

log = logging.getLogger(__name__)

PING_SECONDS = 5.0
SILENCE_SECONDS = 20.0
"""A layer that has not sent a byte for so long is lost: four pings were not answered."""

FAREWELL_SECONDS = 0.5
"""For the last frames to leave; SIGTERM promises an end within a second."""

READ_BYTES = 64 * 1024


class Conversation:
    """The conversation with an authenticated layer, through one tunnel, and through others that follow it."""

    def __init__(
        self,
        mirror: "Mirror",
        capture: "PacketSource",
        stop: Callable[[str], None],
        examine: Callable[[], dict[str, str]],
    ) -> None:
        """Begin a session.

        Args:
            mirror: What packets become.
            capture: Where they come from.
            stop: Ends the agent for a reason.
            examine: Gives what the agent can tell of itself.
        """
        self._mirror = mirror
        self._capture = capture
        self._stop = stop
        self._examine = examine
        self._session = mirror.add_session()
        self._outbox = self._session.outbox
        self._replay = Replay(self._outbox, mirror.budget)
        self.tunnel = Tunnel(self._replay)
        self.carrier: asyncio.Task[object] | None = None
        """The task that runs this."""
        self.expiry: asyncio.TimerHandle | None = None
        """Ends the session while no layer is connected."""
        self._connection: socket.socket
        self._decoder = Decoder()
        self._may_resume = True
        """Whether the layer's next frame may ask for another session in place of this one."""
        self._connected = False
        self._drops_before = capture.drops()
        self._drop_times = {"first_drop_time": 0, "last_drop_time": 0}
        self._drops = 0
        self._last_ledger: Ledger | None = None
        self._heard = 0.0
        self._end: asyncio.Future[str | Resume]

    @property
    def identifier(self) -> bytes:
        """The session's name."""
        return self._session.identifier

    @property
    def can_resume(self) -> bool:
        """Whether it is worth to wait for the layer when the tunnel is lost."""
        return self._replay.can_resume

    async def begin(self, connection: socket.socket, decoder: Decoder) -> str | Resume:
        """Accept the layer and talk with it.

        Returns:
            The reason of its goodbye, or the session in place of this one that it asks to go on with.

        Raises:
            ConnectionError: The layer is gone.
            TimeoutError: The layer is silent.
            ProtocolError: The layer broke the rules; it was told so.
        """
        accepted = Accepted(self._session.identifier, time.time_ns())
        await asyncio.get_running_loop().sock_sendall(connection, accepted.encode())
        return await self._run(connection, decoder)

    async def decline(self, reason: str) -> str | Resume:
        """Tell the layer that the session it asked for is not to be had, and go on with this one; otherwise as `begin`."""
        self._outbox.send(Refused(0, reason))
        return await self._run(self._connection, self._decoder)

    async def resume(self, connection: socket.socket, decoder: Decoder, position: int) -> str | Resume:
        """Go on through another tunnel, behind so many bytes that the layer has; otherwise as `begin`."""
        self._replay.rewind(position)
        decoder.received = self._decoder.received
        await asyncio.get_running_loop().sock_sendall(connection, Resumed(decoder.received).encode())
        self._last_ledger = None  # so that the layer hears at once what it has missed
        return await self._run(connection, decoder)

    def break_off(self, reason: str) -> None:
        """Give up the tunnel, as if it had been lost."""
        if self._connected:
            self._fail(ConnectionError(reason))

    async def _run(self, connection: socket.socket, decoder: Decoder) -> str | Resume:
        loop = asyncio.get_running_loop()
        self._connection, self._decoder = connection, decoder
        self._end = loop.create_future()
        self._heard = loop.time()
        self._connected = True
        self.tunnel.open(connection)
        watching = asyncio.create_task(self._keep_alive(), name="keep alive")
        # A callback of our own, since each wait in `sock_recv` costs two changes of what the kernel watches.
        loop.add_reader(connection, self._receive)
        try:
            self._receive_frames(decoder.receive_data(b""))
            outcome = await self._end
        except ProtocolError as error:
            self._outbox.send(Refused(0, str(error)))
            self.tunnel.write()
            raise
        finally:
            watching.cancel()
            loop.remove_reader(connection)
            self._connected = False
        if isinstance(outcome, str):
            await self._part()
        return outcome

    async def _part(self) -> None:
        self._connected = True
        before = self._mirror.interest
        self.say_goodbye("as asked")
        self._mirror.leave(self._session)
        self._follow_interest(before)
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(FAREWELL_SECONDS):
                await self._read_to_the_end()

    def _receive(self) -> None:
        try:
            data = self._connection.recv(READ_BYTES)
            if not data:
                raise ConnectionError("the layer closed the connection without a goodbye")
            self._heard = asyncio.get_running_loop().time()
            self._receive_frames(self._decoder.receive_data(data))
        except BlockingIOError:
            return
        except (OSError, ProtocolError) as error:
            self._fail(error)

    def _receive_frames(self, frames: list[AnyFrame]) -> None:
        for frame in frames:
            if isinstance(frame, Goodbye) or (isinstance(frame, Resume) and self._may_resume):
                self._finish(frame.reason if isinstance(frame, Goodbye) else frame)
                return
            self._receive_frame(frame)
        self.tunnel.write()

    def _finish(self, outcome: str | Resume) -> None:
        self._may_resume = False
        if not self._end.done():
            self._end.set_result(outcome)

    def _fail(self, error: Exception) -> None:
        if not self._end.done():
            self._end.set_exception(error)

    async def _read_to_the_end(self) -> None:
        """Read what is still on its way to us; to close before would reset the connection, and cost the layer frames."""
        while await asyncio.get_running_loop().sock_recv(self._connection, READ_BYTES):
            pass

    def _receive_frame(self, frame: AnyFrame) -> None:
        self._may_resume = False
        if self._outbox.is_flooded:
            raise ProtocolError("this layer asks for more than it reads")
        match frame:
            case Ping():
                self._replay.acknowledge(frame.received)
                self._outbox.send(Pong(frame.time, time.time_ns(), self._decoder.received))
            case Pong() | Received():
                self._replay.acknowledge(frame.received)
            case Examine():
                self._outbox.send(Findings(frame.request, self._examine()))
            case End():
                self._stop(f"a layer asked for its end: {frame.reason}")
            case Resume():
                raise UnexpectedFrame("a session is resumed before anything else, or not at all")
            case _:
                if isinstance(frame, Options):
                    frame = self._take_options(frame)
                before = self._mirror.interest
                self._mirror.receive_frame(self._session, frame, time.time_ns())
                self._follow_interest(before)

    def _take_options(self, options: Options) -> Options:
        """Follow the option that concerns the tunnel, and give the others."""
        settings = dict(options.settings)
        size = settings.pop("replay", None)
        if size is not None:
            if not re.fullmatch("[1-9][0-9]{0,9}", size):
                raise ProtocolError(f"this agent has no option replay={size[:40]}")
            self._replay.begin_to_keep(int(size))
        if settings.get("filter"):
            self._session.refusal = self._capture.why_not(settings["filter"])
        return Options(settings)

    def _follow_interest(self, before: object) -> None:
        if self._mirror.interest != before:
            self._capture.set_interest(self._mirror.interest)

    async def _keep_alive(self) -> None:
        """Ping, and end the conversation with a layer that is silent."""
        loop = asyncio.get_running_loop()
        while loop.time() < self._heard + SILENCE_SECONDS:
            await asyncio.sleep(min(PING_SECONDS, SILENCE_SECONDS))
            self._outbox.send(Ping(time.time_ns(), self._decoder.received))
            self.tunnel.write()
        self._fail(TimeoutError("the layer is silent"))

    def send_ledger(self) -> None:
        """Tell the running totals, if they have changed in more than the time that was used, and if somebody listens."""
        if not self._connected:
            return
        ledger = self._mirror.ledger(self._session, self._capture_counts())
        told = self._last_ledger
        if told is None or {**ledger.counts, "cpu_ns": 0} != {**told.counts, "cpu_ns": 0}:
            self._last_ledger = ledger
            self._outbox.send(ledger)

    def _capture_counts(self) -> dict[str, int]:
        drops = self._capture.drops() - self._drops_before
        if drops > self._drops:
            now = time.time_ns()
            self._drop_times = {
                "first_drop_time": self._drop_times["first_drop_time"] or now,
                "last_drop_time": now,
            }
            self._drops = drops
        self._session.packets.receive_drops(drops)
        return {"kernel_drops": drops, **self._drop_times, "cpu_ns": time.process_time_ns()}

    def say_goodbye(self, reason: str) -> None:
        """Send what is ready, the last ledger and the goodbye, and then the end of the stream, if somebody listens."""
        if not self._connected:
            return
        self.send_ledger()
        self._outbox.send(Goodbye(reason))
        self.tunnel.finish()

    def end(self) -> None:
        """Give up the session and let the kernel filter forget its ports."""
        if self.expiry is not None:
            self.expiry.cancel()
        self.tunnel.close()
        self._replay.release()
        before = self._mirror.interest
        self._mirror.remove_session(self._session)
        self._follow_interest(before)
