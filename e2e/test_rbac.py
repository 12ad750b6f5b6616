"""The permissions that are printed: each mode works with them and no more, and `doctor` names each that is missing."""

import json
from collections.abc import Iterator

import pytest
import yaml

from e2e.cluster import E2ECluster, until
from e2e.running import refusal, run
from e2e.sessions import Podmirror
from e2e.shops import jobs, shop
from e2e.users import User, make_user

TARGET = "deployment/app"


@pytest.fixture(scope="module")
def account(k8s: E2ECluster, tmp_path_factory) -> User:
    return make_user(k8s, "dev", tmp_path_factory.mktemp("dev"))


@pytest.fixture
def dev(account: User) -> Iterator[User]:
    yield account
    account.forget()


def printed(user: User, agent: str) -> str:
    arguments = ["rbac", "--agent", agent, "-t", TARGET, "-n", user.admin.namespace]
    return run(user.cluster, *arguments).stdout


def diagnosis(user: User) -> dict[str, dict]:
    done = run(user.cluster, "doctor", "-t", TARGET, "-n", user.admin.namespace, "-o", "json")
    return {each["mode"]: each for each in json.loads(done.stdout)["modes"]}


def test_without_any_permission_the_refusal_tells_how_to_get_it(dev: User, local_port: int) -> None:
    said = refusal(dev.cluster, "mirror", *dev.cluster.session_arguments(TARGET), "-p", f"8080:{local_port}")

    assert 'cannot get resource "deployments"' in said
    assert "podmirror rbac" in said


def test_the_permissions_are_printed_for_whoever_asks(dev: User) -> None:
    binding = list(yaml.safe_load_all(printed(dev, "ephemeral")))[1]

    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": dev.name, "namespace": dev.admin.namespace}
    ]


def test_an_ephemeral_agent_works_with_what_is_printed(dev: User, local_port: int) -> None:
    dev.apply(printed(dev, "ephemeral"))
    until(lambda: diagnosis(dev)["ephemeral, NET_RAW added"]["works"], "the permissions hold")

    arguments = ["mirror", *dev.cluster.session_arguments(TARGET), "-p", f"8080:{local_port}"]
    with Podmirror(dev.cluster, *arguments) as podmirror:
        podmirror.until_said("mirroring")
        assert podmirror.interrupt() == 0


@pytest.mark.parametrize("agent", ["ephemeral", "job"])
def test_doctor_names_every_rule_that_is_missing(dev: User, agent: str) -> None:
    manifests = printed(dev, agent)
    mode = "job" if agent == "job" else "ephemeral, NET_RAW added"
    rules = next(yaml.safe_load_all(manifests))["rules"]
    for number, rule in enumerate(rules):
        dev.apply(manifests, without=number)
        removed = {(resource, verb) for resource in rule["resources"] for verb in rule["verbs"]}

        def named(removed: set = removed) -> bool:
            missing = {(each["resource"], each["verb"]) for each in diagnosis(dev)[mode]["missing"]}
            return missing == removed

        until(named, f"doctor names {removed} and nothing else")


def test_a_quota_is_suspected_within_five_seconds_by_whoever_may_not_read_events(
    k8s: E2ECluster, tmp_path
) -> None:
    with shop(k8s, "uneventful", quota={"pods": "1"}) as place:
        dev = make_user(place, "dev", tmp_path)
        manifests = run(dev.cluster, "rbac", "--agent", "job", "-t", "pod/app", "-n", place.namespace).stdout
        rules = next(yaml.safe_load_all(manifests))["rules"]
        dev.apply(
            manifests,
            without=next(number for number, rule in enumerate(rules) if "events" in rule["resources"]),
        )
        options = ["--agent", "job", "-p", "8080:3999"]
        until(lambda: may_create_jobs(dev), "the permissions hold")

        said = refusal(dev.cluster, "mirror", *dev.cluster.session_arguments("pod/app"), *options)

        assert "has no pod after 2 s: a quota or a policy may refuse it" in said
        assert 'cannot list resource "events"' in said
        assert "`podmirror rbac --agent job`" in said
        assert not jobs(place)


def may_create_jobs(user: User) -> bool:
    done = run(user.cluster, "doctor", "-t", "pod/app", "-n", user.admin.namespace, "-o", "json")
    (job,) = (each for each in json.loads(done.stdout)["modes"] if each["mode"] == "job")
    return all(each["resource"] == "events" for each in job["missing"])


def test_what_doctor_says_to_apply_makes_it_work(dev: User) -> None:
    before = diagnosis(dev)["job"]
    assert not before["works"]

    dev.apply(before["apply"])

    until(lambda: diagnosis(dev)["job"]["works"], "the Job may be created")
