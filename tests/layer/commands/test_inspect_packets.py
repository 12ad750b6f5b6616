"""`podmirror inspect -w`, as a user runs it, on a file."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from podmirror.pcapng import Origin, Section
from tests.agent import packets
from tests.layer.pcapngs import ETH0, fields, information, needs_tshark, packet
from tests.namespaces import why_not

pytestmark = needs_tshark
COUNT = 400
TOKEN = b"Authorization: Bearer s3cr3t\r\n"


def tcp(number: int) -> bytes:
    segment = packets.tcp(40000, 80, sequence=number * 1000, flags="PA", payload=TOKEN + bytes(970))
    return packets.ethernet(packets.ipv4(packets.CLIENT, packets.POD, segment))


def udp(number: int) -> bytes:
    datagram = b"\x13\x88\x00\x35" + bytes(4) + b"question" + bytes((number % 256,))
    return packets.ethernet(packets.ipv4(packets.CLIENT, packets.POD, datagram, protocol=17))


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """A file of TCP and UDP in turn."""
    section = Section(Origin("a test"))
    blocks = [section.begin(), section.receive_interface("", ETH0)]
    for number in range(COUNT):
        data = udp(number) if number % 2 else tcp(number)
        blocks.append(section.receive_packet("", packet(data, number=number)))
    file = tmp_path / "source.pcapng"
    file.write_bytes(b"".join(blocks))
    return file


def inspect(capture: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "podmirror", "inspect", "-r", str(capture), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)


def test_packets_are_written_as_they_were_read(capture, tmp_path):
    done = inspect(capture, "--no-redact", "-w", str(tmp_path / "a.pcapng"))

    assert done.returncode == 0, done.stderr
    names = ("frame.time_epoch", "frame.len", "frame.cap_len", "tcp.payload", "udp.payload")
    assert fields(tmp_path / "a.pcapng", *names) == fields(capture, *names)
    assert f"{COUNT} packets written to {tmp_path / 'a.pcapng'}" in done.stderr


def test_nothing_that_was_said_is_in_a_file_that_is_redacted(capture, tmp_path):
    done = inspect(capture, "-w", str(tmp_path / "a.pcapng"))

    assert done.returncode == 0, done.stderr
    written = (tmp_path / "a.pcapng").read_bytes()
    assert b"s3cr3t" not in written
    assert b"question" not in written
    assert "Redacted:" in information(tmp_path / "a.pcapng")
    assert fields(tmp_path / "a.pcapng", "frame.len") == fields(capture, "frame.len")


def test_expression_narrows_what_is_written(capture, tmp_path):
    done = inspect(capture, "--filter", "udp port 53", "--no-redact", "-w", str(tmp_path / "a.pcapng"))

    assert done.returncode == 0, done.stderr
    assert len(fields(tmp_path / "a.pcapng", "udp.port")) == COUNT // 2
    assert "Filter string = udp port 53" in information(tmp_path / "a.pcapng")


def test_expression_that_libpcap_does_not_take_is_explained(capture, tmp_path):
    done = inspect(capture, "--filter", "tcp portt 80")

    assert done.returncode == 5
    assert done.stderr.splitlines()[-1].endswith(
        "libpcap does not take the filter 'tcp portt 80': can't parse filter expression: syntax error"
    )


def test_files_are_rotated_by_size_and_the_latest_stay(capture, tmp_path):
    path = str(tmp_path / "a.pcapng")
    done = inspect(capture, "--no-redact", "-w", path, "--rotate-size", "50kB", "--rotate-keep", "3")

    assert done.returncode == 0, done.stderr
    found = sorted(tmp_path.glob("a-*.pcapng"))
    assert len(found) == 3
    assert all(file.stat().st_size <= 50_000 for file in found)
    last = fields(found[-1], "frame.time_epoch")[-1]
    assert last == fields(capture, "frame.time_epoch")[-1]


def test_pipe_is_written_to_its_end(capture, tmp_path):
    with (tmp_path / "a.pcapng").open("wb") as file:
        command = [sys.executable, "-m", "podmirror", "inspect", "-r", str(capture), "--no-redact", "-w", "-"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            assert process.stdout is not None
            while data := process.stdout.read(4096):
                file.write(data)
    assert process.returncode == 0
    assert len(fields(tmp_path / "a.pcapng", "frame.number")) == COUNT


def test_pipe_that_is_closed_early_ends_it_quietly(capture):
    command = [sys.executable, "-m", "podmirror", "inspect", "-r", str(capture), "--no-redact", "-w", "-"]
    reading, writing = os.pipe()
    with subprocess.Popen(command, stdout=writing, stderr=subprocess.PIPE, text=True) as process:
        os.close(writing)
        os.read(reading, 100)
        os.close(reading)
        _, said = process.communicate(timeout=50)

    assert process.returncode == 0, said
    assert "fault" not in said
    assert "Traceback" not in said


@pytest.mark.skipif(bool(why_not()), reason=why_not())
def test_full_disk_is_said_once_and_leaves_a_whole_file(capture, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], check=True)
    try:
        done = inspect(capture, "--no-redact", "-w", str(disk / "a.pcapng"))

        assert done.returncode == 6, done.stderr
        assert done.stderr.count("No space left on device") == 1
        written = len(fields(disk / "a.pcapng", "frame.number"))
        assert 0 < written < COUNT
        assert f"{written} packets written" in done.stderr
        assert "packets could not be written" in done.stderr
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rotate-size", "1MB"], "name a file"),
        (["-w", "-", "--rotate-seconds", "1"], "nothing to rotate"),
        (["-w", "-", "-o", "connections"], "both write to stdout"),
        (["-w", "a", "--rotate-keep", "1"], "add --rotate-size or --rotate-seconds"),
        (["-w", "a", "--rotate-size", "1B"], "no size of at least"),
    ],
    ids=str,
)
def test_options_that_do_not_fit_are_refused(capture, arguments, words):
    done = inspect(capture, *arguments)

    assert done.returncode == 2
    assert words in done.stderr
