"""Packets in files: rotation, and a disk that is full."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from podmirror.errors import NotStarted, OutputLost
from podmirror.packetfile import PacketFiles, Rotation
from podmirror.pcapng import Origin, Section
from tests.layer.pcapngs import BYTES, ETH0, fields, information, needs_tshark, packet
from tests.namespaces import why_not

DISK_BYTES = 256 * 1024


def files(path: Path, **rotation: float) -> PacketFiles:
    made = PacketFiles(path, Section(Origin("podmirror")), Rotation(**rotation))  # type: ignore[arg-type]  # by name
    made.receive_interface("web", ETH0)
    return made


async def test_file_holds_what_was_written(tmp_path):
    made = files(tmp_path / "a.pcapng")
    for number in range(10):
        made.receive_packet("web", packet(number=number), 0.0)
    await made.close()

    assert len(fields(tmp_path / "a.pcapng", "frame.number")) == made.packets == 10
    assert (tmp_path / "a.pcapng").stat().st_mode & 0o777 == 0o600


def test_what_was_written_is_seen_at_the_next_tick(tmp_path):
    made = files(tmp_path / "a.pcapng")
    made.receive_packet("web", packet(), 0.0)
    made.tick(0.1)

    assert len(fields(tmp_path / "a.pcapng", "frame.number")) == 1


@needs_tshark
async def test_files_of_a_size(tmp_path):
    made = files(tmp_path / "a.pcapng", size=4000)
    for number in range(40):
        made.receive_packet("web", packet(BYTES + bytes(100), number=number), 0.0)
    await made.close()

    found = sorted(tmp_path.iterdir())
    assert [path.name for path in found] == [f"a-{number:05}.pcapng" for number in range(1, len(found) + 1)]
    assert len(found) > 2
    assert all(path.stat().st_size <= 4000 for path in found)
    assert sum(len(fields(path, "frame.number")) for path in found) == made.packets == 40
    for path in found:
        assert "Name = web/eth0" in information(path)


@needs_tshark
async def test_packet_larger_than_a_file_has_one_of_its_own(tmp_path):
    made = files(tmp_path / "a.pcapng", size=1000)
    for number in range(3):
        made.receive_packet("web", packet(BYTES + bytes(5000), number=number), 0.0)
    await made.close()

    assert [len(fields(path, "frame.number")) for path in sorted(tmp_path.iterdir())] == [1, 1, 1]


@needs_tshark
async def test_files_of_a_time(tmp_path):
    made = files(tmp_path / "a.pcapng", seconds=10)
    for second in (0, 5, 9, 12, 13, 40):
        made.receive_packet("web", packet(number=second), float(second))
    made.tick(50.0)
    made.tick(60.0)
    await made.close()

    assert [len(fields(path, "frame.number")) for path in sorted(tmp_path.iterdir())] == [3, 2, 1]


@needs_tshark
async def test_files_of_a_time_of_a_capture_that_is_read_at_once(tmp_path):
    made = files(tmp_path / "a.pcapng", seconds=10)
    for second in (0, 5, 9, 12, 13, 40):
        made.receive_packet("web", replace(packet(number=second), pod_time=second * 10**9), 0.0)
    await made.close()

    assert [len(fields(path, "frame.number")) for path in sorted(tmp_path.iterdir())] == [3, 2, 1]


async def test_pods_whose_clocks_differ_share_the_files_of_a_time(tmp_path):
    made = files(tmp_path / "a.pcapng", seconds=10)
    made.receive_interface("ahead", ETH0)
    for second in range(3):
        for pod, clock in (("web", second), ("ahead", second + 60)):
            made.receive_packet(pod, replace(packet(), pod_time=clock * 10**9), float(second))
    await made.close()

    assert len(list(tmp_path.iterdir())) == 1


@needs_tshark
async def test_only_the_latest_files_stay(tmp_path):
    made = files(tmp_path / "a.pcapng", size=1000, keep=2)
    for number in range(5):
        made.receive_packet("web", packet(BYTES + bytes(1000), number=number), 0.0)
    await made.close()

    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-00004.pcapng", "a-00005.pcapng"]
    assert made.where == f"5 files, the last of which is {tmp_path / 'a-00005.pcapng'}"


def test_file_that_cannot_be_made_is_named(tmp_path):
    with pytest.raises(
        NotStarted, match=r"cannot be written to .*/none/a\.pcapng: No such file or directory"
    ):
        files(tmp_path / "none" / "a.pcapng")


def fill(made: PacketFiles, size: int, told: list[int] | None = None) -> None:
    """Write packets until there is no room, and tell of each."""
    for number in range(DISK_BYTES):
        if told is not None:
            told.append(number)
        made.receive_packet("web", packet(BYTES + bytes(size), number=number), 0.0)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no such device")
def test_a_device_that_is_full_is_no_whole_file():
    with pytest.raises(
        NotStarted, match=r"cannot be written to /dev/full any more: No space left on device$"
    ):
        PacketFiles(Path("/dev/full"), Section(Origin("podmirror")), Rotation())


async def test_a_pipe_whose_reader_leaves_is_told(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    made = files(pipe)
    os.close(reader)
    with pytest.raises(OutputLost, match=r"pipe any more: Broken pipe$"):
        fill(made, 1000)

    assert made.unwritten > 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk that is soon full."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


@needs_tshark
@pytest.mark.skipif(bool(why_not()), reason=why_not())
@pytest.mark.parametrize("size", [60, 777, 1400], ids="{} bytes".format)
async def test_full_disk_leaves_a_whole_file_and_counts_the_rest(disk, size):
    made = files(disk / "a.pcapng")
    told: list[int] = []
    words = r"cannot be written to .*/a\.pcapng any more: No space left on device"
    with pytest.raises(OutputLost, match=words):
        fill(made, size, told)

    await made.close()
    assert len(fields(disk / "a.pcapng", "frame.number")) == made.packets
    assert made.packets + made.unwritten == len(told)
    assert made.packets > 0
    information(disk / "a.pcapng")


@pytest.mark.skipif(bool(why_not()), reason=why_not())
async def test_disk_that_is_full_when_the_next_file_begins_costs_no_file(disk):
    made = files(disk / "a.pcapng", size=50_000)
    with pytest.raises(OutputLost):
        fill(made, 1000)
    await made.close()

    written = sum(len(fields(path, "frame.number")) for path in sorted(disk.iterdir()))
    assert written == made.packets
