"""A connection to a cluster: its configuration, its API calls, its watches.

The official client is synchronous, so its calls run in daemon threads: a thread of the default executor would be waited for at
exit, and Ctrl-C would hang until the API server answered. Every call has a time-out. The client is imported here and nowhere
else in the layer, and this module only when a cluster is needed: it takes half a second to import.
"""

import asyncio
import json
import os
import ssl
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import urllib3.exceptions
import yaml
from kubernetes import client, config, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.client.rest import should_bypass_proxies
from kubernetes.utils.quantity import (
    parse_quantity as parse_quantity,
)  # for those who may not import the client

from podmirror.errors import NotStarted, Unreachable

Result = TypeVar("Result")

REQUEST_SECONDS = (5.0, 15.0)
"""To connect, and to read: an API server that needs longer for one object will not carry a session either."""

WATCH_SECONDS = 300
_IN_CLUSTER_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


_BAD_CONFIGURATION = (
    config.ConfigException,
    yaml.YAMLError,
    OSError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
)
"""What the client raises over a kubeconfig that is broken somewhere: it checks little, and stumbles."""


class Refusal(Exception):
    """The API server answered with an error; `message` holds its own words."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        """HTTP status code."""
        self.reason = reason
        """Machine-readable: `NotFound`, `Forbidden`, ..."""
        self.message = message


@dataclass(frozen=True, slots=True)
class WebSocketAccess:
    """What a WebSocket to the API server needs, in aiohttp's terms."""

    url: str
    headers: dict[str, str]
    ssl_context: ssl.SSLContext | None
    server_hostname: str | None
    proxy: str | None
    proxy_headers: dict[str, str]


class Cluster:
    """The cluster that a context names."""

    def __init__(self, api_client: Any, namespace: str, context: str) -> None:  # kubernetes has no types
        self._api_client = api_client
        self.namespace = namespace
        self.context = context
        self.core = client.CoreV1Api(api_client)
        self.apps = client.AppsV1Api(api_client)
        self.batch = client.BatchV1Api(api_client)
        self.custom = client.CustomObjectsApi(api_client)
        self.authorization = client.AuthorizationV1Api(api_client)
        self.authentication = client.AuthenticationV1Api(api_client)

    @classmethod
    def connect(cls, context: str | None, namespace: str | None) -> Self:
        """Read the kubeconfig (KUBECONFIG, else ~/.kube/config), or the service account when this runs in a pod.

        Args:
            context: A context of the kubeconfig; the current one if None.
            namespace: Overrides the context's.

        Raises:
            NotStarted: There is no configuration, or it cannot be used.
        """
        try:
            if context is None and "KUBERNETES_SERVICE_HOST" in os.environ and not _kubeconfig_exists():
                config.load_incluster_config()
                return cls(client.ApiClient(), namespace or _in_cluster_namespace(), "in-cluster")
            name, default_namespace = _choose_context(context)
            api_client = config.new_client_from_config(_kubeconfig(), name)
        except _BAD_CONFIGURATION as error:
            raise NotStarted(
                f"no usable kubeconfig: {str(error) or type(error).__name__}; set KUBECONFIG, or try podmirror without a "
                "cluster with `podmirror demo`"
            ) from error
        return cls(api_client, namespace or default_namespace, name)

    async def version(self) -> str:
        """Give the API server's version; `unknown` if it does not tell."""
        with suppress(Refusal, NotStarted, AttributeError):
            return str((await self.call(client.VersionApi(self._api_client).get_code)).git_version)
        return "unknown"

    @property
    def server(self) -> str:
        """URL of the API server."""
        return str(self._api_client.configuration.host)

    async def call(self, method: Callable[..., Result], *arguments: object, **options: object) -> Result:
        """Make an API call.

        Raises:
            Refusal: The API server answered with an error.
            NotStarted: It could not be reached.
        """
        options.setdefault("_request_timeout", REQUEST_SECONDS)
        try:
            return await in_daemon_thread(lambda: method(*arguments, **options))
        except ApiException as error:
            raise _refusal(error) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Unreachable(self._unreachable(error)) from error

    def watch_pod(self, name: str, namespace: str) -> AsyncGenerator[tuple[str, Any]]:
        """Give each change of a pod; see `watch_pods`."""
        return self.watch_pods(namespace, field_selector=f"metadata.name={name}")

    def watch_pods(self, namespace: str, **selectors: str) -> AsyncGenerator[tuple[str, Any]]:
        """Give each change of some pods; see `_watch`."""
        return self._watch(self.core.list_namespaced_pod, namespace, **selectors)

    def watch_events(self, namespace: str, **selectors: str) -> AsyncGenerator[tuple[str, Any]]:
        """Give each change of some events; see `_watch`."""
        return self._watch(self.core.list_namespaced_event, namespace, **selectors)

    async def _watch(
        self, call: Callable[..., Any], namespace: str, **selectors: str
    ) -> AsyncGenerator[tuple[str, Any]]:
        """Give each change of some objects as its type (ADDED, MODIFIED, DELETED) and the object, from their present state on.

        Args:
            call: The client's list call for them.
            namespace: Where they are.
            selectors: `label_selector` or `field_selector`, as the client's list calls take them.

        Raises:
            Refusal: The API server answered with an error.
            NotStarted: It could not be reached.
        """
        loop = asyncio.get_running_loop()
        changes: asyncio.Queue[tuple[str, Any] | BaseException | None] = asyncio.Queue()
        watching = watch.Watch()

        def follow() -> None:
            outcome: BaseException | None = None
            try:
                for event in watching.stream(
                    call,
                    namespace,
                    **selectors,
                    timeout_seconds=WATCH_SECONDS,
                    _request_timeout=(REQUEST_SECONDS[0], WATCH_SECONDS + 5),
                ):
                    loop.call_soon_threadsafe(changes.put_nowait, (event["type"], event["object"]))
            except Exception as error:  # noqa: BLE001  # it is raised in the loop's thread
                outcome = error
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(changes.put_nowait, outcome)

        threading.Thread(target=follow, name=f"watch in {namespace}", daemon=True).start()
        try:
            while (change := await changes.get()) is not None:
                if isinstance(change, ApiException):
                    raise _refusal(change) from change
                if isinstance(change, BaseException):
                    raise Unreachable(self._unreachable(change)) from change
                yield change
        finally:
            watching.stop()

    async def websocket_access(self, path: str) -> WebSocketAccess:
        """Give fresh credentials and transport settings for a WebSocket to a path of the API."""
        return await in_daemon_thread(lambda: self._websocket_access(path))  # a credential plugin may run

    def _websocket_access(self, path: str) -> WebSocketAccess:
        settings = self._api_client.configuration
        headers = dict(self._api_client.default_headers)
        headers.update(
            {each["key"]: each["value"] for each in settings.auth_settings().values() if each["value"]}
        )
        url = settings.host.rstrip("/") + path
        context: ssl.SSLContext | None = None
        if url.startswith("https"):
            context = ssl.create_default_context(cafile=settings.ssl_ca_cert)
            if not settings.verify_ssl:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if settings.cert_file:
                context.load_cert_chain(settings.cert_file, settings.key_file)
        return WebSocketAccess(
            url,
            headers,
            context,
            settings.tls_server_name or None,
            _proxy(settings),
            dict(settings.proxy_headers or {}),
        )

    def _unreachable(self, error: BaseException) -> str:
        cause = getattr(error, "reason", None) or error
        return (
            f"the API server of context {self.context!r} ({self._api_client.configuration.host}) cannot be reached: "
            f"{_plain(cause)}; check that the cluster runs and that KUBECONFIG names the right one"
        )


def _proxy(settings: Any) -> str | None:
    """Give the proxy to use, if the server is not among those that are reached without."""
    if not settings.proxy or should_bypass_proxies(settings.host, settings.no_proxy or ""):
        return None
    return str(settings.proxy)


def _plain(cause: object) -> str:
    """Leave out of urllib3's messages the name of the object that they begin with."""
    return str(cause).rpartition(": ")[2] if isinstance(cause, urllib3.exceptions.HTTPError) else str(cause)


def _refusal(error: ApiException) -> Refusal:
    try:
        status = json.loads(error.body or "")
        return Refusal(error.status, status.get("reason", ""), status["message"])
    except (ValueError, KeyError, TypeError, AttributeError):  # no Status object: a proxy in between, perhaps
        return Refusal(error.status or 0, "", str(error.reason or error.body or "no reason was given"))


def _kubeconfig() -> str:
    """Give the files to read, as KUBECONFIG names them now; the client looks only once, when it is imported."""
    return os.environ.get("KUBECONFIG") or str(Path("~/.kube/config").expanduser())


def _kubeconfig_exists() -> bool:
    return any(Path(path).exists() for path in _kubeconfig().split(os.pathsep) if path)


def _choose_context(context: str | None) -> tuple[str, str]:
    """Give the name of the context to use, and its namespace."""
    merged = config.kube_config.KubeConfigMerger(_kubeconfig()).config
    if merged is None:
        raise config.ConfigException(f"there is none at {_kubeconfig()}")
    content = merged.value
    contexts = {each.value["name"]: each.value.get("context") or {} for each in content["contexts"]}
    name = context or content.get("current-context")
    if not name:
        raise config.ConfigException("it has no current-context, and --context names none")
    if name not in contexts:
        raise NotStarted(
            f"the kubeconfig has no context {name!r}; it has {', '.join(sorted(contexts)) or 'none'}"
        )
    return name, contexts[name].get("namespace") or "default"


def _in_cluster_namespace() -> str:
    return _IN_CLUSTER_NAMESPACE.read_text().strip() if _IN_CLUSTER_NAMESPACE.exists() else "default"


async def in_daemon_thread(function: Callable[[], Result]) -> Result:
    """Call a function that may block, in a thread that nobody waits for at exit."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def settle(result: Result | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # a result goes with no error

    def run() -> None:
        result: Result | None = None
        failure: BaseException | None = None
        try:
            result = function()
        except Exception as error:  # noqa: BLE001  # it is raised in the loop's thread
            failure = error
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, name="kubernetes call", daemon=True).start()
    return await future
