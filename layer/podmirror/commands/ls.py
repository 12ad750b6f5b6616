"""`podmirror ls`: what can be mirrored."""

import asyncio
import json
from typing import TYPE_CHECKING

import click

from podmirror.errors import NotStarted
from podmirror.options import cluster_options, output_option
from podmirror.tables import print_table

if TYPE_CHECKING:
    from podmirror.kube.inventory import Inventory

_DEFAULT_KINDS = ("deployment", "statefulset", "daemonset", "rollout", "job", "cronjob", "service", "pod")
_KINDS = (*_DEFAULT_KINDS, "replicaset")
"""ReplicaSets are listed when they are asked for: nearly all of them are a deployment's."""


@click.command("ls")
@cluster_options
@click.option(
    "--type", "kinds", type=click.Choice(_KINDS), multiple=True, help="Only of this kind; may be repeated."
)
@output_option
def command(namespace: str | None, context: str | None, kinds: tuple[str, ...], output: str) -> int:
    """List what can be mirrored: what to give to -t, how many of its pods are ready, its containers and ports.

    Ports are those that are declared; a container may listen on others.

    \b
    podmirror ls -n shop --type deployment
    """
    where, inventory = asyncio.run(_list(namespace, context, kinds or _DEFAULT_KINDS))
    for refusal in inventory.refusals:
        click.echo(f"podmirror: not listed: {refusal}", err=True)
    code = NotStarted.exit_code if inventory.refusals and not inventory.entries else 0
    if output == "json":
        click.echo(json.dumps([_as_json(each) for each in inventory.entries], indent=2))
        return code
    if not inventory.entries:
        what = f"no {' or '.join(kinds)}" if kinds else "nothing to mirror"
        seen = " that you may list" if inventory.refusals else ""
        click.echo(f"there is {what} in namespace {where}{seen}")
        return code
    rows = [
        (each.target, f"{each.ready}/{each.wanted}", " ".join(each.containers), " ".join(each.ports))
        for each in inventory.entries
    ]
    print_table(("target", "ready", "containers", "ports"), rows)
    return code


async def _list(
    namespace: str | None, context: str | None, kinds: tuple[str, ...]
) -> "tuple[str, Inventory]":
    """Give the namespace that was looked at, and what is in it."""
    from podmirror.kube.cluster import Cluster, in_daemon_thread
    from podmirror.kube.inventory import take_inventory

    cluster = await in_daemon_thread(lambda: Cluster.connect(context, namespace))
    return cluster.namespace, await take_inventory(cluster, kinds)


def _as_json(entry: object) -> dict[str, object]:
    from podmirror.kube.inventory import Entry

    assert isinstance(entry, Entry), "that is what an inventory holds"
    return {
        "target": entry.target,
        "ready": entry.ready,
        "wanted": entry.wanted,
        "containers": entry.containers,
        "ports": entry.ports,
    }
