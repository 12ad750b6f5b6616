"""What can be wrong with the bytes or the behaviour of a peer.

ProtocolError
├── MalformedFrame        bytes that are no frame
├── FrameTooLarge         a frame over the size limit, refused before it is read
├── UnexpectedFrame       a frame that this side of the conversation never receives at that point
├── VersionMismatch       a peer that speaks another version of the protocol, or was built at another release
└── AuthenticationFailed  a secret that does not fit the verifier, or an agent that does not know it

Decoding raises these and nothing else, whatever the input.
"""


class ProtocolError(Exception):
    """The peer broke a rule of the protocol; the conversation cannot go on."""


class MalformedFrame(ProtocolError):
    """The body of a frame does not have the shape that its kind demands."""


class FrameTooLarge(ProtocolError):
    """The length prefix announces more bytes than the limit allows."""


class UnexpectedFrame(ProtocolError):
    """A well-formed frame arrived where the conversation does not admit it."""


class VersionMismatch(ProtocolError):
    """The two sides do not speak the same version."""


class AuthenticationFailed(ProtocolError):
    """One side could not show that it belongs to this session."""
