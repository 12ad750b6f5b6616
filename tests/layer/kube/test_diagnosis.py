"""What is said of trials, and what is to be applied."""

import json

import pytest
import yaml

from podmirror.kube.diagnosis import SUGGESTED_NAMESPACE, Diagnosis
from podmirror.kube.permissions import Access, AgentMode
from podmirror.kube.preflight import Trial
from podmirror.kube.rolemanifests import Subject

POD_SECURITY = 'violates PodSecurity "baseline:latest"'
PORT_FORWARD = [Access("shop", "", "pods/portforward", verb) for verb in ("get", "create")]
EVENTS = Access("shop", "", "events", "list", optional=True)


def of(*trials: Trial, agent_namespace: str = "shop") -> Diagnosis:
    return Diagnosis("shop", agent_namespace, "pod", Subject("User", "dev"), "tried", list(trials))


def trial(mode: AgentMode = AgentMode.EPHEMERAL, **fields: list) -> Trial:
    return Trial("a way", mode, **fields)


def kinds(manifest: str) -> list[tuple[str, str]]:
    return [
        (each["kind"], each["metadata"].get("namespace", each["metadata"]["name"]))
        for each in yaml.safe_load_all(manifest)
    ]


def test_one_way_that_works_is_enough():
    assert of(trial(refusals=["no"]), trial()).works
    assert not of(trial(refusals=["no"])).works


def test_the_verbs_that_are_missing_on_one_thing_are_one_sentence():
    missing = trial(missing=[*PORT_FORWARD, EVENTS])

    assert of(missing).words(missing) == [
        "you may not get, create pods/portforward in namespace 'shop'",
        "works without it, but you may not list events in namespace 'shop'",
    ]


def test_what_is_only_good_to_have_stops_nothing():
    spared = trial(missing=[EVENTS])

    assert spared.works
    assert of(spared).remedy(spared) == ""


def test_roles_are_told_once_for_both_ephemeral_ways():
    found = of(trial(missing=PORT_FORWARD), trial(missing=PORT_FORWARD))

    (told,) = found.remedies()
    assert kinds(told[1]) == [("Role", "shop"), ("RoleBinding", "shop")]


def test_no_role_helps_an_ephemeral_agent_against_pod_security():
    refused = trial(refusals=[POD_SECURITY])

    assert of(refused).remedy(refused) == ""


@pytest.mark.parametrize(
    ("agent_namespace", "suggested"), [("shop", SUGGESTED_NAMESPACE), ("agents", "agents")]
)
def test_against_pod_security_a_job_gets_a_namespace(agent_namespace, suggested):
    refused = trial(AgentMode.JOB, refusals=[POD_SECURITY])

    manifest = of(refused, agent_namespace=agent_namespace).remedy(refused)

    assert kinds(manifest) == [
        ("Namespace", suggested),
        ("Role", "shop"),
        ("RoleBinding", "shop"),
        ("Role", suggested),
        ("RoleBinding", suggested),
    ]


def test_all_of_it_for_a_machine():
    found = of(trial(missing=PORT_FORWARD), trial(AgentMode.JOB)).as_json()

    assert json.loads(json.dumps(found)) == found
    assert [each["works"] for each in found["modes"]] == [False, True]
    assert found["modes"][0]["missing"][0] == {
        "namespace": "shop",
        "group": "",
        "resource": "pods/portforward",
        "verb": "get",
        "optional": False,
    }
