"""Both sides of the handshake wired back to back, and what each does when the other is not what it should be."""

import hashlib
import hmac

import pytest

from podmirror_wire.errors import (
    AuthenticationFailed,
    ProtocolError,
    UnexpectedFrame,
    VersionMismatch,
)
from podmirror_wire.frames import (
    MAGIC,
    PROTOCOL_VERSION,
    Accepted,
    Authenticate,
    Goodbye,
    Greeting,
    Hello,
    Ping,
    Proof,
    Refused,
    Subscribe,
)
from podmirror_wire.handshake import (
    SECRET_BYTES,
    AgentHandshake,
    LayerHandshake,
    new_secret,
    verifier_of,
)
from podmirror_wire.version import __version__

SECRET = bytes(range(32))
OTHER_SECRET = bytes(range(1, 33))
NONCE = bytes(range(100, 116))
GREETING = Greeting(MAGIC, PROTOCOL_VERSION, __version__)
ACCEPTED = Accepted(bytes(16), 1)


class Pair:
    """An agent and a layer; `run` carries frames between them and notes all that crossed."""

    def __init__(self, agent: AgentHandshake, layer: LayerHandshake) -> None:
        self.agent = agent
        self.layer = layer
        self.crossed: list[object] = []

    def run(self) -> None:
        to_layer = self.agent.greeting()
        while not self.agent.authenticated:
            self.crossed.append(to_layer)
            to_agent = self.layer.receive_frame(to_layer)
            self.crossed.append(to_agent)
            to_layer = self.agent.receive_frame(to_agent)


def agent_of(secret=SECRET, **options) -> AgentHandshake:
    return AgentHandshake(verifier_of(secret), **options)


def test_the_two_sides_come_to_trust_each_other():
    pair = Pair(agent_of(), LayerHandshake(SECRET, nonce=NONCE))

    pair.run()

    assert pair.crossed == [
        GREETING,
        Hello(PROTOCOL_VERSION, NONCE, __version__),
        Proof(hmac.new(hashlib.sha256(SECRET).digest(), NONCE, hashlib.sha256).digest()),
        Authenticate(SECRET),
    ]
    assert pair.layer.receive_frame(ACCEPTED) is None
    assert pair.layer.accepted == ACCEPTED


def test_proof_is_pinned():
    agent = agent_of()

    proof = agent.receive_frame(Hello(1, NONCE, "0.1.0"))

    assert proof == Proof(bytes.fromhex("fbb9282987a4e42e3ad153c537e145c1af0d99e445fb713b3b8048d5fee1c4df"))


def test_verifier_is_the_sha256_of_the_secret():
    assert verifier_of(SECRET).hex() == "630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd"


def test_secrets_are_32_bytes_and_never_the_same():
    secrets = {new_secret() for _ in range(50)}

    assert len(secrets) == 50
    assert {len(secret) for secret in secrets} == {SECRET_BYTES} == {32}


def test_each_layer_asks_with_a_fresh_nonce():
    hellos = [LayerHandshake(SECRET).receive_frame(GREETING) for _ in range(20)]

    assert len({hello.nonce for hello in hellos}) == 20


# The layer is not the one.


def test_agent_refuses_a_wrong_secret():
    agent = agent_of()
    agent.receive_frame(Hello(PROTOCOL_VERSION, NONCE, __version__))

    with pytest.raises(AuthenticationFailed):
        agent.receive_frame(Authenticate(OTHER_SECRET))
    assert not agent.authenticated


def test_agent_refuses_the_verifier_in_place_of_the_secret():
    agent = agent_of()
    agent.receive_frame(Hello(PROTOCOL_VERSION, NONCE, __version__))

    with pytest.raises(AuthenticationFailed):
        agent.receive_frame(Authenticate(verifier_of(SECRET)))


def test_agent_refuses_another_protocol_version():
    with pytest.raises(VersionMismatch, match=r"protocol 1, the layer \(9\.9\.9\) speaks 2"):
        agent_of().receive_frame(Hello(PROTOCOL_VERSION + 1, NONCE, "9.9.9"))


@pytest.mark.parametrize(
    "frame",
    [Authenticate(SECRET), Subscribe(1, 80), Ping(1, 0), GREETING, ACCEPTED, Goodbye("")],
    ids=lambda frame: type(frame).__name__,
)
def test_agent_admits_nothing_but_a_hello_at_first(frame):
    agent = agent_of()

    with pytest.raises(UnexpectedFrame):
        agent.receive_frame(frame)
    assert not agent.authenticated


@pytest.mark.parametrize(
    "frame",
    [Hello(PROTOCOL_VERSION, NONCE, __version__), Subscribe(1, 80), Proof(bytes(32))],
    ids=lambda frame: type(frame).__name__,
)
def test_agent_admits_nothing_but_the_secret_after_the_hello(frame):
    agent = agent_of()
    agent.receive_frame(Hello(PROTOCOL_VERSION, NONCE, __version__))

    with pytest.raises(UnexpectedFrame):
        agent.receive_frame(frame)
    assert not agent.authenticated


@pytest.mark.parametrize(
    "frame",
    [Hello(PROTOCOL_VERSION, NONCE, __version__), Authenticate(SECRET)],
    ids=lambda frame: type(frame).__name__,
)
def test_agent_admits_no_replay_once_it_is_done(frame):
    pair = Pair(agent_of(), LayerHandshake(SECRET))
    pair.run()

    with pytest.raises(UnexpectedFrame):
        pair.agent.receive_frame(frame)
    assert pair.agent.authenticated


# The agent is not the one.


def test_layer_tells_its_secret_to_no_agent_of_another_session():
    pair = Pair(agent_of(OTHER_SECRET), LayerHandshake(SECRET))

    with pytest.raises(AuthenticationFailed, match="belongs to another session"):
        pair.run()
    assert not any(isinstance(frame, Authenticate) for frame in pair.crossed)


def test_layer_admits_no_proof_that_was_recorded_with_another_nonce():
    agent, layer = agent_of(), LayerHandshake(SECRET, nonce=NONCE)
    recorded = agent.receive_frame(Hello(PROTOCOL_VERSION, bytes(16), __version__))
    layer.receive_frame(GREETING)

    with pytest.raises(AuthenticationFailed):
        layer.receive_frame(recorded)


def test_layer_sends_the_nonce_only_before_the_proof():
    layer = LayerHandshake(SECRET, nonce=NONCE)

    hello = layer.receive_frame(GREETING)

    assert SECRET not in hello.encode()
    assert verifier_of(SECRET) not in hello.encode()


@pytest.mark.parametrize(
    "greeting",
    [
        pytest.param(Greeting(MAGIC, PROTOCOL_VERSION + 1, __version__), id="other protocol"),
        pytest.param(Greeting(MAGIC, PROTOCOL_VERSION, "0.0.0"), id="other release"),
    ],
)
def test_layer_refuses_an_agent_of_another_version(greeting):
    with pytest.raises(VersionMismatch, match="the agent is podmirror"):
        LayerHandshake(SECRET).receive_frame(greeting)


def test_layer_refuses_what_is_no_agent():
    with pytest.raises(ProtocolError, match="no podmirror agent"):
        LayerHandshake(SECRET).receive_frame(Greeting(b"HTTP", PROTOCOL_VERSION, __version__))


@pytest.mark.parametrize(
    "frame",
    [Proof(bytes(32)), ACCEPTED, Ping(1, 0), Hello(1, NONCE, ""), Goodbye("")],
    ids=lambda frame: type(frame).__name__,
)
def test_layer_admits_nothing_but_a_greeting_at_first(frame):
    with pytest.raises(UnexpectedFrame):
        LayerHandshake(SECRET).receive_frame(frame)


@pytest.mark.parametrize("frame", [GREETING, ACCEPTED], ids=lambda frame: type(frame).__name__)
def test_layer_admits_nothing_but_the_proof_after_the_greeting(frame):
    layer = LayerHandshake(SECRET)
    layer.receive_frame(GREETING)

    with pytest.raises(UnexpectedFrame):
        layer.receive_frame(frame)
    assert layer.accepted is None


def test_layer_tells_its_secret_once():
    agent, layer = agent_of(), LayerHandshake(SECRET)
    proof = agent.receive_frame(layer.receive_frame(GREETING))
    layer.receive_frame(proof)

    with pytest.raises(UnexpectedFrame):
        layer.receive_frame(proof)


def test_layer_is_accepted_once():
    pair = Pair(agent_of(), LayerHandshake(SECRET))
    pair.run()
    pair.layer.receive_frame(ACCEPTED)

    with pytest.raises(UnexpectedFrame):
        pair.layer.receive_frame(Accepted(bytes(range(16)), 2))
    assert pair.layer.accepted == ACCEPTED


@pytest.mark.parametrize("frames_before", [0, 1, 2])
def test_layer_passes_a_refusal_on_in_the_agents_words(frames_before):
    agent, layer = agent_of(), LayerHandshake(SECRET)
    to_layer = agent.greeting()
    for _ in range(frames_before):
        to_layer = agent.receive_frame(layer.receive_frame(to_layer))

    with pytest.raises(AuthenticationFailed, match="the agent refused this session: too old"):
        layer.receive_frame(Refused(0, "too old"))


def test_errors_do_not_tell_the_secret():
    agent = agent_of()
    agent.receive_frame(Hello(PROTOCOL_VERSION, NONCE, __version__))

    with pytest.raises(AuthenticationFailed) as caught:
        agent.receive_frame(Authenticate(OTHER_SECRET))
    assert OTHER_SECRET.hex() not in str(caught.value)
    assert repr(OTHER_SECRET) not in repr(caught.value)
