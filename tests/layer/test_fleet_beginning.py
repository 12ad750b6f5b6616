"""Pods that go away while the first agents start."""

import pytest

from podmirror import fleet as fleet_module
from podmirror.errors import NotStarted
from tests.layer.fleets import GOING, Pods, fleet_of, view


async def test_a_pod_that_goes_away_while_its_agent_starts_is_replaced_by_the_next(capsys, monkeypatch):
    monkeypatch.setattr(fleet_module, "POLL_SECONDS", 0.01)
    pods = Pods(view("a"))
    pods.refusals["a"] = NotStarted("pod shop/a is being deleted, so no agent starts in it")
    pods.leaves["a"] = [view("a", ready=False, leaving=GOING)], [view("b")]
    async with fleet_of(pods):
        assert list(pods.agents) == ["b"]
    assert f"pod a {GOING}; another of deployment/web is taken" in capsys.readouterr().err


async def test_a_pod_that_goes_away_while_its_agent_starts_and_has_no_successor(monkeypatch):
    monkeypatch.setattr(fleet_module, "SUCCESSOR_SECONDS", 0.02)
    monkeypatch.setattr(fleet_module, "POLL_SECONDS", 0.01)
    pods = Pods(view("a"))
    pods.refusals["a"] = NotStarted("pod shop/a is being deleted, so no agent starts in it")
    pods.leaves["a"] = [view("a", ready=False, leaving=GOING)], [view("a", ready=False, leaving=GOING)]
    with pytest.raises(NotStarted, match="no pod to mirror"):
        async with fleet_of(pods):
            pass


async def test_a_named_pod_that_goes_away_while_its_agent_starts_has_none():
    pods = Pods(view("a"), view("b"))
    pods.refusals["a"] = NotStarted("pod shop/a is being deleted, so no agent starts in it")
    pods.leaves["a"] = [view("a", ready=False, leaving=GOING)], [view("b")]
    with pytest.raises(NotStarted, match="is being deleted"):
        async with fleet_of(pods, "pod/a"):
            pass
