from podmirror.clockreading import ClockReading
from podmirror_wire.frames import Pong


def test_the_offset_is_from_the_middle_of_the_way_and_half_the_way_is_uncertain():
    reading = ClockReading.of(Pong(ping_time=1_000_000_000, time=5_000_000_000, received=0), 3_000_000_000)

    assert reading == ClockReading(offset=3.0, uncertainty=1.0)
