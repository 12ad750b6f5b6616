from podmirror.compare.figures import Mode
from podmirror.compare.sections import sections
from tests.layer.compare.samples import both, comparison, run


def cells(of, title: str, name: str) -> tuple[str, ...]:
    section = next(each for each in sections(of) if each.title == title)
    return next(row.cells for row in section.rows if row.name == name)


def test_seven_questions_are_answered():
    titles = [section.title for section in sections(both())]

    assert titles == ["Start", "Fidelity", "Cost", "Ask", "Namespaces", "Effect on the target", "Left behind"]
    assert all(len(row.cells) == 2 for section in sections(both()) for row in section.rows)


def test_a_step_that_a_kind_of_agent_does_not_have():
    assert cells(both(), "Start", "scheduled") == ("no such step", "152 ms (150 ms to 153 ms)")


def test_a_refused_mode_shows_the_words_and_the_other_column_is_complete():
    of = comparison([run(Mode.EPHEMERAL)], refusals=['pods "x" is forbidden'])

    assert cells(of, "Start", "refused") == ("no", 'pods "x" is forbidden')
    assert cells(of, "Cost", "CPU") == ("100 ms", "refused")


def test_a_mode_that_failed():
    of = comparison([run(Mode.EPHEMERAL)], failures=["the API server was away"])

    assert cells(of, "Start", "failed") == ("none", "the API server was away")
    assert cells(of, "Cost", "CPU") == ("100 ms", "failed")


def test_fidelity_adds_up_all_runs():
    assert cells(both(), "Fidelity", "our own requests delivered") == ("300 of 300", "300 of 300")
    assert (
        cells(both(), "Fidelity", "bytes delivered, of all that passed by the agent's count")[0]
        == "3,000,000 of 3,000,000"
    )
    assert cells(both(), "Fidelity", "lost") == ("nothing", "nothing")
    assert cells(both(), "Fidelity", "the pod's clock, minus ours")[0] == "10 µs ± 100 µs"


def test_loss_by_place():
    of = comparison([run(Mode.EPHEMERAL, lost=5)], [run(Mode.JOB)])

    assert cells(of, "Fidelity", "lost") == ("cut (bytes) 5", "nothing")


def test_without_load_the_apps_answers_are_unknown():
    of = comparison([run(Mode.EPHEMERAL, load=False)], [run(Mode.JOB, load=False)])

    assert cells(of, "Effect on the target", "requests during")[0] == "unknown: no load"
    assert cells(of, "Fidelity", "our own requests delivered")[0] == "unknown: no load"


def test_whose_limits():
    ephemeral, job = cells(both(), "Cost", "counts against the limits of")

    assert ephemeral.startswith("the target's pod: an ephemeral container has none (not verified")
    assert job == "its own container (by its control group: 128.0 MiB, 1 CPU)"


def test_namespaces_of_the_pod_are_judged_by_what_the_jobs_agent_saw():
    assert cells(both(), "Namespaces", "net") == ("shared (4)", "apart (44, target 4)")
    assert cells(both(), "Namespaces", "pid")[0] == "apart (5, target 55)"


def test_without_a_jobs_agent_they_are_unknown():
    of = comparison([run(Mode.EPHEMERAL)], refusals=["no"])

    assert cells(of, "Namespaces", "net")[0].startswith("unknown: the target's processes do not show")


def test_the_effect_on_the_target():
    assert (
        cells(both(), "Effect on the target", "requests during")[0] == "p50 1 ms, p99 1 ms; 0 of 300 failed"
    )
    assert cells(both(), "Effect on the target", "TCP sockets in the target's network")[0] == "4 → 4"
    assert cells(both(), "Effect on the target", "xtables in the target's network")[0] == "none → nat"
    assert cells(both(), "Effect on the target", "firewall rules")[0].startswith("none changed")


def test_what_is_left():
    assert cells(both(), "Left behind", "remains") == (
        "3 finished entries in the pod's spec, for the pod's life",
        "nothing",
    )
    assert cells(both(), "Left behind", "the Job was gone after") == ("no Job", "30 ms")
