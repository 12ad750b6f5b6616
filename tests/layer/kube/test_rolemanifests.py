import pytest
import yaml

from podmirror.kube.permissions import AgentMode, needed
from podmirror.kube.rolemanifests import Subject, privileged_namespace, role_manifests

DEV = Subject("User", "dev")


def documents(subject: Subject = DEV, namespace: str = "shop") -> list[dict]:
    return list(
        yaml.safe_load_all(role_manifests("podmirror", needed(AgentMode.EPHEMERAL, namespace), subject))
    )


def test_a_role_holds_every_rule_with_its_reason():
    text = role_manifests("podmirror", needed(AgentMode.EPHEMERAL, "shop"), Subject("User", "dev"))
    rules = next(yaml.safe_load_all(text))["rules"]

    assert {
        "apiGroups": [""],
        "resources": ["pods/portforward"],
        "verbs": ["get", "create"],
    } in rules
    assert text.count("  # ") == len(rules)


@pytest.mark.parametrize(
    ("subject", "written"),
    [
        (Subject("User", "dev"), {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "dev"}),
        (
            Subject("Group", "devs"),
            {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "devs"},
        ),
        (
            Subject("ServiceAccount", "ci", "build"),
            {"kind": "ServiceAccount", "name": "ci", "namespace": "build"},
        ),
        (Subject("ServiceAccount", "ci"), {"kind": "ServiceAccount", "name": "ci", "namespace": "shop"}),
    ],
)
def test_the_binding_names_the_subject(subject, written):
    binding = documents(subject)[1]

    assert binding["subjects"] == [written]
    assert binding["roleRef"]["name"] == "podmirror"


@pytest.mark.parametrize("name", ["true", "007", "oidc:me@shop.example", "a: b", "#x", "No", "1e3", "null"])
def test_names_come_back_as_they_were(name):
    assert documents(Subject("User", name))[1]["subjects"][0]["name"] == name
    assert documents(namespace=name)[0]["metadata"]["namespace"] == name


def test_a_namespace_for_agents_admits_them():
    labels = yaml.safe_load(privileged_namespace("agents"))["metadata"]["labels"]

    assert labels == {"pod-security.kubernetes.io/enforce": "privileged"}
