import struct

from benchmarks.stamps import Arrival, added_microseconds, parse_records


def record(sent: int, received: int, connection: int, number: int) -> bytes:
    return struct.pack("=QQII", sent, received, connection, number)


def test_records_are_found_by_connection_and_number() -> None:
    arrivals = parse_records(record(1, 5, 0, 7) + record(2, 6, 1, 7))

    assert arrivals == {(0, 7): Arrival(1, 5), (1, 7): Arrival(2, 6)}


def test_the_first_arrival_counts() -> None:
    assert parse_records(record(1, 5, 0, 0) + record(1, 9, 0, 0)) == {(0, 0): Arrival(1, 5)}


def test_added_latency_is_taken_request_by_request() -> None:
    direct = parse_records(record(0, 1_000, 0, 0) + record(0, 2_000, 0, 1) + record(0, 3_000, 0, 2))
    mirrored = parse_records(record(0, 9_500, 0, 2) + record(0, 4_000, 0, 0))

    assert added_microseconds(direct, mirrored) == [3.0, 6.5]
