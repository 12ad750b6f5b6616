"""One look at traffic, from its source to what is shown and written of it, and to the account at the end."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from podmirror.firstend import first_end
from podmirror.inspection.account import figures, sentences
from podmirror.inspection.observation import Observation
from podmirror.inspection.showing import Showing, Viewing
from podmirror.interruption import cancel_at_a_signal
from podmirror.localagent import Reading
from podmirror.packetoptions import Recording
from podmirror.progress import Progress
from podmirror.session import SessionOptions
from podmirror.source import Source, open_source
from podmirror_http.redaction import parse_option
from podmirror_wire.values import EVERY_PORT

if TYPE_CHECKING:
    from podmirror.packetrecorder import PacketRecorder


SHOWN_FLOWS = 3
"""That are not TCP, below a live view."""


class Looking:
    """Opens a source, shows and writes what comes of it, and says what was seen and lost."""

    def __init__(self, origin: SessionOptions | Reading, ports: Sequence[int], progress: Progress) -> None:
        self._origin = origin
        self._ports = ports
        self._progress = progress
        self._observations: list[Observation] = []
        self._packets: PacketRecorder | None = None
        self._subscribed = False

    async def run(self, viewing: Viewing, recording: Recording) -> None:
        """Look until there is no more, until it is enough, or until a signal.

        Raises:
            PodmirrorError: It could not be begun, was cut short, or what was seen could not be written.
        """
        cancel_at_a_signal()
        settings = dict(self._origin.settings)
        redact = settings.get("redact")
        redaction = parse_option(redact)[1] if redact else None
        showing = Showing(viewing, self._progress, on_room=self._release, redaction=redaction)
        showing.figures = self._figures
        self._packets = await recording.begin(settings) if "packets" in settings else None

        def join(pod: str) -> Observation:
            packets = self._packets.join(pod) if self._packets is not None else None
            self._observations.append(Observation(pod, showing, packets))
            return self._observations[-1]

        failure = None
        try:
            async with open_source(self._origin, self._progress, join) as source:
                await self._look(source, showing)
        finally:
            await showing.leave()
            if self._packets is not None:
                failure = await self._packets.finish()
            self._tell_account()
        showing.check()
        if failure is not None:
            raise failure
        if source.loss is not None:
            raise source.loss

    async def _look(self, source: Source, showing: Showing) -> None:
        # All at once: a file is read as soon as the last port is subscribed.
        await asyncio.gather(*(source.subscribe(port) for port in self._ports))
        self._subscribed = True
        if isinstance(self._origin, SessionOptions):
            every = EVERY_PORT in self._ports
            what = "every connection" if every else f"port {', '.join(map(str, self._ports))}"
            self._progress.note(f"watching {what} of {self._origin.target}; Ctrl-C ends it")
        showing.begin()
        ends = [source.wait(), showing.wait()]
        if self._packets is not None:
            ends.append(self._packets.wait())
        with suppress(asyncio.CancelledError):
            await first_end(*(asyncio.create_task(each) for each in ends))

    def _figures(self) -> list[tuple[str, str]]:
        said = figures([each.counts for each in self._observations])
        if self._packets is not None:
            said += [("not TCP", str(flow)) for flow in self._packets.flows.top(SHOWN_FLOWS)]
        return said

    def _release(self) -> None:
        for each in self._observations:
            each.release()

    def _tell_account(self) -> None:
        begun = [each for each in self._observations if each.session is not None]
        if not self._subscribed:
            return
        counts = [each.counts for each in begun]
        cut_short = any(each.cut_short for each in begun)
        seen = sum(each.connections for each in begun)
        self._progress.tell(sentences(counts, connections=seen, cut_short=cut_short))
        if self._packets is not None:
            self._progress.tell(self._packets.sentences(counts))
