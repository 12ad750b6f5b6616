"""What came from the network never commands the terminal."""

from hypothesis import given
from hypothesis import strategies as st

from podmirror.inspection.escape import escaped, escaped_lines


def test_plain_text_stays_as_it_is():
    assert escaped("GET /naïve/日本?a=b") == "GET /naïve/日本?a=b"


def test_control_characters_are_shown_by_number():
    assert escaped("\x1b[2J\x9b1m\x7f\r\n\t") == "\\x1b[2J\\x9b1m\\x7f\\r\\n\\t"


def test_what_turns_the_order_of_letters_is_shown_by_number():
    assert escaped("user\u202etxt.exe") == "user\\u202etxt.exe"


def test_lines_and_tabs_of_a_text_stay():
    assert escaped_lines("a\tb\r\nc\x07\rd") == "a\tb\nc\\x07\\rd"


@given(st.text())
def test_nothing_but_printable_characters_is_left(text: str):
    assert escaped(text).isprintable()
    assert escaped_lines(text).replace("\n", "").replace("\t", "").isprintable()
    assert escaped(text).encode() or not text
