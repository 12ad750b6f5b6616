"""`podmirror doctor`: what this cluster allows, tried without leaving a trace."""

import asyncio
import json
import sys
from typing import TYPE_CHECKING

import click

from podmirror.errors import NotStarted
from podmirror.options import agent_image_option, cluster_options, optional_target_option, output_option
from podmirror.target import Target

if TYPE_CHECKING:
    from podmirror.kube.diagnosis import Diagnosis


@click.command("doctor")
@optional_target_option
@cluster_options
@agent_image_option
@click.option("--agent-namespace", help="Namespace for Job agents (default: the target's).")
@output_option
def command(
    target: Target | None,
    namespace: str | None,
    context: str | None,
    agent_image: str,
    agent_namespace: str | None,
    output: str,
) -> int:
    """Try every way of starting an agent, by access reviews and dry runs: nothing is stored.

    Without -t a pod of the namespace stands for all of them. Exit code 0 if any way works, else 5.

    \b
    podmirror doctor -t deployment/web -n shop
    """
    diagnosis = asyncio.run(_diagnose(target, namespace, context, agent_image, agent_namespace))
    if output == "json":
        click.echo(json.dumps(diagnosis.as_json(), indent=2))
    else:
        _print(diagnosis)
    return 0 if diagnosis.works else NotStarted.exit_code


async def _diagnose(
    target: Target | None,
    namespace: str | None,
    context: str | None,
    agent_image: str,
    agent_namespace: str | None,
) -> "Diagnosis":
    from podmirror.kube.cluster import Cluster, in_daemon_thread
    from podmirror.kube.diagnosis import diagnose

    cluster = await in_daemon_thread(lambda: Cluster.connect(context, namespace))
    return await diagnose(cluster, target, agent_image, agent_namespace or cluster.namespace)


def _print(diagnosis: "Diagnosis") -> None:
    from podmirror.tables import print_table

    click.echo(diagnosis.about)
    for note in diagnosis.notes:
        click.echo(f"! {note}")
    rows = [
        (trial.name, "yes" if trial.works else "no", "\n".join(diagnosis.words(trial)) or "-")
        for trial in diagnosis.trials
    ]
    print_table(("agent", "works", "what was answered"), rows)
    for purpose, manifest in diagnosis.remedies():
        click.echo(f"\n# {purpose}\n{manifest}", nl=False)
    sys.stdout.flush()
