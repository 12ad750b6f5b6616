"""A writer that never waits for its reader."""

import contextlib
import io
import os
import threading
from pathlib import Path

from podmirror.inspection.outlet import BACKLOG_CHARACTERS, Outlet

SECONDS = 10


def test_what_is_written_arrives_in_order():
    stream = io.StringIO()
    outlet = Outlet(stream, print)
    for number in range(1000):
        outlet.write(f"{number}\n")
    outlet.flush()

    assert outlet.close(SECONDS)
    assert stream.getvalue().split() == [str(number) for number in range(1000)]


def test_a_reader_that_pauses_makes_a_backlog_and_holds_up_nobody():
    reading, writing = os.pipe()
    stream = os.fdopen(writing, "w")
    outlet = Outlet(stream, print)
    text = "x" * (BACKLOG_CHARACTERS // 4)
    for _ in range(5):
        outlet.write(text)

    assert outlet.is_full
    assert not outlet.close(0.05)
    with os.fdopen(reading) as reader:
        assert len(reader.read(5 * len(text))) == 5 * len(text)
    assert outlet.close(SECONDS)
    assert outlet.backlog == 0
    stream.close()


def test_a_reader_that_is_gone_is_told_once():
    reading, writing = os.pipe()
    os.close(reading)
    told: list[OSError] = []
    heard = threading.Event()

    def hear(failure: OSError) -> None:
        told.append(failure)
        heard.set()

    stream = os.fdopen(writing, "w")
    outlet = Outlet(stream, hear)
    outlet.write("anything")

    assert heard.wait(SECONDS)
    outlet.write("more")
    assert not outlet.close(SECONDS)
    assert [type(each) for each in told] == [BrokenPipeError]
    assert (outlet.backlog, outlet.failure) == (0, told[0])
    with contextlib.suppress(BrokenPipeError):
        stream.close()


def test_a_full_disk_is_told():
    told: list[OSError] = []
    heard = threading.Event()
    stream = Path("/dev/full").open("w")  # noqa: SIM115  # closing it fails, too
    outlet = Outlet(stream, lambda failure: (told.append(failure), heard.set())[0])
    outlet.write("anything")
    assert heard.wait(SECONDS)
    outlet.close(SECONDS)
    with contextlib.suppress(OSError):
        stream.close()

    assert told[0].strerror == "No space left on device"
