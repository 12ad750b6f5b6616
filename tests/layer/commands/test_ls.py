import json

import pytest
from click.testing import CliRunner

from podmirror.commands import ls
from podmirror.kube.cluster import Refusal
from tests.layer.commands.cluster import connect_to
from tests.layer.kube.fakes import FakeCluster, items
from tests.layer.kube.pods import pod

FORBIDDEN = Refusal(403, "Forbidden", "not for you")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str, **answers: object):
    cluster = connect_to(FakeCluster(**answers), monkeypatch)
    cluster.apps = cluster.core
    return CliRunner().invoke(ls.command, list(arguments), standalone_mode=False)


def test_what_there_is(monkeypatch):
    done = run(monkeypatch, "--type", "pod", list_namespaced_pod=items(pod()))

    assert "pod/web-1" in done.output
    assert done.return_value == 0


def test_where_there_is_nothing(monkeypatch):
    done = run(monkeypatch, "--type", "pod", list_namespaced_pod=items())

    assert (done.stdout, done.return_value) == ("there is no pod in namespace shop\n", 0)


def test_where_nothing_may_be_listed(monkeypatch):
    done = run(monkeypatch, "--type", "pod", list_namespaced_pod=FORBIDDEN)

    assert "podmirror: not listed: not for you" in done.stderr
    assert done.stdout == "there is no pod in namespace shop that you may list\n"
    assert done.return_value == 5


def test_what_may_be_listed_is_enough(monkeypatch):
    types = ("--type", "pod", "--type", "deployment")
    done = run(monkeypatch, *types, list_namespaced_pod=items(pod()), list_namespaced_deployment=FORBIDDEN)

    assert done.return_value == 0


def test_as_json_where_there_is_nothing(monkeypatch):
    assert (
        json.loads(run(monkeypatch, "--type", "pod", "-o", "json", list_namespaced_pod=items()).stdout) == []
    )
