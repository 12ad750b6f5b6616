from types import SimpleNamespace

import pytest
import yaml
from click.testing import CliRunner

from podmirror.commands.rbac import command
from podmirror.errors import UsageError
from tests.layer.commands.cluster import connect_to
from tests.layer.kube.fakes import FakeCluster


def printed(*arguments: str) -> list[dict]:
    result = CliRunner().invoke(command, list(arguments), standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return list(yaml.safe_load_all(result.output))


def test_no_cluster_is_asked_when_everything_is_given(monkeypatch):
    monkeypatch.setattr("podmirror.kube.cluster.Cluster.connect", lambda *_: pytest.fail("it was asked"))

    role, binding = printed("-n", "shop", "--group", "devs")

    assert role["metadata"] == {"name": "podmirror-ephemeral", "namespace": "shop"}
    assert binding["subjects"][0]["name"] == "devs"


def test_the_cluster_says_who_asks_and_where(monkeypatch):
    user = SimpleNamespace(status=SimpleNamespace(user_info=SimpleNamespace(username="me")))
    connect_to(FakeCluster(create_self_subject_review=user), monkeypatch)

    role, binding = printed("-t", "pod/web")

    assert role["metadata"]["namespace"] == "shop"
    assert binding["subjects"][0]["name"] == "me"


def test_a_job_in_another_namespace_takes_two_roles():
    documents = printed("--agent", "job", "-n", "shop", "--agent-namespace", "agents", "--user", "dev")

    assert [(each["kind"], each["metadata"]["namespace"]) for each in documents] == [
        ("Role", "shop"),
        ("RoleBinding", "shop"),
        ("Role", "agents"),
        ("RoleBinding", "agents"),
    ]


@pytest.mark.parametrize(
    ("given", "subject"),
    [
        ("build:ci", {"kind": "ServiceAccount", "name": "ci", "namespace": "build"}),
        ("ci", {"kind": "ServiceAccount", "name": "ci", "namespace": "shop"}),
    ],
)
def test_service_accounts(given, subject):
    assert printed("-n", "shop", "--serviceaccount", given)[1]["subjects"] == [subject]


@pytest.mark.parametrize(
    "arguments",
    [("--user", "a", "--group", "b"), ("--user", "a", "-n", "shop", "--agent-namespace", "agents")],
)
def test_what_contradicts_itself_is_refused(arguments):
    with pytest.raises(UsageError):
        printed(*arguments)
