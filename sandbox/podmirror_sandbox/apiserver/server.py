"""The API server: who may ask, what is asked, and who answers.

A client shows the token as a bearer token or as the first part of the path. The second way is there because kubectl sends
no credentials over plain HTTP, and a kubeconfig's server URL may have a path; the sandbox's has.

One path is the sandbox's own: a POST to `/sandbox/restart?seconds=N` has the server break all connections, port-forwards and
watches among them, and refuse others for so long, as an API server does that is restarted. The pods go on.
"""

from __future__ import annotations

import asyncio
import errno
import hmac
import logging
import socket
from typing import TYPE_CHECKING

from aiohttp import web

from podmirror_sandbox.apiserver.discovery import document
from podmirror_sandbox.apiserver.paths import Target, parse_path
from podmirror_sandbox.apiserver.portforward import port_forward
from podmirror_sandbox.apiserver.rest import Rest, read_object
from podmirror_sandbox.apiserver.reviews import attributes_of, review
from podmirror_sandbox.apiserver.watching import watch
from podmirror_sandbox.cluster.apierrors import ApiError
from podmirror_sandbox.cluster.authorization import ADMIN, check
from podmirror_sandbox.cluster.objects import Object, name_of
from podmirror_sandbox.cluster.resources import ANSWERED, PODS
from podmirror_sandbox.node.logs import read_log

if TYPE_CHECKING:
    from podmirror_sandbox.cluster.registry import Registry
    from podmirror_sandbox.node.kubelet import Kubelet

logger = logging.getLogger(__name__)

_BACKLOG = 128
_ANSWER_SECONDS = 0.1
"""For the answer to leave before the server is gone."""

_PUBLIC = {"/healthz", "/livez", "/readyz"}
_LARGEST_BODY = 3 * 1024 * 1024
"""The limit of a real API server."""

_PROTOBUF = "application/com.github.proto-openapi.spec.v2"


def path_prefix(token: str) -> str:
    """What stands before every path for clients that show the token in the URL."""
    return f"/sandbox-{token}"


class ApiServer:
    """Serves the cluster on a socket that somebody else has opened."""

    def __init__(self, registry: Registry, kubelet: Kubelet, token: str) -> None:
        self._registry = registry
        self._kubelet = kubelet
        self._token = token
        self._rest = Rest(registry)
        self._runner: web.AppRunner | None = None
        self._listening: socket.socket
        self._restarting: asyncio.Task[None] | None = None

    async def start(self, listening: socket.socket) -> None:
        """Begin to answer."""
        self._listening = listening
        await self._serve()

    async def stop(self) -> None:
        """Stop answering, without waiting for anybody."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _serve(self) -> None:
        application = web.Application(client_max_size=_LARGEST_BODY)
        application.router.add_route("*", "/{path:.*}", self._handle)
        # A watch or a log that is followed must end when its client goes: hence handlers are cancelled.
        self._runner = web.AppRunner(
            application, handler_cancellation=True, access_log=None, shutdown_timeout=_ANSWER_SECONDS
        )
        await self._runner.setup()
        await web.SockSite(self._runner, self._listening.dup()).start()

    async def _be_away(self, seconds: float) -> None:
        await asyncio.sleep(_ANSWER_SECONDS)
        await self.stop()
        address = self._listening.getsockname()
        # It is closed for everybody who holds it. It loses a port that the kernel had chosen, and keeps one that it was bound
        # to by name, which it is from the second time on (tcp_set_state); getsockname() does not tell these apart.
        self._listening.shutdown(socket.SHUT_RDWR)
        try:
            self._listening.bind(address)
        except OSError as error:
            if error.errno != errno.EINVAL:  # it is bound
                raise
        await asyncio.sleep(seconds)
        self._listening.listen(_BACKLOG)
        await self._serve()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._answer(request)
        except ApiError as error:
            return web.json_response(error.status(), status=error.code)
        except ConnectionError:
            # The client has gone and hears no answer; aiohttp would log what is raised as an error of ours.
            return web.Response(status=499)
        except (web.HTTPException, asyncio.CancelledError):
            raise
        except Exception:
            logger.exception("%s %s failed", request.method, request.path.replace(self._token, "TOKEN"))
            status = ApiError(500, "InternalError", "Internal error occurred: a bug in the sandbox").status()
            return web.json_response(status, status=500)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path, user = self._authenticate(request)
        if path in _PUBLIC:
            return web.Response(text="ok")
        if path == "/openapi/v2" and _PROTOBUF in request.headers.get("Accept", ""):
            # An empty message is a valid document of nothing, which makes kubectl leave checks to the server.
            return web.Response(body=b"", content_type=f"{_PROTOBUF}@v1.0+protobuf")
        found = document(path, path_prefix(self._token))
        if found is not None and request.method in ("GET", "HEAD"):
            return web.json_response(found)
        if path == "/sandbox/restart" and request.method == "POST":
            restarting = self._be_away(float(request.query.get("seconds", "1")))
            self._restarting = asyncio.create_task(restarting, name="restart")
            return web.Response(status=202)
        target = parse_path(path)
        if target is None:
            raise ApiError.unknown_path()
        for asked in attributes_of(request, target):
            check(self._registry.store, user, asked)
        if target.resource in ANSWERED:
            # kubectl asks in protobuf, and may do everything: it shows the token in the URL.
            is_json = "protobuf" not in request.content_type
            body = await read_object(request) if is_json else {}
            answer = review(self._registry.store, user, target.resource, body)
            return web.json_response(answer, status=201)
        if target.subresource in ("portforward", "exec", "attach", "log"):
            return await self._connect(request, target)
        watching = request.query.get("watch") in ("true", "1")
        if watching and request.method == "GET":
            return await watch(request, self._registry, target)
        return await self._rest.answer(request, target)

    def _authenticate(self, request: web.Request) -> tuple[str, str]:
        """The path that is asked for and the user who asks, once the client has shown the token.

        The token alone is that of the user who started the sandbox; with a colon and a name behind it, that user's.

        Raises:
            ApiError: 401.
        """
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        user = self._user_of(given) if scheme == "Bearer" else None
        head, separator, rest = request.path[1:].partition("/")
        if head.startswith("sandbox-"):
            by_path = self._user_of(head.removeprefix("sandbox-"))
            if by_path is not None:
                return separator + rest or "/", user or by_path
        if user is None and request.path not in _PUBLIC:
            raise ApiError(401, "Unauthorized", "Unauthorized")
        return request.path, user or ""

    def _user_of(self, given: str) -> str | None:
        token, separator, name = given.partition(":")
        if not hmac.compare_digest(token.encode(), self._token.encode()):
            return None
        return name if separator else ADMIN

    async def _connect(self, request: web.Request, target: Target) -> web.StreamResponse:
        """The subresources of a pod that are no objects."""
        pod = self._registry.store.get(PODS, target.namespace, target.name)
        if target.subresource == "portforward":
            return await port_forward(request, pod, self._kubelet.network_of(pod))
        if target.subresource == "log":
            return await self._log(request, pod)
        message = f"{target.subresource} is not supported by the sandbox"
        raise ApiError(501, "NotImplemented", message)

    async def _log(self, request: web.Request, pod: Object) -> web.StreamResponse:
        query = request.query
        spec = pod["spec"]
        names = [entry["name"] for entry in spec["containers"]]
        others = [
            entry["name"]
            for field in ("initContainers", "ephemeralContainers")
            for entry in spec.get(field) or []
        ]
        wanted = query.get("container") or names[0]
        if "container" not in query and len(names) > 1:
            choices = " ".join(names)
            message = f"a container name must be specified for pod {name_of(pod)}, choose one of: [{choices}]"
            raise ApiError.bad_request(message)
        if wanted not in (*names, *others):
            raise ApiError.bad_request(f"container {wanted} is not valid for pod {name_of(pod)}")
        container = self._kubelet.container(pod, wanted)
        previous = query.get("previous") in ("true", "1")
        if container is None or not container.log_path(previous=previous).exists():
            waiting = "ContainerCreating"
            if container is not None:
                waiting = (container.status["state"].get("waiting") or {}).get("reason", waiting)
            message = f'container "{wanted}" in pod "{name_of(pod)}" is waiting to start: {waiting}'
            raise ApiError.bad_request(message)
        try:
            tail = int(query["tailLines"]) if "tailLines" in query else None
        except ValueError as error:
            raise ApiError.bad_request(f"tailLines: {error}") from error
        follow = query.get("follow") in ("true", "1")
        response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
        await response.prepare(request)
        is_running = (lambda: container.is_running) if follow else None
        async for chunk in read_log(container.log_path(previous=previous), tail, is_running):
            await response.write(chunk)
        await response.write_eof()
        return response
