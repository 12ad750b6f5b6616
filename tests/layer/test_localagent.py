"""Capture files that come through a pipe."""

import asyncio
import os

from podmirror import localagent
from podmirror.filesession import open_file
from podmirror.localagent import Reading
from podmirror.progress import Progress
from tests.agent.capturefiles import Stamped, pcap
from tests.agent.packets import Talk, encoded

PATIENCE_SECONDS = 20


class Receiver:
    """Counts frames."""

    def __init__(self) -> None:
        self.frames = 0

    def attach(self, session: object) -> None:
        pass

    def receive_frame(self, frame: object) -> None:
        self.frames += 1


def capture() -> bytes:
    talk = Talk()
    segments = [*talk.handshake(), talk.says(b"hello"), talk.fin(), talk.server_fin(), talk.ack()]
    return pcap([Stamped(10**18 + number, encoded(each)) for number, each in enumerate(segments)])


async def read(reading: Reading) -> int:
    receiver = Receiver()
    async with (
        asyncio.timeout(PATIENCE_SECONDS),
        open_file(reading, Progress("plain"), lambda _: receiver) as session,
    ):
        await session.subscribe(80)
        await session.wait()
    return receiver.frames


async def test_who_writes_to_a_pipe_may_take_longer_than_an_agent_to_start(tmp_path, monkeypatch):
    monkeypatch.setattr(localagent, "START_SECONDS", 0.1)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = asyncio.create_task(read(Reading(str(pipe))))
    await asyncio.sleep(0.5)
    await asyncio.to_thread(pipe.write_bytes, capture())

    assert await reading > 0
