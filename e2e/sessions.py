"""A podmirror that runs beside a scenario."""

import signal
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil

from e2e.cluster import E2ECluster, until


class Podmirror:
    """A running `podmirror`, its output in files."""

    def __init__(
        self,
        cluster: E2ECluster,
        *arguments: str,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="podmirror-e2e-")
        self._out = Path(self._folder.name) / "out"
        self._err = Path(self._folder.name) / "err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                cluster.command(*arguments),
                stdout=out,
                stderr=err,
                stdin=subprocess.DEVNULL,
                env={**cluster.environment(), **(environment or {})},
                cwd=cwd,
            )

    @property
    def out(self) -> str:
        """What it has written to stdout so far."""
        return self._out.read_text()

    @property
    def err(self) -> str:
        """What it has written to stderr so far."""
        return self._err.read_text()

    def until_said(self, text: str, *, seconds: float = 60.0) -> None:
        """Wait for a text on stderr."""
        until(
            lambda: text in self.err or self.process.poll() is not None, f"{text!r} is said", seconds=seconds
        )
        assert text in self.err, self.err

    def interrupt(self) -> int:
        """Send what Ctrl-C sends, and give the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.wait()

    def wait(self, seconds: float = 60.0) -> int:
        """Wait for its end, and give the exit code."""
        return self.process.wait(seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            command = psutil.Process(self.process.pid).children(recursive=True)  # of exec
            for process in (self.process, *command):
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            self.process.wait()
        self._folder.cleanup()
