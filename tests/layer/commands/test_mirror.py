"""`mirror` from its options to its end, with a scripted agent in place of a cluster."""

import asyncio
import json
import os
import signal

import pytest

from podmirror.commands import mirror
from podmirror.errors import AgentLost, NotStarted, TooMuchLoss, UsageError
from podmirror.losslimit import LossLimit
from podmirror.mirroring import Mirroring, ReportOptions
from podmirror.portmap import PortPair
from podmirror.progress import Progress
from podmirror.session import SessionOptions
from podmirror.target import Target
from tests.layer.commands.sessions import Scene, run_to_its_end
from tests.layer.deadlines import until
from tests.layer.frames import HEAD, Talk
from tests.layer.localserver import LocalServer, listening

OPTIONS = SessionOptions(Target.parse("pod/web"))


@pytest.fixture
def scene(monkeypatch):
    scene = Scene()
    monkeypatch.setattr(mirror, "open_source", scene.open_fleet)
    return scene


def started(*pairs: PortPair, **report) -> asyncio.Task:
    progress = Progress("plain")
    mirroring = Mirroring(progress, ReportOptions(**report), on_gap="reset")
    return asyncio.create_task(run_to_its_end(mirror._mirror(OPTIONS, list(pairs), progress, mirroring)))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_mirrors_until_a_signal(scene, capsys, tmp_path, number):
    server = LocalServer()
    async with listening(server) as port:
        running = started(PortPair(80, port), PortPair(81, None), ledger_file=tmp_path / "ledger.json")
        await until(lambda: scene.subscribed == [80, 81])
        await scene.agent.send(*Talk().whole(HEAD))
        await until(lambda: server.received == [HEAD])
        os.kill(os.getpid(), number)
        await running

    assert scene.parted
    said = capsys.readouterr().err
    assert f"subscribed: port 80 of the pod goes to local port {port}\n" in said
    assert "subscribed: port 81 of the pod goes to local port 81\n" in said
    assert "mirroring; Ctrl-C ends it" in said
    assert "Nothing was lost." in said
    assert json.loads((tmp_path / "ledger.json").read_text())["complete_connections"] == 1


async def test_an_agent_that_is_lost_ends_it_with_what_is_known(scene, capsys):
    running = started(PortPair(80, 1))
    await until(lambda: scene.subscribed == [80])
    await scene.agent.stream.close()

    with pytest.raises(AgentLost, match="without a goodbye; the kubelet says so"):
        await running
    assert "The agent was lost" in capsys.readouterr().err


async def test_a_port_that_is_refused_ends_it(scene):
    scene.refused.add(80)
    with pytest.raises(NotStarted, match="port 80 is forbidden"):
        await started(PortPair(80, 1))

    assert scene.parted


async def test_a_session_that_does_not_start_leaves_nothing(monkeypatch, capsys):
    scene = Scene(refusal=NotStarted("no such pod"))
    monkeypatch.setattr(mirror, "open_source", scene.open_fleet)
    with pytest.raises(NotStarted, match="no such pod"):
        await started(PortPair(80, 1))

    assert capsys.readouterr() == ("", "")


async def test_a_signal_before_it_has_started_cancels_it(scene, monkeypatch):
    begun = asyncio.Event()

    async def never(*_):
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(mirror.Mirroring, "subscribe", never)
    running = started(PortPair(80, 1))
    await begun.wait()
    os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(asyncio.CancelledError):
        await running
    assert scene.parted


async def test_too_much_loss_is_an_error_at_the_end(scene):
    running = started(PortPair(80, 1), max_loss=LossLimit(0))
    await until(lambda: scene.subscribed == [80])
    talk = Talk()
    await scene.agent.send(talk.opened(), talk.misses(10), talk.closes())
    await until(scene.agent.stream.peer.incoming.empty)
    os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(TooMuchLoss):
        await running


def test_without_a_port_it_does_not_start():
    with pytest.raises(UsageError, match="name at least one port"):
        mirror.command.main(["-t", "pod/web"], standalone_mode=False)


def test_the_options_reach_the_session(monkeypatch):
    scenes = []

    def open_source(options, progress, join):
        scenes.append(options)
        raise NotStarted("enough")

    monkeypatch.setattr(mirror, "open_source", open_source)
    with pytest.raises(NotStarted, match="enough"):
        mirror.command.main(
            ["-t", "pod/web", "-p", "80", "-n", "shop", "--progress", "none"], standalone_mode=False
        )

    assert scenes == [SessionOptions(Target.parse("pod/web"), namespace="shop")]
