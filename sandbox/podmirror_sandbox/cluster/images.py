"""Which images the node "has", and what the kubelet says about the others.

An image here is no file system: it is the beginning of a command line. `podmirror-agent` starts the agent that is
installed beside the sandbox; the host images have no command of their own and run the pod's command on the host's files.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_DIGEST = r"(@[a-z0-9]+:[0-9a-f]{32,})?"
_TAG = r"(:[\w][\w.-]{0,127})?"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_DOMAIN = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]+)?/)?"
_REFERENCE = re.compile(f"{_DOMAIN}{_PART}(?:/{_PART})*{_TAG}{_DIGEST}", re.ASCII)

_HOST_IMAGES = ("sandbox/host", "docker.io/sandbox/host")
_HOST_PREFIXES = ("python:", "docker.io/library/python:", "docker.io/library/py-app")


@dataclass(frozen=True)
class Image:
    """What a container of this image starts with."""

    prefix: tuple[str, ...]
    """The entry point, which the spec's `command` replaces."""


@dataclass(frozen=True)
class PullFailure:
    """Why an image cannot be had: the reasons and messages of a container's waiting state."""

    reason: str
    message: str
    backoff_reason: str = ""
    """The reason while waiting for the next try; empty when there is no other try."""
    backoff_message: str = ""


def find_image(reference: str, pull_policy: str, agent_version: str) -> Image | PullFailure:
    """What the kubelet would get for an image reference."""
    if not _REFERENCE.fullmatch(reference):
        message = (
            f'Failed to apply default image tag "{reference}": couldn\'t parse image name "{reference}": '
        )
        return PullFailure("InvalidImageName", message + _why_invalid(reference))
    image = _lookup(reference, agent_version)
    if image is not None:
        return image
    if pull_policy == "Never":
        message = f'Container image "{reference}" is not present with pull policy of Never'
        return PullFailure("ErrImageNeverPull", message)
    full = full_reference(reference)
    error = (
        f'failed to pull and unpack image "{full}": failed to resolve reference "{full}": {full}: not found'
    )
    error = f"rpc error: code = NotFound desc = {error}"
    waiting = f'Back-off pulling image "{reference}": ErrImagePull: {error}'
    return PullFailure("ErrImagePull", error, "ImagePullBackOff", waiting)


def full_reference(reference: str) -> str:
    """The reference with the registry and the tag it stands for."""
    first, slash, _ = reference.partition("/")
    if not slash:
        reference = f"docker.io/library/{reference}"
    elif "." not in first and ":" not in first and first != "localhost":
        reference = f"docker.io/{reference}"
    last = reference.rpartition("/")[2]
    return reference if ":" in last or "@" in last else f"{reference}:latest"


def command_line(image: Image, command: Sequence[str], args: Sequence[str]) -> list[str]:
    """What is started: the spec's command, or the image's entry point, and the arguments."""
    argv = [*(command or image.prefix), *args]
    if argv and argv[0] in ("python", "python3"):
        # The interpreter that runs the sandbox: the only one known to have everything installed.
        argv[0] = sys.executable
    return argv


def _lookup(reference: str, agent_version: str) -> Image | None:
    if full_reference(reference) == f"docker.io/library/podmirror-agent:{agent_version}":
        return Image((sys.executable, "-m", "podmirror_agent"))
    if reference.partition(":")[0] in _HOST_IMAGES or reference.startswith(_HOST_PREFIXES):
        return Image(())
    return None


def _why_invalid(reference: str) -> str:
    if re.fullmatch(r"[\w./:@-]+", reference) and reference.lower() != reference:
        return "invalid reference format: repository name must be lowercase"
    return "invalid reference format"
