import dataclasses

import pytest

from podmirror.compare.figures import Mode
from podmirror.compare.spread import Unknown
from podmirror.compare.verdict import summary, verdict
from podmirror.forwarding import Outcome
from tests.layer.compare.samples import both, comparison, run


def said(of) -> str:
    return " ".join(verdict(of))


def test_spreads_that_do_not_overlap_are_told_apart():
    assert (
        "The ephemeral agent starts sooner (510 ms for the ephemeral agent, 910 ms for the Job agent): no two runs overlap, "
        "which chance alone brings about once in 10." in said(both())
    )


def test_few_runs_prove_nothing():
    assert "The ephemeral agent starts sooner here" in said(both(2))
    assert "so few runs prove nothing" in said(both(2))


def test_spreads_that_overlap_are_not_told_apart():
    runs = [[run(mode, start) for start in (0.4, 0.6, 0.8)] for mode in (Mode.EPHEMERAL, Mode.JOB)]

    assert "These runs cannot tell which of them starts sooner" in said(comparison(*runs))


def test_cpu_is_told_for_a_packet():
    runs = [[run(mode, cpu=cpu) for _ in range(3)] for mode, cpu in ((Mode.EPHEMERAL, 0.1), (Mode.JOB, 0.2))]

    assert (
        "The ephemeral agent takes less CPU for a packet (25 µs for the ephemeral agent, 50 µs for the Job agent)"
        in said(comparison(*runs))
    )


def test_what_is_unknown_is_not_judged():
    of = comparison([run(Mode.EPHEMERAL, cpu=Unknown("it was away"))], [run(Mode.JOB)])

    assert "It is unknown which of them takes less CPU for a packet: it was away." in said(of)


def test_loss_is_told_of_whom_it_befell():
    assert "Neither lost anything." in said(both())
    assert "Only the Job agent lost" in said(comparison([run(Mode.EPHEMERAL)], [run(Mode.JOB, lost=5)]))
    assert "Both lost" in said(comparison([run(Mode.EPHEMERAL, lost=1)], [run(Mode.JOB, lost=5)]))


def test_the_one_that_was_not_refused_is_advised():
    words = said(comparison([run(Mode.EPHEMERAL)], refusals=["no"]))

    assert words.startswith("Use the ephemeral agent here: the Job agent was refused. It lost nothing.")
    assert "1 run left 1 entry" in words


def test_one_that_failed_was_not_refused():
    assert said(comparison(job=[run(Mode.JOB)], failures=["away"])).startswith(
        "Use the Job agent here: the ephemeral agent failed."
    )


def test_neither():
    assert said(comparison(refusals=["no"])).startswith("Neither kind of agent could be started here")


def test_the_effect_is_told_only_where_it_was_measured():
    assert "1 request to the app failed" in said(comparison([run(Mode.EPHEMERAL, failed=1)], [run(Mode.JOB)]))
    without = comparison([run(Mode.EPHEMERAL, load=False)], [run(Mode.JOB, load=False)])
    assert "failed" not in said(without)


def test_what_stays():
    assert "Of the ephemeral agent 3 runs left 3 entries in the pod's spec, for the pod's life." in said(
        both()
    )
    assert "Of the Job agent nothing stays" in said(both())


def test_summary():
    text = summary(both())

    assert text.startswith("deployment/web: pod shop/web-1, container web, ports 80, 81; Kubernetes v1.36.2")
    assert text.endswith("3 rounds, one after the other, 5 s of traffic each; 100 requests/s")


def test_a_request_that_failed_while_both_mirrored_at_once_is_counted_once():
    ephemeral, job = run(Mode.EPHEMERAL, failed=1), run(Mode.JOB)
    shared = comparison([ephemeral], [dataclasses.replace(job, effect=ephemeral.effect)])

    assert "1 request to the app failed" in said(shared)


def test_latencies_of_few_runs_prove_nothing_either():
    runs = [run(Mode.EPHEMERAL, latency=0.001) for _ in range(4)]
    for each in runs:
        slower = dataclasses.replace(each.effect.windows["during"], latencies=[0.1] * 100)
        each.effect.windows["during"] = slower

    assert "meanwhile, and so few runs prove nothing." in said(comparison(runs[:1], runs[1:2]))
    assert "meanwhile, and no two runs overlap." in said(comparison(runs[:2], runs[2:]))


def test_requests_of_our_own_that_did_not_arrive_are_no_nothing():
    whole = run(Mode.EPHEMERAL)
    short = dataclasses.replace(
        run(Mode.JOB), fidelity=dataclasses.replace(run(Mode.JOB).fidelity, arrived_requests=99.0)
    )

    assert "not all of our own requests were delivered by the Job agent" in said(comparison([whole], [short]))
    assert "Not all of our own requests were delivered: see above." in said(
        comparison(job=[short], refusals=["no"])
    )


@pytest.mark.parametrize("alone", [False, True])
def test_requests_of_which_none_came_by_went_elsewhere(alone):
    runs = []
    for mode in (Mode.EPHEMERAL, Mode.JOB):
        of = run(mode).fidelity
        runs.append(dataclasses.replace(run(mode), fidelity=dataclasses.replace(of, arrived_requests=0.0)))
    compared = comparison(job=runs[1:], refusals=["no"]) if alone else comparison(runs[:1], runs[1:])

    assert "None of our own requests came by in the pod" in said(compared)
    runs[1].fidelity.ledger.outcomes[Outcome.WHOLE] = 1
    assert "came by in the pod" not in said(compared)


def test_a_target_that_restarted_is_told_of():
    steady, restarted = run(Mode.EPHEMERAL), run(Mode.JOB)
    restarted = dataclasses.replace(restarted, effect=dataclasses.replace(restarted.effect, restarts=1.0))

    assert "restarted meanwhile" in said(comparison([steady], [restarted]))
    assert "restarted meanwhile" not in said(both())
