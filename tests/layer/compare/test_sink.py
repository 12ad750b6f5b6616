import asyncio

from podmirror.compare.numbers import request
from podmirror.compare.sink import Sink
from tests.layer.deadlines import until


async def test_numbers_are_found_wherever_they_are_cut():
    async with Sink() as sink:
        for cut in range(1, len(request(0, "/", 3)), 7):
            _, writer = await asyncio.open_connection("127.0.0.1", sink.port)
            data = request(cut, "/", 3) + request(1000 + cut, "/", 3)
            writer.write(data[:cut])
            await writer.drain()
            await asyncio.sleep(0.001)
            writer.write(data[cut:])
            writer.close()
            await writer.wait_closed()
        wanted = {number for cut in range(1, len(request(0, "/", 3)), 7) for number in (cut, 1000 + cut)}
        await until(lambda: sink.delivered.keys() == wanted)
