"""The agents that this user has started, with their secrets, so that a later session finds them again.

Each has a file in the user's state folder (XDG Base Directory Specification: $XDG_STATE_HOME, else ~/.local/state) that only
the user may read. A session holds a shared lock on the file of its agent: whoever is the last to leave an agent that has ended
removes it, and a layer that is killed lets go of its lock and leaves the file, for the next session to find the agent by.
"""

import fcntl
import functools
import hashlib
import json
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

MAX_AGE_SECONDS = 24 * 3600.0
"""After which no agent is alive any more: each ends after a third of this at the latest."""

FILE_MODE = 0o600
FOLDER_MODE = 0o700


@dataclass(frozen=True, slots=True)
class OwnAgent:
    """An agent that a session of this user has started."""

    server: str
    """URL of its cluster's API server."""
    namespace: str
    pod: str
    uid: str
    """Of the pod."""
    name: str
    """Of its container."""
    image: str
    ports: tuple[int, ...]
    secret: str
    """In hexadecimal."""
    ttl: float
    """Seconds that it waits for a layer."""
    cpu: float | None
    """Cores that it may use on average."""


class Claim:
    """The file of an agent, held for as long as a session uses the agent."""

    def __init__(self, agent: OwnAgent, path: Path, file: IO[str]) -> None:
        self.agent = agent
        self._path = path
        self._file = file

    def take_alone(self) -> bool:
        """Keep everybody else away from now on; False, and nothing done, if somebody uses the agent already."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def release(self, *, ended: bool) -> None:
        """Let go of the agent; if it was told to end, and nobody else uses it, its secret is of no more use."""
        with self._file:
            if ended and self.take_alone():
                with suppress(OSError):
                    self._path.unlink()

    def forget(self) -> None:
        """Remove the secret of an agent that is gone."""
        with self._file, suppress(OSError):
            self._path.unlink()


def keep(agent: OwnAgent) -> Claim | None:
    """Remember an agent; None where there is no place for it, and then nobody finds it again."""
    of_pod = _digest(agent.server, agent.namespace, agent.pod)
    path = _folder() / f"{of_pod}-{_digest(agent.uid, agent.name)}.json"
    try:
        path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
        file = os.fdopen(descriptor, "w")
        fcntl.flock(file, fcntl.LOCK_SH)
        json.dump(asdict(agent), file)
        file.flush()
    except OSError:
        return None
    return Claim(agent, path, file)


def find(server: str, namespace: str | None = None, pod: str | None = None) -> list[Claim]:
    """Give the agents that are remembered in a cluster, or of those the ones in a namespace, or in a pod, latest first."""
    _forget_old(_folder())
    claims = []
    # With many pods mirrored at once there are many files, and only the names of the others are read.
    pattern = f"{_digest(server, namespace, pod)}-*.json" if namespace and pod else "*.json"
    for path in sorted(_folder().glob(pattern), key=_age):
        claim = _open(path)
        if claim is None:
            continue
        agent = claim.agent
        if agent.server == server and namespace in (None, agent.namespace) and pod in (None, agent.pod):
            claims.append(claim)
        else:
            claim.release(ended=False)
    return claims


def claim(server: str, namespace: str, pod: str, name: str) -> Claim | None:
    """Give the agent of that name in a pod; None if it is not remembered."""
    wanted = None
    for each in find(server, namespace, pod):
        if each.agent.name == name and wanted is None:
            wanted = each
        else:
            each.release(ended=False)
    return wanted


@functools.cache
def _forget_old(folder: Path) -> None:
    """Remove what is too old to be of use, of any cluster and any pod; once for each process."""
    for path in folder.glob("*.json"):
        if _age(path) > MAX_AGE_SECONDS:
            claim = _open(path)
            if claim is not None:
                claim.forget()


def _digest(*words: str) -> str:
    return hashlib.sha256(" ".join(words).encode()).hexdigest()[:16]


def _open(path: Path) -> Claim | None:
    try:
        file = path.open()
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # refused while its last session takes leave
        content = json.load(file)
        return Claim(OwnAgent(**{**content, "ports": tuple(content["ports"])}), path, file)
    except (OSError, ValueError, TypeError, KeyError):  # not ours, or of another release
        file.close()
        return None


def _folder() -> Path:
    state = os.environ.get("XDG_STATE_HOME", "")
    return (
        (Path(state) if Path(state).is_absolute() else Path.home() / ".local" / "state")
        / "podmirror"
        / "agents"
    )


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:  # removed meanwhile
        return 0.0
