"""The files by which a session finds an agent that another one has started."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from podmirror import ownagents
from podmirror.ownagents import OwnAgent, find, keep

AGENT = OwnAgent(
    "https://k8s", "shop", "web-1", "u-1", "podmirror-1", "image:1", (61_000, 61_001), "ab" * 32, 30.0, 0.5
)


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "podmirror" / "agents"


def kept(*agents: OwnAgent) -> None:
    """Agents whose layers were killed."""
    for agent in agents:
        keep(agent).release(ended=False)


def found(*where: str) -> list[OwnAgent]:
    claims = find(*where)
    for claim in claims:
        claim.release(ended=False)
    return [claim.agent for claim in claims]


def test_an_agent_is_found_where_it_is():
    kept(AGENT, replace(AGENT, pod="web-2", uid="u-2"), replace(AGENT, namespace="other", uid="u-3"))

    assert found("https://k8s", "shop", "web-1") == [AGENT]
    assert len(found("https://k8s", "shop")) == 2
    assert len(found("https://k8s")) == 3
    assert found("https://elsewhere") == []


def test_only_the_user_may_read_it(folder):
    claim = keep(AGENT)
    (path,) = folder.iterdir()

    assert path.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert AGENT.name not in path.name
    claim.release(ended=True)


def test_the_secret_of_an_agent_that_has_ended_is_removed(folder):
    keep(AGENT).release(ended=True)

    assert list(folder.iterdir()) == []


def test_the_last_session_removes_it():
    first = keep(AGENT)
    (second,) = find("https://k8s")

    first.release(ended=True)
    assert found("https://k8s") == [AGENT]
    second.release(ended=True)
    assert found("https://k8s") == []


def test_whoever_is_alone_keeps_others_away(folder):
    first = keep(AGENT)
    (second,) = find("https://k8s")
    assert not first.take_alone()
    second.release(ended=False)

    assert first.take_alone()
    assert found("https://k8s") == []
    first.release(ended=True)
    assert list(folder.iterdir()) == []


def test_what_is_gone_is_forgotten_whoever_holds_it():
    first = keep(AGENT)
    (second,) = find("https://k8s")

    second.forget()

    assert found("https://k8s") == []
    first.release(ended=True)


def test_the_latest_is_the_first(folder):
    for age, name in enumerate(["podmirror-a", "podmirror-b", "podmirror-c"]):
        before = set(folder.iterdir()) if folder.exists() else set()
        kept(replace(AGENT, name=name))
        (path,) = set(folder.iterdir()) - before
        os.utime(path, (time.time() - age, time.time() - age))

    assert [agent.name for agent in found("https://k8s")] == ["podmirror-a", "podmirror-b", "podmirror-c"]


def test_what_is_too_old_to_be_alive_is_removed(folder):
    kept(AGENT)
    (path,) = folder.iterdir()
    os.utime(path, (0, time.time() - ownagents.MAX_AGE_SECONDS - 1))

    assert found("https://k8s") == []
    assert not path.exists()


def test_what_is_too_old_is_removed_whichever_pod_is_asked_for(folder):
    kept(AGENT)
    (path,) = folder.iterdir()
    os.utime(path, (0, time.time() - ownagents.MAX_AGE_SECONDS - 1))

    assert ownagents.find(AGENT.server, AGENT.namespace, "another") == []
    assert not path.exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"name": "x"}', '{"ports": [1], "strange": 1}'])
def test_a_file_that_is_not_ours_is_passed_over(folder, content):
    kept(AGENT)
    (folder / "x.json").write_text(content)

    assert found("https://k8s") == [AGENT]


def test_without_a_place_for_it_nothing_is_kept(folder):
    folder.parent.parent.mkdir(exist_ok=True)
    folder.parent.write_text("in the way")

    assert keep(AGENT) is None
    assert find("https://k8s") == []


def test_without_a_state_folder_it_is_the_home_folders(monkeypatch, tmp_path):
    for value in ("", "relative"):
        monkeypatch.setenv("XDG_STATE_HOME", value)
        monkeypatch.setenv("HOME", str(tmp_path / value))
        kept(AGENT)

        assert list((tmp_path / value / ".local/state/podmirror/agents").iterdir())
