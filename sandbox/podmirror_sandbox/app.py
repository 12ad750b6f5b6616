"""The sandbox's own app and its traffic, for `--app`: a small shop over HTTP, and a client that never stops ordering.

`python -m podmirror_sandbox.app serve PORT` is the app, `python -m podmirror_sandbox.app order HOST:PORT` the client.
Both need nothing but the standard library, as they run as containers of the sandbox.
"""

from __future__ import annotations

import http.client
import itertools
import json
import socket
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PORT = 8080
_PAUSE = 0.2
_ITEMS = ("tea", "bread", "olives", "honey")


class _Shop(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:  # the name that http.server calls
        """Answer with the price list."""
        self._answer(200, {"items": list(_ITEMS)})

    def do_POST(self) -> None:  # the name that http.server calls
        """Take an order."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            order = json.loads(body)
        except ValueError:
            self._answer(400, {"error": "an order is JSON"})
            return
        self._answer(201, {"accepted": order})

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name in the base class
        """Write a line for each request to standard output."""
        sys.stdout.write(f"{self.address_string()} {format % args}\n")
        sys.stdout.flush()

    def _answer(self, status: int, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class _DualStackServer(ThreadingHTTPServer):
    address_family = socket.AF_INET6
    daemon_threads = True

    def server_bind(self) -> None:
        """Listen to IPv4 and IPv6 alike, whatever the machine's default is."""
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


def app_manifests() -> list[dict[str, Any]]:
    """A Deployment `app`, a Service of that name, and a Deployment `client` that sends it requests."""
    module = ["python3", "-m", "podmirror_sandbox.app"]
    serve = {
        "name": "app",
        "image": "sandbox/host",
        "command": [*module, "serve", str(PORT)],
        "ports": [{"containerPort": PORT}],
    }
    order = {"name": "client", "image": "sandbox/host", "command": [*module, "order", f"app:{PORT}"]}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "app"},
        "spec": {"selector": {"app": "app"}, "ports": [{"port": PORT}]},
    }
    return [_deployment("app", serve, replicas=2), service, _deployment("client", order)]


def main(argv: list[str]) -> int:
    """Be the app or its client."""
    if argv[0] == "serve":
        _DualStackServer(("::", int(argv[1])), _Shop).serve_forever()
    host, _, port = argv[1].partition(":")
    _order_for_ever(host, int(port))
    return 0


def _order_for_ever(host: str, port: int) -> None:
    """Send requests: a few on each connection, then a new one."""
    for number in itertools.count():
        connection = http.client.HTTPConnection(host, port, timeout=5)
        try:
            for item in _ITEMS[: 1 + number % len(_ITEMS)]:
                order = json.dumps({"order": number, "item": item})
                connection.request("POST", "/orders", order, {"Content-Type": "application/json"})
                connection.getresponse().read()
                time.sleep(_PAUSE)
            connection.request("GET", "/items")
            connection.getresponse().read()
        except OSError:
            # The app is not there yet or was just replaced: the next attempt finds it.
            time.sleep(_PAUSE)
        finally:
            connection.close()


def _deployment(name: str, container: dict[str, Any], *, replicas: int = 1) -> dict[str, Any]:
    labels = {"app": name}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
