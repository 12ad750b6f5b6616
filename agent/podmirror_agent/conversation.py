"""One layer that has authenticated: its frames in, the session's output out, pings and ledgers between."""

import asyncio
import contextlib
import logging
import socket
import time
from typing import TYPE_CHECKING

from podmirror_agent.tunnel import Tunnel
from podmirror_wire.errors import ProtocolError, UnexpectedFrame
from podmirror_wire.frames import Accepted, AnyFrame, Goodbye, Ledger, Ping, Pong, Refused, Resume

if TYPE_CHECKING:
    from podmirror_agent.mirror import Mirror
    from podmirror_agent.server import PacketSource
    from podmirror_wire.decoder import Decoder

log = logging.getLogger(__name__)

PING_SECONDS = 5.0
SILENCE_SECONDS = 20.0
"""A layer that has not sent a byte for so long is lost: four pings were not answered."""

FAREWELL_SECONDS = 0.5
"""For the last frames to leave; SIGTERM promises an end within a second."""

READ_BYTES = 64 * 1024


class Conversation:
    """An authenticated layer."""

    def __init__(
        self, mirror: "Mirror", capture: "PacketSource", decoder: "Decoder", connection: socket.socket
    ) -> None:
        self._mirror = mirror
        self._capture = capture
        self._decoder = decoder
        self._connection = connection
        self._session = mirror.add_session()
        self._outbox = self._session.outbox
        self.tunnel = Tunnel(connection, self._outbox)
        self._drops_before = capture.drops()
        self._drop_times = {"first_drop_time": 0, "last_drop_time": 0}
        self._drops = 0
        self._last_ledger: Ledger | None = None
        self._heard = 0.0
        self._end: asyncio.Future[str]
        self._outbox.send(Accepted(self._session.identifier, time.time_ns()))
        self.tunnel.write()

    async def run(self, early: list[AnyFrame]) -> str:
        """Talk until the layer says goodbye, and give its reason.

        Raises:
            ConnectionError: The layer is gone.
            TimeoutError: The layer is silent.
            ProtocolError: The layer broke the rules; it was told so.
        """
        loop = asyncio.get_running_loop()
        self._end = loop.create_future()
        self._heard = loop.time()
        watching = asyncio.create_task(self._keep_alive(), name="keep alive")
        # A callback of our own, since each wait in `sock_recv` costs two changes of what the kernel watches.
        loop.add_reader(self._connection, self._receive)
        try:
            self._receive_frames(early)
            goodbye = await self._end
        except ProtocolError as error:
            self._outbox.send(Refused(0, str(error)))
            self.tunnel.write()
            raise
        finally:
            watching.cancel()
            loop.remove_reader(self._connection)
        before = self._mirror.interest
        self.say_goodbye("as asked")
        self._mirror.leave(self._session)
        self._follow_interest(before)
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(FAREWELL_SECONDS):
                await self._read_to_the_end()
        return goodbye

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
            if isinstance(frame, Goodbye):
                if not self._end.done():
                    self._end.set_result(frame.reason)
                return
            self._receive_frame(frame)
        self.tunnel.write()

    def _fail(self, error: Exception) -> None:
        if not self._end.done():
            self._end.set_exception(error)

    async def _read_to_the_end(self) -> None:
        """Read what is still on its way to us; to close before would reset the connection, and cost the layer frames."""
        while await asyncio.get_running_loop().sock_recv(self._connection, READ_BYTES):
            pass

    def _receive_frame(self, frame: AnyFrame) -> None:
        match frame:
            case Ping():
                self._outbox.send(Pong(frame.time, time.time_ns(), self._decoder.received))
            case Pong():
                pass  # that it arrived is all it says to us
            case Resume():
                raise UnexpectedFrame("this agent keeps nothing to resume from")
            case _:
                before = self._mirror.interest
                self._mirror.receive_frame(self._session, frame, time.time_ns())
                self._follow_interest(before)

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
        """Tell the running totals, if they have changed in more than the time that was used."""
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
        return {"kernel_drops": drops, **self._drop_times, "cpu_ns": time.process_time_ns()}

    def say_goodbye(self, reason: str) -> None:
        """Send what is ready, the last ledger and the goodbye, and then the end of the stream."""
        self.send_ledger()
        self._outbox.send(Goodbye(reason))
        self.tunnel.finish()

    def end(self) -> None:
        """Give up the session and let the kernel filter forget its ports."""
        self.tunnel.close()
        before = self._mirror.interest
        self._mirror.remove_session(self._session)
        self._follow_interest(before)
