"""Packets in a pipe: somebody who reads, who is slow, and who has enough."""

import asyncio
import contextlib
import os

import pytest

from podmirror import packetpipe
from podmirror.packetpipe import PacketPipe
from podmirror.pcapng import Origin, Section
from tests.layer.deadlines import PATIENCE_SECONDS
from tests.layer.pcapngs import BYTES, ETH0, fields, needs_tshark, packet


@pytest.fixture
def ends():
    reading, writing = os.pipe()
    yield reading, writing
    for end in (reading, writing):
        with contextlib.suppress(OSError):
            os.close(end)


async def opened(writing: int) -> PacketPipe:
    pipe = await PacketPipe.open(writing, Section(Origin("podmirror")))
    pipe.receive_interface("web", ETH0)
    return pipe


@needs_tshark
async def test_reader_gets_everything(ends, tmp_path):
    reading, writing = ends
    pipe = await opened(writing)
    for number in range(5):
        pipe.receive_packet("web", packet(number=number), 0.0)
    await pipe.close()
    os.close(writing)

    (tmp_path / "a.pcapng").write_bytes(os.read(reading, 1 << 16))
    assert len(fields(tmp_path / "a.pcapng", "frame.number")) == pipe.packets == 5


async def test_reader_that_is_slow_leaves_no_room_and_holds_up_nothing(ends, monkeypatch):
    monkeypatch.setattr(packetpipe, "MAX_WAITING_BYTES", 1 << 20)
    monkeypatch.setattr(packetpipe, "DRAIN_SECONDS", 0.1)
    _, writing = ends
    pipe = await opened(writing)
    while pipe.has_room(60_000):
        pipe.receive_packet("web", packet(BYTES + bytes(60_000)), 0.0)

    assert 15 < pipe.packets < 30
    async with asyncio.timeout(PATIENCE_SECONDS):
        await pipe.close()


async def test_reader_that_has_enough_is_noticed(ends):
    reading, writing = ends
    pipe = await opened(writing)
    os.close(reading)

    async with asyncio.timeout(PATIENCE_SECONDS):
        await pipe.ended
    pipe.receive_packet("web", packet(), 0.0)
    await pipe.close()
