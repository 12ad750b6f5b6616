"""The command of `exec`: real processes, small Python programs all of them."""

import asyncio
import os
import pty
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from podmirror import process as process_module
from podmirror.process import CommandNotRunnable, LocalProcess
from tests.layer.deadlines import PATIENCE_SECONDS, until

RECORDER = """
import pathlib, signal, sys, time
log = pathlib.Path(sys.argv[1])
def note(word):
    with log.open("a") as file: file.write(word + "\\n")
def handle(number, _):
    note(signal.Signals(number).name)
    if number == signal.SIGTERM and "stubborn" not in sys.argv: sys.exit(7)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP): signal.signal(number, handle)
note("READY")
time.sleep(30)
"""
"""Notes each signal that it gets; SIGTERM ends it with 7, unless it is stubborn."""


def python(program: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", program, *map(str, arguments)]


@pytest.fixture
def _no_terminal(monkeypatch):
    monkeypatch.setattr(process_module, "_in_foreground", lambda: False)


class Recorder:
    def __init__(self, log: Path) -> None:
        self._log = log

    @property
    def words(self) -> list[str]:
        return self._log.read_text().split() if self._log.exists() else []


@pytest.fixture
async def recording(tmp_path):
    """Start recorders; whatever happens, none is left."""
    started: list[LocalProcess] = []

    async def start(*how: str) -> tuple[LocalProcess, Recorder]:
        recorder = Recorder(tmp_path / f"log{len(started)}")
        process = await LocalProcess.start(python(RECORDER, recorder._log, *how))
        started.append(process)
        await until(lambda: recorder.words == ["READY"])
        return process, recorder

    yield start
    for process in started:
        process._send(signal.SIGKILL)
        await process.wait()


# How it ends.


@pytest.mark.parametrize("code", [0, 1, 42, 255])
async def test_the_exit_code_is_the_commands(code):
    process = await LocalProcess.start(python(f"raise SystemExit({code})"))

    assert await process.wait() == code


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
async def test_a_command_that_a_signal_ended_has_128_and_the_number(number):
    process = await LocalProcess.start(python(f"import os; os.kill(os.getpid(), {int(number)})"))

    assert await process.wait() == 128 + number


async def test_a_command_that_does_not_exist():
    with pytest.raises(CommandNotRunnable, match="no-such-command: command not found") as refusal:
        await LocalProcess.start(["no-such-command"])

    assert refusal.value.exit_code == 127


async def test_a_command_that_may_not_be_executed(tmp_path):
    text = tmp_path / "text"
    text.write_text("no program")
    with pytest.raises(CommandNotRunnable, match=f"{text}: Permission denied") as refusal:
        await LocalProcess.start([str(text)])

    assert refusal.value.exit_code == 126


async def test_a_file_of_no_known_format(tmp_path):
    text = tmp_path / "text"
    text.write_text("no program")
    text.chmod(0o755)
    with pytest.raises(CommandNotRunnable, match="Exec format error") as refusal:
        await LocalProcess.start([str(text)])

    assert refusal.value.exit_code == 126


async def test_arguments_environment_and_folder_are_passed_on(tmp_path, monkeypatch):
    monkeypatch.setenv("COLOUR", "blue")
    monkeypatch.chdir(tmp_path)
    program = "import os, sys; open('out', 'w').write(repr((sys.argv[1:], os.environ['COLOUR'])))"
    process = await LocalProcess.start(python(program, "a b", "*", "--x"))

    assert await process.wait() == 0
    assert (tmp_path / "out").read_text() == "(['a b', '*', '--x'], 'blue')"


# Signals.


@pytest.mark.usefixtures("_no_terminal")
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
async def test_a_signal_from_elsewhere_is_sent_on(recording, number):
    process, recorder = await recording()
    process.receive_signal(number)

    await until(lambda: recorder.words == ["READY", number.name])


async def test_sigterm_is_sent_on_and_the_command_has_the_last_word(recording):
    process, recorder = await recording()
    process.receive_signal(signal.SIGTERM)

    assert await process.wait() == 7
    assert recorder.words == ["READY", "SIGTERM"]


@pytest.mark.usefixtures("_no_terminal")
async def test_a_second_sigint_terminates(recording):
    process, recorder = await recording()
    process.receive_signal(signal.SIGINT)
    await until(lambda: recorder.words[-1] == "SIGINT")
    process.receive_signal(signal.SIGINT)

    assert await process.wait() == 7
    assert recorder.words == ["READY", "SIGINT", "SIGTERM"]


@pytest.mark.usefixtures("_no_terminal")
async def test_a_command_that_will_not_terminate_is_killed(recording, monkeypatch):
    monkeypatch.setattr(process_module, "TERMINATE_SECONDS", 0.1)
    process, recorder = await recording("stubborn")
    for _ in range(3):
        process.receive_signal(signal.SIGINT)

    assert await process.wait() == 128 + signal.SIGKILL
    assert recorder.words.count("SIGTERM") == 1


async def test_in_the_foreground_sigint_is_not_sent_on(recording, monkeypatch):
    monkeypatch.setattr(process_module, "_in_foreground", lambda: True)
    process, recorder = await recording()
    process.receive_signal(signal.SIGINT)
    process.receive_signal(signal.SIGHUP)
    process.receive_signal(signal.SIGTERM)
    await until(lambda: recorder.words[-1] == "SIGTERM")

    assert recorder.words == ["READY", "SIGTERM"]


async def test_a_signal_after_the_end_is_nobodys():
    process = await LocalProcess.start(python("pass"))
    assert await process.wait() == 0
    process.receive_signal(signal.SIGTERM)
    process.receive_signal(signal.SIGHUP)


async def test_a_signal_takes_nobody_the_news_of_the_end(recording, monkeypatch):
    """A look whether the command has ended takes its exit code along, and it would be told as 255."""
    process, _ = await recording()
    monkeypatch.setattr(subprocess.Popen, "poll", lambda _: pytest.fail("it looked"))
    process.receive_signal(signal.SIGTERM)

    assert await process.wait() == 7


async def test_after_the_end_nothing_is_left_of_terminating(recording):
    process, _ = await recording()
    process.terminate()
    process.terminate()

    assert await process.wait() == 7
    await until(lambda: not [task for task in asyncio.all_tasks() if "terminate" in task.get_name()])


OUTER = """
import asyncio, fcntl, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from podmirror.process import LocalProcess

def receive(process):
    process.receive_signal(signal.SIGINT)
    print("OUTER", flush=True)

async def main():
    process = await LocalProcess.start([sys.executable, "-c", sys.argv[1]])
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, receive, process)
    print("READY", flush=True)
    return await process.wait()

sys.exit(asyncio.run(main()))
"""
"""What `exec` does about its command and SIGINT, on a terminal of its own."""

INNER = """
import signal, sys
signal.signal(signal.SIGINT, lambda *_: print("INNER", flush=True))
print("READY", flush=True)
sys.stdin.readline()
sys.exit(3)
"""


class Terminal:
    """A pseudo-terminal, and the process in its foreground."""

    def __init__(self, *command: str) -> None:
        self._main, child = pty.openpty()
        self.written = b""
        self.process = subprocess.Popen(
            command, stdin=child, stdout=child, stderr=child, start_new_session=True
        )
        os.close(child)
        os.set_blocking(self._main, False)

    def type(self, keys: bytes) -> None:
        os.write(self._main, keys)

    def until(self, fact) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not fact(self.written):
            assert time.monotonic() < deadline, self.written
            try:
                self.written += os.read(self._main, 4096)
            except BlockingIOError:
                time.sleep(0.005)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._main)


def test_ctrl_c_reaches_the_command_exactly_once():
    terminal = Terminal(sys.executable, "-c", OUTER, INNER)
    try:
        terminal.until(lambda written: written.count(b"READY") == 2)
        terminal.type(b"\x03")
        terminal.until(lambda written: b"INNER" in written and b"OUTER" in written)
        terminal.type(b"\n")

        assert terminal.process.wait(PATIENCE_SECONDS) == 3
        assert terminal.written.count(b"INNER") == terminal.written.count(b"OUTER") == 1
    finally:
        terminal.close()


def test_a_second_ctrl_c_ends_the_command():
    terminal = Terminal(sys.executable, "-c", OUTER, INNER)
    try:
        terminal.until(lambda written: written.count(b"READY") == 2)
        terminal.type(b"\x03")
        terminal.until(lambda written: b"INNER" in written and b"OUTER" in written)
        terminal.type(b"\x03")

        assert terminal.process.wait(PATIENCE_SECONDS) == 128 + signal.SIGTERM
    finally:
        terminal.close()


def test_a_terminal_that_is_not_the_controlling_one_sends_nobody_ctrl_c(monkeypatch):
    main, child = pty.openpty()
    try:
        with open(child, closefd=False) as terminal:
            monkeypatch.setattr(sys, "stdin", terminal)
            assert not process_module._in_foreground()
    finally:
        os.close(main)
        os.close(child)


# Listening ports.

LISTENER = """
import pathlib, socket, subprocess, sys, time
told, host, depth = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
if depth:
    subprocess.run([sys.executable, "-c", sys.argv[4], str(told), host, str(depth - 1), sys.argv[4]])
else:
    listener = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    client = socket.create_connection(listener.getsockname()[:2])
    told.write_text(f"{listener.getsockname()[1]}.")
    time.sleep(30)
"""
"""Listens, or lets a descendant of that depth listen; it also has a connection, which is no listener."""


@pytest.mark.parametrize(("host", "depth"), [("127.0.0.1", 0), ("0.0.0.0", 2), ("::1", 1)])
async def test_listening_ports_are_those_of_the_command_and_its_descendants(tmp_path, host, depth):
    told = tmp_path / "port"
    process = await LocalProcess.start(python(LISTENER, told, host, depth, LISTENER))
    try:
        await until(lambda: told.exists() and told.read_text().endswith("."))
        assert process.listening_ports() == {int(told.read_text()[:-1])}
    finally:
        for child in psutil.Process(process._process.pid).children(recursive=True):
            child.kill()
        process._send(signal.SIGKILL)
        await process.wait()


async def test_a_command_that_listens_on_nothing(recording):
    process, _ = await recording()
    with socket.create_server(("127.0.0.1", 0)):  # ours is not the command's
        assert process.listening_ports() == set()


async def test_a_command_that_has_ended_listens_on_nothing():
    process = await LocalProcess.start(python("pass"))
    await process.wait()

    assert process.listening_ports() == set()
