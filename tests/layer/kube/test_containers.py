"""Which container is meant."""

import pytest
from kubernetes.client import V1Container

from podmirror.errors import NotStarted
from podmirror.kube.containers import DEFAULT_ANNOTATION, choose_container
from tests.layer.kube.pods import pod


def test_the_only_one_is_clear():
    assert choose_container(None, pod(containers=("istio-proxy",))) == ("istio-proxy", "")


def test_the_annotation_decides():
    annotations = {DEFAULT_ANNOTATION: "b"}

    assert choose_container(None, pod(containers=("a", "b"), annotations=annotations)) == ("b", "")


@pytest.mark.parametrize("annotation", ["", "nope"])
def test_an_annotation_that_names_none_does_not(annotation):
    annotations = {DEFAULT_ANNOTATION: annotation}
    chosen, note = choose_container(None, pod(containers=("a", "b"), annotations=annotations))

    assert chosen == "a"
    assert note


def test_a_known_sidecar_is_passed_over_and_that_is_said():
    chosen, note = choose_container(None, pod(containers=("istio-proxy", "app", "fluentd")))

    assert chosen == "app"
    assert note == (
        "container app of pod web-1 is taken for the app, which is no known sidecar (there is also istio-proxy, fluentd); "
        "add /container/NAME to the target to name another"
    )


def test_of_several_the_first_is_a_guess():
    chosen, note = choose_container(None, pod(containers=("istio-proxy", "front", "back")))

    assert chosen == "front"
    assert "the first that is no known sidecar (there is also istio-proxy, back)" in note


def test_of_sidecars_alone_the_first():
    assert choose_container(None, pod(containers=("envoy", "daprd")))[0] == "envoy"


def test_the_users_word_holds():
    assert choose_container("istio-proxy", pod(containers=("app", "istio-proxy"))) == ("istio-proxy", "")


def test_an_init_container_that_goes_on_may_be_named():
    target = pod()
    target.spec.init_containers = [
        V1Container(name="once"),
        V1Container(name="beside", restart_policy="Always"),
    ]

    assert choose_container("beside", target) == ("beside", "")
    with pytest.raises(NotStarted, match="pod web-1 has no container 'once'; it has app, beside"):
        choose_container("once", target)
