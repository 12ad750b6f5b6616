"""`python -m podmirror_sandbox.node`: process 1 of the sandbox's namespaces. The launcher starts it; nobody else should.

It lives for as long as its standard input is open. When it ends, for whatever reason, the kernel ends every process in
its PID namespace, and the network and the mounts, which nobody holds any more, go too.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from pathlib import Path

from podmirror_sandbox.apiserver.discovery import VERSION
from podmirror_sandbox.apiserver.server import ApiServer, path_prefix
from podmirror_sandbox.cluster.apierrors import ApiError
from podmirror_sandbox.cluster.bootstrap import apply_manifest, bootstrap
from podmirror_sandbox.cluster.controllers import reconcile
from podmirror_sandbox.cluster.objects import now
from podmirror_sandbox.cluster.phases import is_settled
from podmirror_sandbox.cluster.registry import Registry
from podmirror_sandbox.cluster.resources import PODS
from podmirror_sandbox.cluster.services import hosts_file
from podmirror_sandbox.cluster.store import Store
from podmirror_sandbox.interpreter import module_path
from podmirror_sandbox.kubeconfig import KubeconfigFile, kubeconfig
from podmirror_sandbox.messages import NodeConfig, NodeReport
from podmirror_sandbox.node import filesystem
from podmirror_sandbox.node.host import NODE_NAME, Host
from podmirror_sandbox.node.kubelet import Kubelet
from podmirror_sandbox.node.logs import trim_logs
from podmirror_sandbox.node.network import IPV4, Network
from podmirror_sandbox.node.processes import CommandFailed, Processes

_SETTLE_SECONDS = 60.0
"""How long the pods of the manifests may take to run before the sandbox says so and is ready all the same."""

_TRIM_SECONDS = 10.0

logger = logging.getLogger(__name__)


class _LauncherGone(Exception):  # not an error: how the node is asked to end
    """The launcher closed the pipe or died."""


def main() -> int:
    """Run the node."""
    logging.basicConfig(level=logging.WARNING, format="sandbox node: %(levelname)s %(name)s: %(message)s")
    # The launcher decides when to end; a Ctrl-C in the terminal is for it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    line = sys.stdin.buffer.readline()
    if not line.endswith(b"\n"):
        return 1
    config = NodeConfig.decode(line)
    file = KubeconfigFile(Path(config.kubeconfig), private_directory=config.private_directory)
    try:
        asyncio.run(_Node(config, file).run())
    finally:
        file.remove()
    return 0


class _Node:
    """Everything that runs in the node, and who starts what."""

    def __init__(self, config: NodeConfig, file: KubeconfigFile) -> None:
        self._config = config
        self._file = file
        self._store = Store()
        self._registry = Registry(self._store, now)
        self._processes = Processes()
        self._network = Network(self._processes)
        host = Host(
            registry=self._registry,
            network=self._network,
            processes=self._processes,
            data=filesystem.DATA,
            agent_version=config.agent_version,
            environment=_base_environment(),
            is_root=config.is_root,
        )
        self._kubelet = Kubelet(host)
        self._server = ApiServer(self._registry, self._kubelet, config.token)

    async def run(self) -> None:
        """Run until the launcher is gone."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch_launcher(), name="launcher")
                self._processes.watch()
                try:
                    await self._start(group)
                except (CommandFailed, ApiError, OSError) as error:
                    _report(NodeReport(error=str(error)))
                    return
                _report(NodeReport())
        except* _LauncherGone:
            pass

    async def _start(self, group: asyncio.TaskGroup) -> None:
        await filesystem.set_up(self._processes)
        await self._network.set_up()
        bootstrap(self._registry, NODE_NAME, f"{IPV4}1", str(VERSION["gitVersion"]))
        await self._server.start(socket.socket(fileno=self._config.listening))
        for manifest in self._config.manifests:
            apply_manifest(self._registry, manifest)
        group.create_task(self._kubelet.run(), name="kubelet")
        group.create_task(self._control(), name="controllers")
        group.create_task(self._trim(), name="logs")
        await self._settle()
        server = self._config.server + path_prefix(self._config.token)
        self._file.write(kubeconfig(server, self._config.token))

    async def _watch_launcher(self) -> None:
        """Raise when standard input ends."""
        gone = asyncio.Event()
        descriptor = sys.stdin.fileno()

        def read() -> None:
            if not os.read(descriptor, 4096):
                gone.set()

        loop = asyncio.get_running_loop()
        loop.add_reader(descriptor, read)
        try:
            await gone.wait()
        finally:
            loop.remove_reader(descriptor)
        raise _LauncherGone

    async def _control(self) -> None:
        """Run the controllers whenever something changed or is due."""
        changed = asyncio.Event()
        self._store.subscribe(changed.set)
        while True:
            wakeup = reconcile(self._registry)
            _write_hosts(hosts_file(self._store))
            # No await in between, so this forgets only the controllers' own changes, which they have looked at.
            changed.clear()
            delay = None if wakeup is None else max(0.05, (wakeup - now()).total_seconds())
            try:
                async with asyncio.timeout(delay):
                    await changed.wait()
            except TimeoutError:
                pass

    async def _trim(self) -> None:
        while True:
            await asyncio.sleep(_TRIM_SECONDS)
            trim_logs(filesystem.DATA)

    async def _settle(self) -> None:
        """Wait until every pod runs, is over, or is stuck with a reason."""
        changed = asyncio.Event()
        unsubscribe = self._store.subscribe(changed.set)
        try:
            async with asyncio.timeout(_SETTLE_SECONDS):
                while True:
                    changed.clear()
                    # Two looks with the controllers in between: a Deployment has no pods before they ran.
                    await asyncio.sleep(0)
                    reconcile(self._registry)
                    if all(is_settled(pod) for pod in self._store.all_of(PODS)):
                        return
                    await changed.wait()
        except TimeoutError:
            logger.warning("not all pods run after %d s: see kubectl describe pods", _SETTLE_SECONDS)
        finally:
            unsubscribe()


def _base_environment() -> dict[str, str]:
    path = os.environ.get("PATH") or "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    environment = {"PATH": path, "HOME": "/"}
    # So that `python -m podmirror_agent` finds an editable install.
    return {**environment, "PYTHONPATH": module_path()}


def _write_hosts(text: str) -> None:
    # Written in place: a new file would not be the one that is bind-mounted over /etc/hosts.
    if filesystem.HOSTS.read_text() != text:
        filesystem.HOSTS.write_text(text)


def _report(report: NodeReport) -> None:
    sys.stdout.buffer.write(report.encode())
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
