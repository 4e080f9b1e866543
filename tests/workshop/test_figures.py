"""The figures that move: their numbers against PyTorch's and the records', and once in a browser.

The page they are shown on here is a bare one: what the site adds is tested with the site. Needs
Playwright and Chromium for the second half, as test_site_browser.py does.
"""

import functools
import importlib.util
import itertools
import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
from conftest import assert_close, loaded
from poems import by_tune, form, split_poems, usual_form
from records import Records
from steps import ROOT
from xray import look

FIGURES = ROOT / "workshop" / "site" / "figures"
sys.path[1:1] = [str(FIGURES)]

import attention  # noqa: E402
import committed  # noqa: E402
import measured  # noqa: E402

import data  # noqa: E402

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
RUN_AXE = "axe.run({ preload: false, selectors: false, resultTypes: ['violations'] })"
LISTED = data.listed()
LANGUAGES = ("en", "zh-CN")
COLOURS = """:root { color-scheme: light dark; --paper: light-dark(#fffdf8, #14171c);
  --ink: light-dark(#1f2328, #e6edf3); --muted: light-dark(#57606a, #9da7b3);
  --line: light-dark(#d8d3c8, #30363d); --accent: light-dark(#a8380b, #f0883e);
  --good: light-dark(#1a7f37, #56d364); --bad: light-dark(#b3261e, #ff8a80) }
  figure { margin: 1.5rem 0; border: 1px solid var(--line); padding: 1rem; border-radius: 8px }
  body { margin: 0; padding: 1rem; background: var(--paper); color: var(--ink); max-width: 52rem;
  font-family: system-ui } * { box-sizing: border-box }"""


@functools.cache
def numbers():
    """Return the numbers of all figures, made once."""
    return data.data()


def page_of(found, language="en"):
    """Return a page with the figures of these numbers alone, as the site hands them their words."""
    scripts = dict.fromkeys(use for name in found for use in LISTED[name]["uses"])
    given, nodes = [], []
    for name, numbers in found.items():
        words = {k: v[LANGUAGES.index(language)] for k, v in LISTED[name]["words"].items()}
        given.append(f"given[{name!r}] = {json.dumps({**numbers, 'words': words})};")
        title, caption = (LISTED[name][k][LANGUAGES.index(language)] for k in ("title", "caption"))
        nodes.append(
            f'<figure><h2>{title}</h2><div class="figure" id="{name}"></div>'
            f"<figcaption>{caption}</figcaption></figure>"
        )
    texts = [(FIGURES / script).read_text(encoding="utf-8") for script in scripts]
    texts += [(FIGURES / f"{name}.js").read_text(encoding="utf-8") for name in found]
    words = """{ get(words, name) { if (name in words) return words[name]; throw Error(name); } }"""
    start = f"""for (const [name, numbers] of Object.entries(given)) {{
      numbers.words = new Proxy(numbers.words, {words}); // a word that is not listed is an error
      figures[name](document.getElementById(name), numbers, {language!r});
    }}"""
    watch = """if (window.uPlot) uPlot = new Proxy(uPlot, {
      construct: (made, [options, data, box]) => (box.plot = new made(options, data, box)),
    });
    const canvas = CanvasRenderingContext2D.prototype, { fillText } = canvas, written = new Set();
    canvas.fillText = function (text, ...place) {
      written.add(text);
      fillText.call(this, text, ...place);
    };"""  # so that a test can ask what is drawn
    first = "const figures = {}, given = {};"
    scripts = "".join(f"<script>{text}</script>" for text in [first, *texts, *given, watch, start])
    sheets = [FIGURES / "lib" / "uPlot.css", FIGURES / "figures.css"]
    style = COLOURS + "".join(sheet.read_text(encoding="utf-8") for sheet in sheets)
    return (
        f'<!doctype html><html lang="{language}"><meta charset="utf-8"><title>figures</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{style}</style><main><h1>figures</h1>{''.join(nodes)}</main>{scripts}</html>"
    )


def model_of(name):
    """Return a committed model by its script, its characters, and the script."""
    file = ROOT / "data" / ("babygpt_evening.pt" if name == "evening" else f"weights/{name}.pt")
    saved = torch.load(file, weights_only=True)
    gpt = loaded(15 if name == "evening" else int(name[1:]))
    sizes = {k: v for k, v in saved["shape"].items() if k in gpt.Config.__dataclass_fields__}
    model = gpt.BabyGPT(gpt.Config(device="cpu", **sizes), len(saved["chars"]))
    model.load_state_dict({key: tensor.float() for key, tensor in saved["model"].items()})
    return model.eval(), saved["chars"], gpt


def weights_in(text):
    """Return the attention weights of v4's heads over a text, as they arise in its own forward."""
    model, chars, gpt = model_of("v04")
    ids = torch.tensor([[chars.index(char) for char in text]])
    return list(look(gpt, model, ids)[1].values())


# --- the numbers, without a browser


def test_each_figure_has_a_page_words_in_two_languages_and_a_script():
    for name, figure in LISTED.items():
        assert (ROOT / "docs" / "en" / f"{figure['page']}.md").exists() or name not in numbers()
        script = (FIGURES / f"{name}.js").read_text(encoding="utf-8")
        assert f"figures.{name} = function" in script and len(script.splitlines()) <= 80
        both = [figure["title"], figure["caption"], *figure["words"].values()]
        assert all(len(texts) == 2 and all(texts) for texts in both), name
        for at, after in [(figure["page"], figure["after"]), *figure.get("also", {}).items()]:
            begins = zip(LANGUAGES, after, strict=True) if isinstance(after, list) else ()
            for language, begin in begins:
                page = ROOT / "docs" / language / f"{at}.md"
                assert f"\n{begin}" in page.read_text(encoding="utf-8")
        for use in figure["uses"]:
            assert (FIGURES / use).exists()


def test_the_numbers_of_a_page_are_small():
    sizes = {name: len(json.dumps(found, ensure_ascii=False)) for name, found in numbers().items()}
    assert set(LISTED) - set(sizes) <= {"reward"} and sizes.pop("next_character") < 200_000
    assert max(sizes.values()) < 50_000


def test_what_follows_a_character_is_counted_in_the_training_text():
    text, _ = committed.text_of()
    for char in "春\n不":
        n, counted, counts, *_ = numbers()["next_character"]["chars"][char]
        assert n == text.count(char) and counts == sorted(counts, reverse=True)
        assert counts == [text.count(char + other) for other in counted]


def test_what_v1_gives_is_what_its_script_computes():
    model, chars, _ = model_of("v01")
    for char in "春\n不":
        *_, guessed, probs = numbers()["next_character"]["chars"][char]
        with torch.no_grad():
            best = model(torch.tensor([[chars.index(char)]]))[0][0, -1].softmax(dim=-1).topk(10)
        assert guessed == "".join(chars[i] for i in best.indices)
        assert_close(torch.tensor(probs), best.values)


def test_the_shares_of_two_heads_are_those_that_the_page_of_v4_speaks_of():
    """Which two it says, and that the others do less of it."""
    own, before, shares = attention.work_of_heads()
    page = (ROOT / "docs" / "en" / "v04.md").read_text(encoding="utf-8")
    assert f"Head {own['head']} has nearly all of its weight on the diagonal" in page
    assert f"Head {before['head']} has most of it beside the diagonal" in page
    assert own["share"] == max(share for share, _ in shares) > 0.9
    assert before["share"] == max(share for _, share in shares) > 0.5


def test_what_a_head_writes_is_what_is_left_when_the_others_say_nothing():
    model, _, _ = model_of("v09")
    block, found, outputs = model.blocks[1], numbers()["who_writes"]["blocks"][1], []
    block.sa.register_forward_hook(lambda _, __, output: outputs.append(output))
    with torch.no_grad():
        for i, head in enumerate(block.sa.heads):
            if i != 2:
                head.value.weight.zero_()
        model(committed.text_of()[1][::4])
    written = (outputs[0] - block.sa.proj.bias).square().mean(dim=(0, 1)).sqrt()
    torch.testing.assert_close(torch.tensor(found["after"][2]), written, atol=6e-4, rtol=0)
    quarters = torch.tensor(found["before"]).view(4, 4, 32)
    for i in range(4):
        for j in range(4):
            assert bool(quarters[i, j].any()) == (i == j)


def test_a_unit_says_and_as_v9s_script_computes_it():
    """Its sums as they go into the ReLU, and what the model says when it is switched off."""
    model, chars, _ = model_of("v09")
    into, relu, _ = model.blocks[-1].ffwd.net
    windows, sums, off = committed.text_of()[1], [], [torch.tensor([], dtype=int)]
    into.register_forward_hook(lambda _, __, output: sums.append(output))
    relu.register_forward_hook(lambda _, __, output: output.index_fill(2, off[0], 0))
    with torch.no_grad():
        model(windows)
    for found in numbers()["hidden_unit"]["units"]:
        pair, unit = [chars.index(char) for char in found["pair"]], sums[0][..., found["unit"]]
        is_a, is_b = windows[:, :-1] == pair[0], windows[:, 1:] == pair[1]
        for case, at in zip(
            found["cases"], (~is_a & ~is_b, is_a & ~is_b, ~is_a & is_b, is_a & is_b), strict=True
        ):
            here = unit[:, 1:][at]
            assert case["n"] == len(here) and case["fires"] == share(here > 0)
            assert case["sums"] == pytest.approx(here[:40].tolist(), abs=0.006)
            assert case["passed"] == pytest.approx(here.relu().mean().item(), abs=1e-4)
            assert case["texts"][0] in "".join(chars[i] for i in windows[at.any(dim=1)][0])
        assert found["cases"][3]["fires"] > 0.9 > 0.2 > max(c["fires"] for c in found["cases"][:3])
        rows, places = (is_a & is_b).nonzero(as_tuple=True)
        char, *shown = found["next"]
        for silenced, wanted in zip(([], [found["unit"]]), shown, strict=True):
            off[0] = torch.tensor(silenced, dtype=int)
            with torch.no_grad():
                logits = model(windows[rows])[0][torch.arange(len(rows)), places + 1]
            said = logits.softmax(dim=-1).mean(dim=0)[chars.index(char)].item()
            assert said == pytest.approx(wanted, abs=2e-4)


def share(tensor):
    return round(tensor.float().mean().item(), 4)


def test_curves_are_those_of_the_records():
    records = Records()
    for run in numbers()["depth"]["runs"]:
        (record,) = (r for r in records.of(f"v{run['version']}") if r["seed"] == run["seed"])
        rows = record["depth"][run["when"]]
        assert [row[1:] for row in rows] == [
            list(p) for p in zip(run["spread"], run["gradient"], strict=True)
        ]
    rates = numbers()["rates"]
    at = rates["rates"].index(0.003)
    for name, found in rates["versions"].items():
        assert found[at] == [round(value, 4) for value in records.values(name)]
    first = numbers()["overfitting"]["runs"][0]
    assert first["val"][-1] == pytest.approx(records.spread("little_text.v9")[1], abs=1e-4)
    assert first["train"][-1] == pytest.approx(
        records.spread("little_text.v9", "train")[1], abs=1e-4
    )


def test_the_heads_of_v10_are_those_of_its_picture():
    found = numbers()["all_heads"]
    length = len(found["text"])
    assert [len(heads) for heads in found["blocks"]] == [4, 4, 4]
    for rows in itertools.chain.from_iterable(found["blocks"]):
        assert [len(row) for row in rows] == [*range(1, length + 1)]
        assert all(abs(sum(row) - 1) < 0.004 for row in rows)


def test_a_run_that_was_stopped_is_no_number_and_does_not_stretch_the_chart(monkeypatch):
    found = dict(version=7, seed=1, curve=[{"train_loss": 4.7, "val_loss": 4.7}], vocabulary=4295)

    class Few(Records):
        def find(self, name):
            return {"sweep_2e-2.v7": [{**found, "stopped": True}], "ladder.v7": [found]}.get(
                name, []
            )

        of = lambda self, name: [found]  # noqa: E731

    monkeypatch.setattr(measured, "Records", Few)
    rates = measured.rates()
    assert rates["rates"] == [0.003, 0.02] and rates["versions"]["v7"] == [[4.7], [None]]
    assert rates["versions"]["v8"] == [[], []] and rates["range"][1] < 6


def test_the_poems_are_marked_by_the_form_that_their_tune_has():
    context = numbers()["context"]
    assert [row["context"] for row in context["contexts"]] == [
        row["context"] for row in context["losses"]
    ]
    bodies = by_tune(split_poems((ROOT / "data" / "ci.txt").read_text(encoding="utf-8-sig")))
    for tune in context["tunes"]:
        assert tuple(tune["form"]) == usual_form(bodies[tune["name"]])[0]
    wholes = [row["whole"] for row in context["contexts"]]
    assert wholes == sorted(wholes)  # what the figure is to show
    (record,) = Records().of("evening")  # of another model, context_poems.py has to be run again
    assert context["sha256"] == record["kept"]["sha256"]


def test_a_poem_is_marked_by_what_its_tune_asks_for():
    """浣溪沙 has six lines of seven characters; they rhyme with the first, but for the fourth."""
    body = "一曲新词酒一杯。\n去年天气旧亭台。\n夕阳西下几时回。\n无可奈何花落去，似曾相识燕归来。"
    marks = committed.marks_of("浣溪沙", f"{body}\n小园香径独徘。\n多。")
    assert [mark[:2] for mark in marks] == [[7, True]] * 5 + [[7, False], [0, False]]
    assert [mark[2] for mark in marks] == [None, True, True, None, True, True, None]
    same = body.replace("亭台", "亭杯")  # the same character again is no rhyme
    assert committed.marks_of("浣溪沙", same)[1] == [7, True, False]


EVALUATIONS = """model: 3,431,111 parameters, on cpu
step     0: reward 0.335, whole 0.521, rhyme 0.109, distinct 0.922, divergence 0.000, val_loss 3.714

浣溪沙 苏轼
一曲新词酒一杯。
去年天气旧亭前。
夕阳西下

step    50: reward 1.109, whole 0.938, rhyme 0.154, distinct 0.951, divergence 0.017, val_loss 3.742
浣溪沙 苏轼
一曲新词酒一杯。
去年天气旧亭台。
夕阳西下几时回。

saved
"""


def evaluated(monkeypatch, folder, outputs):
    """Return what the figure of rewards is given after runs of these names have printed this."""
    lines = [json.dumps({"run": run, "seed": 1, "output": text}) for run, text in outputs.items()]
    (folder / "rhyme.jsonl").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.setattr("records.FOLDER", folder)
    return measured.reward()


def test_of_a_reward_each_evaluation_is_read_with_its_poem(monkeypatch, tmp_path):
    assert evaluated(monkeypatch, tmp_path, {"counted": "no evaluations"}) is None
    (run,) = evaluated(monkeypatch, tmp_path, {"rhyme": EVALUATIONS, "x": ""})["runs"]
    assert run["name"] == "rhyme" and run["steps"] == [0, 50]
    assert run["curves"]["reward"] == [0.335, 1.109]
    assert list(run["curves"]) == [*"reward whole rhyme distinct divergence val_loss".split()]
    first, second = run["poems"]
    assert first["title"] == "浣溪沙 苏轼" and first["body"].endswith("\n夕阳西下")
    assert second["body"].endswith("几时回。")
    assert first["marks"] == [[7, True, None], [7, True, False], [7, False, False]]
    assert second["marks"] == [[7, True, None], [7, True, True], [7, True, True]]


# --- once in a browser

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
needs_browser = pytest.mark.skipif(
    not os.environ.get("CI") and not (CHROMIUM and importlib.util.find_spec("playwright")),
    reason="needs Chromium and pip install -r workshop/site/requirements.txt",
)


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        browser = p.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page(browser, tmp_path_factory):
    """All figures on one page, opened from disk; it asks for nothing and complains of nothing."""
    page, wrong = browser.new_context(offline=True, reduced_motion="reduce").new_page(), []
    page.on("console", lambda message: message.type == "error" and wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    file = tmp_path_factory.mktemp("figures") / "all.html"
    file.write_text(page_of(numbers()), encoding="utf-8")
    page.on("request", lambda r: r.url == file.as_uri() or wrong.append(r.url))
    page.goto(file.as_uri())
    yield page
    said = page.locator("main").inner_text()
    page.close()
    assert not wrong and not re.search("undefined|NaN|{", said)


def text(page, selector):
    return page.locator(selector).first.inner_text()


def cells(page, selector):
    """Return the table as rows of texts, its first column and heading left out."""
    script = (
        "(t) => [...t.tBodies[0].rows].map((r) => [...r.cells].slice(1).map((c) => c.innerText))"
    )
    return page.locator(f"{selector} table").first.evaluate(script)


def drawn(page, name):
    """Return of each chart of a figure the lines that it shows now."""
    script = """(boxes) => boxes.map(
      ({ plot }) => plot.data.filter((_, i) => i && plot.series[i].show))"""
    return page.locator(f"#{name} .plot").evaluate_all(script)


def pick(page, name, group, label):
    page.locator(f"#{name} fieldset").nth(group).get_by_label(label, exact=True).check(force=True)


def slide(page, name, value, which=0):
    page.locator(f"#{name} input[type=range]").nth(which).fill(str(value))


def percents(row):
    return [float(cell.rstrip("%")) / 100 for cell in row if cell]


@needs_browser
def test_typing_a_character_shows_what_follows_it(page):
    page.fill("#next_character input", "月")
    n, counted, counts, guessed, probs = numbers()["next_character"]["chars"]["月"]
    shown = page.locator("#next_character li").all_inner_texts()
    chars = [row.split()[0].replace("⏎", "\n").replace("␣", " ") for row in shown]
    assert "".join(chars) == counted + guessed
    shares = percents([row.split()[1] for row in shown])
    assert shares == pytest.approx([c / n for c in counts] + probs, abs=0.0051)
    both = len(set(counted) & set(guessed))
    assert f"{n:,} times" in text(page, "#next_character [role=status]")
    assert page.locator("#next_character li.both").count() == 2 * both
    page.fill("#next_character input", "Q")
    assert page.locator("#next_character li").count() == 0
    page.locator("#next_character button", has_text="⏎").click()
    assert page.locator("#next_character li").count() == 20


@needs_browser
def test_a_unit_shows_its_four_cases_with_and_without_the_relu(page):
    for i, found in enumerate(numbers()["hidden_unit"]["units"]):
        page.locator("#hidden_unit fieldset input").nth(i).check(force=True)
        for is_on, name in ((True, "passed"), (False, "sum")):
            page.get_by_label("ReLU", exact=True).set_checked(is_on)
            shown = cells(page, "#hidden_unit")
            for row, case in zip(shown, found["cases"], strict=True):
                assert int(row[0].replace(",", "")) == case["n"]
                mean = float(row[2].replace("−", "-"))
                assert mean == pytest.approx(case[name], abs=0.0051)
                assert percents(row[3:]) == pytest.approx([case["fires"] if is_on else 1], abs=6e-3)
        where = "(dots) => dots.map((dot) => Number(dot.getAttribute('cx')))"
        rows = page.locator("#hidden_unit svg").all()
        low = f"{min(found['cases'][0]['sums']):.2f}".replace("-", "−")
        assert f"from {low} to" in rows[0].get_attribute("aria-label")
        shown = [row.locator(".in").evaluate_all(where) for row in rows]
        assert shown == [row.locator(".out").evaluate_all(where) for row in rows]
        page.get_by_label("ReLU", exact=True).check()
        out = [row.locator(".out").evaluate_all(where) for row in rows]
        zero = min(itertools.chain(*out))  # where all that are negative stand now
        assert zero > min(itertools.chain(*shown))
        assert out == [[max(x, zero) for x in row] for row in shown]


@needs_browser
def test_the_average_becomes_the_fourth_step(page):
    names = attention.example()
    for times, weights in (
        (0, names["tril"] / names["tril"].sum(1, keepdim=True)),
        (1, names["weights"]),
    ):
        slide(page, "averaging", times)
        for row, right, mix in zip(
            cells(page, "#averaging"), weights, weights @ names["x"], strict=True
        ):
            assert percents(row[:3]) == pytest.approx([w for w in right.tolist() if w], abs=0.0051)
            assert json.loads(f"[{row[3][1:-1]}]") == pytest.approx(mix.tolist(), abs=0.0051)


@needs_browser
def test_the_example_can_be_edited_and_heads_of_v4_be_followed(page):
    names = attention.example()
    page.get_by_label("query of 水").fill("0 4 −1 0.5")
    query, key = torch.tensor([0, 4, -1, 0.5]), names["key"]
    dots = key @ query
    rows = cells(page, "#one_query")
    assert [float(row[1].replace("−", "-")) for row in rows] == pytest.approx(
        dots.tolist(), abs=0.0051
    )
    weights = (dots / 2).softmax(dim=0)
    assert percents([row[3] for row in rows]) == pytest.approx(weights.tolist(), abs=0.0051)
    mix = [f"{number:.2f}" for number in (weights @ names["x"]).tolist()]
    assert f"({', '.join(mix)})" in text(page, "#one_query > p")
    page.get_by_label("divide by √d").uncheck()
    rows = cells(page, "#one_query")
    assert percents([row[3] for row in rows]) == pytest.approx(dots.softmax(0).tolist(), abs=0.0051)
    page.get_by_label("divide by √d").check()
    page.get_by_label("query of 水").fill("0 4 x")
    assert page.get_by_label("query of 水").get_attribute("aria-invalid") == "true"
    rows = cells(page, "#one_query")  # what cannot be read changes nothing
    assert percents([row[3] for row in rows]) == pytest.approx(weights.tolist(), abs=0.0051)
    page.get_by_role("button", name="reset").click()
    assert page.get_by_label("query of 水").input_value() == "1 3 1 0"
    head = numbers()["one_query"]["sources"][2]["head"]
    pick(page, "one_query", 0, f"a trained v4, head {head}")
    pick(page, "one_query", 1, "月")
    shown = percents([row[3] for row in cells(page, "#one_query")])
    assert shown == pytest.approx(weights_in(attention.POEM[:8])[head][3].tolist(), abs=0.0051)
    assert shown[4:] == [0, 0, 0, 0]
    page.get_by_label("mask what comes later").uncheck()
    assert sum(percents([row[3] for row in cells(page, "#one_query")])[4:]) > 0


@needs_browser
def test_each_head_shows_its_weights_over_the_poem(page):
    pick(page, "heads", 0, "往事知多少。⏎小")
    pick(page, "heads", 1, "多")
    for head, weights in enumerate(weights_in(attention.POEM[8:16])):
        share = "(cells) => cells.map((c) => +c.style.getPropertyValue('--share'))"
        section = page.locator("#heads section").nth(head)
        shown = torch.tensor(section.locator(".cell").evaluate_all(share)).view(8, 8)
        torch.testing.assert_close(shown, weights, atol=6e-4, rtol=0)
        row = section.locator(".looking .cell").all_inner_texts()
        wanted = [round(100 * w, 1) for w in weights[3].tolist()]
        assert all(abs(float(n) - w) <= 0.6 for n, w in zip(row, wanted, strict=True) if n)
        assert f"多 ← {'往事知多少。⏎小'[weights[3].argmax()]}" in section.inner_text()
    own, before, _ = attention.work_of_heads()
    said = text(page, "#heads > p")
    assert f"head {own['head']} gives {own['share']:.0%}" in said
    assert f"head {before['head']} gives {before['share']:.0%}" in said


@needs_browser
def test_signal_and_gradient_are_shown_of_the_version_and_time_chosen(page):
    page.locator("#depth summary").click()
    pick(page, "depth", 0, "both")
    before = page.evaluate("[...written]")
    page.evaluate("written.clear()")
    pick(page, "depth", 1, "after 1,600 steps")
    runs = [run for run in numbers()["depth"]["runs"] if run["when"] == "trained"]
    for row, run in zip(cells(page, "#depth .numbers"), runs, strict=True):
        pairs = [[plain(number) for number in cell.split(" / ")] for cell in row]
        for pair, *right in zip(pairs, run["spread"], run["gradient"], strict=True):
            assert pair == pytest.approx(right, rel=0.06)
    for chart, what in zip(drawn(page, "depth"), ("spread", "gradient"), strict=True):
        assert chart == [[value or None for value in run[what]] for run in runs]
    dead = any(0 in run["spread"] + run["gradient"] for run in runs)
    assert page.evaluate("written.has('0')") == dead  # no height of a logarithmic scale
    page.evaluate("(before) => before.forEach((text) => written.add(text))", before)  # for the rest
    pick(page, "depth", 0, "v7: x = x + f(x)")
    assert len(cells(page, "#depth .numbers")) == 3
    assert [len(chart) for chart in drawn(page, "depth")] == [3, 3]


def plain(number):
    """Return the number that a text such as 1.2×10⁻⁷ is."""
    number = re.sub("[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]", lambda c: "-0123456789"["⁻⁰¹²³⁴⁵⁶⁷⁸⁹".index(c[0])], number)
    return float(re.sub("^10(?=-)", "1×10", number).replace("×10", "e"))


@needs_browser
def test_who_writes_where_before_and_after_the_projection(page):
    pick(page, "who_writes", 1, "block 2")
    assert [percents(row) for row in cells(page, "#who_writes")] == torch.eye(4).tolist()
    pick(page, "who_writes", 0, "through proj, as from v8 on")
    found = torch.tensor(numbers()["who_writes"]["blocks"][1]["after"])
    shares = found.view(4, 4, 32).sum(-1) / found.sum(1, keepdim=True)
    for row, right in zip(cells(page, "#who_writes"), shares.tolist(), strict=True):
        assert percents(row) == pytest.approx(right, abs=0.0051)


@needs_browser
def test_the_handle_on_the_rate_tells_what_the_records_tell(page):
    rates = numbers()["rates"]
    for i, rate in enumerate(rates["rates"]):
        slide(page, "rates", i)
        assert float(text(page, "#rates output")) == rate
        for (cell,), found in zip(cells(page, "#rates"), rates["versions"].values(), strict=True):
            assert cell.count("diverged") == sum(v is None or v > rates["guess"] for v in found[i])
            shown = [part.partition(",")[0] for part in cell.split(" / ")]
            for part, loss in zip(shown, found[i] or [None], strict=True):
                missing = "no longer a number" if found[i] else "not measured"
                assert part == missing if loss is None else plain(part) == pytest.approx(loss, 0.06)
    (lines,), top = drawn(page, "rates"), rates["range"][1]
    means = [sum(found) / len(found) if found else None for found in rates["versions"]["v7"]]
    assert lines[0] == pytest.approx([mean if mean and mean < top else None for mean in means])


@needs_browser
def test_the_two_losses_part_as_in_the_records(page):
    for run in numbers()["overfitting"]["runs"]:
        pick(page, "overfitting", 0, str(run["dropout"]))
        slide(page, "overfitting", 1)
        train, val, low = run["train"][1], run["val"][1], min(run["val"])
        said = text(page, "#overfitting > p")
        numbers_said = [float(n) for n in re.findall(r"\d+\.\d+", said)]
        assert numbers_said == pytest.approx([train, val, val - train, low], abs=0.0051)
        assert drawn(page, "overfitting") == [[run["train"], run["val"]]]
        assert said.startswith(f"Step {run['steps'][1]}:") and f"averaged: {run['seeds']}" in said


@needs_browser
def test_lines_that_keep_the_tune_are_told_from_those_that_do_not(page):
    context = numbers()["context"]
    tune = context["tunes"][1]
    pick(page, "context", 0, tune["name"])
    for row in context["contexts"]:
        pick(page, "context", 1, str(row["context"]))
        lengths = form(tune["poems"][str(row["context"])])
        right = [a == b for a, b in itertools.zip_longest(lengths, tune["form"])][: len(lengths)]
        shown = page.locator("#context .written sub").all_inner_texts()
        assert [mark == "✓" for mark in shown] == right
        assert f"{row['whole']} of {context['asked']}" in text(page, "#context > p")


@needs_browser
def test_the_score_by_distance_is_that_of_v14s_rotation(page):
    model, chars, _ = model_of("evening")
    rotate, block, ids = loaded(14).rotate, model.blocks[0], [chars.index(c) for c in "，\n"]
    with torch.no_grad():
        qkv = block.sa.qkv(block.ln1(model.token_embedding_table.weight[ids]))
    query, key, _ = qkv.view(2, 3, 6, 32)[:, :, 1].permute(1, 0, 2)
    at = rotate(torch.stack([query[:1].expand(64, -1), key[1:].expand(64, -1)]))  # both at 0 to 63
    scores = at[0] @ at[1].T / 32**0.5  # row: position of the query, column: of the key
    for first, distance in ((12, 6), (30, 6), (0, 41)):
        slide(page, "clock", first, 0)
        slide(page, "clock", distance, 1)
        shown = float(re.search("score (.+?),", text(page, "#clock > p"))[1].replace("−", "-"))
        assert shown == pytest.approx(scores[first + distance, first].item(), abs=0.02)
    assert scores[:, 0].argmax() == 6  # as the caption says
    ((line,),) = drawn(page, "clock")
    assert line == pytest.approx(scores[:, 0].tolist(), abs=0.02)
    speed = numbers()["clock"]["speeds"][attention.PLANES[1]]
    assert f"{41 * speed:.2f} radians" in text(page, "#clock figure:nth-of-type(2)")


@needs_browser
def test_what_the_cache_saves_is_what_v15_saves(page):
    """Counted in the scripts: positions that come through the last layer, while they write."""
    cache, counted = numbers()["cache"], {}
    model, chars, _ = model_of("evening")
    ids = torch.tensor([[chars.index(char) for char in cache["prompt"]]])
    first, n = ids.shape[1], 30
    for name, script in (("v14", 14), ("v15", 15)):
        seen = []
        hook = model.lm_head.register_forward_pre_hook(
            lambda _, x, seen=seen: seen.append(x[0].shape[1])
        )
        if script == 15:
            model.generate(ids, n - first + 1)
        else:  # without a cache the whole text is read for each character
            loaded(14).BabyGPT.generate(model, ids, n - first + 1)
        hook.remove()
        counted[name] = seen
    slide(page, "cache", n)
    positions, products = cells(page, "#cache")
    assert [int(n.replace(",", "")) for n in positions] == [
        sum(counted["v14"]),
        sum(counted["v15"]),
    ]
    lengths = list(itertools.accumulate(counted["v15"]))
    pairs = {"v14": sum(t * (t + 1) // 2 for t in counted["v14"]), "v15": 0}
    pairs["v15"] = sum(
        t * (t + 1) // 2 - (t - m) * (t - m + 1) // 2
        for t, m in zip(lengths, counted["v15"], strict=True)
    )
    times = cache["n_head"] * cache["n_layer"]
    assert [int(n.replace(",", "")) for n in products] == [pairs[v] * times for v in ("v14", "v15")]
    assert text(page, "#cache .written").replace("\n", "") == cache["poem"][:n].replace("\n", "")
    page.locator("#cache button").click()  # with little motion wanted, all at once
    assert text(page, "#cache output") == str(len(cache["poem"]))


@needs_browser
def test_temperature_and_top_k_do_what_v18_does(page):
    found, (model, chars, _) = numbers()["temperature"], model_of("evening")
    for i, begin in enumerate(found["beginnings"]):
        pick(page, "temperature", 0, begin["text"].strip().split("\n")[-1] + "⏎" * (i == 0))
        with torch.no_grad():
            ids = torch.tensor([[chars.index(char) for char in begin["text"]]])
            logits = model(ids)[0][0, -1]
        for t, k in ((0, 0), (0.5, 0), (1, 0), (1.2, 0), (1, 20), (0.5, 5)):
            slide(page, "temperature", found["temperatures"].index(t))
            pick(page, "temperature", 1, str(k or "all"))
            kept = logits.masked_fill(logits < logits.topk(k or len(logits)).values[-1], -torch.inf)
            probs = (kept / max(t, 1e-6)).softmax(dim=-1)
            best = [chars.index(char) for char in begin["chars"]]
            shown = page.locator("#temperature li").all_inner_texts()
            assert [row.split()[0] for row in shown] == list(begin["chars"])
            shares = percents([row.split()[1] for row in shown])
            assert shares == pytest.approx(probs[best].tolist(), abs=0.0052)
            rest = percents([text(page, "#temperature ol + p").split()[-1]])
            assert rest == pytest.approx([1 - probs[best].sum().item()], abs=0.0055)


@needs_browser
def test_beside_a_temperature_stands_what_was_measured(page):
    found, records = numbers()["temperature"], Records()
    names = {"0 0": "likeliest", "0.8 0": "temperature_0.8", "1 20": "top_20"}
    for setting, name in names.items():
        t, k = map(float, setting.split())
        slide(page, "temperature", found["temperatures"].index(t))
        pick(page, "temperature", 1, str(int(k) or "all"))
        here, real = zip(*cells(page, "#temperature"), strict=True)
        for column, run in ((here, name), (real, "real")):
            wanted = [
                records.values(run, what)[0] for what in ("whole", "distinct", "rhyme", "pairs")
            ]
            assert percents(column) == pytest.approx(wanted, abs=0.0051)
        poem = records.of(name)[0]["form"]["poems"][0]
        shown = page.locator("#temperature .written p:not(.muted)").all_inner_texts()
        assert [re.sub("[✓✗韵≠0-9 ]", "", row) for row in shown] == poem["body"].split("\n")
    slide(page, "temperature", 1)
    assert page.locator("#temperature .written").count() == 0  # nobody has measured that


@needs_browser
def test_a_poem_learns_to_rhyme_and_a_run_that_cheated_is_a_click_away(
    browser, monkeypatch, tmp_path
):
    cheated = EVALUATIONS.replace("去年天气旧亭", "一曲新词酒一").replace("1.109", "1.900")
    found = evaluated(monkeypatch, tmp_path, {"rhyme": EVALUATIONS, "cheats": cheated})
    page = browser.new_page()
    for language in LANGUAGES:
        (tmp_path / "page.html").write_text(page_of({"reward": found}, language), encoding="utf-8")
        page.goto((tmp_path / "page.html").as_uri())
        rows = page.locator("#reward .written p:not(.muted)")
        assert rows.all_inner_texts()[1:] == ["去年天气旧亭前。✓韵✗", "夕阳西下4≠7韵✗"]
        page.locator("#reward input[type=range]").press("ArrowRight")
        assert rows.all_inner_texts()[1:] == ["去年天气旧亭台。✓韵✓", "夕阳西下几时回。✓韵✓"]
        said = text(page, "#reward [role=status]")
        assert all(part in said for part in ("50", "1.11", "0.15", "0.95", "3.74", "3"))
        shares, rewards, losses = drawn(page, "reward")
        run = found["runs"][0]["curves"]
        assert shares == [run[n] for n in ("whole", "rhyme", "distinct")]
        assert [*rewards, *losses] == [run["reward"], run["val_loss"]]
        page.locator("#reward fieldset").get_by_label("cheats").check(force=True)
        assert rows.all_inner_texts()[1] == "一曲新词酒一台。✓韵✓"
        assert "1.90" in text(page, "#reward [role=status]")
        assert not re.search("undefined|NaN|{", page.locator("main").inner_text())
    page.close()


@needs_browser
def test_every_chart_is_drawn_and_every_control_moves_by_keyboard(page):
    colours = """[...document.querySelectorAll("canvas")].map((c) => new Set(new Uint32Array(
      c.getContext("2d").getImageData(0, 0, c.width, c.height).data.buffer)).size)"""
    pick(page, "depth", 0, "both")
    pick(page, "depth", 1, "after 1,600 steps")
    drawn = page.evaluate(colours)
    assert len(drawn) == 6 + 3 * ("reward" in numbers()) and min(drawn) > 20
    written = set(page.evaluate("[...written]"))
    assert {"train", "val", "v6", "v9", "3e-3", "4.7", "10⁻⁴"} <= written
    rates = numbers()["rates"]  # what is beyond the upper edge is named there
    for name, found in rates["versions"].items():
        beyond = any(v is None or v > rates["range"][1] for seeds in found for v in seeds)
        assert (f"↑ {name}" in written) == beyond
    radio = page.locator("#who_writes fieldset").nth(1).locator("input")
    radio.nth(0).focus()
    page.keyboard.press("ArrowRight")
    assert radio.nth(1).is_checked()
    page.locator("#averaging input").focus()
    page.keyboard.press("End")
    assert text(page, "#averaging output") == "× 2.00"


@needs_browser
def test_on_a_phone_nothing_is_cut_and_axe_finds_nothing(browser, tmp_path):
    page = browser.new_page(viewport={"width": 360, "height": 740}, color_scheme="dark")
    (tmp_path / "zh.html").write_text(page_of(numbers(), "zh-CN"), encoding="utf-8")
    page.goto((tmp_path / "zh.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    pick(page, "one_query", 0, "上文的例子")
    pick(page, "one_query", 1, "春")  # the others are hidden by the mask
    page.locator("summary").first.click()
    beyond = """((right) => [...document.querySelectorAll(".figure :not(.wide *)")]
      .filter((node) => right(node) > right(node.closest(".figure")) + 1)
      .map((node) => node.outerHTML.slice(0, 100)))((node) => node.getBoundingClientRect().right)"""
    assert page.evaluate(beyond) == []
    page.add_script_tag(path=AXE)
    found = page.evaluate(RUN_AXE)["violations"]
    assert [(v["id"], v["nodes"][0]["html"][:200]) for v in found] == []
    page.close()
