"""workshop/charts.py: the pictures show the numbers."""

from xml.etree import ElementTree

import charts
import pytest
from records import Records
from render import WORDS

SVG = "{http://www.w3.org/2000/svg}"


def test_a_chart_of_one_line_bears_its_numbers_the_higher_the_further_up():
    means = [5.0, 4.5, 9.0, 4.75]
    line = [(mean - 0.125, mean, mean + 0.125) for mean in means]
    elements = charts.panel("a title", list("abcd"), {"": line}, clip=6)
    root = ElementTree.fromstring(charts.svg("a title", elements))
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert texts == ["a title", "5.00", "4.50", "9.00↑", "4.75", *"abcd"]
    heights = [float(circle.get("cy")) for circle in root.iter(f"{SVG}circle")]
    assert heights[2] < heights[0] < heights[3] < heights[1]
    assert heights[1] - heights[3] == pytest.approx(heights[3] - heights[0])  # to scale


def test_a_chart_of_several_lines_names_each_at_its_end():
    lines = {name: [(9, 9, 9), (end,) * 3] for name, end in (("x", 5), ("y", 5.01), ("z", 7))}
    root = ElementTree.fromstring(charts.svg("t", charts.panel("t", ["1", "2"], lines)))
    found = {t.text: float(t.get("y")) for t in root.iter(f"{SVG}text")}
    assert found["z 7.00"] < found["y 5.01"] <= found["x 5.00"] - 15
    assert len(list(root.iter(f"{SVG}path"))) == 3


@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS)
def test_the_charts_show_the_records(words):
    records = Records()
    texts = {
        name: [text.text or "" for text in ElementTree.fromstring(picture).iter(f"{SVG}text")]
        for name, picture in charts.charts(records, words).items()
    }
    for what in ("loss", "ends"):
        for version in range(1, 11):
            shown = f"{records.spread(f'v{version}', what)[1]:.2f}"
            assert any(text.startswith(shown) for text in texts["ladder"])
    for name in ("hour", "little_text.v9", "little_text.v10"):
        ending = f" {records.text(name, 'loss')}"
        assert any(text.endswith(ending) for text in texts[name.partition(".")[0]])
    seen = records.of("hour_dropout_0")[0]["form"]["contexts"]
    assert {str(row["context"]) for row in seen} <= set(texts["context"])
