"""Ledgers of connections with a given outcome."""

from podmirror.forwarding import Forwarding, Outcome
from podmirror.ledger import LayerLedger
from podmirror_http.recognition import HTTP2_PREFACE
from podmirror_wire.values import CloseReason, Direction
from tests.layer.frames import HEAD, Talk

TROUBLE = "nothing accepts connections on local port 3000 (Connection refused)"


def forwarded(*frames, late: bool = False, **options: object) -> Forwarding:
    forwarding = Forwarding(Talk(late=late).opened(), **options)
    for frame in frames:
        forwarding.receive_frame(frame)
    return forwarding


def of(outcome: Outcome) -> Forwarding:  # noqa: C901  # a case for each outcome
    """Give a connection with that outcome; 41 bytes were written in those that were delivered."""
    talk = Talk()
    says, tls = talk.says(HEAD), talk.says(b"\x16\x03\x01 hello")
    match outcome:
        case Outcome.WHOLE:
            forwarding = forwarded(says, talk.closes())
        case Outcome.RESET:
            forwarding = forwarded(says, talk.closes(CloseReason.RESET_BY_RESPONDER))
        case Outcome.JOINED:
            forwarding = forwarded(says, talk.closes(), late=True)
        case Outcome.GAP:
            forwarding = forwarded(says, talk.misses(100), talk.closes())
        case Outcome.CUT:
            forwarding = forwarded(says, talk.closes(CloseReason.CUT, unsent=1000))
        case Outcome.UNFINISHED:
            forwarding = forwarded(says, talk.closes(CloseReason.IDLE))
        case Outcome.TLS:
            forwarding = forwarded(tls, talk.closes())
        case Outcome.SERVER_FIRST:
            forwarding = forwarded(talk.omits(5), talk.closes())
        case Outcome.UNJOINED:
            forwarding = forwarded(talk.says(b"\r\n\r\n"), talk.closes(), late=True)
        case Outcome.SHED:
            forwarding = forwarded(says, talk.closes(CloseReason.SHED, unsent=500))
        case Outcome.HTTP2:
            forwarding = forwarded(talk.says(HTTP2_PREFACE), talk.closes(), late=True)
        case Outcome.SKIPPED:
            forwarding = forwarded(says, talk.closes(), late=True, late_joins="skip")
        case Outcome.FILTERED:
            forwarding = forwarded(talk.omits(7, Direction.TO_RESPONDER), talk.closes(), screened=True)
        case Outcome.WITHHELD:
            part = talk.says(b"GET / HTTP")
            left_out = talk.omits(8, Direction.TO_RESPONDER)
            forwarding = forwarded(part, left_out, talk.closes(), screened=True)
        case Outcome.OPEN:
            forwarding = forwarded(says)
    assert forwarding.outcome is outcome
    return forwarding


def ledger_of(*outcomes: Outcome, **agent: int) -> LayerLedger:
    ledger = LayerLedger(agent=agent)
    for outcome in outcomes:
        ledger.settle(of(outcome), 0, "")
    return ledger
