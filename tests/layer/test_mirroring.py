"""What is said about the connections of a session, and at its end."""

import asyncio
import json
import socket
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest

from podmirror import inflow as inflow_module
from podmirror import mirroring as mirroring_module
from podmirror.errors import AgentLost, NotStarted, TooMuchLoss
from podmirror.listenaddress import ListenAddress
from podmirror.losslimit import LossLimit
from podmirror.mirroring import NOTED_PER_OUTCOME, Mirroring, ReportOptions
from podmirror.progress import Progress
from podmirror_wire.values import CloseReason
from tests.layer.deadlines import until
from tests.layer.frames import HEAD, Talk
from tests.layer.localserver import LocalServer, listening


class FakeSession:
    """A session, and all of a fleet's, that acknowledges every subscription and notes credit."""

    def __init__(self, refusal: Exception | None = None) -> None:
        self.subscribed: list[int] = []
        self.credit: list[tuple[int, int]] = []
        self.lost = False
        self.connected = True
        self.moves = []
        self.link = SimpleNamespace(
            restarts=0,
            counts={"segments": 7},
            counted=1.0,
            give_credit=lambda connection, size: self.credit.append((connection, size)),
            dismiss=lambda _connection: None,
        )
        self._refusal = refusal

    async def subscribe(self, port: int) -> None:
        if self._refusal is not None:
            raise self._refusal
        self.subscribed.append(port)


def mirroring_of(session: FakeSession | None = None, on_gap: str = "reset", **report) -> Mirroring:
    mirroring = Mirroring(Progress("plain"), ReportOptions(**report), on_gap=on_gap)
    inflow = mirroring.join("web-1")
    if session is not None:
        inflow.attach(session)
        mirroring.attach(session)
    return mirroring


def give(mirroring: Mirroring, *frames, pod: int = 0) -> None:
    for frame in frames:
        mirroring._inflows[pod].receive_frame(frame)


async def test_a_session_from_subscription_to_ledger(capsys, tmp_path):
    session = FakeSession()
    mirroring = mirroring_of(session, ledger_file=tmp_path / "ledger.json")
    async with listening(LocalServer()) as port:
        await mirroring.subscribe(80, port)
        give(mirroring, *Talk().whole(HEAD))
        await until(lambda: mirroring.ledger.connections)
        await mirroring.finish()

    assert session.subscribed == [80]
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        f"podmirror: subscribed: port 80 of the pod goes to local port {port}",
        "podmirror: 1 connection mirrored: 1 complete, 0 joined late, 0 with loss; 41 bytes delivered.",
        "podmirror: Nothing was lost.",
    ]
    ledger = json.loads((tmp_path / "ledger.json").read_text())
    assert ledger["complete_connections"] == 1
    assert ledger["agent"] == {"segments": 7}
    assert ledger["cut_short"] is False


async def test_the_ledger_goes_to_stdout_alone(capsys):
    mirroring = mirroring_of(FakeSession(), ledger_file=Path("-"))
    await mirroring.finish()

    out = capsys.readouterr().out
    assert out.endswith("}\n")
    assert json.loads(out)["connections"] == 0


async def test_a_lost_agent_shows_in_the_ledger(capsys):
    session = FakeSession()
    session.lost = True
    mirroring = mirroring_of(session)
    await mirroring.finish()

    assert mirroring.ledger.cut_short
    assert "Nothing was lost." not in capsys.readouterr().err


async def test_a_session_that_never_began_has_no_ledger(capsys, tmp_path):
    mirroring = mirroring_of(ledger_file=tmp_path / "ledger.json")
    await mirroring.finish()

    assert capsys.readouterr() == ("", "")
    assert not (tmp_path / "ledger.json").exists()


@pytest.mark.parametrize("refusal", [NotStarted("no more ports"), AgentLost("gone")])
async def test_a_subscription_that_fails_is_not_said_to_be_done(capsys, refusal):
    mirroring = mirroring_of(FakeSession(refusal))
    with pytest.raises(type(refusal), match=str(refusal)):
        await mirroring.subscribe(80, 3000)

    assert capsys.readouterr().err == ""


async def give_and_finish(mirroring: Mirroring, *frames) -> None:
    await mirroring.subscribe(80, 1)
    give(mirroring, *frames)
    ended = sum(type(frame).__name__ == "Closed" for frame in frames)
    await until(lambda: mirroring.ledger.connections == ended)
    await mirroring.finish()


def tls_frames(connection: int):
    talk = Talk(connection)
    return [talk.opened(), talk.says(b"\x16\x03\x01 hello"), talk.closes()]


async def test_what_cannot_be_delivered_is_noted_with_the_reason(capsys):
    await give_and_finish(mirroring_of(FakeSession()), *tls_frames(1))

    assert (
        "podmirror: connection from 10.0.0.1:40000 to port 80 of web-1: TLS cannot be replayed, so it is not delivered"
        in capsys.readouterr().err.splitlines()
    )


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        (
            lambda talk: [talk.opened(), talk.omits(1), talk.closes()],
            "the server spoke first, which cannot be replayed",
        ),
        (
            lambda talk: [talk.opened(), talk.misses(5), talk.closes()],
            "bytes were missed by the capture",
        ),
        (
            lambda talk: [talk.opened(), talk.says(b"\x16\x03\x01"), talk.closes(CloseReason.CUT)],
            "TLS cannot be replayed",
        ),
    ],
)
async def test_reasons(capsys, frames, words):
    await give_and_finish(mirroring_of(FakeSession()), *frames(Talk()))

    assert words in capsys.readouterr().err


async def test_a_late_join_in_vain_is_noted(capsys):
    talk = Talk(late=True)
    await give_and_finish(mirroring_of(FakeSession()), talk.opened(), talk.says(b"\r\n\r\n"), talk.closes())

    assert "no HTTP/1 request was recognised in it" in capsys.readouterr().err


async def test_much_of_the_same_is_noted_only_a_few_times(capsys):
    frames = [frame for number in range(1, NOTED_PER_OUTCOME + 3) for frame in tls_frames(number)]
    mirroring = mirroring_of(FakeSession())
    await give_and_finish(mirroring, *frames)

    assert capsys.readouterr().err.count("connection from") == NOTED_PER_OUTCOME
    assert mirroring.ledger.connections == NOTED_PER_OUTCOME + 2


async def test_verbose_says_what_became_of_each_connection(capsys):
    mirroring = mirroring_of(FakeSession(), verbose=True)
    async with listening(LocalServer()) as port:
        await mirroring.subscribe(80, port)
        give(mirroring, *Talk(1).whole(HEAD), *tls_frames(2))
        await until(lambda: mirroring.ledger.connections == 2)
        await mirroring.finish()

    said = capsys.readouterr().err
    assert "podmirror: 10.0.0.1:40000 to port 80 of web-1 whole, 41 bytes\n" in said
    assert "podmirror: 10.0.0.1:40000 to port 80 of web-1 tls, 0 bytes: TLS cannot be replayed" in said


async def test_after_a_gap_it_rejoins_if_asked_to():
    mirroring = mirroring_of(FakeSession(), on_gap="rejoin")
    server = LocalServer()
    async with listening(server) as port:
        await mirroring.subscribe(80, port)
        talk = Talk()
        give(mirroring, talk.opened(), talk.misses(3), talk.omits(5), talk.says(HEAD), talk.closes())
        await until(lambda: mirroring.ledger.connections)
        await mirroring.finish()

    assert server.received == [HEAD]


async def test_the_end_of_the_local_process_is_no_loss(monkeypatch):
    monkeypatch.setattr(inflow_module, "FINISH_SECONDS", 0.1)
    mirroring = mirroring_of(FakeSession())
    async with listening(LocalServer()) as port:
        pass
    await mirroring.subscribe(80, port)
    talk = Talk()
    give(mirroring, talk.opened(), talk.says(HEAD))
    mirroring.end_delivery()
    await mirroring.finish()

    assert mirroring.ledger.lost == 0


@pytest.mark.parametrize(
    ("limit", "exceeded"), [(None, False), ("1", False), ("0", True), ("100%", False), ("50%", True)]
)
async def test_loss_is_held_against_the_limit(limit, exceeded):
    mirroring = mirroring_of(FakeSession(), max_loss=LossLimit.parse(limit) if limit else None)
    talk = Talk()
    await give_and_finish(mirroring, talk.opened(), talk.misses(5), talk.closes())

    if exceeded:
        with pytest.raises(TooMuchLoss, match="1 of 1 connections lost bytes"):
            mirroring.check_loss()
    else:
        mirroring.check_loss()


async def test_credit_of_a_connection_that_is_told_before_the_session_is_nobodys():
    mirroring = mirroring_of()
    talk = Talk()
    mirroring._inflows[0].delivery.map_port(80, 1)
    give(mirroring, talk.opened(), talk.says(b"\x16\x03\x01"), talk.closes())
    await until(lambda: mirroring.ledger.connections)
    await mirroring.finish()


async def test_finishing_twice_does_no_harm():
    mirroring = mirroring_of(FakeSession())
    await mirroring.finish()
    await mirroring.finish()

    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_verbose_says_of_a_late_join_what_it_missed(capsys):
    mirroring = mirroring_of(FakeSession(), verbose=True)
    async with listening(LocalServer()) as port:
        await mirroring.subscribe(80, port)
        talk = Talk(late=True)
        give(mirroring, talk.opened(), talk.says(b"rest\r\n"), talk.omits(3), talk.says(HEAD), talk.closes())
        await until(lambda: mirroring.ledger.connections)
        await mirroring.finish()

    said = capsys.readouterr().err
    assert "10.0.0.1:40000 to port 80 of web-1 joined, 41 bytes, joined late behind 6 bytes\n" in said
    assert "6 bytes: passed over on the way to a request to join at." in said


async def test_figures_of_open_connections_are_told_at_the_end_too(capsys):
    mirroring = mirroring_of(FakeSession(), stats=True)
    async with listening(LocalServer()) as port:
        await mirroring.subscribe(80, port)
        give(mirroring, *Talk(1).whole(HEAD))
        talk = Talk(2)
        give(mirroring, talk.opened(), talk.says(HEAD))
        await until(lambda: mirroring._take_sample().ledger.delivered_bytes == 2 * len(HEAD))
        await until(lambda: mirroring._take_sample().open_connections == 1)
        await mirroring.finish()

    said = capsys.readouterr().err
    assert "delivered: 2 connections (0 open), 82 B; lost: 0 connections, 0 B" in said


@pytest.mark.parametrize("shares_terminal", [True, False])
async def test_figures_move_only_on_a_terminal_that_is_not_shared(monkeypatch, shares_terminal):
    begun = []
    monkeypatch.setattr(mirroring_module, "LiveStats", lambda *_, in_place: begun.append(in_place))
    mirroring_of(stats=True).attach(FakeSession(), shares_terminal=shares_terminal)
    mirroring_of().attach(FakeSession())

    assert begun == [not shares_terminal]


async def test_metrics_are_served_from_before_the_session_to_its_end(capsys):
    mirroring = mirroring_of(metrics=ListenAddress("127.0.0.1", 0))
    await mirroring.begin()
    url = capsys.readouterr().err.split()[-1]
    async with aiohttp.ClientSession() as client:
        async with client.get(url) as response:
            assert "podmirror_agent_connected 0.0" in await response.text()
        session = FakeSession()
        mirroring._inflows[0].attach(session)
        mirroring.attach(session)
        async with listening(LocalServer()) as port:
            await mirroring.subscribe(80, port)
            give(mirroring, *Talk().whole(HEAD))
            await until(lambda: mirroring.ledger.connections)
            async with client.get(url) as response:
                text = await response.text()
            await mirroring.finish()
        assert "podmirror_agent_connected 1.0" in text
        assert "podmirror_delivered_bytes_total 41.0" in text
        with pytest.raises(aiohttp.ClientConnectorError):
            await client.get(url)


async def test_metrics_that_cannot_be_served_stop_it_before_the_session():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        mirroring = mirroring_of(metrics=ListenAddress("127.0.0.1", taken.getsockname()[1]))
        with pytest.raises(NotStarted, match="Address already in use"):
            await mirroring.begin()
        await mirroring.finish()
