"""What was secret in a head is secret in the bodies of its connection, however they are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podmirror_http.bodyredaction import BodyRedaction
from podmirror_http.echoes import LEAST_BYTES, MOST_HELD_BYTES, MOST_SECRETS, Echoes
from podmirror_http.heads import read_request_head
from podmirror_http.pseudonyms import Pseudonyms
from podmirror_http.redaction import HeadRedaction, Rules
from tests.http.exchanges import pieces

KEY = bytes(32)
SECRET = st.text('abB "', min_size=LEAST_BYTES, max_size=20).filter(str.strip).map(str.encode)
PROSE = st.text('abB er\n"', max_size=20).map(str.encode)


def redacted(content, cuts, echoes):
    body = BodyRedaction(Pseudonyms(KEY), Rules(), (), echoes)
    passed = [each for piece in pieces(content, cuts) for each in body.receive_content(piece)]
    return b"".join(bytes(each) if isinstance(each, int) else each for each in [*passed, *body.receive_end()])


@given(SECRET, st.lists(PROSE, min_size=1, max_size=5), st.lists(st.integers(0, 120), max_size=8))
def test_an_echoed_secret_never_passes(secret, proses, cuts):
    echoes = Echoes()
    echoes.add(secret)
    content = secret.join(proses)
    passed = redacted(content, cuts, echoes)

    assert len(passed) == len(content)
    assert secret not in passed


@given(st.lists(SECRET, min_size=1, max_size=4), PROSE, st.lists(st.integers(0, 120), max_size=8))
def test_how_a_body_is_cut_changes_nothing(secrets, prose, cuts):
    echoes = Echoes()
    for secret in secrets:
        echoes.add(secret)
    content = prose.join([b"Bearer abc, ", *secrets, b"."])

    assert len(redacted(content, cuts, echoes)) == len(content)
    for secret in secrets:
        assert secret not in redacted(content, cuts, echoes)


def test_a_cookie_that_is_echoed_is_replaced_by_the_same_stand_in():
    echoes = Echoes()
    heads = HeadRedaction(Pseudonyms(KEY), Rules(), echoes)
    head = heads.redact_head(
        read_request_head(b"GET / HTTP/1.1\r\nHost: x\r\nCookie: session=0123456789abcdef\r\n\r\n")
    )
    body = redacted(b'{"cookie": "0123456789abcdef"}', [], echoes)

    stand_in = head.partition(b"session=")[2][:16]
    assert body == b'{"cookie": "' + stand_in + b'"}'


@pytest.mark.parametrize("value", [b"", b"en-US", bytes(LEAST_BYTES - 1), bytes(10_000)])
def test_values_that_are_no_secret_s_size_are_not_looked_for(value):
    echoes = Echoes()
    echoes.add(value)

    assert not list(echoes.find(b"<" + value + b">"))
    assert echoes.held == 0


def test_the_oldest_is_forgotten():
    echoes = Echoes()
    for number in range(MOST_SECRETS + 1):
        echoes.add(b"secret-%08d" % number)
        echoes.add(b"secret-00000001")

    assert not list(echoes.find(b"secret-00000000"))
    assert list(echoes.find(b"secret-00000001")) == [(0, 15)]
    assert list(echoes.find(b"secret-%08d" % MOST_SECRETS)) == [(0, 15)]
    assert echoes.held == 15 * MOST_SECRETS


def test_their_memory_is_bounded():
    echoes = Echoes()
    for number in range(100):
        echoes.add(b"%04d" % number * 2000)

    assert MOST_HELD_BYTES - 8000 < echoes.held <= MOST_HELD_BYTES


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"ab/cd+ef/gh+ij==", b"ab\\/cd+ef\\/gh+ij=="),
        (b"ab/cd+ef/gh+ij==", b"ab%2Fcd%2Bef%2Fgh%2Bij%3D%3D"),
        (b"ab/cd+ef/gh+ij==", b"ab%2fcd%2bef%2fgh%2bij%3d%3d"),
        (b"s%3Aabcdefghijkl.mno", b"s:abcdefghijkl.mno"),
        (b'"0123456789abcdef"', b"0123456789abcdef"),
        (b"0123456789\r\n abcdef", b"0123456789 abcdef"),
    ],
)
def test_other_spellings_are_looked_for(value, said):
    echoes = Echoes()
    echoes.add(value)

    assert redacted(b"<" + said + b">", [], echoes).count(said[:9]) == 0


@given(st.data())
def test_a_gap_in_an_echo_tells_nothing_of_its_ends(data):
    secret = data.draw(st.text('abc|"/', min_size=LEAST_BYTES, max_size=24)).encode()
    at = data.draw(st.integers(0, len(secret) - 1))
    end = data.draw(st.integers(at + 1, len(secret)))
    echoes = Echoes()
    echoes.add(secret)
    body = BodyRedaction(Pseudonyms(KEY), Rules(), (), echoes)
    cuts = data.draw(st.lists(st.integers(0, 30), max_size=4))

    before = [part for piece in pieces(b"<" + secret[:at], cuts) for part in body.receive_content(piece)]
    before += body.receive_missing()
    after = [part for piece in pieces(secret[end:] + b"><", cuts) for part in body.receive_content(piece)]
    after += body.receive_end()

    assert b"".join(each for each in before if isinstance(each, bytes)) == b"<"
    assert sum(each for each in before if isinstance(each, int)) == at
    assert b"".join(each for each in after if isinstance(each, bytes)) == b"><"
