from xml.etree import ElementTree

from podmirror.compare.plots import WIDTH, Bar, BarRow, bars, distribution


def numbers(svg: str, tag: str, name: str) -> list[float]:
    return [float(each.get(name, "0")) for each in ElementTree.fromstring(svg).iter(tag)]


def test_bars_share_a_scale():
    svg = bars("t", "d", [BarRow("one", (Bar(0, 0, 1, "1 s"),)), BarRow("two", (Bar(1, 1, 3, "2 s"),))])

    first, second = numbers(svg, "rect", "width")
    assert abs(second - 2 * first) < 0.2
    (x, other) = numbers(svg, "rect", "x")
    assert abs(other - (x + first)) < 0.2


def test_nothing_leaves_the_picture():
    svg = bars("t", "d", [BarRow("one", (Bar(0, 0, 1, "a long label 12 s", whisker=(0.5, 4.0)),))])

    (x,), (width,) = numbers(svg, "rect", "x"), numbers(svg, "rect", "width")
    assert x + width < WIDTH
    assert max(numbers(svg, "text", "x")) < WIDTH - 17 * 5


def test_zero_is_drawn():
    assert numbers(bars("t", "d", [BarRow("one", (Bar(0, 0, 0, "0"),))]), "rect", "width") == [1.5]


def test_a_distribution_climbs_to_the_top():
    svg = distribution("t", "d", [(0, [0.01, 0.02, 0.5]), (1, [])])

    lines = [each for each in ElementTree.fromstring(svg).iter("path") if "line" in each.get("class", "")]
    assert len(lines) == 1
    assert "V10.0" in lines[0].get("d", "")
    assert [each.text for each in ElementTree.fromstring(svg).iter("text")][4:] == ["10 ms", "100 ms", "1 s"]


def test_without_values_there_is_no_distribution():
    assert distribution("t", "d", [(0, [])]) == ""
