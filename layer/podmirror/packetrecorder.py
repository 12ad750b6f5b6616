"""The packets of all pods on their way to where they are written, and what became of them.

What goes wrong with the writing must not reach the links, which go on: it ends the command in its own time (`wait`).
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

from podmirror.errors import OutputLost
from podmirror.otherflows import OtherFlows
from podmirror.redactedpackets import PacketCounts, RedactedPackets
from podmirror.verdict import counted
from podmirror_wire.frames import ConnectionFrame, Interface, Packet, PacketFrame

TICK_SECONDS = 0.25
"""Between two looks at what is due; whoever reads live should not wait for longer."""


TOLD_FLOWS = 5
"""That are not TCP, told at the end; `flows` has them all."""


class Sink(Protocol):
    """What packets are written to: `PacketFiles` or `PacketPipe`."""

    @property
    def packets(self) -> int:
        """Packets that were written."""

    @property
    def unwritten(self) -> int:
        """Packets that were taken, and could not be written."""

    @property
    def where(self) -> str:
        """What was written to, in words."""

    def has_room(self, size: int) -> bool:
        """Whether a block of that size is taken now."""

    def receive_interface(self, pod: str, interface: Interface) -> None:
        """Describe an interface."""

    def receive_packet(self, pod: str, packet: Packet, now: float, missing: int = 0) -> None:
        """Write a packet; `missing` are not here before it."""

    def tick(self, now: float) -> None:
        """Do what time alone makes due."""

    async def close(self) -> None:
        """Write the rest."""


class PodPackets:
    """The packets of one pod."""

    def __init__(self, recorder: "PacketRecorder", pod: str, redacted: RedactedPackets | None) -> None:
        self._recorder = recorder
        self._pod = pod
        self.redacted = redacted
        """Fills what redaction left; None where packets come as they are to be written."""

    def receive(self, frame: PacketFrame) -> None:
        """Take what a link gives."""
        if isinstance(frame, Interface):
            self._recorder.describe(self._pod, frame)
            return
        self._recorder.flows.receive_packet(self._pod, frame)
        if self.redacted is None:
            self._recorder.write(self._pod, [frame])
        else:
            self._recorder.write(self._pod, self.redacted.receive_packet(frame, _now()))

    def receive_frame(self, frame: ConnectionFrame) -> None:
        """Take what is told of a connection, from which packets are filled."""
        if self.redacted is not None:
            self._recorder.write(self._pod, self.redacted.receive_frame(frame, _now()))

    def expire(self, now: float) -> None:
        """Give up waiting where it has been long enough."""
        if self.redacted is not None:
            self._recorder.write(self._pod, self.redacted.expire(now))

    def finish(self) -> None:
        """Nothing more comes."""
        if self.redacted is not None:
            self._recorder.write(self._pod, self.redacted.finish())


class PacketRecorder:
    """Writes packets, or only counts those that are not TCP."""

    def __init__(self, sink: Sink | None, *, fills: bool = False, snaplen: int | None = None) -> None:
        """Begin.

        Args:
            sink: Where packets are written; None for nowhere.
            fills: Whether packets come cut behind their headers, to be filled from what redaction lets pass.
            snaplen: Bytes that are wanted of a packet at most; None for all.
        """
        self.flows = OtherFlows()
        """Those that are not TCP."""
        self.unwritten = 0
        """Packets that the reader of a pipe was too slow for, or that came when nothing could be written any more."""
        self._sink = sink
        self._fills = fills
        self._snaplen = snaplen
        self._missing = 0
        """Unwritten ones since the last that was written."""
        self._pods: list[PodPackets] = []
        self._failure: OutputLost | None = None
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ticking = asyncio.create_task(self._tick(), name="packets")

    def join(self, pod: str) -> PodPackets:
        """Give what takes the packets of another pod."""
        redacted = RedactedPackets(snaplen=self._snaplen) if self._fills else None
        self._pods.append(PodPackets(self, pod, redacted))
        return self._pods[-1]

    def describe(self, pod: str, interface: Interface) -> None:
        """Take an interface of a pod."""
        self.flows.receive_interface(pod, interface)
        if self._sink is not None and not self._over.done():
            try:
                self._sink.receive_interface(pod, interface)
            except OutputLost as error:
                self._fail(error)

    def write(self, pod: str, packets: list[Packet]) -> None:
        """Write packets that are ready."""
        if self._sink is None:
            return
        now = _now()
        for packet in packets:
            if self._over.done() and self._failure is None:
                continue  # the reader has enough
            if self._failure is not None or not self._sink.has_room(len(packet.packet)):
                self.unwritten += 1
                self._missing += 1
                continue
            try:
                self._sink.receive_packet(pod, packet, now, self._missing)
                self._missing = 0
            except OutputLost as error:
                self._fail(error)

    async def wait(self) -> None:
        """Wait until nothing can be written any more, or whoever reads a pipe has enough."""
        await asyncio.shield(self._over)

    def end(self) -> None:
        """Whoever reads has enough."""
        if not self._over.done():
            self._over.set_result(None)

    async def finish(self) -> OutputLost | None:
        """Write the rest; after the sessions have ended. Gives what went wrong with the writing, if anything did."""
        self._ticking.cancel()
        await asyncio.gather(self._ticking, return_exceptions=True)
        for pod in self._pods:
            pod.finish()
        if self._sink is not None:
            try:
                await self._sink.close()
            except OutputLost as error:
                self._fail(error)
        return self._failure

    @property
    def counts(self) -> PacketCounts:
        """What became of packets that came cut."""
        total = PacketCounts()
        for each in (pod.redacted.counts for pod in self._pods if pod.redacted is not None):
            total.filled += each.filled
            total.cut += each.cut
            total.cut_bytes += each.cut_bytes
            total.others_cut += each.others_cut
        return total

    def sentences(self, ledgers: Sequence[Mapping[str, int]]) -> list[str]:
        """Say what was written, and what is missing; `ledgers` are those of the agents."""
        return [*(self._written(ledgers, self._sink) if self._sink is not None else []), *self._other_flows()]

    def _other_flows(self) -> list[str]:
        rows = self.flows.rows()
        said = [f"{row}." for row in rows[:TOLD_FLOWS]]
        packets = sum(row.packets + row.answers for row in rows[TOLD_FLOWS:]) + self.flows.untold
        if packets:
            said.append(f"{counted(packets, 'packet')} belonged to further flows that are not TCP.")
        return said

    def _written(self, ledgers: Sequence[Mapping[str, int]], sink: Sink) -> list[str]:
        said = [f"{counted(sink.packets, 'packet')} written to {sink.where}."]
        unsent = sum(ledger.get("packets_unsent", 0) for ledger in ledgers)
        if unsent:
            said.append(f"lost: {counted(unsent, 'packet')} found no room in the agent.")
        unwritten = self.unwritten + sink.unwritten
        if unwritten:
            said.append(f"lost: {counted(unwritten, 'packet')} could not be written.")
        counts = self.counts
        if counts.cut:
            said.append(
                f"left out: {counted(counts.cut_bytes, 'byte')} of {counted(counts.cut, 'packet')}, "
                "which could not be redacted."
            )
        if counts.others_cut:
            said.append(
                f"left out: the payload of {counted(counts.others_cut, 'packet')} of no connection; --no-redact shows it."
            )
        return said

    def _fail(self, error: OutputLost) -> None:
        self._failure = self._failure or error
        self.end()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = _now()
            for pod in self._pods:
                pod.expire(now)
            if self._sink is not None and not self._over.done():
                try:
                    self._sink.tick(now)
                except OutputLost as error:
                    self._fail(error)


def _now() -> float:
    return asyncio.get_running_loop().time()
