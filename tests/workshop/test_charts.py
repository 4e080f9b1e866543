"""workshop/charts.py: the pictures show the numbers."""

import math
from xml.etree import ElementTree

import charts
import pytest
from made_up import measured
from records import Records
from render import WORDS

SVG = "{http://www.w3.org/2000/svg}"


def drawn(*arguments, **more):
    """Return the texts, [(text, x, y)], and the dots, [(x, y)], of a panel."""
    root = ElementTree.fromstring(charts.svg("t", charts.panel("t", *arguments, **more)))
    texts = [(t.text, float(t.get("x")), float(t.get("y"))) for t in root.iter(f"{SVG}text")]
    dots = [(float(c.get("cx")), float(c.get("cy"))) for c in root.iter(f"{SVG}circle")]
    lines = [path.get("d") for path in root.iter(f"{SVG}path") if "L" in path.get("d")]
    return texts, dots, lines


def test_a_chart_of_one_line_bears_its_numbers_the_higher_the_further_up():
    means = [5.0, 4.5, 5.5, 4.75]
    line = [(mean - 0.125, mean, mean + 0.125) for mean in means]
    texts, dots, lines = drawn(list("abcd"), {"": line})
    assert [text for text, *_ in texts] == ["t", *(f"{mean:.2f}" for mean in means), *"abcd"]
    heights = [y for _, y in dots]
    assert heights[2] < heights[0] < heights[3] < heights[1]
    assert heights[1] - heights[3] == pytest.approx(heights[3] - heights[0], abs=0.15)  # to scale
    assert len(lines) == 1 and lines[0].count("L") == 3


def test_seeds_that_are_no_group_are_dots_without_a_mean_and_the_line_has_a_gap():
    line = [[5.0], [4.9, 5.0], [5.7, 6.1, 6.2], [4.6], [4.5]]
    texts, dots, lines = drawn(list("abcde"), {"": line})
    at_c = [y for x, y in dots if x == sorted({x for x, _ in dots})[2]]
    assert len(at_c) == 3 and len({*at_c}) == 3
    assert [text for text, *_ in texts][1:5] == ["5.00", "4.95", "4.60", "4.50"]
    assert [line.count("L") for line in lines] == [1, 1]


def test_what_lies_above_the_clip_stands_at_the_upper_edge_with_an_arrow():
    for lost in (9e9, math.inf):
        texts, dots, _ = drawn(list("ab"), {"": [[5.0, 4.9], [lost, 4.9]]}, clip=6)
        assert sum(text == "↑" for text, *_ in texts) == 1
        assert min(y for _, y in dots) == 52


def test_a_series_may_lack_points():
    texts, dots, lines = drawn(list("abc"), {"": [[5.0], [], [4.0]]})
    assert len(dots) == 2 and lines == []


def test_levels_are_lines_across_at_their_height_named_at_the_right():
    texts, dots, _ = drawn(list("ab"), {"": [[5.0], [4.0]]}, levels={"pairs": 4.5})
    (level,) = [(x, y) for text, x, y in texts if text == "pairs 4.50"]
    assert level[1] - 4 == pytest.approx((dots[0][1] + dots[1][1]) / 2, abs=1)
    assert level[0] > dots[1][0]


def test_of_two_lines_the_upper_has_its_numbers_above_and_the_lower_below():
    for names in ("xy", "yx"):
        lines = {name: {"x": [[9.0], [8.0]], "y": [[7.0], [6.0]]}[name] for name in names}
        texts, dots, _ = drawn(["a", "b"], lines)
        found = {text: y for text, _, y in texts}
        ys = sorted(y for _, y in dots)
        assert found["9.00"] < ys[0] and found["6.00"] > ys[-1]
        assert {"x", "y"} <= {*found}


def test_a_chart_of_several_lines_names_each_at_its_end_and_has_round_ticks():
    lines = {name: [[9], [end]] for name, end in (("x", 5), ("y", 5.01), ("z", 7))}
    found = {text: y for text, _, y in drawn(["1", "2"], lines)[0]}
    assert found["z 7.00"] < found["y 5.01"] <= found["x 5.00"] - 15
    assert {"5.0", "6.0", "7.0", "8.0", "9.0"} <= {*found}


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
            assert shown in texts["ladder"] or records.wide(f"v{version}", what)
    for name in ("hour", "little_text.v9", "little_text.v10", "scale.v16"):
        ending = f" {records.text(name, 'loss')}"
        assert any(text.endswith(ending) for text in texts[name.partition(".")[0]])
    seen = records.of("scale.v12")[0]["form"]["contexts"]
    assert {str(row["context"]) for row in seen} <= set(texts["context"])


def test_the_ladder_shows_both_budgets_counting_and_rules_as_far_as_there_are_records():
    words = WORDS["en"]

    def shown(records):
        picture = ElementTree.fromstring(charts.charts(records, words)["ladder"])
        return {text.text for text in picture.iter(f"{SVG}text")}

    names = {"pairs 4.68", "frequencies 6.16", "triples 4.49", "rule 0.55", "tune's form 0.88"}
    budgets = {"1,600 steps", "8,000 steps"}
    assert not names & shown(measured()) and not budgets & shown(measured())
    texts = shown(measured("counting", "beside", "ladder_long"))
    assert names | budgets | {"4.22"} <= texts
