from types import SimpleNamespace

import pytest

from podmirror.errors import NotStarted
from podmirror.kube.access import denied, whoami
from podmirror.kube.cluster import Refusal
from podmirror.kube.permissions import Access
from podmirror.kube.rolemanifests import Subject
from tests.layer.kube.fakes import FakeCluster

GET_PODS = Access("shop", "", "pods", "get")
PORT_FORWARD = Access("shop", "", "pods/portforward", "create")
JOBS = Access("agents", "batch", "jobs", "create")


def reviewing(*allowed: Access) -> FakeCluster:
    def answer(body):
        asked = body["spec"]["resourceAttributes"]
        resource = "/".join(filter(None, (asked["resource"], asked["subresource"])))
        access = Access(asked["namespace"], asked["group"], resource, asked["verb"])
        return SimpleNamespace(status=SimpleNamespace(allowed=access in allowed))

    cluster = FakeCluster(create_self_subject_access_review=answer)
    cluster.authorization = cluster.core
    return cluster


def called(name: str) -> FakeCluster:
    review = SimpleNamespace(status=SimpleNamespace(user_info=SimpleNamespace(username=name)))
    cluster = FakeCluster(create_self_subject_review=review)
    cluster.authentication = cluster.core
    return cluster


async def test_what_is_denied_is_given_in_the_order_of_asking():
    assert await denied(reviewing(GET_PODS), [JOBS, GET_PODS, PORT_FORWARD]) == [JOBS, PORT_FORWARD]


async def test_each_access_is_asked_about_once():
    cluster = reviewing()

    assert await denied(cluster, [GET_PODS, GET_PODS]) == [GET_PODS]
    assert len(cluster.calls) == 1


async def test_a_server_that_does_not_answer_such_questions_is_quoted():
    cluster = reviewing()
    cluster.answers["create_self_subject_access_review"] = Refusal(401, "Unauthorized", "who are you")

    with pytest.raises(NotStarted, match="who are you"):
        await denied(cluster, [GET_PODS])


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("dev", Subject("User", "dev")),
        ("oidc:me@shop", Subject("User", "oidc:me@shop")),
        ("system:serviceaccount:build:ci", Subject("ServiceAccount", "ci", "build")),
    ],
)
async def test_the_user_is_whom_the_server_says(name, subject):
    assert await whoami(called(name)) == subject


async def test_an_old_server_does_not_say_who_somebody_is():
    cluster = called("")
    cluster.answers["create_self_subject_review"] = Refusal(404, "NotFound", "no such resource")

    with pytest.raises(NotStarted, match="no such resource; name somebody with --user"):
        await whoami(cluster)
