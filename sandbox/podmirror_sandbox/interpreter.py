"""Which Python the sandbox's processes run, and where it looks for modules."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

_PACKAGES = str(Path(__file__).resolve().parent.parent)


def module_path() -> str:
    """A PYTHONPATH with which a process finds what this one finds: also from an editable install or a source tree.

    Left out are the standard library, which would be the wrong one for another Python that a pod may run, and the current
    directory, whose modules are nobody's business in a pod.
    """
    paths = sysconfig.get_paths()
    standard = {paths["stdlib"], paths["platstdlib"]}
    current = str(Path.cwd())
    kept = []
    for entry in sys.path:
        is_standard = entry in standard or Path(entry).name == "lib-dynload"
        if not entry or is_standard or not Path(entry).is_dir():
            continue
        if entry != current or str(Path(entry).resolve()) == _PACKAGES:
            kept.append(entry)
    return os.pathsep.join(kept)
