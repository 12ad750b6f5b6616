"""`podmirror compare`: ephemeral container against Job, measured on the user's own cluster."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from podmirror.errors import NotStarted, UsageError
from podmirror.interruption import cancel_at_a_signal
from podmirror.options import (
    agent_image_option,
    agent_namespace_option,
    allow_host_network_option,
    cluster_options,
    image_pull_policy_option,
    privileged_option,
    progress_option,
    target_option,
)
from podmirror.progress import Progress, Style
from podmirror.session import DEFAULT_TTL
from podmirror.target import Target

if TYPE_CHECKING:
    from podmirror.compare.figures import Comparison
    from podmirror.compare.load import Load
    from podmirror.compare.rounds import Stage
    from podmirror.kube.cluster import Cluster
    from podmirror.kube.resolve import ResolvedTarget

DEFAULT_RUNS = 3
"""Enough for a median and a spread; each leaves an entry in the pod's spec."""

DEFAULT_LOAD = 100.0
DEFAULT_PADDING = 2048
"""Bytes: with the default load and time about a megabyte passes, and every server takes such a header (nginx, 8 KiB)."""


@dataclass(frozen=True, slots=True)
class _Wish:
    target: Target
    namespace: str | None
    context: str | None
    agent_image: str
    image_pull_policy: str | None
    agent_namespace: str | None
    privileged: bool
    allow_host_network: bool
    ports: tuple[int, ...]
    runs: int
    seconds: float
    together: bool
    with_target_container: bool
    load: float | None
    load_path: str
    load_padding: int


@click.command("compare")
@target_option
@cluster_options
@agent_image_option
@image_pull_policy_option
@agent_namespace_option
@privileged_option
@allow_host_network_option
@click.option(
    "-p",
    "--port",
    "ports",
    type=click.IntRange(1, 65535),
    multiple=True,
    help="Port of the pod to mirror; may be repeated (default: those that its containers declare).",
)
@click.option(
    "--runs",
    type=click.IntRange(1, 20),
    default=DEFAULT_RUNS,
    show_default=True,
    help="Of each kind; each ephemeral one leaves an entry in the pod's spec.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.5, max=600),
    default=5.0,
    show_default=True,
    help="Of traffic before, during and after each run.",
)
@click.option("--together", is_flag=True, help="Run both kinds at once, on the same traffic.")
@click.option(
    "--with-target-container",
    is_flag=True,
    help="Also an ephemeral agent with targetContainerName, to see what it shares.",
)
@click.option(
    "--load",
    type=click.FloatRange(min=1, max=2000),
    is_flag=False,
    flag_value=DEFAULT_LOAD,
    help=f"Send GET requests of our own, so many a second ({DEFAULT_LOAD:g} if no number is given), to the first port.",
)
@click.option("--load-path", default="/", show_default=True, help="What those ask for.")
@click.option(
    "--load-padding",
    type=click.IntRange(0, 7000),
    default=DEFAULT_PADDING,
    show_default=True,
    help="Bytes of a header that pads each of them.",
)
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json", "markdown", "html"]),
    default="text",
    show_default=True,
    help="How to print the result.",
)
@progress_option
def command(output: str, progress_style: Style, **options: Any) -> int:
    """Run an ephemeral agent and a Job agent against the same pod, and compare them.

    What was refused is told with its reason; exit code 5 if everything was.

    \b
    podmirror compare -t deployment/web -p 80 --load
    """
    if options["target"] is None:
        raise UsageError("name a target: -t KIND/NAME")
    progress = Progress(progress_style)
    comparison = asyncio.run(_compare(_Wish(**options), progress))
    _print(comparison, output)
    return 0 if any(column.runs for column in comparison.columns) else NotStarted.exit_code


def _print(comparison: "Comparison", output: str) -> None:
    match output:
        case "json":
            from podmirror.compare.asjson import to_json

            click.echo(to_json(comparison))
        case "markdown":
            from podmirror.compare.asmarkdown import to_markdown

            click.echo(to_markdown(comparison), nl=False)
        case "html":
            from podmirror.compare.ashtml import to_html

            click.echo(to_html(comparison), nl=False)
        case _:
            from podmirror.compare.astext import print_text

            print_text(comparison)


async def _compare(wish: _Wish, progress: Progress) -> "Comparison":
    from podmirror.compare.probe import AgentOptions
    from podmirror.compare.rounds import Stage, run_rounds
    from podmirror.kube.cluster import Cluster, Refusal, in_daemon_thread
    from podmirror.kube.resolve import resolve

    cancel_at_a_signal()
    cluster = await in_daemon_thread(lambda: Cluster.connect(wish.context, wish.namespace))
    with progress.step(f"resolving {wish.target}") as step:
        target = await resolve(cluster, wish.target, host_network=wish.allow_host_network)
        step.done = f"resolved {wish.target}: {target}"
    try:
        pod = await cluster.call(cluster.core.read_namespaced_pod, target.pod, target.namespace)
    except Refusal as refusal:
        raise NotStarted(f"{target} cannot be read: {refusal.message}; try again") from refusal
    ports = wish.ports or _declared(pod)
    load = await _open_load(wish, cluster, target, str(pod.status.pod_ip), ports[0])
    options = AgentOptions(
        wish.agent_image,
        wish.image_pull_policy,
        wish.agent_namespace,
        wish.privileged,
        wish.allow_host_network,
        ports,
    )
    stage = Stage(cluster, target, options, wish.seconds, load)
    comparison = await _describe(wish, stage)
    _announce(comparison, pod, progress)
    try:
        short = await run_rounds(
            stage, comparison.columns, wish.runs, together=wish.together, tell=progress.note
        )
    except asyncio.CancelledError:
        progress.note(_interrupted(comparison))
        raise
    if short:
        comparison.notes.append(short)
    return comparison


def _interrupted(comparison: "Comparison") -> str:
    whole = min(len(column.runs) for column in comparison.columns)
    return (
        f"interrupted after {whole} of {comparison.rounds} rounds: the ephemeral agents that were started have left their "
        f"entries in the spec of pod {comparison.pod}, and one that was still starting ends by itself within "
        f"{DEFAULT_TTL:g} s"
    )


def _declared(pod: Any) -> tuple[int, ...]:  # kubernetes has no types
    """Give the TCP ports that a pod's containers declare.

    Raises:
        UsageError: There are none.
    """
    from podmirror.kube.containers import staying

    declared = [each for container in staying(pod.spec) for each in container.ports or []]
    ports = [each.container_port for each in declared if each.protocol in (None, "TCP")]
    if not ports:
        others = ", ".join(f"{each.container_port}/{each.protocol}" for each in declared)
        only = f" but {others}, and only TCP is mirrored" if others else ""
        raise UsageError(
            f"pod {pod.metadata.name} declares no TCP port{only}; name those that it listens on with -p"
        )
    return tuple(dict.fromkeys(ports))


async def _open_load(
    wish: _Wish, cluster: "Cluster", target: "ResolvedTarget", address: str, port: int
) -> "Load | None":
    if wish.load is None:
        return None
    from podmirror.compare.load import open_load

    return await open_load(
        cluster, target, address, port, rate=wish.load, path=wish.load_path, size=wish.load_padding
    )


async def _describe(wish: _Wish, stage: "Stage") -> "Comparison":
    from podmirror.compare.figures import Column, Comparison, Mode
    from podmirror.compare.verbs import verbs_for

    cluster, target = stage.cluster, stage.target
    modes = [Mode.EPHEMERAL, *([Mode.BESIDE] if wish.with_target_container else []), Mode.JOB]
    return Comparison(
        target=str(wish.target),
        pod=f"{target.namespace}/{target.pod}",
        container=target.container or "",
        server=cluster.server,
        version=await cluster.version(),
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        ports=stage.options.ports,
        rounds=wish.runs,
        seconds=wish.seconds,
        load=stage.load.words if stage.load is not None else "",
        together=wish.together,
        columns=[
            Column(
                mode, verbs=verbs_for(mode, target.namespace, wish.agent_namespace, wish.target.kind.value)
            )
            for mode in modes
        ],
        notes=[*target.surroundings.notes, *([target.note] if target.note else [])],
    )


def _announce(comparison: "Comparison", pod: Any, progress: Progress) -> None:
    from podmirror.kube.ephemeral import ephemeral_count

    for note in comparison.notes:
        progress.note(note)
    count = comparison.rounds * sum(column.mode.leaves_entry for column in comparison.columns)
    progress.note(
        f"each ephemeral run leaves a finished entry in the spec of pod {comparison.pod} for the pod's life: "
        f"{ephemeral_count(pod)} of ours there now, up to {count} more to come"
    )
