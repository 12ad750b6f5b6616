"""`podmirror rbac`: the permissions to ask a cluster's administrator for."""

import asyncio

import click

from podmirror.errors import UsageError
from podmirror.kube.permissions import AgentMode, needed
from podmirror.kube.rolemanifests import Subject, role_manifests
from podmirror.options import cluster_options, optional_target_option
from podmirror.target import Target


@click.command("rbac")
@click.option(
    "--agent",
    type=click.Choice([mode.value for mode in AgentMode]),
    default=AgentMode.EPHEMERAL.value,
    show_default=True,
    help="The way of starting agents that is to be allowed.",
)
@optional_target_option
@cluster_options
@click.option("--agent-namespace", help="Namespace for Job agents (default: the target's).")
@click.option("--user", help="User to give the permissions to (default: who you are).")
@click.option("--group", help="Group to give them to.")
@click.option("--serviceaccount", metavar="[NAMESPACE:]NAME", help="Service account to give them to.")
def command(
    agent: str,
    target: Target | None,
    namespace: str | None,
    context: str | None,
    agent_namespace: str | None,
    user: str | None,
    group: str | None,
    serviceaccount: str | None,
) -> None:
    """Print a Role and RoleBinding with what podmirror needs, and no more.

    With -t only what that kind of target takes. No cluster is asked if both -n and whom to allow are given.

    \b
    podmirror rbac --agent ephemeral -n shop --user dev | kubectl apply -f -
    """
    given = [name for name in (user, group, serviceaccount) if name]
    if len(given) > 1:
        raise UsageError("give one of --user, --group and --serviceaccount")
    subject = _subject(user, group, serviceaccount)
    if namespace is None or subject is None:
        namespace, subject = asyncio.run(_ask(context, namespace, subject))
    mode = AgentMode(agent)
    if agent_namespace not in (None, namespace) and mode is AgentMode.EPHEMERAL:
        raise UsageError(
            "--agent-namespace goes with --agent job: an ephemeral agent is in its target's namespace"
        )
    roles = needed(mode, namespace, agent_namespace, target.kind.value if target else None)
    click.echo(role_manifests(f"podmirror-{mode.value}", roles, subject), nl=False)


def _subject(user: str | None, group: str | None, serviceaccount: str | None) -> Subject | None:
    if user:
        return Subject("User", user)
    if group:
        return Subject("Group", group)
    if serviceaccount:
        namespace, _, name = serviceaccount.rpartition(":")
        return Subject("ServiceAccount", name, namespace or None)
    return None


async def _ask(context: str | None, namespace: str | None, subject: Subject | None) -> tuple[str, Subject]:
    """Let the cluster say what was not given."""
    from podmirror.kube.access import whoami
    from podmirror.kube.cluster import Cluster, in_daemon_thread

    cluster = await in_daemon_thread(lambda: Cluster.connect(context, namespace))
    return cluster.namespace, subject or await whoami(cluster)
