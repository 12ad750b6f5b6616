"""What a session sends, through tunnels that break: the layer gets every byte once, in order."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podmirror_agent.budget import Budget
from podmirror_agent.outbox import Outbox
from podmirror_agent.replay import MAX_RING_BYTES, MIN_RING_BYTES, Replay
from podmirror_wire.decoder import Decoder
from podmirror_wire.errors import ProtocolError
from podmirror_wire.frames import AnyFrame, Closed, Data, Goodbye, Opened
from podmirror_wire.values import CloseReason, Direction, Endpoint
from tests.fuzzing import examples

LIMIT = 64 << 20


class Sender:
    """A session's output."""

    def __init__(self, *, ring: int = MIN_RING_BYTES, limit: int = LIMIT, window: int = 1 << 30) -> None:
        self.budget = Budget(limit)
        self.outbox = Outbox(self.budget, window=window)
        self.replay = Replay(self.outbox, self.budget)
        if ring:
            self.replay.begin_to_keep(ring)

    def write(self, most: int | None = None) -> bytes:
        """Write what may be written, at most so many bytes."""
        written = b""
        while buffers := self.replay.next_buffers():
            piece = b"".join(buffers)[: None if most is None else most - len(written)]
            if not piece:
                break
            self.replay.receive_written(len(piece))
            written += piece
        self.replay.copy_rest()
        return written


def said(count: int) -> list[AnyFrame]:
    return [Goodbye(f"{number}" * (number % 50)) for number in range(count)]


def encoded(frames: list[AnyFrame]) -> bytes:
    return b"".join(frame.encode() for frame in frames)


def test_what_was_not_acknowledged_is_written_again():
    sender = Sender()
    for frame in said(100):
        sender.outbox.send(frame)
    whole = sender.write()
    sender.replay.acknowledge(50)

    sender.replay.rewind(200)

    assert whole == encoded(said(100))
    assert sender.write() == whole[200:]
    assert sender.write() == b""


def test_nothing_is_written_beyond_the_ring_until_the_layer_says_what_it_has():
    sender = Sender()
    sender.outbox.send(Goodbye("x" * (3 * MIN_RING_BYTES)))

    written = sender.write()
    assert len(written) == MIN_RING_BYTES
    assert sender.replay.has_rest
    sender.replay.acknowledge(1000)
    written += sender.write()

    assert len(written) == MIN_RING_BYTES + 1000
    sender.replay.rewind(1000)
    assert sender.write() == written[1000:]


def test_without_a_ring_nothing_is_held_back_and_nothing_written_again():
    sender = Sender(ring=0)
    sender.outbox.send(Goodbye("x" * (3 * MIN_RING_BYTES)))

    assert len(sender.write()) > 3 * MIN_RING_BYTES
    assert not sender.replay.can_resume
    with pytest.raises(ProtocolError, match="cannot be taken up again behind byte 0"):
        sender.replay.rewind(0)
    assert sender.budget.held == 0


def test_the_ring_keeps_what_comes_after_it_was_asked_for():
    sender = Sender(ring=0)
    sender.outbox.send(Goodbye("before"))
    before = sender.write()
    sender.replay.begin_to_keep(MIN_RING_BYTES)
    sender.outbox.send(Goodbye("after"))
    sender.write()

    sender.replay.rewind(len(before))
    assert sender.write() == Goodbye("after").encode()
    with pytest.raises(ProtocolError):
        sender.replay.rewind(len(before) - 1)


@pytest.mark.parametrize("position", [1, 9, 1000])
def test_a_position_that_is_not_kept_is_no_place_to_go_on(position):
    sender = Sender()
    sender.outbox.send(Goodbye("hello"))  # 10 bytes
    sender.outbox.send(Goodbye("world"))
    sender.write()
    sender.replay.acknowledge(10)

    with pytest.raises(ProtocolError):
        sender.replay.rewind(position)


def test_more_than_was_sent_cannot_have_been_received():
    sender = Sender()
    with pytest.raises(ProtocolError, match="1 bytes cannot have been received, for only 0 were sent"):
        sender.replay.acknowledge(1)


def test_the_ring_is_taken_from_the_budget_and_given_back():
    sender = Sender(ring=1 << 30)
    assert sender.budget.held == MAX_RING_BYTES

    sender.replay.release()

    assert sender.budget.held == 0


@pytest.mark.parametrize(
    ("limit", "held"), [(4 << 20, 1 << 20), (4 * MIN_RING_BYTES, MIN_RING_BYTES), (4 * MIN_RING_BYTES - 1, 0)]
)
def test_the_ring_leaves_most_of_the_budget(limit, held):
    sender = Sender(ring=MAX_RING_BYTES, limit=limit)

    assert sender.budget.held == held
    assert sender.replay.can_resume == bool(held)


def test_what_belongs_to_the_capture_is_copied():
    block = bytearray(b"x" * 10_000)
    sender = Sender()
    sender.outbox._output += [memoryview(block)]  # as `send_run` puts it there
    sender.outbox._views += 1
    first = sender.write(4_000)
    block[:] = bytes(10_000)

    assert first + sender.write() == b"x" * 10_000
    sender.replay.rewind(0)
    assert sender.write() == b"x" * 10_000


class Layer:
    """The other end: it takes frames, and forgets half of one when the tunnel breaks."""

    def __init__(self) -> None:
        self.decoder = Decoder()
        self.frames: list[AnyFrame] = []

    def reconnect(self) -> int:
        received = self.decoder.received
        self.decoder = Decoder()
        self.decoder.received = received
        return received


@settings(max_examples=examples(200), deadline=None)
@given(st.integers(0, 1 << 32), st.integers(1, 60), st.sampled_from([0.02, 0.2, 0.6]))
def test_wherever_tunnels_break_the_frames_are_the_same(seed, count, breaks):
    """Every write goes into a tunnel that gives the layer a part of it at a time, and loses what it holds when it breaks."""
    chosen = random.Random(seed)
    sender, layer, in_tunnel = Sender(), Layer(), b""
    frames: list[AnyFrame] = []
    while len(frames) < count or layer.frames != frames:
        if len(frames) < count and chosen.random() < 0.7:
            size = chosen.choice([0, 1, 100, 5_000, 40_000])
            frames.append(Goodbye(chosen.choice("abc") * size))
            sender.outbox.send(frames[-1])
        in_tunnel += sender.write(chosen.choice([None, 1, 7, 1000, 30_000]))
        arrived = chosen.randrange(len(in_tunnel) + 1) if chosen.random() < 0.9 else len(in_tunnel)
        layer.frames += layer.decoder.receive_data(in_tunnel[:arrived])
        in_tunnel = in_tunnel[arrived:]
        if chosen.random() < 0.5:
            sender.replay.acknowledge(layer.decoder.received)
        if chosen.random() < breaks:
            in_tunnel = b""
            sender.replay.rewind(layer.reconnect())


@settings(max_examples=examples(100), deadline=None)
@given(st.integers(0, 1 << 32))
def test_while_no_layer_is_there_connections_are_whole_or_cut_and_never_spliced(seed):
    """With a budget for a part of it: what the layer is told is each connection's bytes up to a point, and a cut then."""
    chosen = random.Random(seed)
    sender, layer = Sender(), Layer()
    sender.budget.limit = MIN_RING_BYTES + 40_000
    truth: dict[int, bytes] = {}
    for number in range(chosen.randrange(1, 12)):
        sender.outbox.send_for(opened(number))
        truth[number] = b""
    layer.frames += layer.decoder.receive_data(sender.write(chosen.randrange(2_000)))
    for _ in range(chosen.randrange(200)):
        number = chosen.randrange(len(truth))
        payload = chosen.randbytes(chosen.randrange(1, 3_000))
        sender.outbox.send_for(Data(number, Direction.TO_RESPONDER, len(truth[number]), payload))
        truth[number] += payload
        if chosen.random() < 0.2:
            sender.write(chosen.randrange(10_000))  # into a tunnel that is broken already
    sender.replay.rewind(layer.reconnect())
    while rest := sender.write():
        layer.frames += layer.decoder.receive_data(rest)
        sender.replay.acknowledge(layer.decoder.received)

    told = dict.fromkeys(truth, b"")
    cut = set()
    for frame in layer.frames:
        if isinstance(frame, Data):
            assert frame.connection not in cut
            assert frame.offset == len(told[frame.connection])
            told[frame.connection] += frame.payload
        elif isinstance(frame, Closed):
            assert frame.reason is CloseReason.CUT
            cut.add(frame.connection)
    for number, payload in truth.items():
        assert payload.startswith(told[number])
        assert number in cut or told[number] == payload
    assert sender.outbox.cut_connections == len(cut)
    assert sum(map(len, truth.values())) == sum(map(len, told.values())) + sender.outbox.cut_bytes


def opened(number: int) -> Opened:
    ends = Endpoint("10.0.0.1", 40_000 + number), Endpoint("10.0.0.2", 80)
    return Opened(number, False, *ends, 0, "eth0")
