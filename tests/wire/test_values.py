import pytest
from hypothesis import given

from podmirror_wire.values import CloseReason, Direction, Endpoint, GapReason
from tests.wire import strategies


def test_directions_are_each_others_reverse():
    assert Direction.TO_RESPONDER.reverse is Direction.TO_INITIATOR
    assert Direction.TO_INITIATOR.reverse is Direction.TO_RESPONDER


def test_numbers_of_the_enumerations_are_part_of_the_protocol():
    assert {each.name: each.value for each in Direction} == {"TO_RESPONDER": 0, "TO_INITIATOR": 1}
    assert {each.name: each.value for each in GapReason} == {"MISSED": 0, "BUDGET": 1, "TRUNCATED": 2}
    assert {each.name: each.value for each in CloseReason} == {
        "FINISHED": 0,
        "RESET_BY_INITIATOR": 1,
        "RESET_BY_RESPONDER": 2,
        "IDLE": 3,
        "CUT": 4,
        "REPLACED": 5,
        "UNSUBSCRIBED": 6,
        "AGENT_ENDED": 7,
        "SHED": 8,
        "END_MISSED": 9,
        "CAPTURE_ENDED": 10,
    }


@pytest.mark.parametrize(
    ("address", "packed"),
    [
        ("192.0.2.1", "00000000000000000000ffffc0000201"),
        ("2001:db8::1", "20010db8000000000000000000000001"),
        ("::1", "00000000000000000000000000000001"),
        ("::", "00000000000000000000000000000000"),
    ],
)
def test_endpoint_is_packed_into_16_bytes(address, packed):
    endpoint = Endpoint(address, 80)

    assert endpoint.packed() == bytes.fromhex(packed)
    assert Endpoint.from_packed(bytes.fromhex(packed), 80) == endpoint


@given(strategies.endpoints)
def test_endpoint_round_trip(endpoint):
    assert Endpoint.from_packed(endpoint.packed(), endpoint.port) == endpoint


@pytest.mark.parametrize(
    ("endpoint", "text"),
    [
        (Endpoint("192.0.2.1", 80), "192.0.2.1:80"),
        (Endpoint("2001:db8::1", 80), "[2001:db8::1]:80"),
    ],
)
def test_endpoint_reads_as_it_would_in_a_url(endpoint, text):
    assert str(endpoint) == text


@pytest.mark.parametrize("size", [0, 4, 15, 17])
def test_endpoint_takes_16_bytes_only(size):
    with pytest.raises(ValueError):
        Endpoint.from_packed(bytes(size), 80)
