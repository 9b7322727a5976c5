import re
import sys
from xml.etree import ElementTree

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trimtab.report import svg


def _paint(_: Figure, axes: Axes) -> None:
    axes.plot([0, 1], [0, 1], "o", color=svg.MAIN)
    axes.text(0.5, 0.5, "<b>bold</b> & co", weight="bold")


def test_colours_follow_the_page() -> None:
    drawn = svg.draw("one", "A line.", _paint)
    assert "var(--main)" in drawn
    assert not re.search(r"#0(\d)0(\1)0(\1)", drawn)


def test_the_drawing_is_well_formed_and_its_text_is_escaped() -> None:
    root = ElementTree.fromstring(svg.draw("one", 'A "quoted" <line>.', _paint))
    assert root.attrib["aria-label"] == 'A "quoted" <line>.'
    assert any("<b>bold</b> & co" in (element.text or "") for element in root.iter("text"))


def test_ids_of_two_drawings_differ_and_are_found() -> None:
    first, second = (svg.draw(name, "", _paint) for name in ("one", "two"))
    ids = [set(re.findall(r' id="([^"]+)"', drawing)) for drawing in (first, second)]
    assert ids[0]
    assert not ids[0] & ids[1]
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', first)) <= ids[0]


def test_a_drawing_refers_to_nothing_outside_itself() -> None:
    assert "http" not in svg.draw("one", "", _paint)
    assert "<style" not in svg.draw("one", "", _paint)


def test_equal_values_give_equal_drawings() -> None:
    assert svg.draw("one", "", _paint) == svg.draw("one", "", _paint)


def test_no_global_plotting_state_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    svg.draw("one", "", _paint)
    assert "matplotlib.pyplot" not in sys.modules
