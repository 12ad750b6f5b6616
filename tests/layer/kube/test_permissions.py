import pytest

from podmirror.kube.permissions import AgentMode, needed


def accesses(*arguments: object) -> set[tuple[str, str, str, str]]:
    return {
        (each.namespace, each.group, each.resource, each.verb)
        for role in needed(*arguments)
        for each in role.accesses()
        if not each.optional
    }


def test_an_ephemeral_agent_takes_no_more_than_this():
    assert accesses(AgentMode.EPHEMERAL, "shop", None, "pod") == {
        ("shop", "", "pods", "get"),
        ("shop", "", "pods", "list"),
        ("shop", "", "pods", "watch"),
        ("shop", "", "pods/ephemeralcontainers", "patch"),
        ("shop", "", "pods/portforward", "get"),
        ("shop", "", "pods/portforward", "create"),
    }


def test_a_job_elsewhere_takes_nothing_but_reading_in_the_targets_namespace():
    found = accesses(AgentMode.JOB, "shop", "agents", "deployment")

    assert {each[1:] for each in found if each[0] == "shop"} == {
        ("", "pods", "get"),
        ("", "pods", "list"),
        ("", "pods", "watch"),
        ("apps", "deployments", "get"),
    }
    assert {each[1:] for each in found if each[0] == "agents"} == {
        ("", "pods", "get"),
        ("", "pods", "list"),
        ("", "pods", "watch"),
        ("batch", "jobs", "create"),
        ("batch", "jobs", "get"),
        ("batch", "jobs", "delete"),
        ("", "pods/portforward", "get"),
        ("", "pods/portforward", "create"),
    }


def test_a_job_in_the_targets_own_namespace_takes_one_role():
    assert len(needed(AgentMode.JOB, "shop", "shop", "pod")) == 1
    assert needed(AgentMode.JOB, "shop", None, "pod") == needed(AgentMode.JOB, "shop", "shop", "pod")


@pytest.mark.parametrize(
    ("kind", "resource"),
    [("service", "services"), ("cronjob", "cronjobs.batch"), ("rollout", "rollouts.argoproj.io")],
)
def test_each_kind_of_target_takes_its_own_rule(kind, resource):
    roles = needed(AgentMode.EPHEMERAL, "shop", None, kind)

    assert resource in {each.object for role in roles for each in role.accesses()}


def test_a_resource_is_called_as_the_server_calls_it():
    objects = {each.object for role in needed(AgentMode.JOB, "shop") for each in role.accesses()}

    assert {"pods/portforward", "jobs.batch", "deployments.apps"} <= objects
