"""Secrets in live requests never get to the tunnel, and neither do exchanges that were not selected.

A real agent in the namespace of a real app; every byte that the agent sends is recorded.
"""

import asyncio
import json
from collections.abc import Iterator

import pytest

from podmirror_http import redaction, selection
from podmirror_http.pairing import Conversation, MessageEnded, RequestBegan, ResponseBegan
from podmirror_http.pseudonyms import Pseudonyms
from podmirror_wire.frames import Data, Omitted
from podmirror_wire.values import Direction
from tests.namespaces import TARGET_V4, TARGET_V6, Namespaces, namespaces, why_not
from tests.transfers import Told, connect, mirrored, read_to_end, serving

pytestmark = [
    pytest.mark.namespaces,
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
]

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJTRUNSRVQifQ.c2VjcmV0LXNpZ25hdHVyZQ"
COOKIE = "session-Zx81-SECRET-Qq"
KEY = bytes(range(32))

APP = """
    import gzip, json, socket
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Echo(BaseHTTPRequestHandler):
        # Tells the caller's own headers and body back, in the way that the path asks for.
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = self.path.partition("?")[0]
            named = {name: value for name, value in self.headers.items() if name != "Cookie"}
            told = json.dumps({"headers": named, "body": body.decode()}).encode()
            self.send_response(503 if path == "/fails" else 200)
            self.send_header("Set-Cookie", self.headers.get("Cookie", "none=1") + "; Path=/")
            if path == "/packed":
                told = gzip.compress(told)
                self.send_header("Content-Encoding", "gzip")
            if path == "/chunked":
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for at in range(0, len(told), 7):
                    piece = told[at : at + 7]
                    self.wfile.write(b"%x\\r\\n%s\\r\\n" % (len(piece), piece))
                self.wfile.write(b"0\\r\\n\\r\\n")
                return
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        do_GET = do_POST

        def log_message(self, *_):
            pass

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6

        def server_bind(self):
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            super().server_bind()

    server = Server(("", 8080), Echo)
    print("ready", flush=True)
    server.serve_forever()
"""


@pytest.fixture
def made() -> Iterator[Namespaces]:
    with namespaces() as pair:
        yield pair


def request(path: str, *, last: bool = False, method: str = "POST") -> bytes:
    body = f"see Bearer {TOKEN} here".encode()
    fields = [
        f"{method} {path}?access_token={TOKEN} HTTP/1.1",
        "Host: shop",
        f"Authorization: Bearer {TOKEN}",
        f"Cookie: id={COOKIE}",
        f"Content-Length: {len(body)}",
        *(["Connection: close"] if last else []),
    ]
    return "\r\n".join([*fields, "", ""]).encode() + body


def call(made: Namespaces, address: str, *paths: str) -> bytes:
    """Send requests one behind the other on a connection, the first in two parts that cut the token; give all answers."""
    with connect(made, address) as client:
        for number, path in enumerate(paths, 1):
            raw = request(path, last=number == len(paths))
            middle = raw.index(TOKEN.encode(), raw.index(b"Authorization")) + 9
            client.sendall(raw[:middle])
            client.sendall(raw[middle:])
        return read_to_end(client)


def exchanges(told: Told) -> list[tuple[str, int]]:
    """Give target and status of the exchanges that are whole, in a connection with those frames of each direction."""
    reader = Conversation(late=False)
    events = []
    for direction in Direction:
        for frame in told.streams[direction]:
            if isinstance(frame, Data):
                events += reader.receive_data(direction, frame.payload, 0)
            elif isinstance(frame, Omitted):
                events += reader.receive_omitted(direction, frame.length, 0)
        events += reader.receive_end(direction, 0)
    ended = [each.exchange for each in events if isinstance(each, MessageEnded)]
    targets = {each.exchange: each.head.target for each in events if isinstance(each, RequestBegan)}
    statuses = {each.exchange: each.head.status for each in events if isinstance(each, ResponseBegan)}
    return [(targets[each], statuses[each]) for each in targets if ended.count(each) == 2]


@pytest.mark.parametrize("address", [TARGET_V4, TARGET_V6], ids=["IPv4", "IPv6"])
async def test_no_byte_of_a_token_is_on_the_tunnel(made: Namespaces, address: str) -> None:
    tunnel = bytearray()
    rules = ["json:$.headers.Host", "header:X-Nobody"]
    settings = {"redact": redaction.format_option(KEY, rules), "times": "yes", "digests": "yes"}
    with serving(made, APP):
        async with mirrored(made, settings=settings, tap=tunnel) as agent:
            paths = ("/plain", "/chunked", "/packed", "/fails")
            answers = await asyncio.to_thread(call, made, address, *paths)
            await agent.watch.until_closed(1)
            await agent.finish()

    assert TOKEN.encode() in answers
    for secret in (TOKEN, COOKIE):
        for at in range(len(secret) - 8):
            assert secret[at : at + 8].encode() not in tunnel
    (told,) = agent.watch.told.values()
    stand_in = Pseudonyms(KEY).of(TOKEN.encode()).decode()
    assert [status for _, status in exchanges(told)] == [200, 200, 200, 503]
    assert {target.partition("=")[2] for target, _ in exchanges(told)} == {stand_in}
    assert told.bytes_of(Direction.TO_RESPONDER) == sum(
        len(request(path, last=path == "/fails")) for path in paths
    )
    left = [each.length for each in told.streams[Direction.TO_INITIATOR] if isinstance(each, Omitted)]
    assert agent.counts["redacted_out_bytes"] == sum(left) > 0
    assert agent.counts["redacted_values"] > 20
    json.dumps(agent.counts)
    agent.check_lossless()


async def test_only_selected_exchanges_are_on_the_tunnel(made: Namespaces) -> None:
    async def tunneled(settings: dict[str, str]) -> tuple[int, list[tuple[str, int]], dict[str, int]]:
        tunnel = bytearray()
        async with mirrored(made, settings=settings, tap=tunnel) as agent:
            paths = ["/plain"] * 40 + ["/fails", "/chunked"] * 2 + ["/plain"] * 40
            await asyncio.to_thread(call, made, TARGET_V4, *paths)
            await agent.watch.until_closed(1)
            await agent.finish()
        (told,) = agent.watch.told.values()
        for path in ("/plain", "/fails", "/chunked"):
            wanted = any(target.startswith(path) for target, _ in exchanges(told))
            assert (f"POST {path}".encode() in tunnel) == wanted
        agent.check_lossless()
        return (
            len(tunnel),
            [(target.partition("?")[0], status) for target, status in exchanges(told)],
            agent.counts,
        )

    nothing = {"methods": [], "fields": []}
    with serving(made, APP):
        everything, all_of_them, _ = await tunneled({})
        by_path = selection.format_option(**nothing, paths=["/fails", "/chunked"], statuses=[])
        some, chosen, counts = await tunneled({"select": by_path})
        by_status = selection.format_option(**nothing, paths=[], statuses=["5xx"])
        few, failed, _ = await tunneled({"select": by_status})

    assert len(all_of_them) == 84
    assert chosen == [("/fails", 503), ("/chunked", 200)] * 2
    assert failed == [("/fails", 503)] * 2
    assert counts["filtered_exchanges"] == 80
    assert few < some < everything / 8
    assert counts["filtered_bytes"] > everything * 0.7
