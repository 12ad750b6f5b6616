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
        ("Deployment/web", Target(Kind.DEPLOYMENT, "web")),
        ("StatefulSet.apps/db", Target(Kind.STATEFUL_SET, "db")),
        ("pod/web/container/nginx", Target(Kind.POD, "web", "nginx")),
        ("deployment/web/container/nginx", Target(Kind.DEPLOYMENT, "web", "nginx")),
        ("pod/" + "a" * 253, Target(Kind.POD, "a" * 253)),
        ("statefulset/db", Target(Kind.STATEFUL_SET, "db")),
        ("sts/db/container/c", Target(Kind.STATEFUL_SET, "db", "c")),
        ("daemonsets.apps/log", Target(Kind.DAEMON_SET, "log")),
        ("ds/log", Target(Kind.DAEMON_SET, "log")),
        ("replicasets/web-5d", Target(Kind.REPLICA_SET, "web-5d")),
        ("rs/web-5d", Target(Kind.REPLICA_SET, "web-5d")),
        ("job/once", Target(Kind.JOB, "once")),
        ("jobs.batch/once", Target(Kind.JOB, "once")),
        ("cronjob.batch/nightly", Target(Kind.CRON_JOB, "nightly")),
        ("cj/nightly", Target(Kind.CRON_JOB, "nightly")),
        ("service/web", Target(Kind.SERVICE, "web")),
        ("svc/web/container/c", Target(Kind.SERVICE, "web", "c")),
        ("rollout/web", Target(Kind.ROLLOUT, "web")),
        ("rollouts.argoproj.io/web", Target(Kind.ROLLOUT, "web")),
        ("ro/web", Target(Kind.ROLLOUT, "web")),
        ("pod/container/container/container", Target(Kind.POD, "container", "container")),
        ("label/app=web", Target(Kind.LABEL, "app=web")),
        ("label/app=", Target(Kind.LABEL, "app=")),
        ("label/app=web,tier=Front_1", Target(Kind.LABEL, "app=web,tier=Front_1")),
        ("label/app.kubernetes.io/name=web", Target(Kind.LABEL, "app.kubernetes.io/name=web")),
        ("label/a/b=c,d=e/container/nginx", Target(Kind.LABEL, "a/b=c,d=e", "nginx")),
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
        "label/",
        "label/app",
        "label/=web",
        "label/app=web,",
        "label/app==web",
        "label/app=web/container/",
        "label/app in (web)",
        "label/a/b/c=d",
        "label/app=web\n",
    ],
)
def test_anything_else_is_refused_with_the_grammar(text):
    with pytest.raises(UsageError, match="pod/NAME or deployment/NAME"):
        Target.parse(text)


@pytest.mark.parametrize(
    "text", ["node/web", "endpoints/web/container/nginx", "Node/web", "ns/pod/web", "labels/a=b"]
)
def test_a_kind_that_is_not_known_is_named(text):
    with pytest.raises(UsageError, match=f"kind '{text.partition('/')[0]}' is not known"):
        Target.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "pod/web-0",
        "deployment/web",
        "deployment/web/container/nginx",
        "cronjob/x",
        "label/a/b=c,d=/container/e",
    ],
)
def test_a_target_is_written_as_it_is_read(text):
    assert str(Target.parse(text)) == text


def test_a_target_is_written_with_the_full_kind():
    assert str(Target.parse("deploy/web")) == "deployment/web"


@pytest.mark.parametrize(("text", "followed"), [("pod/web-0", False), ("sts/web", True), ("label/a=b", True)])
def test_all_but_a_pod_is_followed(text, followed):
    assert Target.parse(text).is_followed is followed
