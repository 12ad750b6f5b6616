"""Bodies for a reader."""

from podmirror.inspection.bodies import SHOWN_BYTES, body_lines, hexdump
from podmirror.inspection.exchange import Body, Message
from tests.layer.inspection.exchanges import body_of


def lines(data: bytes, content_type: str = "text/plain", *, coding: str = "", size: int | None = None):
    headers = (("Content-Type", content_type), ("Content-Encoding", coding))
    return body_lines(Message("1.1", headers, 0, body_of(data, size=size)))


def test_text_is_shown_in_its_lines_without_what_commands_a_terminal():
    assert lines(b"one\ntwo\x1b[2J") == ["one", "two\\x1b[2J"]


def test_json_is_indented():
    assert lines(b'{"a":[1,"\xc3\xa9"]}', "application/json") == [
        "{",
        '  "a": [',
        "    1,",
        '    "é"',
        "  ]",
        "}",
    ]


def test_what_only_claims_to_be_json_is_shown_as_it_is():
    assert lines(b'{"a":', "application/json") == ['{"a":']
    assert lines(b"[" * 3000, "application/problem+json") == ["[" * 3000]


def test_bytes_are_shown_as_a_short_hexdump():
    shown = lines(bytes(range(256)) * 2, "application/octet-stream")

    assert shown[0] == "00000000  00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f  ................"
    assert len(shown) == 17
    assert shown[-1] == "[cut here; 512 B in all]"


def test_a_long_text_is_cut_and_said_so():
    shown = lines(b"x" * 10_000)

    assert shown == ["x" * SHOWN_BYTES, "[cut here; 10.0 kB in all]"]


def test_a_body_that_was_kept_in_part_says_so():
    assert lines(b"begin", size=2_000_000) == ["begin", "[cut here; 2.0 MB in all]"]


def test_holes_are_named():
    body = body_of(b"begin")
    body.skip(100, on_purpose=False)
    body.skip(20, on_purpose=True)

    assert body_lines(Message("1.1", (), 0, body)) == [
        "begin",
        "[100 B of it were not seen; 20 B of it were left out by the agent; 125 B in all]",
    ]


def test_a_coding_that_cannot_be_undone_is_named():
    assert lines(b"\x1babc", coding="sna\x1bppy")[-1] == (
        "[content-coding 'sna\\x1bppy' is not known here; 4 B in all]"
    )


def test_no_body_has_no_lines():
    assert body_lines(Message("1.1", (), 0, Body())) == []


def test_a_short_row_of_a_hexdump_is_aligned():
    assert hexdump(b"A\x00") == ["00000000  41 00" + " " * 44 + "A."]
