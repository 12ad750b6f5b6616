"""How the two sides come to trust each other, without I/O.

Theory of operation. The pod's spec, which others may read, carries the verifier: the SHA-256 of the session's secret. The
layer alone knows the secret. Port-forward only promises a connection to some process that listens on a port of the pod, which
may be the app, so neither side believes the other at first:

    agent   Greeting      "I speak podmirror, version so and so"
    layer   Hello         a nonce
    agent   Proof         HMAC-SHA256(verifier, nonce): it was started with this session's verifier
    layer   Authenticate  the secret; the agent hashes it and compares
    agent   Accepted      or Refused, and the end of the connection

The secret is thus told only to a process that knows the verifier. A process of the same pod with NET_RAW can read it from
the loopback interface, but such a process sees the pod's traffic anyway (the threat model in docs/limits.md).
"""

import hashlib
import hmac
import secrets

from podmirror_wire.errors import AuthenticationFailed, ProtocolError, UnexpectedFrame, VersionMismatch
from podmirror_wire.frames import (
    MAGIC,
    PROTOCOL_VERSION,
    Accepted,
    AnyFrame,
    Authenticate,
    Greeting,
    Hello,
    Proof,
    Refused,
)
from podmirror_wire.version import __version__

SECRET_BYTES = 32


def new_secret() -> bytes:
    """Make the secret of a session: 32 random bytes."""
    return secrets.token_bytes(SECRET_BYTES)


def verifier_of(secret: bytes) -> bytes:
    """Give the SHA-256 of a secret: what the pod's spec may carry. The secret is random, so no salt is needed."""
    return hashlib.sha256(secret).digest()


class AgentHandshake:
    """The agent's side. Send `greeting()`, then give each frame to `receive_frame` until `authenticated`."""

    def __init__(self, verifier: bytes, *, version: str = __version__) -> None:
        self._verifier = verifier
        self._version = version
        self._hello: Hello | None = None
        self.authenticated = False

    def greeting(self) -> Greeting:
        """Give the frame that opens the conversation."""
        return Greeting(MAGIC, PROTOCOL_VERSION, self._version)

    def receive_frame(self, frame: AnyFrame) -> Proof | None:
        """Take the layer's next frame and give the answer to it, if there is one.

        Raises:
            VersionMismatch: The layer speaks another version of the protocol.
            AuthenticationFailed: The secret is not this session's.
            UnexpectedFrame: Anything else than the frame whose turn it is.
        """
        if self._hello is None and isinstance(frame, Hello):
            if frame.protocol_version != PROTOCOL_VERSION:
                raise VersionMismatch(
                    f"this agent ({self._version}) speaks protocol {PROTOCOL_VERSION}, "
                    f"the layer ({frame.layer_version}) speaks {frame.protocol_version}"
                )
            self._hello = frame
            return Proof(_proof(self._verifier, frame.nonce))
        if self._hello is not None and not self.authenticated and isinstance(frame, Authenticate):
            if not hmac.compare_digest(verifier_of(frame.secret), self._verifier):
                raise AuthenticationFailed("the secret is not the one that this agent was started for")
            self.authenticated = True
            return None
        raise UnexpectedFrame(f"{type(frame).__name__} during the handshake")


class LayerHandshake:
    """The layer's side: give each frame to `receive_frame` until `accepted` is set."""

    def __init__(self, secret: bytes, *, version: str = __version__, nonce: bytes | None = None) -> None:
        self._secret = secret
        self._version = version
        self._nonce = nonce or secrets.token_bytes(16)
        self._greeted = False
        self._proved = False
        self.accepted: Accepted | None = None

    def receive_frame(self, frame: AnyFrame) -> Hello | Authenticate | None:
        """Take the agent's next frame and give the answer to it, if there is one.

        Raises:
            VersionMismatch: The agent is of another release or protocol.
            AuthenticationFailed: The agent does not know this session's verifier, or refused the secret.
            UnexpectedFrame: Anything else than the frame whose turn it is.
        """
        match frame:
            case Greeting() if not self._greeted:
                self._greeted = True
                return self._answer_greeting(frame)
            case Proof() if self._greeted and not self._proved:
                if not hmac.compare_digest(frame.digest, _proof(verifier_of(self._secret), self._nonce)):
                    raise AuthenticationFailed("the agent on that port belongs to another session")
                self._proved = True
                return Authenticate(self._secret)
            case Accepted() if self._proved and self.accepted is None:
                self.accepted = frame
                return None
            case Refused():
                raise AuthenticationFailed(f"the agent refused this session: {frame.reason}")
        raise UnexpectedFrame(f"{type(frame).__name__} during the handshake")

    def _answer_greeting(self, greeting: Greeting) -> Hello:
        if greeting.magic != MAGIC:
            raise ProtocolError("what listens there is no podmirror agent")
        if greeting.protocol_version != PROTOCOL_VERSION or greeting.agent_version != self._version:
            raise VersionMismatch(
                f"the agent is podmirror {greeting.agent_version} (protocol {greeting.protocol_version}), "
                f"this is {self._version} (protocol {PROTOCOL_VERSION})"
            )
        return Hello(PROTOCOL_VERSION, self._nonce, self._version)


def _proof(verifier: bytes, nonce: bytes) -> bytes:
    return hmac.digest(verifier, nonce, "sha256")
