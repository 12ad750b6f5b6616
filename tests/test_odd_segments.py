"""Segments that a well-behaved sender never or seldom sends: what is delivered is what a real Linux socket's recv() gives."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from podmirror_agent.segment import ACK, FIN, PSH, RST, SYN, Segment
from podmirror_wire.frames import Gap
from podmirror_wire.values import CloseReason
from tests.namespaces import why_not
from tests.rawpeer import URG, RawPeer
from tests.rawstage import Script, Stage, delivered, stage

pytestmark = [
    pytest.mark.namespaces,
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
]

families = pytest.mark.parametrize("family", [4, 6], ids=["IPv4", "IPv6"])
DATA = ACK | PSH


@pytest.fixture(scope="module")
def real() -> Iterator[Stage]:
    with stage() as made:
        yield made


def then(*steps: tuple[int, bytes] | tuple[int, bytes, int]) -> Script:
    """Send these: offset, payload, flags."""

    def script(peer: RawPeer) -> None:
        for offset, payload, *flags in steps:
            peer.send(offset, payload, flags=flags[0] if flags else DATA)

    return script


ENDED: dict[str, Script] = {
    "FIN with data": then((0, b"hello", DATA | FIN)),
    "FIN with data, twice": then((0, b"hello", DATA | FIN), (0, b"hello", DATA | FIN)),
    "FIN before the data": then((5, b"", ACK | FIN), (0, b"hello")),
    "FIN with data before the data": then((5, b" world", DATA | FIN), (0, b"hello")),
    "data after FIN": then((0, b"hello", DATA | FIN), (6, b"more"), (5, b"more")),
    "data that covers an early FIN": then((5, b"", ACK | FIN), (0, b"hello and more"), (14, b"", ACK | FIN)),
    "a second FIN before an early one": then((8, b"", ACK | FIN), (0, b"hello", DATA | FIN)),
    "an early FIN repeated behind": then((5, b"", ACK | FIN), (9, b"", ACK | FIN), (0, b"hello")),
    "FIN behind what was read": then((0, b"hello"), (2, b"", ACK | FIN), (5, b" world", DATA | FIN)),
    "FIN of old data": then((0, b"hello"), (0, b"he", DATA | FIN), (5, b" world", DATA | FIN)),
    "FIN at the end of old data": then((0, b"hello"), (0, b"hello", DATA | FIN)),
    "FIN beyond the window": then((0, b"hello"), (900_000, b"", ACK | FIN), (5, b" world", DATA | FIN)),
    "data beyond the window": then((0, b"hello"), (8_000_000, b"far"), (5, b" world", DATA | FIN)),
    "keep-alive probe of one old byte": then((0, b"hello"), (4, b"X", ACK), (5, b" world", DATA | FIN)),
    "keep-alive probe without a byte": then((0, b"hello"), (4, b"", ACK), (5, b" world", DATA | FIN)),
    "keep-alive probe before all data": then((-1, b"X", ACK), (0, b"hello", DATA | FIN)),
    "old data with a new end": then((0, b"hello"), (0, b"HELLO world", DATA | FIN)),
    "data before the stream": then((-3, b"abchello", DATA), (5, b"", ACK | FIN)),
    "SYN in the middle": then((0, b"hello"), (5, b"", SYN), (5, b" world", DATA | FIN)),
    "SYN with data in the middle": then((0, b"hello"), (5, b"no", SYN), (5, b" world", DATA | FIN)),
    "SYN and ACK in the middle": then((0, b"hello"), (5, b"", SYN | ACK), (5, b" world", DATA | FIN)),
    "the SYN again": then((0, b"hello"), (-1, b"", SYN), (5, b" world", DATA | FIN)),
    "data without ACK": then((0, b"hello"), (5, b"WRONG", PSH), (5, b" world", DATA | FIN)),
    "data without any flag": then((0, b"hello"), (5, b"WRONG", 0), (5, b" world", DATA | FIN)),
    "FIN without ACK": then((0, b"hello"), (5, b"", FIN), (5, b" world", DATA | FIN)),
    "RST before the window": then((0, b"hello"), (-1, b"", RST | ACK), (5, b" world", DATA | FIN)),
    "RST of old data": then((0, b"hello"), (2, b"", RST), (5, b" world", DATA | FIN)),
    "RST inside the window": then((0, b"hello"), (9, b"", RST), (5, b" world", DATA | FIN)),
    "RST beyond the window": then((0, b"hello"), (9_000_000, b"", RST), (5, b" world", DATA | FIN)),
    "SYN and RST": then((0, b"hello"), (9, b"", SYN | RST), (5, b" world", DATA | FIN)),
}
"""Scripts that end with a FIN that counts.

Left out: data behind a FIN that waits for what is before it. Linux joins the two, so that recv() gives bytes of a stream that
has ended, one of them at the FIN's own number; here the stream ends with the FIN.
"""


@families
@pytest.mark.parametrize("name", ENDED)
def test_a_stream_that_ends(real: Stage, name: str, family: int) -> None:
    app, told = real.play(ENDED[name], family)

    assert app.end.startswith("FIN")
    assert delivered(told) == bytes(app.received)
    assert told.closed is not None
    resets = "RST" in app.end  # as the kernel does when there is more behind a FIN, and the app has closed
    assert told.closed.reason is (CloseReason.RESET_BY_RESPONDER if resets else CloseReason.FINISHED)


RESET: dict[str, Script] = {
    "RST in order": then((0, b"hello"), (5, b"", RST)),
    "RST with ACK": then((0, b"hello"), (5, b"", RST | ACK)),
    "RST with data": then((0, b"hello"), (5, b"reason", RST | ACK)),
    "RST before parked data": then((0, b"hello"), (9, b"parked"), (5, b"", RST)),
    "RST inside the window, then in order": then((0, b"hello"), (9, b"", RST), (5, b"", RST)),
}


@families
@pytest.mark.parametrize("name", RESET)
def test_a_stream_that_is_reset(real: Stage, name: str, family: int) -> None:
    app, told = real.play(RESET[name], family)

    assert app.end == "ConnectionResetError"
    assert b"hello".startswith(bytes(app.received)), "recv() may lose what was queued when the reset came"
    assert delivered(told) == b"hello"
    assert told.closed is not None
    assert told.closed.reason is CloseReason.RESET_BY_INITIATOR


@families
def test_urgent_data_is_delivered_where_it_was_sent(real: Stage, family: int) -> None:
    """As an app with SO_OOBINLINE reads it; without, recv() leaves the last urgent byte out (RFC 6093, 2.2 and 3.1)."""

    def script(peer: RawPeer) -> None:
        peer.send(0, b"hello", flags=DATA)
        peer.send(5, b"!", flags=DATA | URG, urgent=1)
        peer.send(6, b" world", flags=DATA | FIN)

    inline, told_inline = real.play(script, family, inline=True)
    apart, told_apart = real.play(script, family, inline=False)

    assert bytes(inline.received) == b"hello! world"
    assert bytes(apart.received) == b"hello world"
    assert delivered(told_inline) == delivered(told_apart) == bytes(inline.received)


def test_simultaneous_close(real: Stage) -> None:
    with real.connection() as (peer, app):
        peer.send(0, b"hello", flags=DATA)
        while len(app.received) < 5:
            app.received += app.connection.recv(5)
        app.connection.sendall(b"bye")
        app.connection.close()
        end = peer.receive(lambda segment: bool(segment.flags & FIN))
        peer.send(5, flags=ACK | FIN)  # which acknowledges nothing yet
        peer.acknowledgment = (end.sequence + end.length + 1) & 0xFFFFFFFF
        peer.send(6, flags=ACK)
        told = real.told(peer)

    assert delivered(told) == b"hello"
    assert told.closed is not None
    assert told.closed.reason is CloseReason.FINISHED


def test_zero_window_probes(real: Stage) -> None:
    """The app does not read until its window is shut; a byte that is sent all the same arrives once, when it is taken."""
    truth = bytes(range(251)) * 20_000
    with real.connection() as (peer, app):
        taken = 0
        with contextlib.suppress(TimeoutError):
            while True:
                peer.send(taken, truth[taken : taken + 1000], flags=DATA)
                peer.receive(partial(acknowledges, peer, taken + 1000), 0.3)
                taken += 1000
        for _ in range(3):
            peer.send(taken, truth[taken : taken + 1], flags=ACK)
        reader = threading.Thread(target=app.read)
        reader.start()
        for _ in range(10):  # until the window is open
            peer.send(taken, truth[taken : taken + 1000], flags=DATA | FIN)
            with contextlib.suppress(TimeoutError):
                peer.receive(partial(acknowledges, peer, taken + 1001), 0.3)
                break
        reader.join()
        app.connection.close()
        end = peer.receive(lambda segment: bool(segment.flags & FIN))
        peer.acknowledgment = (end.sequence + end.length + 1) & 0xFFFFFFFF
        peer.send(taken + 1001, flags=ACK)
        told = real.told(peer)

    assert bytes(app.received) == truth[: taken + 1000]
    assert delivered(told) == bytes(app.received)


def acknowledges(peer: RawPeer, offset: int, segment: Segment) -> bool:
    return segment.acknowledgment == (peer.initial + 1 + offset) & 0xFFFFFFFF


FRAGMENTED: dict[str, Callable[[bytes], list[tuple[int, int]]]] = {
    "in order": lambda whole: [(0, 24), (24, 48), (48, len(whole))],
    "backwards": lambda whole: [(48, len(whole)), (24, 48), (0, 24)],
    "twice": lambda whole: [(0, 24), (0, 24), (24, 48), (24, 48), (48, len(whole))],
    "small": lambda whole: [
        (0, 24),
        *((start, min(start + 8, len(whole))) for start in range(24, len(whole), 8)),
    ],
}


@families
@pytest.mark.parametrize("name", FRAGMENTED)
def test_fragments(real: Stage, name: str, family: int) -> None:
    def script(peer: RawPeer) -> None:
        whole = peer.segment(0, b"the quick brown fox jumps over the lazy dog")
        for start, end in FRAGMENTED[name](whole):
            peer.send_fragment(whole, start, end)
        peer.wait_for_acknowledgment(43)
        peer.send(43, flags=ACK | FIN)

    app, told = real.play(script, family)

    assert bytes(app.received) == b"the quick brown fox jumps over the lazy dog"
    assert delivered(told) == bytes(app.received)


@families
def test_fragments_that_overlap_are_nobodys(real: Stage, family: int) -> None:
    """The kernel drops a packet of which fragments overlap (RFC 5722), in IPv4, too."""

    def script(peer: RawPeer) -> None:
        whole = peer.segment(0, b"W" * 60)
        for start, end in ((0, 40), (32, 56), (40, 64), (56, len(whole))):
            peer.send_fragment(whole, start, end)
        time.sleep(0.05)  # nothing comes back that could be waited for
        peer.send(0, b"R" * 60, flags=DATA | FIN)

    app, told = real.play(script, family)

    assert bytes(app.received) == b"R" * 60
    assert delivered(told) == bytes(app.received)
    assert not any(isinstance(each, Gap) for each in told.streams[0])


@families
def test_a_first_fragment_without_the_whole_header(real: Stage, family: int) -> None:
    """IPv4's kernel takes it; IPv6's does not (RFC 7112)."""

    def script(peer: RawPeer) -> None:
        whole = peer.segment(0, b"T" * 40)
        for start, end in ((0, 8), (8, 24), (24, len(whole))):
            peer.send_fragment(whole, start, end)
        time.sleep(0.05)  # nothing comes back that could be waited for
        peer.send(0, b"R" * 40, flags=DATA | FIN)

    app, told = real.play(script, family)

    assert bytes(app.received) == (b"T" if family == 4 else b"R") * 40
    assert delivered(told) == bytes(app.received)


@families
def test_fragments_of_two_packets_with_one_identification(real: Stage, family: int) -> None:
    """It comes around after 65,536 packets in IPv4 (RFC 4963). The kernel tells such a mixture by TCP's checksum."""

    def script(peer: RawPeer) -> None:
        first = peer.segment(0, b"1" * 60)
        peer.send_fragment(first, 0, 40)
        peer.identification -= 1
        second = peer.segment(60, b"2" * 60)
        peer.send_fragment(second, 40, len(second))
        time.sleep(0.05)  # nothing comes back that could be waited for
        peer.send(0, b"1" * 60 + b"2" * 60, flags=DATA | FIN)

    app, told = real.play(script, family)

    assert bytes(app.received) == b"1" * 60 + b"2" * 60
    assert delivered(told) == bytes(app.received)
