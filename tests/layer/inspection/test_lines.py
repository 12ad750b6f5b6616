"""The plain view."""

import io

from podmirror.inspection.exchange import State
from podmirror.inspection.lines import BODIES, HEADERS, PlainRenderer, connection_line, exchange_line
from podmirror_wire.values import CloseReason
from tests.layer.inspection.exchanges import exchange, summary


def written(record: object, verbosity: int) -> list[str]:
    stream = io.StringIO()
    view = PlainRenderer(stream, verbosity)
    view.receive(record)
    view.finish()
    return stream.getvalue().splitlines()


def test_an_exchange_is_a_line():
    assert exchange_line(exchange()).split() == (
        [
            "2023-11-14T22:13:20.123456Z",
            "web-1",
            "GET",
            "/orders?id=7",
            "200",
            "12.0",
            "ms",
            "40",
            "B",
            "56",
            "B",
            "complete",
        ]
    )


def test_lines_of_usual_exchanges_have_their_columns_in_common():
    one = exchange_line(exchange("GET", "/a"))
    other = exchange_line(exchange("DELETE", "/orders/7/items", status=404, response_body=b"x" * 3000))

    assert one.index(" 200 ") == other.index(" 404 ")
    assert one.index("complete") == other.index("complete")


def test_an_exchange_without_a_response_says_so():
    line = exchange_line(exchange(status=None, state=State.UNFINISHED))

    assert line.split()[4:] == ["-", "-", "40", "B", "-", "unfinished"]


def test_a_response_without_an_end_shows_the_time_to_its_first_byte():
    going = exchange()
    going.response.ended = None

    assert ">5.00 ms" in exchange_line(going)


def test_what_is_worth_knowing_stands_at_the_end():
    odd = exchange(status=101, state=State.GAP)
    odd.upgrade, odd.redacted = "websocket", True
    odd.request.body.skip(1500, on_purpose=False)
    odd.response.body.skip(20, on_purpose=True)

    assert exchange_line(odd).endswith("gap, now websocket, redacted, 1.5 kB missing, 20 B left out")


def test_a_connection_is_a_line_with_what_it_looks_like():
    line = connection_line(summary())

    assert "10.0.0.1:40000 > 10.0.0.2:80 TLS (SNI shop.example)" in line
    assert line.split()[-6:] == ["s", "517", "B", "4.2", "kB", "complete"]


def test_a_connection_that_is_still_open_is_unfinished():
    still_open = summary("unknown", "")
    still_open.closed_as = None
    late = summary()
    late.late, late.closed_as = True, CloseReason.RESET_BY_RESPONDER

    assert connection_line(still_open).endswith("unfinished")
    assert connection_line(late).endswith("joined_late")


def test_headers_are_added():
    assert written(exchange(), HEADERS)[1:] == [
        "  > GET /orders?id=7 HTTP/1.1",
        "  > Host: shop",
        "  < HTTP/1.1 200 OK",
        "  < Content-Type: text/plain",
        "",
    ]


def test_bodies_are_added():
    assert written(exchange(request_body=b"a\nb"), BODIES)[1:] == [
        "  > GET /orders?id=7 HTTP/1.1",
        "  > Host: shop",
        "  >   a",
        "  >   b",
        "  < HTTP/1.1 200 OK",
        "  < Content-Type: text/plain",
        "  <   seven",
        "  <   ",
        "",
    ]


def test_nothing_of_the_network_commands_the_terminal():
    evil = "\x1b]0;gotcha\x07\x9b2J"
    record = exchange(
        f"GET{evil}",
        f"/{evil}",
        request_headers=(("Host" + evil, evil),),
        request_body=evil.encode(),
        reason=evil,
        response_headers=(("Content-Type", f"text/plain{evil}"),),
        response_body=evil.encode("latin-1"),
    )
    record.upgrade = evil
    stream = io.StringIO()
    view = PlainRenderer(stream, BODIES)
    view.receive(record)
    view.receive(summary("TLS", f"SNI {evil}"))

    assert stream.getvalue().replace("\n", "").isprintable()
