"""The local process of the demo: a web server that shows each request, and ends after some.

python -m podmirror.demoserver REQUESTS SECONDS
"""

import http.server
import os
import sys
import threading
import time

CHECK_SECONDS = 0.2
"""Between two looks at whether there is a reason to end."""


class Server(http.server.ThreadingHTTPServer):
    """Counts the requests, and shows the first `limit` of them."""

    daemon_threads = True

    def __init__(self, limit: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.limit = limit
        self.count = 0
        self.lock = threading.Lock()

    def show(self, request: str) -> None:
        """Count a request and show it."""
        with self.lock:
            self.count += 1
            if self.count <= self.limit:
                print(f"{self.count:>4}  {request}", flush=True)  # noqa: T201  # its purpose


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.show(f"{self.command} {self.path}  {body.decode(errors='backslashreplace')}".rstrip())
        self.send_response(204)
        self.end_headers()

    do_GET = do_POST = _answer  # noqa: N815  # the names that http.server calls

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name in the base class
        """Keep quiet: the request was shown."""


def main(requests: int, seconds: float) -> int:
    """Serve until so many requests have come, so much time has passed, or the parent is gone."""
    server = Server(requests)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    parent = os.getppid()
    deadline = time.monotonic() + seconds
    while server.count < requests and time.monotonic() < deadline and os.getppid() == parent:
        time.sleep(CHECK_SECONDS)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(int(sys.argv[1]), float(sys.argv[2])))
    except KeyboardInterrupt:
        sys.exit(130)
