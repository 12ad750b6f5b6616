"""The agent's program: arguments, the order of its start, and its last words.

The order of the start matters. The listener comes first, so that a port that is taken is known before anything is captured;
then the packet socket, which needs CAP_NET_RAW; then every capability is dropped; only then is a byte read from anyone.
An agent that is a Job's pod listens in its own network and opens the packet socket in the target's.
"""

import argparse
import asyncio
import functools
import json
import logging
import math
import os
import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path

from podmirror_agent import fastpath, selfexamination
from podmirror_agent.budget import Budget
from podmirror_agent.capture import BLOCK_BYTES, RING_MEBIBYTES, Capture
from podmirror_agent.mirror import Mirror
from podmirror_agent.neighbour import NeighbourNotReached, call_in, network_namespace_of
from podmirror_agent.privileges import drop_capabilities
from podmirror_agent.server import Server, bind_first_free
from podmirror_wire.values import TOLD_TO_END
from podmirror_wire.version import __version__

Examine = Callable[[int], dict[str, str]]

log = logging.getLogger("podmirror_agent")

EXIT_ENDED = 0
EXIT_FAULT = 1
EXIT_NOT_STARTED = 5

DEFAULT_MEMORY = 64
"""MiB for all buffers of the agent; the packet ring is not among them, since it is not charged to the pod."""

TERMINATION_LOG = "/dev/termination-log"
"""Where the kubelet reads a container's last words (terminationMessagePath's default)."""


def main(argv: list[str] | None = None) -> int:
    """Run the agent and give its exit code: 0 ended as it should, 1 a fault of ours, 2 usage, 5 not started."""
    arguments = _parse(argv)
    logging.basicConfig(level=arguments.log_level.upper(), format="%(asctime)s %(levelname)s %(message)s")
    try:
        listener = bind_first_free(arguments.ports)
        capture, examine = _open_capture(listener.getsockname()[1], arguments)
    except (OSError, NeighbourNotReached) as error:
        return _end(str(error), EXIT_NOT_STARTED)
    try:
        reason = asyncio.run(_serve(arguments, listener, capture, examine))
    except Exception as error:
        log.exception("a fault of the agent's own")
        return _end(f"fault: {error!r}", EXIT_FAULT)
    return _end(reason, EXIT_ENDED)


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="podmirror-agent", description="Sniff beside a pod and serve its layers."
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument(
        "--ports",
        type=_ports,
        required=True,
        metavar="P,P,...",
        help="listen on the first of these that is free",
    )
    parser.add_argument(
        "--verifier", type=_verifier, required=True, metavar="HEX", help="SHA-256 of the session's secret"
    )
    parser.add_argument(
        "-t",
        "--ttl",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="wait this long for a layer (default: 30)",
    )
    parser.add_argument(
        "--max-age", type=float, default=8 * 3600.0, metavar="SECONDS", help="(default: 8 hours)"
    )
    parser.add_argument(
        "--memory",
        type=int,
        default=DEFAULT_MEMORY,
        metavar="MIB",
        help="for all buffers (default: %(default)s)",
    )
    parser.add_argument(
        "--ring", type=int, default=RING_MEBIBYTES, metavar="MIB", help="packet ring (default: %(default)s)"
    )
    parser.add_argument(
        "--cpu",
        type=_cores,
        metavar="CORES",
        help="shed connections rather than use more than this on average (default: no limit)",
    )
    parser.add_argument(
        "--container",
        type=_container,
        metavar="ID",
        help="sniff in the network of this container of the node (default: in one's own)",
    )
    parser.add_argument("--host-network", action="store_true", help="also if that is the node's own network")
    parser.add_argument("--log-level", choices=["debug", "info", "warning", "error"], default="info")
    return parser.parse_args(argv)


def _ports(text: str) -> list[int]:
    ports = [int(port) for port in text.split(",")]
    if not all(0 < port < 65536 for port in ports):
        raise argparse.ArgumentTypeError(f"{text}: a port lies between 1 and 65535")
    return ports


def _cores(text: str) -> float:
    cores = float(text)
    if not 0 < cores < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is no number of CPUs above 0")
    return cores


def _container(text: str) -> str:
    identifier = text.rpartition("://")[2]
    if not re.fullmatch(r"[0-9a-f]{12,64}", identifier):
        raise argparse.ArgumentTypeError(f"{text} is no container ID, which has hexadecimal digits")
    return identifier


def _verifier(text: str) -> bytes:
    verifier = bytes.fromhex(text)
    if len(verifier) != 32:
        raise argparse.ArgumentTypeError("a verifier has 64 hexadecimal digits")
    return verifier


def _open_capture(control_port: int, arguments: argparse.Namespace) -> tuple[Capture, Examine]:
    """Open the packet socket; give with it what tells of the agent, for which the target must be looked at now."""
    blocks = (arguments.ring << 20) // BLOCK_BYTES
    try:
        if arguments.container is None:
            capture = Capture(control_port, blocks=blocks)
            examine: Examine = functools.partial(selfexamination.examine, kept={})
        else:
            proc = Path(os.environ.get("PODMIRROR_PROC", "/proc"))
            admitted = arguments.host_network
            with network_namespace_of(arguments.container, proc=proc, host_network=admitted) as neighbour:
                capture = call_in(neighbour.namespace, lambda: Capture(0, blocks=blocks))
                found = selfexamination.namespaces_of(neighbour.process)
            kept = {f"target.ns.{name}": number for name, number in found.items()}
            examine = functools.partial(selfexamination.examine, kept=kept, target=neighbour.process)
    except PermissionError as error:
        raise PermissionError(
            f"the packet socket needs CAP_NET_RAW, which this container does not have ({error}); "
            "the runtime's default set lacks it, or the container does not run as root"
        ) from error
    drop_capabilities()
    return capture, examine


async def _serve(
    arguments: argparse.Namespace, listener: socket.socket, capture: Capture, examine: Examine
) -> str:
    mirror = Mirror(Budget(arguments.memory << 20))
    server = Server(
        capture,
        mirror,
        arguments.verifier,
        ttl=arguments.ttl,
        max_age=arguments.max_age,
        cores=arguments.cpu,
        examine=lambda: examine(mirror.packets),
    )
    loop = asyncio.get_running_loop()
    for number, reason in ((signal.SIGTERM, TOLD_TO_END), (signal.SIGINT, "SIGINT was received")):
        loop.add_signal_handler(number, server.stop, reason)
    form = "interpreted" if (fastpath.__file__ or "").endswith(".py") else "compiled"
    log.info("podmirror-agent %s (%s) listens on 127.0.0.1:%d", __version__, form, listener.getsockname()[1])
    return await server.serve(listener)


def _end(reason: str, code: int) -> int:
    log.log(logging.INFO if code == EXIT_ENDED else logging.ERROR, "ending: %s", reason)
    leave_reason(reason, code)
    return code


def leave_reason(reason: str, code: int) -> None:
    """Leave the reason where the kubelet finds it, so that the layer can read it without permission for logs."""
    path = Path(os.environ.get("PODMIRROR_TERMINATION_LOG", TERMINATION_LOG))
    if path.exists() and os.access(path, os.W_OK):
        path.write_text(json.dumps({"reason": reason, "exit": code, "version": __version__}) + "\n")
