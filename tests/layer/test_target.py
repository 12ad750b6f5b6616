"""The grammar of targets."""

import pytest

from podmirror.errors import UsageError
from podmirror.target import Kind, Target


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("pod/web-0", Target(Kind.POD, "web-0")),
        ("po/web-0", Target(Kind.POD, "web-0")),
        ("pods/web.0", Target(Kind.POD, "web.0")),
        ("deployment/web", Target(Kind.DEPLOYMENT, "web")),
        ("deploy/web", Target(Kind.DEPLOYMENT, "web")),
        ("deployments/web", Target(Kind.DEPLOYMENT, "web")),
        ("deployment.apps/web", Target(Kind.DEPLOYMENT, "web")),
        ("deployments.apps/w", Target(Kind.DEPLOYMENT, "w")),
        ("pod/web/container/nginx", Target(Kind.POD, "web", "nginx")),
        ("deployment/web/container/nginx", Target(Kind.DEPLOYMENT, "web", "nginx")),
        ("pod/" + "a" * 253, Target(Kind.POD, "a" * 253)),
        ("sts/db", Target(Kind.STATEFULSET, "db")),
        ("statefulsets.apps/db", Target(Kind.STATEFULSET, "db")),
        ("ds/logs", Target(Kind.DAEMONSET, "logs")),
        ("rs/web-1", Target(Kind.REPLICASET, "web-1")),
        ("job/load", Target(Kind.JOB, "load")),
        ("jobs.batch/load", Target(Kind.JOB, "load")),
        ("cj/nightly", Target(Kind.CRONJOB, "nightly")),
        ("svc/web/container/nginx", Target(Kind.SERVICE, "web", "nginx")),
        ("services/web", Target(Kind.SERVICE, "web")),
        ("rollout.argoproj.io/web", Target(Kind.ROLLOUT, "web")),
        ("label/app=web", Target(Kind.LABEL, "app=web")),
        ("label/app.kubernetes.io/name=web,tier=", Target(Kind.LABEL, "app.kubernetes.io/name=web,tier=")),
        ("label/app=web/container/nginx", Target(Kind.LABEL, "app=web", "nginx")),
    ],
)
def test_targets(text, target):
    assert Target.parse(text) == target


@pytest.mark.parametrize(
    "text",
    [
        "",
        "web",
        "pod",
        "pod/",
        "/web",
        "pod/Web",
        "pod/-web",
        "pod/web-",
        "pod/web/nginx",
        "pod/web/container",
        "pod/web/container/",
        "pod/web/container/a/b",
        "pod/web\n",
        "pod/we_b",
        "pod/" + "a" * 254,
        "pod/wéb",
        "label/app",
        "label/=web",
        "label/app=web,",
        "label/app=we b",
    ],
)
def test_anything_else_is_refused_with_the_grammar(text):
    with pytest.raises(UsageError, match="write KIND/NAME or label/KEY=VALUE"):
        Target.parse(text)


@pytest.mark.parametrize("text", ["ingress/web", "ing/web/container/nginx", "Pod/web", "ns/pod/web"])
def test_a_kind_that_is_not_known_is_named(text):
    with pytest.raises(UsageError, match=f"kind '{text.partition('/')[0]}' is not known"):
        Target.parse(text)


@pytest.mark.parametrize("text", ["pod/web-0", "deployment/web", "deployment/web/container/nginx"])
def test_a_target_is_written_as_it_is_read(text):
    assert str(Target.parse(text)) == text


def test_a_target_is_written_with_the_full_kind():
    assert str(Target.parse("deploy/web")) == "deployment/web"
