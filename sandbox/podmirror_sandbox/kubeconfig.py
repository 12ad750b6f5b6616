"""The file by which clients find the sandbox, and its removal.

The file is written and removed by the node, so that it goes however the process the user started ends. By then the node
has a /run of its own, which hides the host's; a descriptor of the directory, opened before, still leads to it.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

CONTEXT = "sandbox"


def kubeconfig(server: str, token: str) -> str:
    """The text of the file: JSON, which is YAML too."""
    contents = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": CONTEXT, "cluster": {"server": server}}],
        "users": [{"name": CONTEXT, "user": {"token": token}}],
        "contexts": [
            {"name": CONTEXT, "context": {"cluster": CONTEXT, "user": CONTEXT, "namespace": "default"}}
        ],
        "current-context": CONTEXT,
    }
    return json.dumps(contents, indent=2) + "\n"


class KubeconfigFile:
    """A kubeconfig that is there for as long as the sandbox is."""

    def __init__(self, path: Path, *, private_directory: bool) -> None:
        """Take hold of the place; with `private_directory`, its parent is made too and removed with it."""
        self._path = path
        self._directory: Path | None = path.parent if private_directory else None
        if self._directory is not None:
            self._directory.mkdir(mode=0o700)
            self._outer = os.open(self._directory.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._inner = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def write(self, text: str) -> None:
        """Write it, readable by its owner only."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        descriptor = os.open(self._path.name, flags, 0o600, dir_fd=self._inner)
        with os.fdopen(descriptor, "w") as file:
            os.fchmod(descriptor, 0o600)
            file.write(text)

    def remove(self) -> None:
        """Remove what was made; what is gone already is fine."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path.name, dir_fd=self._inner)
        if self._directory is not None:
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(self._directory.name, dir_fd=self._outer)
