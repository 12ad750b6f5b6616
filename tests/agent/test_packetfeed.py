"""Packets on their way to a session: which, how much of each, and where their payload belongs."""

import dataclasses

import pytest

from podmirror_agent.outbox import PACKETS_SHARE
from podmirror_agent.packet import CapturedPacket, Way
from podmirror_agent.segment import Link
from podmirror_wire.errors import ProtocolError
from podmirror_wire.frames import (
    AnyFrame,
    Data,
    Interface,
    Opened,
    Options,
    Packet,
    Refused,
    Subscribe,
    Subscribed,
)
from podmirror_wire.values import EVERY_PORT, Direction
from tests.agent import packets
from tests.agent.packets import CLIENT, ETH0, POD
from tests.agent.rings import Ring
from tests.agent.stage import POD_TIME, Stage

DNS = packets.ethernet(packets.ipv4(CLIENT, POD, bytes(8) + b"a question", protocol=17))
SECRET = b"GET / HTTP/1.1\r\nAuthorization: Bearer s3cr3t\r\n\r\n"


def captured(packet: bytes, way: Way = Way.INCOMING, **fields) -> CapturedPacket:
    return CapturedPacket(memoryview(packet), len(packet), way, ETH0, POD_TIME, **fields)


def tcp(source_port: int, destination_port: int, **fields) -> CapturedPacket:
    towards = destination_port == 80
    hosts = (CLIENT, POD) if towards else (POD, CLIENT)
    packet = packets.ethernet(packets.ipv4(*hosts, packets.tcp(source_port, destination_port, **fields)))
    return captured(packet, Way.INCOMING if towards else Way.OUTGOING, packet_type=0 if towards else 4)


def conversation() -> list[CapturedPacket]:
    return [
        tcp(40000, 80, sequence=99, flags="S"),
        tcp(80, 40000, sequence=499, acknowledgment=100, flags="SA"),
        tcp(40000, 80, sequence=100, acknowledgment=500),
        tcp(40000, 80, sequence=100, acknowledgment=500, flags="PA", payload=SECRET),
        tcp(
            80,
            40000,
            sequence=500,
            acknowledgment=100 + len(SECRET),
            flags="PA",
            payload=b"HTTP/1.1 204\r\n\r\n",
        ),
        tcp(80, 40000, sequence=516, acknowledgment=100 + len(SECRET), flags="FA"),
        tcp(40000, 80, sequence=100 + len(SECRET), acknowledgment=517, flags="FPA", payload=b"bye"),
        tcp(80, 40000, sequence=517, acknowledgment=104 + len(SECRET)),
    ]


def sent(frames: list[AnyFrame]) -> list[Packet]:
    return [frame for frame in frames if isinstance(frame, Packet)]


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_packets_come_whole(stage):
    session = stage.session(EVERY_PORT, packets="whole")
    seen = [*conversation(), captured(DNS)]

    stage.see_packets(*seen)

    frames = stage.frames(session)
    assert [frame.packet for frame in sent(frames)] == [bytes(each.packet) for each in seen]
    assert frames[0] == Interface(ETH0[0], 1, "eth0")
    assert sum(isinstance(frame, Interface) for frame in frames) == 1
    assert sent(frames)[1].packet_type == 4
    assert sent(frames)[0].pod_time == POD_TIME


def test_packets_come_whole_from_a_ring(stage):
    session = stage.session(EVERY_PORT, packets="whole")
    seen = [*conversation(), captured(DNS)]

    Ring().give(stage.mirror, seen, 0.0)

    assert [frame.packet for frame in sent(stage.frames(session))] == [bytes(each.packet) for each in seen]


def test_headers_hold_no_payload_and_name_its_place(stage):
    session = stage.session(EVERY_PORT, packets="headers", responder="bytes")

    stage.see_packets(*conversation(), captured(DNS))

    frames = stage.frames(session)
    data = {
        (each.connection, each.direction, each.offset): each.payload
        for each in frames
        if isinstance(each, Data)
    }
    cut = sent(frames)
    assert [len(frame.packet) for frame in cut] == [54] * 8 + [42]
    assert not any(b"Bearer" in frame.packet for frame in cut)
    for frame in cut[3:5] + cut[6:7]:
        assert len(data[frame.connection, frame.direction, frame.offset]) == frame.payload
    assert [frame.length - len(frame.packet) for frame in cut[:8]] == [frame.payload for frame in cut[:8]]
    assert cut[8].connection == 0


def test_last_packet_of_a_connection_has_a_place_and_what_follows_has_none(stage):
    session = stage.session(EVERY_PORT, packets="headers")

    stage.see_packets(*conversation(), conversation()[3])

    cut = sent(stage.frames(session))
    assert (cut[6].connection, cut[6].offset, cut[6].payload) == (1, len(SECRET), 3)
    assert cut[-1].connection == 0


def test_retransmission_behind_a_fin_has_the_place_of_the_first(stage):
    session = stage.session(EVERY_PORT, packets="headers", responder="bytes")

    stage.see_packets(*conversation()[:6], conversation()[4])

    cut = sent(stage.frames(session))
    assert cut[6].offset == cut[4].offset == 0
    assert cut[6].direction is Direction.TO_INITIATOR


def test_late_join_has_a_place_from_its_first_payload(stage):
    session = stage.session(EVERY_PORT, packets="headers")

    stage.see_packets(*conversation()[3:4])

    (cut,) = sent(stage.frames(session))
    assert (cut.connection, cut.offset, cut.payload) == (1, 0, len(SECRET))


@pytest.mark.parametrize("mode", ["whole", "headers"])
def test_ports_choose_packets_too(stage, mode):
    session = stage.session(8080, 8443, packets=mode)
    asked, answered = (8443, 40000), (40000, 8080)

    stage.see_packets(*conversation(), tcp(*asked), captured(DNS), tcp(*answered))

    wanted = [tcp(*asked), tcp(*answered)]
    assert [each.packet for each in sent(stage.frames(session))] == [bytes(each.packet) for each in wanted]
    assert stage.mirror.interest.packets
    assert not stage.mirror.interest.everything
    assert not stage.mirror.interest.others


def test_beside_ports_a_filter_names_what_is_not_tcp(stage):
    session = stage.session(8080, packets="whole", filter="tcp or udp")

    stage.see_packets(*conversation(), captured(DNS))

    assert [each.packet for each in sent(stage.frames(session))] == [DNS]
    assert stage.mirror.interest.everything


def test_fragments_may_be_of_any_port(stage):
    session = stage.session(8080, packets="whole")
    fragment = captured(packets.ethernet(packets.ipv4(CLIENT, POD, bytes(16), fragment=0x2002)))

    stage.see_packets(fragment)

    assert len(sent(stage.frames(session))) == 1


@pytest.mark.parametrize("port", [EVERY_PORT, 80])
def test_packets_are_of_the_sample_both_ways_and_after_the_end(stage, port):
    session = stage.session(port, packets="whole", sample="0.3")
    pairs = [(client, 80) for client in range(40000, 40100)]
    seen = [
        each
        for pair in pairs
        for each in (
            tcp(*pair, sequence=99, flags="S"),
            tcp(*pair[::-1], sequence=499, acknowledgment=100, flags="SA"),
            tcp(*pair, sequence=100, acknowledgment=500),
            tcp(*pair[::-1], sequence=500, acknowledgment=100, flags="RA"),
            tcp(*pair[::-1], sequence=500, acknowledgment=100, flags="RA"),
        )
    ]

    stage.see_packets(*seen)

    frames = stage.frames(session)
    sampled = {frame.initiator.port for frame in frames if isinstance(frame, Opened)}
    assert 10 < len(sampled) < 60
    assert [frame.packet for frame in sent(frames)] == [
        bytes(each.packet) for index, each in enumerate(seen) if pairs[index // 5][0] in sampled
    ]


def test_others_are_packets_that_are_not_tcp(stage):
    session = stage.session(80, packets="others")

    Ring().give(stage.mirror, [*conversation(), captured(DNS)], 0.0)

    (cut,) = sent(stage.frames(session))
    assert cut.packet == DNS[:42]
    assert stage.mirror.interest.others


def test_sessions_get_what_each_wants(stage):
    whole, none = stage.session(EVERY_PORT, packets="whole"), stage.session(80)

    stage.see_packets(*conversation())

    assert len(sent(stage.frames(whole))) == 8
    assert not sent(stage.frames(none))


def test_no_packet_before_the_first_subscription(stage):
    session = stage.session(packets="whole")

    stage.see_packets(*conversation())

    assert not stage.frames(session)
    assert not stage.mirror.interest.packets


def test_broadcasts_open_no_connection_and_are_sent(stage):
    session = stage.session(EVERY_PORT, packets="whole")
    odd = [each._replace(packet_type=3) for each in conversation()[:4]]

    stage.see_packets(*odd)

    assert [type(frame) for frame in stage.frames(session)] == [Interface] + [Packet] * 4


def test_packets_are_cut_to_the_snaplen(stage):
    session = stage.session(EVERY_PORT, packets="whole", snaplen="60")

    stage.see_packets(conversation()[3])

    (packet,) = sent(stage.frames(session))
    assert len(packet.packet) == 60
    assert packet.length == 54 + len(SECRET)


def test_tag_that_the_kernel_took_off_is_put_back(stage):
    session = stage.session(EVERY_PORT, packets="whole")

    stage.see_packets(captured(DNS, tag=b"\x81\x00\x00\x05"))

    (packet,) = sent(stage.frames(session))
    assert packet.packet == DNS[:12] + b"\x81\x00\x00\x05" + DNS[12:]
    assert packet.length == len(DNS) + 4


def test_interface_with_another_kind_of_link_is_told_again(stage):
    session = stage.session(EVERY_PORT, packets="whole")
    tunnelled = captured(DNS[14:])._replace(link=Link.RAW)

    stage.see_packets(captured(DNS), tunnelled)

    told = [frame.linktype for frame in stage.frames(session) if isinstance(frame, Interface)]
    assert told == [1, 101]


def test_packets_without_room_are_counted_and_named_by_the_next():
    stage = Stage(budget=PACKETS_SHARE * 4000)
    session = stage.session(EVERY_PORT, packets="whole")
    large = captured(packets.ethernet(packets.ipv4(CLIENT, POD, bytes(300_000)[:60_000], protocol=17)))

    stage.see_packets(*[large] * 20, *[captured(DNS)] * 3, *[large] * 2)
    frames = stage.frames(session)

    unsent = stage.counts(session)["packets_unsent"]
    assert unsent > 0
    assert len(sent(frames)) + unsent == 25
    assert stage.budget.held == 0
    stage.see_packets(captured(DNS))
    (last,) = sent(stage.frames(session))
    assert last.drops + sum(frame.drops for frame in sent(frames)) == unsent


def test_drops_of_the_kernel_are_named_by_the_next_packet(stage):
    session = stage.session(EVERY_PORT, packets="whole")
    session.packets.receive_drops(7)

    stage.see_packets(captured(DNS), captured(DNS))
    session.packets.receive_drops(9)
    stage.see_packets(captured(DNS))

    assert [frame.drops for frame in sent(stage.frames(session))] == [7, 0, 2]


def test_waiting_packets_are_given_back_with_the_session():
    stage = Stage()
    session = stage.session(EVERY_PORT, packets="whole")
    large = captured(packets.ethernet(packets.ipv4(CLIENT, POD, bytes(60_000), protocol=17)))

    stage.see_packets(*[large] * 30)
    assert stage.budget.held > 0
    stage.mirror.remove_session(session)

    assert stage.budget.held == 0


@pytest.mark.parametrize("option", [{"packets": "some"}, {"snaplen": "0"}, {"snaplen": "262145"}])
def test_values_that_are_not_known_are_refused(stage, option):
    with pytest.raises(ProtocolError, match="this agent has no option"):
        stage.session(80, **option)


def test_sessions_share_one_filter(stage):
    first = stage.session(80, filter="host 10.0.0.1")
    assert stage.mirror.interest.expression == "host 10.0.0.1"
    second, third = stage.mirror.add_session(), stage.mirror.add_session()

    stage.tell(second, Options({"filter": "udp"}), Subscribe(1, 80))
    stage.tell(third, Options({"filter": "host 10.0.0.1"}), Subscribe(1, 80))

    (refused,) = stage.frames(second)
    assert isinstance(refused, Refused)
    assert refused.request == 1
    assert "'host 10.0.0.1'" in refused.reason
    assert isinstance(stage.frames(third)[0], Subscribed)
    stage.mirror.remove_session(first)
    stage.mirror.remove_session(third)
    stage.tell(second, Subscribe(2, 80))
    assert isinstance(stage.frames(second)[0], Subscribed)


def test_place_of_a_packet_is_a_frame_as_any_other(stage):
    session = stage.session(EVERY_PORT, packets="headers")
    stage.see_packets(*conversation()[:4])

    packet = sent(stage.frames(session))[-1]

    assert dataclasses.replace(packet).encode() == packet.encode()
