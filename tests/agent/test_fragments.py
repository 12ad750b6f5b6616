"""IP fragments, put together as the receiver's kernel does it, or not at all."""

import itertools
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podmirror_agent import segment as segment_module
from podmirror_agent.budget import OVERHEAD_BYTES, Budget
from podmirror_agent.fragments import IPV4_SECONDS, IPV6_SECONDS, MAX_BYTES, PACKET_BYTES, Fragments
from podmirror_agent.segment import Fragment, Segment
from tests.agent import packets
from tests.fuzzing import examples

V4, V6 = ("10.0.0.1", "10.0.0.2"), ("2001:db8::1", "2001:db8::2")
PATH = (2, "incoming")


def cut(
    tcp: bytes, edges: list[int], *, six: bool = False, identification: int = 7, before: bytes = b""
) -> list[bytes]:
    """Cut a TCP segment at these offsets, multiples of eight, into IP fragments."""
    ends = V6 if six else V4
    tcp = packets.summed(tcp, *ends)
    payload, following = (before + tcp, 60) if before else (tcp, 6)
    places = [0, *edges, len(payload)]
    made = []
    for start, end in itertools.pairwise(places):
        more = end < len(payload)
        if six:
            header = struct.pack("!BxHI", following, start | more, identification)
            made.append(packets.ipv6(*ends, header + payload[start:end], following=44))
        else:
            packet = bytearray(packets.ipv4(*ends, payload[start:end], fragment=start // 8 | 0x2000 * more))
            packet[4:6] = struct.pack("!H", identification)
            made.append(bytes(packet))
    return made


def fragment_of(packet: bytes) -> Fragment:
    told = segment_module.decode(memoryview(packet), len(packet), segment_module.Link.RAW)
    assert isinstance(told, Fragment)
    return told


def give(fragments: Fragments, *packets_: bytes, now: float = 0.0) -> list[object]:
    """Give what came of each packet, but for those of which nothing did."""
    told = (fragments.receive_fragment(fragment_of(packet), PATH, now) for packet in packets_)
    return [each for each in told if each is not None]


@pytest.fixture
def budget() -> Budget:
    return Budget(1 << 30)


@pytest.fixture
def fragments(budget: Budget) -> Fragments:
    return Fragments(budget)


HELLO = packets.tcp(40000, 80, payload=bytes(range(100)))


@settings(max_examples=examples(150), deadline=None)
@given(
    payload=st.binary(min_size=30, max_size=200),
    edges=st.sets(st.integers(4, 24), min_size=1, max_size=6),  # the first holds the TCP header
    six=st.booleans(),
    before=st.sampled_from([b"", b"\x06\x00" + bytes(6)]),
    data=st.data(),
)
def test_any_cut_in_any_order_gives_the_segment(payload, edges, six, before, data):
    tcp = packets.tcp(40000, 80, payload=payload)
    before = before if six else b""
    made = cut(tcp, sorted(8 * edge for edge in edges if 8 * edge < len(tcp)) or [32], six=six, before=before)
    order = data.draw(
        st.permutations([*range(len(made)), *data.draw(st.lists(st.sampled_from(range(len(made)))))])
    )
    budget = Budget(1 << 30)
    fragments = Fragments(budget)

    got = give(fragments, *(made[index] for index in order))

    assert got
    for segment in got:  # a second one, if all of its fragments came twice
        assert isinstance(segment, Segment)
        assert segment.payload == payload
    assert got[0].length == len(payload)
    fragments.expire(IPV6_SECONDS)
    assert budget.held == 0


@settings(max_examples=examples(150), deadline=None)
@given(
    pieces=st.lists(
        st.tuples(st.integers(0, 12), st.integers(1, 6), st.booleans(), st.booleans()), max_size=12
    ),
    limit=st.sampled_from([1 << 30, 2 * OVERHEAD_BYTES + PACKET_BYTES]),
)
def test_any_fragments_give_bytes_that_each_came_from_one_place(pieces, limit):
    """Bytes differ by fragment and place; whatever is put together holds, at each place, what some fragment held there."""
    budget = Budget(limit)
    fragments = Fragments(budget, verifies_checksums=False)
    header = packets.tcp(40000, 80)
    came: dict[int, set[int]] = {}
    for number, (place, eights, more, _) in enumerate(pieces):
        start, size = 8 * place, 8 * eights
        content = bytes((number * 31 + start + index) % 256 for index in range(size))
        content = (header + bytes(200))[start : start + size] if start < 24 else content
        for index, byte in enumerate(content):
            came.setdefault(start + index, set()).add(byte)
        fragment = Fragment(bytes(4), bytes(4), 1, 6, start, more, content, len(content))

        told = fragments.receive_fragment(fragment, PATH, 0.0)

        if isinstance(told, Segment):
            for index, byte in enumerate(told.payload):
                assert byte in came[20 + index]
        assert budget.held <= limit
    fragments.expire(IPV4_SECONDS)
    assert budget.held == 0


def test_fragments_of_different_packets_are_told_apart(fragments):
    one, two = cut(HELLO, [64], identification=1), cut(HELLO, [64], identification=2)

    assert give(fragments, one[0], two[1]) == []
    assert len(give(fragments, two[0], one[1])) == 2


def test_copies_on_another_path_are_told_apart(fragments):
    first, last = map(fragment_of, cut(HELLO, [64]))

    assert fragments.receive_fragment(first, (2, "incoming"), 0.0) is None
    assert fragments.receive_fragment(last, (3, "incoming"), 0.0) is None


@pytest.mark.parametrize("six", [False, True])
def test_overlap_spoils_the_packet(fragments, budget, six):
    first, last = cut(HELLO, [64], six=six)
    overlapping = cut(HELLO, [48], six=six)[1]

    assert give(fragments, first, overlapping) == []
    assert fragments.lost == 2
    assert budget.held == 0
    assert give(fragments, last) == []


def test_fragment_that_is_there_already_changes_nothing(fragments):
    first, middle, last = cut(HELLO, [32, 64])

    assert give(fragments, first, first, middle, middle, first) == []
    assert len(give(fragments, last)) == 1
    assert fragments.lost == 0
    assert fragments.seen == 6


@pytest.mark.parametrize(("six", "seconds"), [(False, IPV4_SECONDS), (True, IPV6_SECONDS)])
def test_packet_that_stays_incomplete_is_given_up(fragments, budget, six, seconds):
    first, last = cut(HELLO, [64], six=six)
    give(fragments, first)

    fragments.expire(seconds - 1)
    assert budget.held > 0
    fragments.expire(seconds)

    assert budget.held == 0
    assert fragments.lost == 1
    assert give(fragments, last, now=seconds) == []


def test_fragment_that_comes_too_late_begins_a_packet_of_its_own(fragments, budget):
    """Its identification is in use again, and a packet of two halves would be of two packets."""
    first, last = cut(HELLO, [64])
    give(fragments, first)

    assert give(fragments, last, now=IPV4_SECONDS) == []
    assert fragments.lost == 1
    assert len(give(fragments, first, now=IPV4_SECONDS + 1)) == 1
    assert budget.held == 0


def test_duplicates_cost_nothing(fragments, budget):
    first = cut(HELLO, [64])[0]
    give(fragments, first)
    held = budget.held

    give(fragments, *[first] * 100)

    assert budget.held == held


@pytest.mark.parametrize("six", [False, True])
def test_packet_beyond_what_ip_can_carry_is_given_up(fragments, budget, six):
    first, last = map(fragment_of, cut(HELLO, [64], six=six))

    assert fragments.receive_fragment(first, PATH, 0.0) is None
    assert fragments.receive_fragment(last._replace(offset=65_528, length=40), PATH, 0.0) is None
    assert fragments.lost >= 1
    fragments.expire(IPV6_SECONDS)
    assert budget.held == 0


@pytest.mark.parametrize("extension", [b"", b"\x06\x00" + bytes(6)], ids=["TCP", "destination options"])
def test_first_fragment_of_ipv6_that_ends_within_the_tcp_header_is_refused(fragments, extension):
    made = cut(HELLO, [len(extension) + 16], six=True, before=extension)

    assert give(fragments, *made) == []
    assert fragments.lost == 1


def test_fragment_that_the_capture_cut_short_spoils_its_packet(fragments):
    first, last = map(fragment_of, cut(HELLO, [64]))

    assert fragments.receive_fragment(first._replace(payload=first.payload[:-1]), PATH, 0.0) is None
    assert fragments.lost == 1
    assert fragments.receive_fragment(last, PATH, 0.0) is None


def test_fragment_beyond_the_last_one_spoils_the_packet(fragments):
    fragment = fragment_of(cut(HELLO, [64])[0])
    last = fragment._replace(offset=64, more=False)

    for beyond in (fragment._replace(offset=192), last._replace(offset=192)):
        fragments.receive_fragment(last, PATH, 0.0)
        fragments.receive_fragment(beyond, PATH, 0.0)
        assert fragments.receive_fragment(fragment, PATH, 0.0) is None
        fragments.expire(IPV4_SECONDS)


@pytest.mark.parametrize("six", [False, True], ids=["IPv4", "IPv6"])
def test_fragments_of_two_packets_are_no_packet(fragments, budget, six):
    other = packets.tcp(40000, 80, sequence=100, payload=bytes(100))

    assert give(fragments, cut(HELLO, [64], six=six)[0], cut(other, [64], six=six)[1]) == []
    assert fragments.lost == 2
    assert budget.held == 0


def test_oldest_packet_makes_room(budget):
    fragments = Fragments(budget, max_bytes=3 * (64 + OVERHEAD_BYTES + PACKET_BYTES))
    firsts = [cut(HELLO, [64], identification=number)[0] for number in range(4)]

    give(fragments, *firsts)

    assert fragments.lost == 1
    assert give(fragments, cut(HELLO, [64], identification=0)[1]) == []
    assert len(give(fragments, cut(HELLO, [64], identification=3)[1])) == 1


def test_no_more_is_held_than_linux_does():
    assert MAX_BYTES == 4 << 20


def test_fragments_reach_the_layer_as_the_segment_that_they_were(stage, talk):
    session = stage.session(80)
    stage.see(*talk.handshake())
    whole = packets.encoded(talk.says(bytes(range(200))))
    made = cut(whole[14 + 20 :], [64, 128])

    stage.see_packets(
        *(
            packets.CapturedPacket(
                memoryview(packets.ethernet(each)), len(each) + 14, packets.Way.INCOMING, packets.ETH0, 0
            )
            for each in reversed(made)
        )
    )

    assert [frame.payload for frame in stage.frames(session) if hasattr(frame, "payload")] == [
        bytes(range(200))
    ]
    assert stage.counts(session)["fragments"] == 3
    assert stage.counts(session)["fragments_lost"] == 0


def test_packets_of_which_one_small_fragment_came_are_charged_what_they_take(budget, fragments):
    lone = fragment_of(cut(packets.tcp(1, 2, payload=bytes(80)), [8, 16])[1])

    for number in range(10_000):
        fragments.receive_fragment(lone._replace(identification=number), PATH, 0.0)

    assert budget.held <= MAX_BYTES
    assert fragments.lost > 10_000 - MAX_BYTES // PACKET_BYTES
    fragments.expire(IPV4_SECONDS)
    assert budget.held == 0
