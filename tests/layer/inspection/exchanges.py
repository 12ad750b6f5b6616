"""Builders of records, as an assembler makes them."""

from podmirror.inspection.connection import ConnectionSummary
from podmirror.inspection.exchange import Body, Exchange, Headers, Request, Response, State
from podmirror_wire.values import CloseReason, Endpoint

CLIENT = Endpoint("10.0.0.1", 40000)
SERVER = Endpoint("10.0.0.2", 80)
BEGAN = 1_700_000_000_123_456_789
MS = 1_000_000


def body_of(content: bytes, *, size: int | None = None) -> Body:
    return Body(len(content) if size is None else size, bytearray(content))


def exchange(
    method: str = "GET",
    target: str = "/orders?id=7",
    *,
    number: int = 1,
    request_headers: Headers = (("Host", "shop"),),
    request_body: bytes = b"",
    status: int | None = 200,
    reason: str = "OK",
    response_headers: Headers = (("Content-Type", "text/plain"),),
    response_body: bytes = b"seven\n",
    state: State = State.COMPLETE,
) -> Exchange:
    request = Request("1.1", request_headers, 40, body_of(request_body), method=method, target=target)
    request.ended = BEGAN + MS
    request.wire_bytes = 40 + len(request_body)
    made = Exchange("web-1", 3, number, CLIENT, SERVER, BEGAN, request, state=state)
    if status is not None:
        made.response = Response(
            "1.1", response_headers, 50, body_of(response_body), status=status, reason=reason
        )
        made.response.wire_bytes = 50 + len(response_body)
        made.response.ended = BEGAN + 12 * MS
        made.first_byte = BEGAN + 5 * MS
    return made


def summary(protocol: str = "TLS", detail: str = "SNI shop.example") -> ConnectionSummary:
    made = ConnectionSummary("web-1", 4, CLIENT, SERVER, BEGAN, protocol, detail)
    made.ended = BEGAN + 1500 * MS
    made.closed_as = CloseReason.FINISHED
    made.bytes = [517, 4200]
    return made
