"""One container: pulled, started, ended, started again.

Theory of operation: a container is a chain of small programs, each of which sets up one thing and becomes the next:
`nsenter` enters the pod's network namespace, `unshare` makes mount, UTS and PID namespaces, a line of shell mounts what
the container sees as its own, `setpriv` cuts the capabilities, and the last one is the spec's command, as process 1 of
its PID namespace. `unshare` stays as the parent and ends with the command's exit code.

Signals therefore go to the child of `unshare`; and a command that, as process 1, installs no handler for SIGTERM does
not notice it and is killed after the grace period: as in any container.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from podmirror_sandbox.cluster.events import record
from podmirror_sandbox.cluster.images import Image, find_image, full_reference
from podmirror_sandbox.cluster.launch import ConfigError, Launch, plan_launch
from podmirror_sandbox.cluster.objects import Object, timestamp, uid_of
from podmirror_sandbox.node.processview import VARIABLE, ProcessView

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from podmirror_sandbox.node.host import Host
    from podmirror_sandbox.node.network import PodNetwork
    from podmirror_sandbox.node.processes import Process

logger = logging.getLogger(__name__)

FIRST_DELAY, LONGEST_DELAY = 1.0, 30.0
"""Seconds between restarts or pulls, doubled each time. A real kubelet waits 10 s to 5 min: too long to watch."""

MESSAGE_LIMIT = 4096
"""How much of a termination message the kubelet keeps."""

_SETUP_SECONDS, _SETUP_POLL = 5.0, 0.005

# Up to here standard error is a file of its own: what `nsenter` and `unshare` say is not the container's log.
# $1 the termination log, $2 where it shows, $3 the host name; the rest is what comes next. What a container can do
# without (its own /sys, its host name) is tried; a missing place for the termination log cannot be bound.
_SETUP = """
exec 2>&1
mount --bind "$1" "$2"
mount -t sysfs -o ro sysfs /sys 2>/dev/null
hostname "$3" 2>/dev/null
cd "$4" || exit 128
shift 4
exec "$@"
"""


class Container:
    """Runs one container of a pod by its restart policy, and keeps its status."""

    def __init__(
        self, host: Host, pod: Callable[[], Object], network: PodNetwork, spec: Object, restart_policy: str
    ) -> None:
        self.spec = spec
        self.name = str(spec["name"])
        self.directory: Path = host.container_directory(pod(), self.name)
        self.changed: Callable[[], None] = lambda: None
        """Called whenever the status is another one."""
        self._host = host
        self._pod = pod
        self._network = network
        self._restart_policy = restart_policy
        self._state: Object = {"waiting": {"reason": "ContainerCreating"}}
        self._last_state: Object = {}
        self._restarts = 0
        self._id = ""
        self._process: Process | None = None
        self._stopping = False

    @property
    def status(self) -> Object:
        """The entry in the pod's container statuses."""
        running = "running" in self._state
        image = self.spec["image"]
        return {
            "name": self.name,
            "image": full_reference(image),
            "imageID": f"sandbox://{image}" if self._id else "",
            "containerID": self._id,
            "ready": running,
            "started": running,
            "restartCount": self._restarts,
            "state": self._state,
            "lastState": self._last_state,
        }

    @property
    def is_running(self) -> bool:
        """Whether its process lives."""
        return self._process is not None and self._process.is_running

    def log_path(self, *, previous: bool = False) -> Path:
        """The file with what it wrote."""
        return self.directory / f"{max(0, self._restarts - previous)}.log"

    async def run(self) -> int:
        """Run it to its last end and return the exit code; does not return while it is restarted or stuck."""
        delay = FIRST_DELAY
        while True:
            image = await self._pull()
            try:
                launch = plan_launch(self._pod(), self.spec, image, self._host.environment)
            except ConfigError as error:
                await self._stick("CreateContainerConfigError", str(error))
                raise AssertionError("stuck containers do not go on") from error
            code = await self._run_once(launch)
            if self._stopping or not self._restarts_after(code):
                return code
            ended = self._state
            self._last_state = ended
            where = f"{self.name} pod={self._pod()['metadata']['name']}"
            message = f"back-off {delay:g}s restarting failed container={where}"
            self._set_state({"waiting": {"reason": "CrashLoopBackOff", "message": message}})
            self._tell("BackOff", f"Back-off restarting failed container {where}", warning=True)
            await asyncio.sleep(delay)
            delay = min(2 * delay, LONGEST_DELAY)
            self._restarts += 1

    async def stop(self, grace: float) -> None:
        """End it: SIGTERM, and SIGKILL after the grace period."""
        self._stopping = True
        process = self._process
        if process is None or not process.is_running:
            return
        if grace > 0:
            self._signal(process, signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await process.wait()
        self.kill()
        await process.wait()

    def kill(self) -> None:
        """End it at once."""
        self._stopping = True
        if self._process is not None and self._process.is_running:
            self._signal(self._process, signal.SIGKILL)

    def _signal(self, process: Process, number: signal.Signals) -> None:
        children = process.children()
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        if not children:
            # Not yet split in two: `nsenter`, or `unshare` before its fork.
            process.send_signal(number)

    async def _pull(self) -> Image:
        """Get the image, or wait for ever."""
        delay = FIRST_DELAY
        reference = self.spec["image"]
        while True:
            found = find_image(reference, self.spec["imagePullPolicy"], self._host.agent_version)
            if isinstance(found, Image):
                message = f'Container image "{reference}" already present on machine'
                self._tell("Pulled", message)
                return found
            self._tell("Failed", found.message, warning=True)
            if not found.backoff_reason:
                await self._stick(found.reason, found.message)
            self._set_state({"waiting": {"reason": found.reason, "message": found.message}})
            await asyncio.sleep(delay)
            back_off = {"reason": found.backoff_reason, "message": found.backoff_message}
            self._set_state({"waiting": back_off})
            delay = min(2 * delay, LONGEST_DELAY)
            await asyncio.sleep(delay)

    async def _stick(self, reason: str, message: str) -> None:
        """Show why it cannot start, and wait to be cancelled."""
        self._set_state({"waiting": {"reason": reason, "message": message}})
        self._tell("Failed", f"Error: {message}", warning=True)
        await asyncio.get_running_loop().create_future()

    async def _run_once(self, launch: Launch) -> int:
        self._id = f"containerd://{secrets.token_hex(32)}"
        message_file = self.directory / f"{self._restarts}.termination"
        message_file.touch()
        self._tell("Created", f"Container created: {self.name}")
        started = self._host.now()
        refusal = _refusal(launch)
        if refusal:
            self._set_state(_terminated(128, "StartError", refusal, started, self._host.now(), self._id))
            self._tell("Failed", f"Error: {refusal}", warning=True)
            return 128
        argv = self._argv(launch, message_file)
        setup_errors = self.directory / f"{self._restarts}.setup"
        with self.log_path().open("ab") as log, setup_errors.open("wb") as errors:
            self._process = self._host.processes.start(argv, env=launch.env, output=log, errors=errors)
        await self._until_set_up(self._process)
        first = next(iter(self._process.children()), None)
        with ProcessView(self._host.process_view).showing(first, self._id, uid_of(self._pod())):
            self._set_state({"running": {"startedAt": timestamp(started)}})
            self._tell("Started", f"Container started: {self.name}")
            code = await self._process.wait()
        if code < 0:
            code = 128 - code
        elif code == 1 and setup_errors.stat().st_size:
            # `unshare` passes the command's exit code on and is silent. Only when SIGKILL ended the command, older ones
            # fail: they try to die by the same signal, and first to reset its handler, which SIGKILL cannot have.
            code = 128 + signal.SIGKILL
        message = self._message(message_file, code)
        reason = "Completed" if code == 0 else "Error"
        self._set_state(_terminated(code, reason, message, started, self._host.now(), self._id))
        return code

    async def _until_set_up(self, process: Process) -> None:
        """Wait until the chain of programs has become the command, so that "running" means that it runs."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SETUP_SECONDS):
                # Nobody tells when a process executes another program, so look.
                while process.is_running and not _is_command(process.children()):  # noqa: ASYNC110
                    await asyncio.sleep(_SETUP_POLL)

    def _argv(self, launch: Launch, message_file: Path) -> list[str]:
        path = launch.termination_path
        if not Path(path).exists():
            # Nothing is there to be bound over, and nothing is created on the host: the agent honours the variable.
            path = "/dev/termination-log"
            launch.env["PODMIRROR_TERMINATION_LOG"] = path
        argv = ["nsenter", f"--net={self._network.path}", "--", "unshare", "--mount", "--uts"]
        if self._pod()["spec"].get("hostPID"):
            launch.env[VARIABLE] = str(self._host.process_view)
        else:
            argv += ["--pid", "--mount-proc"]
        argv += ["--fork", "--kill-child", "--propagation", "private", "--"]
        argv += ["sh", "-c", _SETUP, "sh", str(message_file), path, launch.hostname, launch.working_dir]
        argv += ["setpriv", "--inh-caps=-all"]
        if launch.capabilities is not None:
            names = [f"+{name.lower()}" for name in sorted(launch.capabilities)]
            argv.append(f"--bounding-set={','.join(['-all', *names])}")
        if launch.no_new_privileges:
            argv.append("--no-new-privs")
        # In a user namespace of a plain user only uid 0 exists; others are ignored there.
        if self._host.is_root and (launch.uid or launch.gid):
            argv += [f"--reuid={launch.uid}", f"--regid={launch.gid}", "--clear-groups"]
        return [*argv, "--", *launch.argv]

    def _message(self, message_file: Path, code: int) -> str:
        with message_file.open("rb") as file:
            message = file.read(MESSAGE_LIMIT)
        if not message and code and self.spec["terminationMessagePolicy"] == "FallbackToLogsOnError":
            # The kubelet takes the last 2048 bytes or 80 lines, whichever is smaller.
            with self.log_path().open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - 2048))
                message = b"".join(file.readlines()[-80:])
        return message.decode(errors="replace")

    def _restarts_after(self, code: int) -> bool:
        return self._restart_policy == "Always" or (self._restart_policy == "OnFailure" and code != 0)

    def _set_state(self, state: Object) -> None:
        self._state = state
        self.changed()

    def _tell(self, reason: str, message: str, *, warning: bool = False) -> None:
        pod = self._pod()
        lists = ("containers", "initContainers", "ephemeralContainers")
        within = [each for each in lists if any(c["name"] == self.name for c in pod["spec"].get(each) or [])]
        path = f"spec.{within[0]}{{{self.name}}}" if within else ""
        record(self._host.registry, pod, reason, message, warning=warning, field_path=path)


def _is_command(children: list[int]) -> bool:
    """Whether the child of `unshare` is past the set-up."""
    if not children:
        return False
    try:
        words = Path(f"/proc/{children[0]}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return _SETUP.encode() not in words and words[0] not in (b"unshare", b"setpriv")


def _refusal(launch: Launch) -> str:
    """What the runtime says when there is nothing to start, in its words."""
    prefix = "failed to create containerd task: failed to create shim task: OCI runtime create failed: "
    prefix += "runc create failed: unable to start container process: "
    if not launch.argv:
        return f"{prefix}no command specified"
    program = launch.argv[0]
    if shutil.which(program, path=launch.env.get("PATH")) is None:
        where = "no such file or directory" if "/" in program else "executable file not found in $PATH"
        return f'{prefix}exec: "{program}": {where}'
    return ""


def _terminated(
    code: int, reason: str, message: str, started: datetime, finished: datetime, container_id: str
) -> Object:
    state: Object = {
        "exitCode": code,
        "reason": reason,
        "startedAt": timestamp(started),
        "finishedAt": timestamp(finished),
        "containerID": container_id,
    }
    if message:
        state["message"] = message
    if code > 128:
        state["signal"] = code - 128
    return {"terminated": state}
