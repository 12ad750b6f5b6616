"""Packets of pods on their way to a file."""

from pathlib import Path

from podmirror.errors import OutputLost
from podmirror.packetfile import PacketFiles, Rotation
from podmirror.packetrecorder import PacketRecorder
from podmirror.pcapng import Origin, Section
from podmirror_wire.frames import Data, Packet
from podmirror_wire.values import Direction
from tests.agent import packets
from tests.layer.pcapngs import BYTES, ETH0, fields, needs_tshark, packet
from tests.layer.test_redactedpackets import HEADERS, closed, cut, opened

pytestmark = needs_tshark
DATAGRAM = packets.ethernet(packets.ipv4(packets.CLIENT, packets.POD, bytes(16), protocol=17))


def recorder(path: Path | None, *, fills: bool = False) -> PacketRecorder:
    sink = PacketFiles(path, Section(Origin("podmirror")), Rotation()) if path is not None else None
    return PacketRecorder(sink, fills=fills)


async def test_pods_are_written_into_one_file(tmp_path):
    made = recorder(tmp_path / "a.pcapng")
    for pod in ("web-1", "web-2"):
        joined = made.join(pod)
        joined.receive(ETH0)
        joined.receive(packet())

    assert await made.finish() is None
    assert fields(tmp_path / "a.pcapng", "frame.interface_name") == [("web-1/eth0",), ("web-2/eth0",)]
    assert made.sentences([{"packets_unsent": 3}]) == [
        f"2 packets written to {tmp_path / 'a.pcapng'}.",
        "lost: 3 packets found no room in the agent.",
    ]


async def test_cut_packets_are_filled_and_what_is_missing_is_told(tmp_path):
    made = recorder(tmp_path / "a.pcapng", fills=True)
    joined = made.join("web")
    joined.receive(ETH0)
    tcp_headers = BYTES[: len(HEADERS)]
    place = (1, Direction.TO_RESPONDER, 0, 5)
    joined.receive(packet(tcp_headers, length=59, place=place))
    joined.receive(packet(DATAGRAM[:42], length=50))
    joined.receive_frame(opened())
    joined.receive_frame(Data(1, Direction.TO_RESPONDER, 0, b"GET /"))
    joined.receive(cut(5, 3))
    joined.receive_frame(closed())

    assert await made.finish() is None
    assert fields(tmp_path / "a.pcapng", "frame.cap_len") == [("59",), ("42",), ("54",)]
    assert made.sentences([])[1:3] == [
        "left out: 3 bytes of 1 packet, which could not be redacted.",
        "left out: the payload of 1 packet of no connection; --no-redact shows it.",
    ]


async def test_other_flows_are_counted_without_a_file():
    made = recorder(None)
    joined = made.join("web")
    joined.receive(ETH0)
    joined.receive(packet(DATAGRAM))

    assert [flow.protocol for flow in made.flows.rows()] == ["udp"]
    assert await made.finish() is None
    assert made.sentences([]) == ["udp 10.0.0.1:0 to 10.0.0.2:0 in web: 1 packet, 50 bytes."]


class FullSink:
    """Takes one packet."""

    where = "a full disk"
    packets, unwritten = 1, 1

    def __init__(self) -> None:
        self._left = 1

    def has_room(self, size: int) -> bool:
        return True

    def receive_interface(self, pod: str, interface: object) -> None:
        pass

    def receive_packet(self, pod: str, taken: Packet, now: float, missing: int = 0) -> None:
        self._left -= 1
        if self._left < 0:
            raise OutputLost("no room")

    def tick(self, now: float) -> None:
        pass

    async def close(self) -> None:
        pass


async def test_what_cannot_be_written_ends_the_recording_and_not_the_link():
    made = PacketRecorder(FullSink())
    joined = made.join("web")
    for _ in range(4):
        joined.receive(packet())

    await made.wait()

    failure = await made.finish()
    assert str(failure) == "no room"
    assert made.sentences([]) == [
        "1 packet written to a full disk.",
        "lost: 3 packets could not be written.",
    ]


async def test_reader_that_has_enough_loses_nothing():
    made = PacketRecorder(FullSink())
    joined = made.join("web")
    made.end()
    joined.receive(packet())

    await made.wait()
    assert await made.finish() is None
    assert made.unwritten == 0
