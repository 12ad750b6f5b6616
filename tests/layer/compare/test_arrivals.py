from podmirror.compare.arrivals import Arrivals
from podmirror.compare.numbers import request
from podmirror_wire.frames import Data, Opened
from podmirror_wire.values import Direction, Endpoint

CLIENT, POD = Endpoint("10.0.0.1", 40000), Endpoint("10.0.0.2", 80)


def opened(connection: int, *, late: bool = False) -> Opened:
    return Opened(connection, late, CLIENT, POD, 5_000_000_000, "eth0")


def test_the_first_request_of_a_connection_is_known_by_its_number():
    arrivals = Arrivals()

    arrivals.receive_frame(opened(1), 6.0, 100.0)
    arrivals.receive_frame(Data(1, Direction.TO_RESPONDER, 0, request(7, "/", 10)), 6.1, 100.1)
    arrivals.receive_frame(Data(1, Direction.TO_RESPONDER, 99, request(8, "/", 10)), 6.2, 100.2)

    assert arrivals.first_requests == {7: 5.0}
    assert (arrivals.begun, arrivals.opened) == ({1: 5.0}, {1: 6.0})
    assert (arrivals.first_byte, arrivals.latest) == (100.1, 100.2)


def test_a_late_join_tells_nothing_of_its_beginning():
    arrivals = Arrivals()

    arrivals.receive_frame(opened(1, late=True), 6.0, 100.0)
    arrivals.receive_frame(Data(1, Direction.TO_RESPONDER, 0, request(7, "/", 10)), 6.1, 100.1)

    assert not arrivals.begun
    assert not arrivals.first_requests
    assert arrivals.first_byte == 100.1
