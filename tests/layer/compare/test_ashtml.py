import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from podmirror.compare.ashtml import to_html
from podmirror.compare.figures import Mode
from tests.layer.compare.samples import both, comparison, run

VOID = {"meta", "link", "br", "img"}


class Checker(HTMLParser):
    """Notes elements that are not closed in order, and what is fetched from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.identifiers: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        for name, value in attrs:
            if name in ("src", "href"):
                self.fetched.append(value)
            elif name == "id":
                self.identifiers.append(value)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def checked(page: str) -> Checker:
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert checker.open == []
    return checker


ALL = [
    both(),
    both(1),
    comparison([run(Mode.EPHEMERAL)], refusals=['"<script>" is forbidden']),
    comparison(job=[run(Mode.JOB, load=False)], failures=["away"]),
    comparison(refusals=["no"]),
]


@pytest.mark.parametrize("of", ALL)
def test_the_page_is_well_formed_and_needs_nothing_else(of):
    page = to_html(of)
    checker = checked(page)

    assert not checker.fetched
    assert "script" not in checker.seen
    assert "url(" not in page
    assert "@import" not in page
    assert len(checker.identifiers) == len(set(checker.identifiers))


@pytest.mark.parametrize("of", ALL)
def test_plots_are_xml(of):
    for svg in re.findall(r"<svg.*?</svg>", to_html(of), re.DOTALL):
        assert ElementTree.fromstring(svg).get("aria-label")


def test_words_are_no_markup():
    assert "mind the &lt;gap&gt; | of *it*" in to_html(both())


def test_a_comparison_without_runs_has_no_plots():
    assert "<svg" not in to_html(comparison(refusals=["no"]))
    assert to_html(both()).count("<svg") == 4
