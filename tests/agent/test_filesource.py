"""A capture file in the place of a capture."""

import asyncio
from pathlib import Path

from podmirror_agent.budget import Budget
from podmirror_agent.filesource import FileSource
from podmirror_agent.mirror import Interest, Mirror
from podmirror_wire.values import CAPTURE_ENDED
from tests.agent.capturefiles import Stamped, pcap
from tests.agent.packets import Talk, encoded


async def test_a_file_that_is_gone_when_it_is_to_be_read_again_ends_the_reading(tmp_path: Path) -> None:
    file = tmp_path / "file.pcap"
    file.write_bytes(pcap([Stamped(10**18, encoded(each)) for each in Talk().handshake()]))
    mirror = Mirror(Budget(1 << 20))
    source = FileSource(str(file), mirror, speed=None, times=2, subscriptions=0)
    file.unlink()
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[str] = loop.create_future()
    source.on_end = ended.set_result
    loop.add_reader(source.fileno(), lambda: list(source.read_into(mirror, 0.0)))
    try:
        source.set_interest(Interest(frozenset()))
        async with asyncio.timeout(5):
            assert (
                await ended
                == f"{CAPTURE_ENDED}; {file} cannot be read as pcap or pcapng: No such file or directory"
            )
    finally:
        loop.remove_reader(source.fileno())
        source.close()
