"""The command line of the sandbox: `podmirror-sandbox up` and `podmirror-sandbox check`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from podmirror_sandbox.app import app_manifests
from podmirror_sandbox.launcher import OK, REFUSED, USAGE, Options, run_sandbox
from podmirror_sandbox.manifests import ManifestError, read_manifests
from podmirror_sandbox.requirements import missing_requirements


def main(argv: list[str] | None = None) -> int:
    """Run the sandbox, or say why it cannot run here."""
    arguments = _parser().parse_args(argv)
    missing = missing_requirements()
    for sentence in missing:
        sys.stderr.write(f"podmirror-sandbox: {sentence}\n")
    if missing:
        return REFUSED
    if arguments.command == "check":
        sys.stdout.write("The sandbox can run here.\n")
        return OK
    try:
        manifests = [item for path in arguments.manifest for item in read_manifests(path)]
    except ManifestError as error:
        sys.stderr.write(f"podmirror-sandbox: {error}\n")
        return USAGE
    if arguments.app:
        manifests += app_manifests()
    return run_sandbox(Options(arguments.kubeconfig, manifests, arguments.exit_with_stdin))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="podmirror-sandbox", description="A stand-in for a Kubernetes cluster of one node, without root."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="say what is missing to run the sandbox here")
    up = commands.add_parser(
        "up",
        help="run the sandbox until Ctrl-C",
        description="Run the sandbox until SIGINT or SIGTERM. When it is ready, it prints one line of JSON with the "
        "kubeconfig, the server's URL and the process id. Pods are processes of this machine, in namespaces of "
        "their own: they see its files and run as the user who starts the sandbox.",
    )
    up.add_argument(
        "--kubeconfig", type=Path, metavar="PATH", help="where to write it (default: a private directory)"
    )
    up.add_argument(
        "--manifest", type=Path, metavar="FILE", action="append", default=[], help="objects to create"
    )
    up.add_argument(
        "--app", action="store_true", help="also run a small app with a client that sends it requests"
    )
    up.add_argument("--exit-with-stdin", action="store_true", help="end when standard input ends")
    return parser


if __name__ == "__main__":
    sys.exit(main())
