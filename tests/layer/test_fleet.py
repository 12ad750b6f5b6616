"""The sessions of a command while pods come and go, with scripted agents and without a cluster."""

import asyncio

import pytest

from podmirror import fleet as fleet_module
from podmirror import member
from podmirror.errors import NotStarted
from podmirror.roster import Roster
from tests.layer.deadlines import until
from tests.layer.fleets import GOING, Pods, ended, fleet_of, view
from tests.layer.frames import HEAD, Talk
from tests.layer.localserver import LocalServer, listening


async def test_what_is_to_be_said_of_a_port_is_said(capsys):
    async with fleet_of(Pods(view("a"))) as (fleet, _):
        await fleet.subscribe(80)
        await fleet.subscribe(81)

    assert capsys.readouterr().err.count("mind port") == 1


async def test_the_session_moves_to_the_next_pod_with_its_subscriptions(capsys):
    pods = Pods(view("a"))
    server = LocalServer()
    async with listening(server) as port, fleet_of(pods, agent_name="mine") as (fleet, mirroring):
        await mirroring.subscribe(80, port)
        await pods.agents["a"].send(*Talk(1).whole(HEAD))
        await until(lambda: server.received == [HEAD])

        pods.change(view("a"), view("b", ready=False))
        pods.change(view("a"), view("b", created=1))
        pods.change(view("a", leaving=GOING), view("b", created=1))
        await until(lambda: pods.subscribed.get("b") == [80])
        await pods.lose("a")
        await until(lambda: pods.parted == ["a"])
        await pods.agents["b"].send(*Talk(1).whole(HEAD))

        await until(lambda: server.received == [HEAD, HEAD])
        assert fleet.loss is None
    assert pods.names == ["mine", None]
    assert [(move.origin, move.successor) for move in mirroring.ledger.moves] == [("a", "b")]
    assert mirroring.ledger.complete == 2
    said = capsys.readouterr().err
    assert "moved on from pod a to pod b" in said
    assert "to port 80 of b whole, 41 bytes" in said
    assert "The session moved 1 time: from pod a to pod b" in said
    assert "Nothing was lost." not in said


async def test_what_was_open_when_a_pod_went_away_had_not_ended():
    pods = Pods(view("a"))
    server = LocalServer()
    async with listening(server) as port, fleet_of(pods) as (_, mirroring):
        await mirroring.subscribe(80, port)
        talk = Talk(1)
        await pods.agents["a"].send(talk.opened(), talk.says(HEAD))
        await until(lambda: mirroring._open_connections == 1)
        pods.change(view("a", leaving=GOING), view("b"))
        await pods.lose("a")
        await until(lambda: "b" in pods.agents and mirroring._open_connections == 0)
    assert mirroring.ledger.as_dict()["outcomes"]["unfinished"] == 1
    assert not mirroring.ledger.cut_short


async def test_an_agent_that_is_going_with_its_pod_when_the_session_is_ended_is_none_lost():
    pods = Pods(view("a"))
    async with fleet_of(pods) as (_, mirroring):
        pods.parting["a"] = asyncio.Event()
        pods.change(view("a", leaving=GOING), view("b"))
        await pods.lose("a")
        await until(lambda: "a" in pods.ending and "b" in pods.subscribed)
    assert not mirroring.ledger.cut_short


async def test_an_agent_that_goes_before_its_pod_is_seen_to_is_followed_all_the_same():
    pods = Pods(view("a"))
    async with fleet_of(pods) as (fleet, mirroring):
        pods.now = Roster((view("a", leaving=GOING), view("b")))
        await pods.lose("a")
        await until(lambda: "b" in pods.agents)
        assert fleet.loss is None
        assert mirroring.ledger.cut_short is False


async def test_it_waits_for_a_pod_that_is_ready(capsys):
    pods = Pods(view("a"))
    async with fleet_of(pods):
        pods.change(view("a", leaving=GOING))
        await pods.lose("a")
        await until(lambda: pods.parted == ["a"])
        assert (
            "pod a is being deleted; waiting for another ready pod of deployment/web"
            in capsys.readouterr().err
        )
        pods.change(view("b"))
        await until(lambda: "b" in pods.agents)


async def test_the_next_pod_of_a_stateful_set_has_the_same_name():
    pods = Pods(view("db-0", uid="one"))
    async with fleet_of(pods, "statefulset/db") as (_, mirroring):
        await mirroring.subscribe(80, 1)
        pods.change()
        pods.change(view("db-0", uid="two"))
        await until(lambda: pods.subscribed.get("two") == [80])


async def test_an_agent_that_does_not_say_that_its_pod_goes_is_left(monkeypatch):
    monkeypatch.setattr(member, "LEAVE_SECONDS", 0.05)
    pods = Pods(view("a"))
    async with fleet_of(pods) as (fleet, _):
        pods.change(view("b"))
        await until(lambda: pods.parted == ["a"] and "b" in pods.agents)
        assert fleet.loss is None


async def test_an_agent_that_is_lost_in_a_pod_that_stays_ends_it():
    pods = Pods(view("a"), view("b"))
    async with fleet_of(pods) as (fleet, mirroring):
        await pods.lose("a", "out of memory")
        assert await ended(fleet) == "the agent ended: out of memory"
        assert fleet.loss is not None
    assert list(pods.agents) == ["a"]
    assert mirroring.ledger.cut_short


async def test_a_pod_that_was_named_is_not_followed():
    pods = Pods(view("a"))
    async with fleet_of(pods, "pod/a") as (fleet, mirroring):
        pods.now = Roster((), ended="pod/a is gone")
        await pods.lose("a")
        assert await ended(fleet) == (
            "pod a is gone, and the agent in it ended; a pod is not followed: name its workload as the target, and the "
            "session moves on to the next pod"
        )
    assert mirroring.ledger.cut_short


async def test_a_workload_that_ends_is_the_end(capsys):
    pods = Pods(view("a"))
    async with fleet_of(pods, "job/j") as (fleet, _):
        pods.change(view("a", leaving="has ended (Succeeded)"), ended="job/j has completed")
        await pods.lose("a")
        assert await ended(fleet) == "job/j has completed, so there is nothing more to mirror"
    assert "waiting for another" not in capsys.readouterr().err


async def test_a_successor_that_takes_no_agent_is_passed_over(capsys):
    pods = Pods(view("a"))
    pods.refusals["b"] = NotStarted("no room")
    async with fleet_of(pods):
        pods.change(view("a", leaving=GOING), view("b", created=2), view("c", created=1))
        await pods.lose("a")
        await until(lambda: "c" in pods.agents)
    assert "pod b is not mirrored: no room" in capsys.readouterr().err


async def test_without_another_successor_that_is_the_end():
    pods = Pods(view("a"))
    pods.refusals["b"] = NotStarted("no room")
    async with fleet_of(pods) as (fleet, _):
        pods.change(view("a", leaving=GOING), view("b"))
        await pods.lose("a")
        assert await ended(fleet) == "the session could not move on: no room"


async def test_a_first_session_that_is_refused_is_refused():
    pods = Pods(view("a"), view("b"))
    pods.refusals["a"] = NotStarted("no room")
    with pytest.raises(NotStarted, match="no room"):
        async with fleet_of(pods):
            pytest.fail("it has begun")


# All pods.


async def test_every_pod_is_mirrored_and_labelled(capsys):
    pods = Pods(view("a"), view("b"), view("c", ready=False))
    server = LocalServer()
    async with listening(server) as port, fleet_of(pods, all_pods=True) as (_, mirroring):
        await mirroring.subscribe(80, port)
        for uid in ("a", "b"):
            await pods.agents[uid].send(*Talk(1).whole(HEAD))
        await until(lambda: server.received == [HEAD, HEAD])
        await until(lambda: mirroring.ledger.complete == 2)
    assert sorted(pods.subscribed) == ["a", "b"]
    said = capsys.readouterr().err
    assert "resolved deployment/web: pod shop/a, pod shop/b" in said
    for name in ("a", "b"):
        assert f"to port 80 of {name} whole, 41 bytes" in said
        assert f"Pod {name}: 1 connection, 0 with loss; 41 bytes delivered." in said
    assert "Nothing was lost." in said


async def test_only_so_many_agents_are_started_at_once(monkeypatch):
    monkeypatch.setattr(fleet_module, "STARTS_AT_ONCE", 3)
    pods = Pods(*(view(f"pod-{number}") for number in range(10)))
    async with fleet_of(pods, all_pods=True):
        assert len(pods.agents) == 10
    assert pods.most_starting == 3


async def test_replicas_join_and_leave(capsys):
    pods = Pods(view("a"), view("b"))
    async with fleet_of(pods, all_pods=True) as (_, mirroring):
        await mirroring.subscribe(80, 1)
        pods.change(view("a"), view("b"), view("c"))
        await until(lambda: pods.subscribed.get("c") == [80])
        pods.change(view("b"), view("c"))
        await pods.lose("a")
        await until(lambda: pods.parted == ["a"])
    assert [(move.origin, move.successor) for move in mirroring.ledger.moves] == [("", "c"), ("a", "")]
    said = capsys.readouterr().err
    assert "joined by pod c" in said
    assert "pod a is no longer among its pods, and is left" in said


async def test_an_agent_that_was_told_to_end_knows_before_the_cluster_that_its_pod_goes(monkeypatch):
    monkeypatch.setattr(fleet_module, "POLL_SECONDS", 0.02)
    pods = Pods(view("a"))
    async with fleet_of(pods) as (fleet, _):
        await pods.lose("a", "SIGTERM was received")
        await until(lambda: pods.parted == ["a"])
        pods.now = Roster((view("a", leaving="has ended (Succeeded)"),))
        await asyncio.sleep(0.1)
        pods.change(view("a", leaving="has ended (Succeeded)"), ended="job/brief has completed")

        assert await ended(fleet) == "job/brief has completed, so there is nothing more to mirror"


async def test_one_that_was_told_to_end_in_a_pod_that_stays_is_lost(monkeypatch):
    monkeypatch.setattr(fleet_module, "LEAVE_SECONDS", 0.05)
    monkeypatch.setattr(fleet_module, "POLL_SECONDS", 0.02)
    pods = Pods(view("a"))
    async with fleet_of(pods) as (fleet, _):
        await pods.lose("a", "SIGTERM was received")

        assert await ended(fleet) == "the agent ended: SIGTERM was received"


async def test_no_more_pods_than_asked_for(capsys):
    pods = Pods(view("a"), view("b"), view("c"))
    async with fleet_of(pods, all_pods=True, max_pods=2):
        pods.change(view("a"), view("b"), view("c"))
        pods.change(view("b"), view("c"))
        await pods.lose("a")
        await until(lambda: "c" in pods.agents)
    assert (
        "deployment/web has 3 ready pods, of which 2 are mirrored; --max-pods admits more"
        in capsys.readouterr().err
    )


async def test_more_replicas_than_asked_for_are_told_of_when_they_come(capsys):
    pods = Pods(view("a"))
    async with fleet_of(pods, all_pods=True, max_pods=2):
        pods.change(view("a"), view("b"), view("c"))
        await until(
            lambda: (
                "deployment/web has 3 ready pods, of which 2 are mirrored; --max-pods admits more"
                in capsys.readouterr().err
            )
        )
        pods.change(view("a"), view("b"), view("c"))
        await pods.lose("a")
        await until(lambda: len(pods.agents) == 3)
    assert "--max-pods" not in capsys.readouterr().err


async def test_the_others_go_on_without_an_agent_that_is_lost(capsys):
    pods = Pods(view("a"), view("b"))
    async with fleet_of(pods, all_pods=True) as (fleet, _):
        await pods.lose("a", "killed")
        await until(lambda: "pod a is no longer mirrored: the agent ended: killed" in capsys.readouterr().err)
        pods.change(view("a"), view("b"))
        await asyncio.sleep(0)
        assert str(fleet.loss) == "the agent ended: killed"
        await pods.lose("b", "killed, too")
        assert await ended(fleet) == "the agent ended: killed"
    assert pods.names == [None, None]


async def test_some_may_be_refused_and_not_all(capsys):
    pods = Pods(view("a"), view("b"))
    pods.refusals["a"] = NotStarted("no room")
    async with fleet_of(pods, all_pods=True):
        assert "pod a is not mirrored: no room" in capsys.readouterr().err
    pods.refusals["b"] = NotStarted("no room either")
    with pytest.raises(NotStarted, match="no room"):
        async with fleet_of(pods, all_pods=True):
            pytest.fail("it has begun")


async def test_a_subscription_while_a_pod_goes_away_is_its_successors():
    pods = Pods(view("a"))
    async with fleet_of(pods) as (fleet, _):
        pods.now = Roster((view("a", leaving=GOING), view("b")))
        await pods.lose("a")
        await fleet.subscribe(80)
        await until(lambda: pods.subscribed.get("b") == [80])


async def test_a_fault_of_ours_is_told_as_one(capsys):
    pods = Pods(view("a"))
    pods.refusals["b"] = ZeroDivisionError("oops")
    async with fleet_of(pods) as (fleet, _):
        pods.change(view("a", leaving=GOING), view("b"))
        await pods.lose("a")
        assert await ended(fleet) == "a fault of podmirror's own: ZeroDivisionError('oops')"


async def test_a_fault_in_following_ends_that_alone(capsys):
    pods = Pods(view("a"))
    async with fleet_of(pods) as (fleet, mirroring):
        pods.change(None)
        said = ""

        def told() -> bool:
            nonlocal said
            said += capsys.readouterr().err
            return "deployment/web is not followed any more" in said

        await until(told)
        await mirroring.subscribe(80, 1)
        assert pods.subscribed["a"] == [80]
        assert fleet.loss is None
