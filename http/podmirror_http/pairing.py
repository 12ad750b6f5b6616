"""Pairing requests with their responses, from bytes that were seen passively: `Conversation`, and all that it gives."""

from podmirror_http.conversation import Conversation
from podmirror_http.events import (
    Body,
    BodyMissing,
    Event,
    InterimResponse,
    Interrupted,
    MessageEnded,
    NotHttp,
    Part,
    RequestBegan,
    RequestHead,
    ResponseBegan,
    ResponseHead,
    Span,
    TunnelData,
    Upgraded,
)

__all__ = [
    "Body",
    "BodyMissing",
    "Conversation",
    "Event",
    "InterimResponse",
    "Interrupted",
    "MessageEnded",
    "NotHttp",
    "Part",
    "RequestBegan",
    "RequestHead",
    "ResponseBegan",
    "ResponseHead",
    "Span",
    "TunnelData",
    "Upgraded",
]
