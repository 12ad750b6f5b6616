from podmirror.compare.figures import Mode
from podmirror.compare.verbs import verbs_for


def test_an_ephemeral_agent_takes_the_subresource_and_no_job():
    verbs = verbs_for(Mode.EPHEMERAL, "shop", None, "deployment")

    assert "pods/ephemeralcontainers: patch" in verbs
    assert "deployments: get" in verbs
    assert "events: list (optional)" in verbs
    assert not any(each.startswith("jobs") for each in verbs)
    assert verbs == verbs_for(Mode.BESIDE, "shop", None, "deployment")


def test_a_job_elsewhere_takes_verbs_in_two_namespaces():
    verbs = verbs_for(Mode.JOB, "shop", "agents", "pod")

    assert "pods: get list watch in shop" in verbs
    assert "jobs: create get delete in agents" in verbs
