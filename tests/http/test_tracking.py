"""Whether a stream of requests is between two of them."""

from hypothesis import given
from hypothesis import strategies as st

from podmirror_http.tracking import RequestTracker
from tests.http.exchanges import pieces, said


@given(st.lists(said(), min_size=1, max_size=4), st.lists(st.integers(0, 999), max_size=8))
def test_it_is_between_requests_exactly_where_they_end(exchanges, cuts):
    tracker = RequestTracker()
    stream = b"".join(each.request for each in exchanges)
    ends, at = set(), 0
    for each in exchanges:
        at += len(each.request)
        ends.add(at)
    at = 0
    for piece in pieces(stream, cuts):
        tracker.receive_data(piece)
        at += len(piece)
        assert tracker.between_requests == (at in ends)


def test_behind_an_upgrade_it_is_never_between_requests():
    tracker = RequestTracker()
    tracker.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n")
    assert tracker.between_requests
    tracker.receive_data(b"\x81\x05hello\n\n")
    assert not tracker.between_requests
