"""Handshakes that say one thing to the app's kernel and might say another to a capture, against real sockets."""

from collections.abc import Callable, Iterator

import pytest

from podmirror_agent.segment import ACK, PSH, RST, SYN
from podmirror_wire.values import CloseReason
from tests.namespaces import why_not
from tests.rawpeer import RawPeer
from tests.rawstage import App, Stage, delivered, stage
from tests.transfers import APP_PORT

pytestmark = [
    pytest.mark.namespaces,
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
    pytest.mark.timeout(60),
]


@pytest.fixture(scope="module")
def real() -> Iterator[Stage]:
    with stage() as made:
        yield made


def with_the_syn(peer: RawPeer) -> None:
    """Data with the SYN, which the listener, without TCP Fast Open, does not take."""
    peer.send(-1, b"for the capture", flags=SYN)
    answer = peer.receive(lambda segment: bool(segment.flags & SYN))
    peer.acknowledgment = (answer.sequence + 1) & 0xFFFFFFFF
    peer.send(0)


def with_another_acknowledgment(peer: RawPeer) -> None:
    """Data with an ACK of what the listener never said, which it answers with a reset."""
    peer.send(-1, flags=SYN)
    answer = peer.receive(lambda segment: bool(segment.flags & SYN))
    peer.acknowledgment = (answer.sequence + 1) & 0xFFFFFFFF
    peer.send(0, b"for the capture", flags=ACK | PSH, acknowledgment=answer.sequence - 1000)
    peer.receive(lambda segment: bool(segment.flags & RST))
    peer.send(0)


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("shake_hands", [with_the_syn, with_another_acknowledgment])
def test_bytes_that_the_app_does_not_get_are_not_delivered(
    real: Stage, shake_hands: Callable[[RawPeer], None], family: int
) -> None:
    with RawPeer(real.made, APP_PORT, next(real.ports), family) as peer:
        shake_hands(peer)
        peer.send(0, b"for the app", flags=ACK | PSH)
        accepted, _ = real.listener.accept()
        with accepted:
            accepted.settimeout(1)
            app = App(accepted)
            app.read()
            peer.send(len(app.received), flags=RST | ACK)
            told = real.told(peer)

    assert bytes(app.received) == b"for the app"
    assert delivered(told) == b"for the app"
    assert not told.opened.late
    assert told.closed is not None
    assert told.closed.reason is CloseReason.RESET_BY_INITIATOR
