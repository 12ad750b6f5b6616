"""Reading manifests: YAML or JSON, one document or many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from pathlib import Path


class ManifestError(Exception):
    """A file that is no manifest."""


def read_manifests(path: Path) -> list[dict[str, Any]]:
    """The objects in a file.

    Raises:
        ManifestError: when it cannot be read or holds something else.
    """
    try:
        documents = list(yaml.safe_load_all(path.read_text()))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ManifestError(f"{path} cannot be read: {error}") from error
    objects = [document for document in documents if document is not None]
    for item in objects:
        if not isinstance(item, dict) or "kind" not in item:
            raise ManifestError(f"{path} holds a document that is no Kubernetes object")
    return objects
