"""The options that commands share."""

import math
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from podmirror.errors import UsageError
from podmirror.listenaddress import ListenAddress
from podmirror.localagent import Reading
from podmirror.losslimit import LossLimit
from podmirror.mirroring import Mirroring, ReportOptions
from podmirror.optionkit import Command, ParsedType, add_options
from podmirror.placement import AgentKind
from podmirror.portmap import PortPair
from podmirror.progress import Progress
from podmirror.screening import is_screened
from podmirror.session import DEFAULT_IMAGE, DEFAULT_MAX_PODS, DEFAULT_TTL, SessionOptions
from podmirror.speed import parse_speed
from podmirror.target import KINDS, Target


class _AgentChoice(click.Choice[AgentKind]):
    """One of the kinds of agents, by its value; click would take an enumeration's names."""

    def normalize_choice(self, choice: object, ctx: click.Context | None) -> str:  # noqa: ARG002  # click's signature
        return str(choice)


_CLUSTER_OPTIONS = [
    click.option("-n", "--namespace", help="Namespace of the target (default: the context's)."),
    click.option("--context", help="Context of the kubeconfig (default: the current one)."),
]

agent_image_option = click.option(
    "--agent-image", default=DEFAULT_IMAGE, show_default=True, help="Image of the agent."
)

target_option = click.option(
    "-t",
    "--target",
    type=ParsedType("TARGET", Target.parse),
    help=f"KIND/NAME[/container/C], of {KINDS}; or label/K=V.",
)

image_pull_policy_option = click.option(
    "--image-pull-policy",
    type=click.Choice(["Always", "IfNotPresent", "Never"]),
    help="When the node pulls that image.",
)

allow_host_network_option = click.option(
    "--allow-host-network",
    is_flag=True,
    help="Admit a pod in which all of its node's traffic is visible.",
)

agent_namespace_option = click.option(
    "--agent-namespace", help="Namespace for an agent that is a Job (default: the target's)."
)

privileged_option = click.option(
    "--privileged", is_flag=True, help="Let a Job's container be privileged, where its node needs that."
)

_TARGET_OPTIONS = [
    target_option,
    *_CLUSTER_OPTIONS,
    agent_image_option,
    image_pull_policy_option,
    click.option(
        "--agent-name", help="Name of the agent's container (default: podmirror- and eight random digits)."
    ),
    click.option(
        "--agent-ttl",
        type=click.FloatRange(min=1),
        default=DEFAULT_TTL,
        show_default=True,
        help="Seconds that an agent waits for a lost session before it ends.",
    ),
    click.option(
        "--agent-log-level",
        type=click.Choice(["debug", "info", "warning", "error"]),
        default="info",
        show_default=True,
        help="What the agent writes to its container log.",
    ),
    click.option(
        "--agent-cpu",
        type=click.FloatRange(min=0, min_open=True),
        metavar="CORES",
        help="Shed connections rather than let the agent use more CPU than this on average.",
    ),
    click.option(
        "--agent-memory",
        type=click.IntRange(min=1),
        metavar="MIB",
        help="For the agent's buffers (default: 64, or what the pod's memory limit has room for).",
    ),
    allow_host_network_option,
    click.option(
        "--agent",
        type=_AgentChoice(AgentKind),
        default=AgentKind.AUTO.value,
        show_default=True,
        help="An ephemeral container of the pod, a Job on its node, or what is admitted.",
    ),
    click.option(
        "--all-pods",
        is_flag=True,
        help="Mirror every ready pod of the target at once, and those that come later.",
    ),
    click.option(
        "--max-pods",
        type=click.IntRange(min=1),
        default=DEFAULT_MAX_PODS,
        show_default=True,
        help="The most pods that --all-pods mirrors at once.",
    ),
    agent_namespace_option,
    privileged_option,
]


def _writable(text: str) -> Path:
    path = Path(text)
    if path.is_dir():
        raise UsageError(f"the ledger cannot be written to {text}: it is a directory")
    if text != "-" and not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UsageError(f"the ledger cannot be written to {text}: no permission, or no folder {path.parent}")
    return path


progress_option = click.option(
    "--progress",
    "progress_style",
    type=click.Choice(["auto", "rich", "plain", "none"]),
    default="auto",
    show_default=True,
    help="How to show what happens, on stderr.",
)

_DELIVERY_OPTIONS = [
    click.option(
        "--on-gap",
        type=click.Choice(["reset", "rejoin"]),
        default="reset",
        show_default=True,
        help="After lost bytes: reset the local connection, or also begin anew at the next HTTP request.",
    ),
    click.option(
        "--late-joins",
        type=click.Choice(["skip", "http", "raw"]),
        default="http",
        show_default=True,
        help="Connections that were open before: leave out, or begin at the next HTTP/1 request, or at the next byte.",
    ),
    click.option(
        "--max-loss",
        type=ParsedType("N|N%|SIZE", LossLimit.parse),
        help="Exit with 3 if more was lost: connections that lost bytes (5, 1%), or bytes (10kB, 1MiB).",
    ),
    click.option(
        "--ledger",
        "ledger_file",
        type=ParsedType("FILE", _writable),
        help="Write the loss ledger as JSON to this file at the end (- for stdout).",
    ),
    click.option(
        "--stats",
        is_flag=True,
        help="Show rates, totals and losses meanwhile: live on a terminal, else a line every 5 seconds.",
    ),
    click.option(
        "--metrics",
        type=ParsedType("ADDRESS", ListenAddress.parse),
        help="Serve the ledger for Prometheus at http://HOST:PORT/metrics meanwhile (:PORT for this machine alone).",
    ),
    progress_option,
    click.option("-v", "--verbose", is_flag=True, help="Say what became of each connection."),
]

ports_option = click.option(
    "-p",
    "--port",
    "pairs",
    type=ParsedType("REMOTE[:LOCAL]", PortPair.parse),
    multiple=True,
    help="Port of the pod, and the local port to deliver to; may be repeated.",
)


inspected_ports_option = click.option(
    "-p",
    "--port",
    "ports",
    type=click.IntRange(1, 65535),
    multiple=True,
    help="Port of the pod; may be repeated (default: every connection, whichever end the pod is).",
)


def _fraction(text: str) -> float:
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 < share <= 1:
        raise UsageError(f"{text!r} is no share of connections; write 10% or 0.1")
    return share


sample_option = click.option(
    "--sample",
    type=ParsedType("SHARE", _fraction),
    default=1.0,
    help="Only that share of the connections (10% or 0.1), picked by a stable hash of their ends.",
)


_REPLAY_OPTIONS = [
    click.option(
        "--speed",
        type=ParsedType("N|Nx|max", parse_speed),
        help="With -r: times as fast as it was captured, or as fast as it goes (default: 1x).",
    ),
    click.option(
        "--loop",
        "times",
        type=click.IntRange(min=1),
        help="With -r: how often the file is read (default: 1).",
    ),
]


def fraction(share: float) -> str:
    """Write a share as the agent's option `sample` wants it."""
    return f"{share:.9f}"


optional_target_option = click.option(
    "-t", "--target", type=ParsedType("TARGET", Target.parse), help="A target as of `mirror`."
)


output_option = click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How to print the result.",
)


def cluster_options(command: Command) -> Command:
    """Add the options that name a cluster and a namespace in it."""
    return add_options(command, _CLUSTER_OPTIONS)


def target_options(command: Command) -> Command:
    """Add the options that say where and how to start an agent; `session_options` takes them."""
    return add_options(command, _TARGET_OPTIONS)


def delivery_options(command: Command) -> Command:
    """Add the options of commands that deliver to a local process."""
    return add_options(command, _DELIVERY_OPTIONS)


def source_options(command: Command) -> Command:
    """Add the options that say where traffic comes from, live or from a file; `source_of` takes them."""
    command = click.option(
        "-r",
        "--read",
        "file",
        metavar="FILE",
        help="Read a capture file (pcap or pcapng, also gzip; - for stdin) instead of a target's traffic.",
    )(command)
    return target_options(command)


def session_options(**values: Any) -> SessionOptions:  # click gives each option as a keyword
    """Make the session's options of what `target_options` added.

    Raises:
        UsageError: There is no target, or they contradict each other.
    """
    if values["target"] is None:
        raise UsageError("name a target: -t KIND/NAME")
    options = SessionOptions(**values)
    if options.all_pods and options.agent_name is not None:
        raise UsageError("--agent-name names one agent, and --all-pods starts several; leave out one of them")
    return options


def replay_file_options(command: Command) -> Command:
    """Add the options of a file that is replayed; `reading_of` takes them."""
    return add_options(command, _REPLAY_OPTIONS)


def reading_of(values: dict[str, Any], subscriptions: int) -> Reading:
    """Take out of the options' values those that `replay_file_options` added, and say how a file is to be read.

    Raises:
        UsageError: They were given without a file.
    """
    speed, times = values.pop("speed"), values.pop("times")
    if values["file"] is None and (speed is not None or times is not None):
        raise UsageError("--speed and --loop are for a capture file: -r FILE")
    pace = None if speed == math.inf else speed or 1.0
    return Reading("", speed=pace, times=times or 1, subscriptions=subscriptions)


def source_of(values: dict[str, Any], reading: Reading) -> SessionOptions | Reading:
    """Make a source of what `source_options` added: a target's sessions, or this file if one was named.

    Args:
        values: The options.
        reading: How a file would be read; of a target's session it takes the settings.

    Raises:
        UsageError: Neither a target nor a file was named, or both.
    """
    file = values.pop("file")
    if file is None:
        if values["target"] is None:
            raise UsageError("name a target (-t KIND/NAME) or a capture file (-r FILE)")
        return session_options(**values, settings=reading.settings)
    if values["target"] is not None:
        raise UsageError("-t and -r exclude each other: traffic comes from a target, or from a file")
    if reading.times > 1 and (file == "-" or (Path(file).exists() and not Path(file).is_file())):
        raise UsageError(
            f"--loop reads the file again, and {file} can be read only once; save it to a file first"
        )
    return replace(reading, file=file)


def take_mirroring(values: dict[str, Any], settings: Mapping[str, str]) -> tuple[Progress, Mirroring]:
    """Take out of the options' values those that `delivery_options` added, and make of them what delivers and tells.

    Args:
        values: The options.
        settings: Of the sessions that it takes frames of.
    """
    progress = Progress(values.pop("progress_style"))
    names = ("max_loss", "ledger_file", "verbose", "stats", "metrics")
    report = ReportOptions(**{name: values.pop(name) for name in names})
    choices = {name: values.pop(name) for name in ("on_gap", "late_joins")}
    return progress, Mirroring(progress, report, **choices, screened=is_screened(settings))
