"""What was compared, and what the figures come to, in a paragraph. No I/O.

Two medians are told apart only where the spreads of their runs do not overlap.
"""

from collections.abc import Callable
from math import comb

from podmirror.compare import words
from podmirror.compare.cost import per_million_packets
from podmirror.compare.figures import Column, Comparison, Mode, Run, Window
from podmirror.compare.sections import entries_left
from podmirror.compare.spread import Figure, Unknown, quantile, spread

LEAST_RUNS = 3
"""Of each, before a difference is called one: with two of each, chance alone keeps them apart once in three times."""

_NAMES = {Mode.EPHEMERAL: "the ephemeral agent", Mode.JOB: "the Job agent"}


def summary(comparison: Comparison) -> str:
    """Say what was compared."""
    how = "at once on the same traffic" if comparison.together else "one after the other"
    return (
        f"{comparison.target}: pod {comparison.pod}, container {comparison.container}, ports "
        f"{', '.join(map(str, comparison.ports))}; Kubernetes {comparison.version}; {comparison.date}; {comparison.rounds} "
        f"round{'' if comparison.rounds == 1 else 's'}, {how}, {comparison.seconds:g} s of traffic each; "
        + (comparison.load or "live traffic alone")
    )


def verdict(comparison: Comparison) -> list[str]:
    """Give the sentences."""
    by_mode = {column.mode: column for column in comparison.columns}
    ephemeral, job = by_mode[Mode.EPHEMERAL], by_mode[Mode.JOB]
    if not ephemeral.runs and not job.runs:
        return ["Neither kind of agent could be started here: see the reasons above, and `podmirror doctor`."]
    for column, other in ((ephemeral, job), (job, ephemeral)):
        if not column.runs:
            return [
                f"Use {_NAMES[other.mode]} here: {_NAMES[column.mode]} {'was refused' if column.refusals else 'failed'}.",
                _loss(other),
                *_effect(comparison),
                _leaves(other),
            ]
    return [
        _choice(ephemeral),
        _told_apart(ephemeral, job, "starts sooner", lambda run: run.start),
        _losses(ephemeral, job),
        _told_apart(ephemeral, job, "takes less CPU for a packet", _per_packet),
        *_effect(comparison),
        *map(_leaves, (ephemeral, job)),
    ]


def _per_packet(run: Run) -> Figure:
    million = per_million_packets(run.cost)
    return million if isinstance(million, Unknown) else million / 1e6


def _told_apart(one: Column, other: Column, what: str, get: Callable[[Run], Figure]) -> str:
    spreads = [spread(get(run) for run in column.runs) for column in (one, other)]
    first, second = spreads
    if isinstance(first, Unknown) or isinstance(second, Unknown):
        reason = next(each.reason for each in spreads if isinstance(each, Unknown))
        return f"It is unknown which of them {what}: {reason}."
    told = f"({words.seconds(first.median)} for {_NAMES[one.mode]}, {words.seconds(second.median)} for {_NAMES[other.mode]})"
    if first.overlaps(second):
        return f"These runs cannot tell which of them {what}: they overlap {told}."
    ahead = one if first.median < second.median else other
    if min(first.count, second.count) < LEAST_RUNS:
        return f"{_capital(_NAMES[ahead.mode])} {what} here {told}, but so few runs prove nothing."
    chance = comb(first.count + second.count, first.count) // 2
    return (
        f"{_capital(_NAMES[ahead.mode])} {what} {told}: no two runs overlap, which chance alone brings about once in "
        f"{chance}."
    )


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _lost(column: Column) -> bool:
    return any(
        run.fidelity.ledger.lost_bytes + run.fidelity.ledger.agent.get("kernel_drops", 0)
        for run in column.runs
    )


def _missed(column: Column) -> bool:
    """Whether the copies of some of our own requests did not arrive, for whatever reason."""
    return any(
        not isinstance(run.fidelity.arrived_requests, Unknown)
        and not isinstance(run.fidelity.passed_requests, Unknown)
        and run.fidelity.arrived_requests < run.fidelity.passed_requests
        for run in column.runs
    )


def _went_elsewhere(*columns: Column) -> str:
    """Say that none of our own requests came by, though they were answered; nothing if some did, or none were sent."""
    runs = [run for column in columns for run in column.runs]
    sent = [run for run in runs if run.fidelity.passed_requests and run.fidelity.arrived_requests == 0.0]
    if not runs or len(sent) < len(runs) or any(run.fidelity.ledger.connections for run in runs):
        return ""
    return (
        "None of our own requests came by in the pod, though they were answered: another network that this machine is in "
        "may have the pod's address; leave that network, or compare from another machine."
    )


def _loss(column: Column) -> str:
    if elsewhere := _went_elsewhere(column):
        return elsewhere
    if _lost(column):
        return "It lost some of the traffic: see above."
    return "Not all of our own requests were delivered: see above." if _missed(column) else "It lost nothing."


def _losses(ephemeral: Column, job: Column) -> str:
    if elsewhere := _went_elsewhere(ephemeral, job):
        return elsewhere
    lost = [column for column in (ephemeral, job) if _lost(column)]
    missed = [column for column in (ephemeral, job) if _missed(column)]
    if not lost and missed:
        whom = " and ".join(_NAMES[column.mode] for column in missed)
        return f"Neither counted a loss, but not all of our own requests were delivered by {whom}: see above."
    if not lost:
        return "Neither lost anything."
    if len(lost) == 1:
        return f"Only {_NAMES[lost[0].mode]} lost some of the traffic: see where above."
    return "Both lost some of the traffic: see where above."


def _effect(comparison: Comparison) -> list[str]:
    runs = [run for column in comparison.columns for run in column.runs]
    # Agents that run at once share their windows: what happened in one of those happened once.
    windows = {
        id(run.effect.windows["during"]): (run.effect.windows["before"], run.effect.windows["during"])
        for run in runs
    }
    measured = [
        (before, during)
        for before, during in windows.values()
        if isinstance(before, Window) and isinstance(during, Window)
    ]
    restarted = _restarted(comparison)
    if not measured:
        return restarted
    failed = sum(during.failed for _, during in measured)
    who = f"{failed or 'No'} request{'' if failed == 1 else 's'} to the app failed while an agent mirrored"
    before = spread(quantile(each.latencies, 0.5) for each, _ in measured)
    during = spread(quantile(each.latencies, 0.5) for _, each in measured)
    if isinstance(before, Unknown) or isinstance(during, Unknown):
        return [f"{who}.", *restarted]
    medians = f"{words.seconds(before.median)} before and {words.seconds(during.median)} meanwhile"
    apart = "the runs overlap" if before.overlaps(during) else "no two runs overlap"
    if not before.overlaps(during) and len(measured) < LEAST_RUNS:
        apart = "so few runs prove nothing"
    return [f"{who}; their median latency was {medians}, and {apart}.", *restarted]


def _restarted(comparison: Comparison) -> list[str]:
    """Say if the app was not the same all the time: failed requests may be due to that, and no agent restarts a container."""
    restarts = [run.effect.restarts for column in comparison.columns for run in column.runs]
    if not any(isinstance(each, float) and each for each in restarts):
        return []
    return [
        "Containers of the target restarted meanwhile, which failed requests and latencies may come from: compare again."
    ]


def _leaves(column: Column) -> str:
    name = _NAMES[column.mode]
    if column.mode is Mode.JOB:
        gone = spread(run.leftovers.gone for run in column.runs)
        if isinstance(gone, Unknown):
            return f"What stays of {name} is unknown: {gone.reason}."
        return f"Of {name} nothing stays; its Job was gone {words.seconds(gone.maximum)} after the goodbye at the latest."
    entries = entries_left(column)
    if entries is None:
        return f"What stays of {name} is unknown: the pod could not be read."
    runs = words.counted(len(column.runs), "run")
    return f"Of {name} {runs} left {words.counted(entries, 'entry', 'entries')} in the pod's spec, for the pod's life."


def _choice(ephemeral: Column) -> str:
    level = next((run.ask.level for run in ephemeral.runs if run.ask is not None), "privileged")
    admitted = "" if level == "privileged" else f", and Pod Security {level} admits it"
    return (
        f"Use the ephemeral agent where an entry in the pod's spec does no harm, for it asks for less{admitted}; the Job agent "
        "where the pod must stay as it is, or its memory limit is tight, and a privileged namespace can be had."
    )
