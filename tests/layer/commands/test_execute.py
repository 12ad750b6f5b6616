"""`exec` from its options to its end, with real commands and a scripted agent in place of a cluster."""

import asyncio
import contextlib
import os
import signal
import socket
import sys

import pytest

from podmirror.commands import execute
from podmirror.errors import AgentLost, NotStarted, TooMuchLoss
from podmirror.localagent import Reading
from podmirror.losslimit import LossLimit
from podmirror.mirroring import Mirroring, ReportOptions
from podmirror.portmap import PortPair
from podmirror.process import CommandNotRunnable
from podmirror.progress import Progress
from podmirror.session import SessionOptions
from podmirror.target import Target
from tests.layer.commands.sessions import Scene, run_to_its_end
from tests.layer.deadlines import until
from tests.layer.frames import HEAD, Talk

OPTIONS = SessionOptions(Target.parse("pod/web"))

SERVER = """
import pathlib, socket, sys
folder = pathlib.Path(sys.argv[1])
listener = socket.create_server(("127.0.0.1", 0))
(folder / "listens").write_text(str(listener.getsockname()[1]))
connection, _ = listener.accept()
with connection:
    received = b""
    while data := connection.recv(65536): received += data
(folder / "received").write_bytes(received)
while not (folder / "stop").exists(): __import__("time").sleep(0.01)
sys.exit(int(sys.argv[2]))
"""
"""Listens on a port, takes one connection, and ends with its exit code once it may."""


@pytest.fixture
def scene(monkeypatch):
    monkeypatch.setattr(execute, "POLL_SECONDS", 0.01)
    scene = Scene()
    monkeypatch.setattr(execute, "open_source", scene.open_fleet)
    return scene


class Command:
    """The server program, and the files over which it speaks."""

    def __init__(self, folder) -> None:
        self.folder = folder

    def arguments(self, code: int = 0) -> list[str]:
        return [sys.executable, "-c", SERVER, str(self.folder), str(code)]

    @property
    def port(self) -> int:
        listens = self.folder / "listens"
        return int(listens.read_text() or 0) if listens.exists() else 0

    @property
    def received(self) -> bytes | None:
        received = self.folder / "received"
        return received.read_bytes() if received.exists() else None

    def stop(self) -> None:
        (self.folder / "stop").touch()


@pytest.fixture
def server(tmp_path):
    return Command(tmp_path)


def started(arguments: list[str], *pairs: PortPair, **report) -> asyncio.Task:
    progress = Progress("plain")
    mirroring = Mirroring(progress, ReportOptions(**report), on_gap="reset")
    run = execute._Run(arguments, list(pairs), progress, mirroring)
    return asyncio.create_task(run_to_its_end(run.run(OPTIONS)))


async def test_the_ports_are_those_that_the_command_listens_on(scene, server):
    running = started(server.arguments())
    await until(lambda: server.port)
    await until(lambda: scene.subscribed == [server.port])
    await scene.agent.send(*Talk(port=server.port).whole(HEAD))
    await until(lambda: server.received == HEAD)
    server.stop()

    assert await running == 0
    assert scene.parted


async def test_a_port_of_the_pod_goes_to_the_only_one_of_the_command(scene, server):
    running = started(server.arguments(), PortPair(80, None))
    await until(lambda: scene.subscribed == [80])
    await scene.agent.send(*Talk(port=80).whole(HEAD))
    await until(lambda: server.received == HEAD)
    server.stop()

    assert await running == 0


async def test_named_ports_are_subscribed_before_the_command_starts(scene):
    running = started([sys.executable, "-c", "pass"], PortPair(80, 3000), PortPair(81, 3001))

    assert await running == 0
    assert scene.subscribed == [80, 81]


@pytest.mark.parametrize(
    ("pairs", "ports"),
    [([PortPair(80, 1)], "1"), ([PortPair(80, 1), PortPair(2, None), PortPair(3, None)], "1, 2, 3")],
)
async def test_a_file_begins_when_the_command_listens_on_the_named_ports(
    scene, server, monkeypatch, pairs, ports
):
    monkeypatch.setattr(execute, "SILENT_SECONDS", 0)
    monkeypatch.setattr(
        execute, "open_source", lambda _, progress, join: scene.open_fleet(OPTIONS, progress, join)
    )
    notes = []
    progress = Progress("plain")
    monkeypatch.setattr(progress, "note", notes.append)
    mirroring = Mirroring(progress, ReportOptions(), on_gap="reset")
    run = execute._Run(server.arguments(), pairs, progress, mirroring)
    running = asyncio.create_task(run_to_its_end(run.run(Reading("some.pcap"))))
    await until(lambda: server.port)
    await until(lambda: notes)
    server.stop()
    with contextlib.closing(socket.create_connection(("127.0.0.1", server.port))):
        pass

    assert await running == 0
    assert notes[0] == f"{sys.executable} does not listen on {ports} yet; some.pcap is read when it does"
    assert scene.subscribed == []


async def test_the_exit_code_is_the_commands(scene):
    assert await started([sys.executable, "-c", "raise SystemExit(42)"]) == 42
    assert scene.parted


async def test_the_commands_code_comes_before_too_much_loss(scene):
    limit = LossLimit(0)
    for code, expected in ((42, 42), (0, TooMuchLoss)):
        program = f"import sys; sys.stdin.close(); import time; time.sleep(0.2); sys.exit({code})"
        running = started([sys.executable, "-c", program], PortPair(80, 3000), max_loss=limit)
        await until(lambda: scene.subscribed == [80])
        talk = Talk()
        await scene.agent.send(talk.opened(), talk.misses(10), talk.closes())
        if expected is TooMuchLoss:
            with pytest.raises(TooMuchLoss):
                await running
        else:
            assert await running == expected
        scene.subscribed.clear()


async def test_the_command_goes_on_without_its_agent(scene, server, capsys):
    running = started(server.arguments(), PortPair(80, 1))
    await until(lambda: server.port)
    await scene.agent.stream.close()
    said = ""

    def told() -> bool:
        nonlocal said
        said += capsys.readouterr().err
        return "goes on without mirrored traffic" in said

    await until(told)
    assert not running.done()
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.close()
    await writer.wait_closed()
    server.stop()
    with pytest.raises(AgentLost, match="the kubelet says so"):
        await running


async def test_the_commands_code_comes_before_a_lost_agent(scene, server):
    running = started(server.arguments(42))
    await until(lambda: server.port)
    await scene.agent.stream.close()
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.close()
    await writer.wait_closed()
    server.stop()

    assert await running == 42


async def test_an_agent_that_is_lost_just_before_the_command_ends_was_lost(scene, server):
    """Even if the kubelet has not said yet what became of it."""
    scene.kubelet_answers.clear()
    running = started(server.arguments(), PortPair(80, 1))
    await until(lambda: server.port)
    await scene.agent.stream.close()
    await until(lambda: not [task for task in asyncio.all_tasks() if task.get_name() == "link"])
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.close()
    await writer.wait_closed()
    server.stop()
    with pytest.raises(AgentLost):
        await running


async def test_an_agent_that_is_lost_while_a_port_is_subscribed_is_told_once(scene, server, capsys):
    scene.mute = True
    running = started(server.arguments(), PortPair(80, None))
    await until(lambda: scene.asked == [80])
    await scene.agent.stream.close()
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.close()
    await writer.wait_closed()
    server.stop()
    with pytest.raises(AgentLost, match="the kubelet says so"):
        await running
    assert capsys.readouterr().err.count("the kubelet says so") == 1


async def test_a_port_that_is_found_and_refused_is_told_and_the_command_goes_on(scene, server, capsys):
    scene.refused.add(80)
    running = started(server.arguments(), PortPair(80, None))
    said = ""

    def told() -> bool:
        nonlocal said
        said += capsys.readouterr().err
        return "port 80 is forbidden" in said

    await until(told)
    assert not running.done()
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.close()
    await writer.wait_closed()
    server.stop()
    assert await running == 0


async def test_a_command_that_listens_on_nothing_is_worth_a_word(scene, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(execute, "SILENT_SECONDS", 0.05)
    stop = tmp_path / "stop"
    program = f"import pathlib, time\nwhile not pathlib.Path({str(stop)!r}).exists(): time.sleep(0.01)"
    running = started([sys.executable, "-c", program])
    said = ""

    def told() -> bool:
        nonlocal said
        said += capsys.readouterr().err
        return "listens on no TCP port yet" in said

    await until(told)
    stop.touch()
    assert await running == 0
    assert said.count("listens on no TCP port yet") == 1


async def test_a_signal_goes_to_the_command_and_not_to_the_session(scene, server):
    running = started(server.arguments(), PortPair(80, 1))
    await until(lambda: server.port)
    os.kill(os.getpid(), signal.SIGTERM)

    assert await running == 128 + signal.SIGTERM
    assert scene.parted


async def test_a_signal_before_the_command_runs_cancels(scene, monkeypatch):
    begun = asyncio.Event()

    async def never(*_):
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(execute.Mirroring, "subscribe", never)
    running = started([sys.executable, "-c", "pass"], PortPair(80, 1))
    await begun.wait()
    os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(asyncio.CancelledError):
        await running
    assert scene.parted


async def test_a_session_that_does_not_start_starts_no_command(monkeypatch, tmp_path):
    monkeypatch.setattr(execute, "open_source", Scene(refusal=NotStarted("no such pod")).open_fleet)
    with pytest.raises(NotStarted, match="no such pod"):
        await started([sys.executable, "-c", f"open({str(tmp_path / 'ran')!r}, 'w')"])

    assert not (tmp_path / "ran").exists()


async def test_a_command_that_cannot_be_run_ends_the_session(scene, tmp_path):
    text = tmp_path / "text"
    text.write_text("no program")
    with pytest.raises(CommandNotRunnable):
        await started([str(text)])

    assert scene.parted


def test_a_command_that_does_not_exist_is_refused_before_anything_else(monkeypatch):
    monkeypatch.setattr(execute, "open_source", None)
    with pytest.raises(CommandNotRunnable) as refusal:
        execute.command.main(["-t", "pod/web", "--", "no-such-command"], standalone_mode=False)

    assert refusal.value.exit_code == 127


def test_a_misspelt_option_is_a_usage_error_and_no_command(monkeypatch):
    monkeypatch.setattr(execute, "open_source", None)
    with pytest.raises(execute.click.UsageError, match="--max-los"):
        execute.command.main(["-t", "pod/web", "--max-los=1", "--", "true"], standalone_mode=False)


def test_the_commands_own_options_are_left_to_it(monkeypatch):
    seen = []
    monkeypatch.setattr(execute, "run", lambda arguments, pairs, *_: seen.append((arguments, pairs)) or 0)
    execute.command.main(
        ["-t", "pod/web", "-p", "80", "--", "python3", "-t", "x", "-p", "9", "--help"], standalone_mode=False
    )

    assert seen == [(["python3", "-t", "x", "-p", "9", "--help"], [PortPair(80, None)])]


@pytest.mark.parametrize(
    ("listening", "wanted", "matches"),
    [
        (set(), {80}, {}),
        ({80}, {80}, {80: 80}),
        ({3000}, {80}, {80: 3000}),
        ({3000, 3001}, {80}, {}),
        ({3000}, {80, 443}, {}),
        ({80, 3000}, {80, 443}, {80: 80, 443: 3000}),
        ({80, 443, 9000}, {80, 443}, {80: 80, 443: 443}),
        ({3000, 4000}, {3000, 4000}, {3000: 3000, 4000: 4000}),
    ],
)
def test_which_local_port_serves_which_of_the_pod(listening, wanted, matches):
    assert execute._matches(listening, wanted) == matches
