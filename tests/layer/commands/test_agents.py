import json

import pytest
from click.testing import CliRunner

from podmirror import ownagents
from podmirror.commands import agents
from podmirror.kube import reuse
from podmirror.ownagents import OwnAgent
from tests.layer.commands.cluster import connect_to
from tests.layer.kube.fakes import FakeCluster, items
from tests.layer.kube.injections import ENDED
from tests.layer.kube.pods import AGENT
from tests.layer.kube.test_leftovers import RUNNING, job, with_agent


@pytest.fixture
def cluster(monkeypatch, tmp_path) -> FakeCluster:
    fake = FakeCluster(
        list_namespaced_pod=items(with_agent(RUNNING)),
        list_namespaced_job=items(),
        delete_namespaced_job=None,
    )
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "160")
    return connect_to(fake, monkeypatch)


def run(*arguments: str):
    return CliRunner().invoke(agents.command, list(arguments), standalone_mode=False)


def test_where_there_are_none(cluster):
    cluster.answers["list_namespaced_pod"] = items()

    assert run().output == "there are no agents\n"


def test_they_are_listed_with_their_end(cluster):
    done = run()

    assert AGENT in done.output
    assert "30 s after its session is lost" in done.output


def test_as_json(cluster):
    (listed,) = json.loads(run("-o", "json").output)

    assert (listed["name"], listed["state"]) == (AGENT, "running")
    assert listed["endsAtTheLatest"] == "2026-01-01T08:00:00+00:00"


def test_somebody_elses_is_left_alone(cluster):
    done = run("--clean")

    assert "is not yours to end" in done.stderr
    assert done.return_value == 0


@pytest.mark.parametrize(("answers", "said"), [(True, "ended"), (False, "did not answer")])
def test_ones_own_is_ended(cluster, monkeypatch, answers, said):
    own = OwnAgent("https://k8s", "shop", "web-1", "u", AGENT, "i", (61_000,), "00" * 32, 30.0, None)
    ownagents.keep(own).release(ended=False)
    ended = []

    async def end(_cluster, claim) -> bool:
        ended.append(claim.agent)
        claim.forget()
        return answers

    monkeypatch.setattr(reuse, "end_agent", end)

    done = run("--clean")

    assert ended == [own]
    assert f"{AGENT}" in done.stderr
    assert said in done.stderr


def test_one_that_has_ended_needs_nothing(cluster):
    cluster.answers["list_namespaced_pod"] = items(with_agent(ENDED))

    assert run("--clean").stderr == ""


def test_jobs_that_have_ended_are_removed_and_others_with_force(cluster):
    cluster.answers["list_namespaced_pod"] = items()
    cluster.answers["list_namespaced_job"] = items(job("podmirror-1", ended=True), job("podmirror-2"))

    done = run("--clean")
    assert cluster.called("delete_namespaced_job") == [("podmirror-1", "shop")]
    assert "podmirror-2 may be in somebody's use; --force removes it" in done.stderr

    run("--clean", "--force")
    assert ("podmirror-2", "shop") in cluster.called("delete_namespaced_job")
