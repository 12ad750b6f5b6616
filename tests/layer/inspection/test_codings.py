"""Content codings, undone."""

import contextlib
import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podmirror.inspection.codings import CodingUnknown, decoded, split_codings

TEXT = b"all work and no play " * 100
LIMIT = 1 << 20


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        ("gzip", gzip.compress(TEXT, mtime=0)),
        ("x-gzip", gzip.compress(TEXT[:50], mtime=0) + gzip.compress(TEXT[50:], mtime=0)),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", raw_deflate(TEXT)),
    ],
)
def test_what_python_knows_is_undone(coding: str, packed: bytes):
    assert decoded(packed, [coding], LIMIT) == TEXT


def test_brotli_is_undone_where_its_library_is():
    brotli = pytest.importorskip("brotli")

    assert decoded(brotli.compress(TEXT), ["br"], LIMIT) == TEXT
    assert len(decoded(brotli.compress(bytes(50_000_000)), ["br"], 1000)) == 1000
    with pytest.raises(CodingUnknown):
        decoded(b"\xff" * 50, ["br"], LIMIT)


def test_zstd_is_undone_where_its_library_is():
    zstandard = pytest.importorskip("zstandard")

    assert decoded(zstandard.compress(TEXT), ["zstd"], LIMIT) == TEXT
    assert TEXT.startswith(decoded(zstandard.compress(TEXT)[:-5], ["zstd"], LIMIT))
    with pytest.raises(CodingUnknown):
        decoded(b"\xff" * 50, ["zstd"], LIMIT)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch):
    def refuse(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr("importlib.import_module", refuse)
    with pytest.raises(CodingUnknown, match=r"'br' .* package 'brotli'"):
        decoded(b"x", ["br"], LIMIT)


def test_codings_are_undone_from_the_last():
    assert decoded(zlib.compress(gzip.compress(TEXT, mtime=0)), split_codings("gzip, Deflate"), LIMIT) == TEXT


def test_the_beginning_of_a_body_gives_the_beginning_of_its_content():
    packed = gzip.compress(bytes(range(256)) * 1000)
    beginning = decoded(packed[: len(packed) // 2], ["gzip"], LIMIT)

    assert beginning
    assert (bytes(range(256)) * 1000).startswith(beginning)


def test_a_bomb_gives_no_more_than_was_asked_for():
    bomb = gzip.compress(gzip.compress(bytes(20_000_000)))

    assert len(decoded(bomb, ["gzip", "gzip"], 5000)) == 5000


def test_what_is_not_what_it_says_is_told():
    with pytest.raises(CodingUnknown, match="not what its content-coding says"):
        decoded(b"plain text", ["gzip"], LIMIT)
    with pytest.raises(CodingUnknown, match="'compress' is not known"):
        decoded(b"x", ["compress"], LIMIT)
    with pytest.raises(CodingUnknown, match="9 content-codings"):
        decoded(b"x", ["gzip"] * 9, LIMIT)


def test_identity_is_no_coding():
    assert split_codings("identity, ,GZIP") == ["gzip"]
    assert split_codings("") == []


@given(st.binary(), st.sampled_from(["gzip", "deflate", "br", "zstd"]))
def test_any_bytes_give_bytes_or_a_reason(data: bytes, coding: str):
    with contextlib.suppress(CodingUnknown):
        assert len(decoded(data, [coding], 100)) <= 100
