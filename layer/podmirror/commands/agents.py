"""`podmirror agents`: the agents there are, and the end of those that can be ended."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from podmirror import ownagents
from podmirror.errors import NotStarted
from podmirror.options import cluster_options, output_option
from podmirror.tables import print_table

if TYPE_CHECKING:
    from podmirror.kube.cluster import Cluster
    from podmirror.kube.leftovers import Leftover


@click.command("agents")
@cluster_options
@click.option("-A", "--all-namespaces", is_flag=True, help="Of every namespace.")
@click.option("--clean", is_flag=True, help="Remove Jobs that have ended, and end agents of your own.")
@click.option("--force", is_flag=True, help="With --clean, remove also Jobs that run, whoever uses them.")
@output_option
def command(
    namespace: str | None, context: str | None, all_namespaces: bool, clean: bool, force: bool, output: str
) -> int:
    """List the agents there are, with their age and state.

    Kubernetes keeps the entry of an ephemeral agent in its pod's spec, also when the agent has ended, until the pod is
    replaced. A running one can be ended by the user who started it; others end by themselves, and are listed with when.

    \b
    podmirror agents -A --clean
    """
    return asyncio.run(
        _run(namespace, context, everywhere=all_namespaces, clean=clean, force=force, output=output)
    )


async def _run(
    namespace: str | None, context: str | None, *, everywhere: bool, clean: bool, force: bool, output: str
) -> int:
    from podmirror.kube.cluster import Cluster, in_daemon_thread
    from podmirror.kube.leftovers import find_leftovers

    cluster = await in_daemon_thread(lambda: Cluster.connect(context, namespace))
    found = await find_leftovers(cluster, everywhere=everywhere)
    outcomes = await asyncio.gather(*(_clean(cluster, each, force=force) for each in found)) if clean else []
    now = datetime.now(UTC)
    if output == "json":
        click.echo(json.dumps([_as_json(each, now) for each in found], indent=2))
    else:
        _print(found, now)
    for sentence, _ in outcomes:
        if sentence:
            click.echo(f"podmirror: {sentence}", err=True)
    return NotStarted.exit_code if any(failed for _, failed in outcomes) else 0


async def _clean(cluster: "Cluster", leftover: "Leftover", *, force: bool) -> tuple[str, bool]:
    """End one agent if that can be; give what there is to say, and whether something failed."""
    from podmirror.kube.ephemeral import Phase
    from podmirror.kube.leftovers import remove_job
    from podmirror.kube.reuse import end_agent

    what = f"{leftover.kind} {leftover.namespace}/{leftover.pod or leftover.name} {leftover.name}"
    ended = leftover.phase is Phase.ENDED
    try:
        if leftover.kind == "job" and (ended or force):
            await remove_job(cluster, leftover)
            return f"removed {what}", False
        if leftover.kind == "job":
            return f"left alone: {what} may be in somebody's use; --force removes it", False
        if ended:
            return "", False
        claim = ownagents.claim(cluster.server, leftover.namespace, leftover.pod, leftover.name)
        if claim is None:
            return f"left alone: {what} is not yours to end; {_end_of(leftover)}", False
        if not await end_agent(cluster, claim):
            return f"{what} did not answer; {_end_of(leftover)}", True
    except NotStarted as error:
        return str(error), True
    return f"ended {what}", False


def _print(found: "list[Leftover]", now: datetime) -> None:
    rows = [
        (
            f"{each.namespace}/{each.pod or '-'}",
            each.kind,
            each.name,
            each.phase.value,
            _short(each.age(now)),
            _end_of(each) if each.ends else each.words or "-",
        )
        for each in found
    ]
    if not rows:
        click.echo("there are no agents")
        return
    print_table(("pod", "kind", "agent", "state", "age", ""), rows)


def _end_of(leftover: "Leftover") -> str:
    after = f"{leftover.ttl:g} s after its session is lost, " if leftover.ttl else ""
    if leftover.ends is None:
        return "it ends with its pod"
    return f"it ends {after}at the latest at {leftover.ends:%Y-%m-%d %H:%M:%S} UTC"


def _short(age: timedelta | None) -> str:
    """Write an age as kubectl does."""
    if age is None:
        return "-"
    seconds = max(0, int(age.total_seconds()))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _as_json(leftover: "Leftover", now: datetime) -> dict[str, object]:
    age = leftover.age(now)
    return {
        "kind": leftover.kind,
        "namespace": leftover.namespace,
        "pod": leftover.pod or None,
        "name": leftover.name,
        "image": leftover.image,
        "state": leftover.phase.value,
        "words": leftover.words,
        "ageSeconds": int(age.total_seconds()) if age is not None else None,
        "endsAtTheLatest": leftover.ends.isoformat() if leftover.ends else None,
    }
