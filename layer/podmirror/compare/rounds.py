"""All runs of a comparison: each mode in turn, or all at once on the same traffic."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

from podmirror.compare.figures import Column, Effect, Mode, Run, Window
from podmirror.compare.leaving import read_pod
from podmirror.compare.load import Load
from podmirror.compare.probe import AgentOptions, Probe
from podmirror.compare.spread import Figure, Unknown
from podmirror.errors import NotStarted, PodmirrorError, Unreachable
from podmirror.kube.cluster import Cluster, Refusal
from podmirror.kube.containers import statuses
from podmirror.kube.resolve import ResolvedTarget, running_container, unfitness

FAILURES = 2
"""After which a mode that never ran is not tried any more: each try may leave an entry in the pod's spec."""

NO_LOAD = Unknown(
    "no load of our own was sent (--load), and mirrored traffic does not show when the app answered"
)


@dataclass(frozen=True, slots=True)
class Stage:
    """Where and how agents are compared."""

    cluster: Cluster
    target: ResolvedTarget
    options: AgentOptions
    seconds: float
    """Of traffic in each window."""
    load: Load | None


async def run_rounds(
    stage: Stage, columns: Sequence[Column], rounds: int, *, together: bool, tell: Callable[[str], None]
) -> str:
    """Fill the columns.

    Args:
        stage: Where and how.
        columns: One for each mode.
        rounds: How often.
        together: Whether the modes of a round run at once.
        tell: Told of each run.

    Returns:
        Why there were fewer rounds, if there were.

    Raises:
        NotStarted: The target went away before each mode had run, so that nothing can be compared.
    """
    for number in range(1, rounds + 1):
        # Every other round in the other order, so that what changes with time favours nobody.
        ordered = list(columns) if number % 2 else list(reversed(columns))
        for group in [ordered] if together else [[column] for column in ordered]:
            open_to_it = [column for column in group if not _is_hopeless(column)]
            if not open_to_it:
                continue
            runs = [len(column.runs) for column in open_to_it]
            await _run(stage, open_to_it)
            for column, before in zip(open_to_it, runs, strict=True):
                tell(f"round {number} of {rounds}, {column.mode.value}: {_outcome(column, before)}")
            gone = await _gone(stage)
            if gone:
                told = f"{stage.target} {gone} in round {number} of {rounds}"
                if any(
                    not column.runs and (column in open_to_it or not column.refusals) for column in columns
                ):
                    raise NotStarted(
                        f"{told}, before each kind of agent had run beside it",
                        "compare again, in a pod that stays",
                    )
                tell(f"{told}: the comparison ends with the runs before")
                return f"{told}, so there are fewer runs than were asked for"
    return ""


def _is_hopeless(column: Column) -> bool:
    return bool(column.refusals) or (not column.runs and len(column.failures) >= FAILURES)


def _outcome(column: Column, runs: int) -> str:
    if len(column.runs) == runs:
        words = (column.refusals or column.failures)[-1:]
        return f"{'refused' if column.refusals else 'failed'}: {words[0] if words else 'unknown'}"
    start = column.runs[-1].start
    return f"started in {start:.2f} s" if not isinstance(start, Unknown) else "measured"


async def _run(stage: Stage, columns: Sequence[Column]) -> None:
    """Run agents of these modes at once."""
    before = await _window(stage)
    restarts = await _restarts(stage)
    target = await _as_it_is(stage)
    async with AsyncExitStack() as leaving:
        async with _load_meanwhile(stage) as starting:
            async with asyncio.TaskGroup() as group:
                starts = [group.create_task(_start(stage, target, each, leaving)) for each in columns]
            probes = [start.result() for start in starts]
        started = [probe for probe in probes if probe is not None]
        if not started:
            return
        await asyncio.gather(*(probe.look() for probe in started))
        first = stage.load.number + 1 if stage.load is not None else 0
        during = await _window(stage)
        sent = (
            {number: when for number, when in stage.load.sent.items() if number >= first}
            if stage.load
            else {}
        )
        finished = []
        for column, probe in zip(columns, probes, strict=True):
            if probe is not None and await _finish(column, probe, sent, during):
                finished.append((column, probe))
        left = await asyncio.gather(*(probe.leave() for _, probe in finished))
    after = await _window(stage)
    more = _difference(restarts, await _restarts(stage))
    windows = {
        "before": before,
        "starting": starting.get("window", NO_LOAD),
        "during": during,
        "after": after,
    }
    for (column, probe), leftovers in zip(finished, left, strict=True):
        column.runs.append(
            Run(
                mode=probe.mode,
                agent=probe.agent,
                began=probe.began,
                phases=probe.phases,
                fidelity=probe.fidelity,
                cost=probe.cost,
                ask=probe.ask,
                namespaces=_named(probe.findings[0], "ns."),
                target_namespaces=_named(probe.findings[0], "target.ns."),
                effect=Effect(
                    windows,
                    more,
                    _pair(probe, "net.sockets"),
                    _pair(probe, "net.tables"),
                ),
                leftovers=leftovers,
            )
        )


async def _start(
    stage: Stage, target: ResolvedTarget, column: Column, leaving: AsyncExitStack
) -> Probe | None:
    probe = Probe(stage.cluster, target, column.mode, stage.options)
    try:
        return await leaving.enter_async_context(probe)
    except PodmirrorError as error:
        between_restarts = column.mode is Mode.JOB and target.container_id is None
        failed = probe.admitted or between_restarts or isinstance(error, Unreachable)
        (column.failures if failed else column.refusals).append(str(error))
    return None


async def _finish(column: Column, probe: Probe, sent: Mapping[int, float], during: Window | Unknown) -> bool:
    try:
        await probe.finish(sent, [] if isinstance(during, Unknown) else [during])
    except PodmirrorError as error:
        column.failures.append(str(error))
        return False
    return True


async def _window(stage: Stage) -> Window | Unknown:
    if stage.load is not None:
        return await stage.load.run(stage.seconds)
    await asyncio.sleep(stage.seconds)
    return NO_LOAD


@asynccontextmanager
async def _load_meanwhile(stage: Stage) -> AsyncIterator[dict[str, Window]]:
    found: dict[str, Window] = {}
    if stage.load is None:
        yield found
        return
    stop = asyncio.Event()
    sending = asyncio.create_task(stage.load.run_until(stop), name="load while agents start")
    try:
        yield found
    except BaseException:
        sending.cancel()
        raise
    stop.set()
    found["window"] = await sending


async def _restarts(stage: Stage) -> Figure:
    try:
        pod: Any = await read_pod(stage.cluster, stage.target)
    except (Refusal, PodmirrorError) as error:
        return Unknown(str(error))
    return float(sum(each.restart_count for each in statuses(pod)))


async def _gone(stage: Stage) -> str:
    """Say why no more agents can be compared in the target; nothing if they can, or if that cannot be learnt."""
    try:
        pod: Any = await read_pod(stage.cluster, stage.target)
    except Refusal as refusal:
        return "was deleted" if refusal.status == HTTPStatus.NOT_FOUND else ""
    except PodmirrorError:
        return ""
    if pod.metadata.uid != stage.target.uid:  # the next pod of a StatefulSet has the same name
        return "was replaced"
    return unfitness(pod)


async def _as_it_is(stage: Stage) -> ResolvedTarget:
    """Give the target with the container that runs now: a Job's agent looks for it by an ID that each restart makes anew."""
    try:
        pod: Any = await read_pod(stage.cluster, stage.target)
    except (Refusal, PodmirrorError):
        return stage.target
    return replace(stage.target, container_id=running_container(pod, stage.target.container))


def _named(findings: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {name.removeprefix(prefix): value for name, value in findings.items() if name.startswith(prefix)}


def _pair(probe: Probe, name: str) -> tuple[str, str] | Unknown:
    before, after = probe.network_before.get(name), probe.findings[1].get(name)
    if before is None or after is None:
        return Unknown("the agent could not read it")
    return before, after


def _difference(before: Figure, after: Figure) -> Figure:
    if isinstance(before, Unknown):
        return before
    return after if isinstance(after, Unknown) else after - before
