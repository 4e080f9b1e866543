"""The lesson site as it is written, and the model in JavaScript against PyTorch's."""

import ast
import functools
import html
import itertools
import json
import re
import shutil
import subprocess
import sys
import tempfile
import unicodedata
import zipfile
from pathlib import Path
from urllib.parse import unquote

import pytest
import torch
from conftest import ALPHABET, SMALL, VOCAB, loaded, new_model
from steps import ROOT, STEPS, base_of, find_step

for package in ("jinja2", "markdown_it", "pygments"):
    pytest.importorskip(package, reason="needs pip install -r workshop/site/requirements.txt")

SITE = ROOT / "workshop" / "site"
sys.path[1:1] = [str(SITE)]  # nothing else needs what is in there

import build  # noqa: E402
import comments  # noqa: E402
import home  # noqa: E402
import links  # noqa: E402
import pages  # noqa: E402
import renderer  # noqa: E402
import weights  # noqa: E402
from diff import body, excerpt, fold, is_replaced, rows_of  # noqa: E402
from records import Records  # noqa: E402

LANGUAGES = ("en", "zh-CN")
MODELS = {name: (version, file) for name, version, file in weights.models(Records())}
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
by_version = pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)


@functools.cache
def built():
    """Return the folder of the site, built once for all tests that look at it."""
    folder = tempfile.TemporaryDirectory(prefix="babygpt-site-")
    build.build(Path(folder.name) / "site")
    built.folder = folder  # it lives as long as the tests
    return Path(folder.name).resolve() / "site"


def model_of(name):
    """Return script, model, characters and sizes of a committed model, as PyTorch reads them."""
    version, file = MODELS[name]
    saved, gpt = torch.load(file, weights_only=True), loaded(version)
    sizes = {k: v for k, v in saved["shape"].items() if k in gpt.Config.__dataclass_fields__}
    model = gpt.BabyGPT(gpt.Config(device="cpu", **sizes), len(saved["chars"]))
    model.load_state_dict({key: tensor.float() for key, tensor in saved["model"].items()})
    return gpt, model.eval(), saved["chars"], saved


# --- the pages


def test_every_page_is_there_and_no_link_is_dead():
    names = {*links.files_of(links.DOCS[0]), "index", "play"}
    texts = {file: file.read_text(encoding="utf-8") for file in built().rglob("*.html")}
    wanted = {built() / language / f"{name}.html" for language in LANGUAGES for name in names}
    assert set(texts) == {built() / "index.html", *wanted}
    assert {"setup", "glossary", "debugging", "records", "readme", "v01", "v17"} < names
    for page, text in texts.items():
        for link in re.findall(r'(?:href|src)="([^"]+)"', text):
            path, _, anchor = unquote(link).partition("#")
            if not link.startswith("https://"):
                file = page.parent / path if path else page
                assert file.exists(), (page, link)
                assert not anchor or f'id="{anchor}"' in texts[file.resolve()], (page, link)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", ["index", "v01", "v07", "play", "glossary", "readme"])
def test_a_page_is_valid_html_with_headings_in_order(language, name):
    html5lib = pytest.importorskip("html5lib", reason="needs workshop/site/requirements.txt")
    text = (built() / language / f"{name}.html").read_text(encoding="utf-8")
    html5lib.HTMLParser(strict=True).parse(text)  # raises at the first error
    levels = [int(level) for level in re.findall(r"<h([1-6])", text)]
    assert levels.count(1) == 1
    assert all(level <= before + 1 for before, level in itertools.pairwise(levels))
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("language", LANGUAGES)
def test_pages_are_small(language):
    """With all that they load before a model is asked for."""
    for file in (built() / language).glob("*.html"):
        loads = re.findall(r'(?:href|src)="([^"]+\.(?:css|js|svg))"', file.read_text("utf-8"))
        sizes = [(file.parent / path).stat().st_size for path in [file, *loads]]
        assert sum(sizes) < (150_000 if file.stem == "index" else 400_000), (file.stem, sizes)


def test_both_languages_explain_the_same_lines():
    for file in sorted(links.DOCS[0].glob("v*.md")):
        quoted = []
        for docs in links.DOCS:
            page = docs / file.name
            _, sections = pages.read_page(page.read_text(encoding="utf-8"), {})
            tokens = [token for _, found in sections for token in found if token.type == "strip"]
            quoted.append([token.meta["code"] for token in tokens])
        assert quoted[0] == quoted[1], file.name


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_notes_of_a_section_stand_in_the_order_of_the_code(language):
    """Each has its lines above it; v1 speaks of its model first, and of the rest after that.

    And its line has a mark for each, of v3's scores two.
    """
    for file in (built() / language).glob("v*.html"):
        text = file.read_text(encoding="utf-8")
        assert {*re.findall(r'id="(note-\d+)"', text)} == {
            *re.findall(r'class="mark" href="#(note-\d+)"', text)
        }, file.name
        for section in text.split("<section")[1:]:
            lines = re.findall(r'id="note-\d+"><a class="mark" href="#L(\d+)"', section)
            assert [*map(int, lines)] == sorted(map(int, lines)), file.name


def test_the_first_page_has_each_step_with_its_dots_and_what_counting_scores():
    text = (built() / "en" / "index.html").read_text(encoding="utf-8")
    ladder = home.ladder(Records())
    for step, dots, *_ in ladder["rows"]:
        assert f'<a class="rung" href="v{step.version:02}.html">' in text
        assert len(dots) == len(Records().find(step.name)) or step.version > 10
        assert all(f'style="left: {at}%"' in text and 0 <= at <= 100 for at in dots)
    assert [name for _, name, _ in ladder["counted"]] == [
        "counted_characters",
        "counted_pairs",
        "counted_triples",
    ]
    assert Records().text("v7", "loss") in text and "x = <mark>x</mark>" in text


# --- the code of a step


@by_version
def test_a_diff_has_every_line_of_the_version_and_of_the_one_before(step):
    rows = rows_of(step)
    new = [row for row in rows if row["tag"] != "del"]
    assert [row["text"] for row in new] == body(step)
    assert [row["text"] for row in rows if row["tag"] != "ins"] == body(base_of(step) or step)
    lines = step.path.read_text(encoding="utf-8").splitlines()
    assert [lines[row["number"] - 1] for row in new] == body(step)
    for row in rows:
        assert html.unescape(re.sub(r"<[^>]+>", "", row["html"])) == row["text"]


def test_words_that_changed_are_marked_and_what_is_far_from_them_is_folded():
    rows = rows_of(find_step("v7"))
    before, near, after = fold(rows)
    assert before["folded"] and after["folded"] and not near["folded"] and near["lines"] <= 10
    assert before["names"][0] == "imports" and "BabyGPT" in after["names"]
    new = [row for row in rows if row["tag"] == "ins"]
    assert [row["text"].strip() for row in new] == [
        "x = x + self.sa(x)",
        "x = x + self.ffwd(x)",
    ]
    for row in new:
        assert re.findall(r"<mark>.*?</mark>", row["html"]) == [
            "<mark>x</mark>",
            "<mark>+</mark>",
        ]


def test_of_the_first_version_the_model_is_shown_and_each_definition_folded_by_itself():
    rows = rows_of(STEPS[0])
    parts = fold(rows, by_section=True)
    assert {row["tag"] for row in rows} == {"span"}
    assert [part["names"] for part in parts if not part["folded"]] == [["BabyGPT"]]
    assert all(len(part["names"]) == 1 for part in parts)


def test_lines_that_are_replaced_stand_side_by_side_and_what_is_folded_has_a_readers_name():
    rows = {step.name: rows_of(step) for step in STEPS}
    replaced = [name for name, found in rows.items() if is_replaced(found)]
    assert replaced == ["v7", "v9", "v11"]
    names = {name for found in rows.values() for part in fold(found) for name in part["names"]}
    assert names <= set(build.TEXTS["names"])


def test_an_excerpt_has_the_line_that_is_explained_or_all_that_are_quoted():
    rows = rows_of(find_step("v7"))
    (row,) = excerpt(rows, "x = x + self.ffwd(x)")
    assert row["tag"] == "ins"
    first = rows_of(STEPS[0])
    at = next(i for i, row in enumerate(first) if "self.chars = sorted(" in row["text"])
    lines = [row["text"] for row in first[at : at + 2]]
    quoted = excerpt(first, "self.chars = sorted(", "\n".join(lines) + "\n")
    assert [row["text"] for row in quoted] == lines
    with pytest.raises(SystemExit, match="ffwd"):
        excerpt(rows, "x = self.ffwd(x)")


# --- comments in Chinese


@by_version
def test_every_comment_has_a_translation_and_the_code_stays_the_same(step):
    source = step.path.read_text(encoding="utf-8")
    asked = set()

    class Asked(dict):
        def get(self, text, default):
            asked.add(text)
            return super().get(text, default)

    chinese = comments.in_chinese(source, Asked(comments.CHINESE))
    assert asked - set(comments.CHINESE) == set()
    assert bare(chinese) == bare(source)
    assert chinese.count("\n") == source.count("\n")
    for line in chinese.splitlines():
        assert sum(1 + (unicodedata.east_asian_width(c) in "WF") for c in line) <= 100, line
    assert (built() / "scripts" / "zh-CN" / step.path.name).read_text(encoding="utf-8") == chinese


def bare(source):
    """Return a source without docstrings and comments."""
    tree = ast.parse(source)
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, kinds) and ast.get_docstring(node):
            node.body[0].value.value = ""
    return ast.dump(tree)


def test_a_page_shows_both_languages_of_a_comment():
    rows = rows_of(find_step("v3"), chinese=True)
    row = next(row for row in rows if "softmax(scores" in row["text"])
    shown = '<span class="c" data-en="# (B, T, T), each row sums to 1">'
    assert f"{shown}# (B, T, T)，每行之和为 1</span>" in row["html"]


# --- what a reader takes along


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_file_of_a_task_is_the_version_before_with_the_task_on_top(language):
    text = (built() / "start" / language / "my_v7.py").read_text(encoding="utf-8")
    assert body(find_step("v6")) == text.partition('"""\n')[2].splitlines()
    assert "python tools/practice.py v7 my_v7.py" in text.partition('"""\n')[0]
    page = (built() / language / "v07.html").read_text(encoding="utf-8")
    assert f"../start/{language}/my_v7.py" in page and page.count("<details") >= 5
    assert page.index('class="practice"') < page.index('class="answer"') < page.index("meaning")


def test_the_repository_comes_as_one_file():
    with zipfile.ZipFile(built() / "babygpt.zip") as kept:
        names = {name.removeprefix("babygpt/") for name in kept.namelist()}
    wanted = {"README.md", "requirements.txt", "data/ci.txt", "data/babygpt_evening.pt"}
    wanted |= {"data/weights/v04.pt", "workshop/rules.py"}
    wanted |= {step.file for step in STEPS} | {"tools/practice.py", "tests/conftest.py"}
    wanted |= {"tools/tasks/v7.toml", "docs/records/ladder.jsonl", "docs/en/v07.md"}
    assert wanted <= names
    assert not any(name.startswith(("my_", "site/", ".git/")) or ".pyc" in name for name in names)


# --- the text of a page


@pytest.mark.parametrize(
    "link, wanted",
    [
        ("v03.md", "../en/v03.html"),
        ("../zh-CN/v03.md", "../zh-CN/v03.html"),
        ("setup.md#your-own-text", "../en/setup.html#your-own-text"),
        ("../../README.zh-CN.md#x", "../zh-CN/readme.html#x"),
        ("../../babygpt_v2_position.py", "v02.html"),
        ("../../beyond/README.md", "../en/beyond.html"),
        ("../../tests/conftest.py", None),
        ("https://example.org/v03.md", "https://example.org/v03.md"),
    ],
)
def test_a_link_leads_to_the_page_of_the_site_if_there_is_one(link, wanted, monkeypatch):
    monkeypatch.setattr(links, "REPOSITORY", None)
    assert links.target(links.DOCS[0] / "v01.md", link) == wanted


def test_what_is_no_page_is_in_the_repository_if_that_is_known(monkeypatch):
    monkeypatch.setattr(links, "REPOSITORY", "someone/babygpt")
    found = links.target(links.DOCS[0] / "v01.md", "../../tests/conftest.py")
    assert found == "https://github.com/someone/babygpt/blob/main/tests/conftest.py"


PAGE = """# v3: a head

<!-- links -->
[v2](v02.md)
<!-- end of links -->

**The question.** Why?

<!-- practice -->
**Write it first.** Do `this`:

```sh
python tools/practice.py v3
```

<details><summary>Three hints</summary>

1. One.
2. Two.

</details>
<!-- end of practice -->

These are the new lines:

<!-- new lines -->
```diff
+x
```
<!-- end of new lines -->

**What it means.**

**A trap.** `x`: first <!-- loss v3 -->5.02<!-- -->.

<!-- at: x = 3 -->
Because
of this:

| | b |
|---|---|
| c | d |

```python
x = 3
```

Last.

**Measured.** Twice.

**Exercise.** Guess.

<details><summary>Answer</summary>

It is <!-- loss v7 -->4.74<!-- -->.

</details>
"""


def test_a_page_is_read_in_sections_in_the_order_of_its_text():
    names = {label: name for name, (label, _) in build.TEXTS["sections"].items()}
    title, sections = pages.read_page(PAGE, names)
    env = {"file": links.DOCS[0] / "v03.md", "records": Records(), "t": words("en")}
    env |= {"strip": "[{}|{}]".format, "guess": "<form></form>", "start": "[start]"}
    shown = [(name, renderer.as_html(tokens, **env, section=name)) for name, tokens in sections]
    shown = {name: text for name, text in shown if text}
    assert title == "v3: a head"
    assert list(shown) == ["question", "practice", "meaning", "measured", "exercise"]
    assert shown["question"] == "<p>Why?</p>\n" and "lines" in dict(sections)
    task = shown["practice"]
    assert task.startswith('<h2 id="write-it-first">Write it first</h2>\n<p>Do <code>this</code>:')
    assert "[start]<pre>" in task and "<summary>Hint 2</summary><p>Two." in task
    assert "Three hints" not in task
    meaning = shown["meaning"]
    assert "<strong>A trap.</strong> <code>x</code>: first 5.02." in meaning
    assert meaning.index("[x = 3|x = 3\n]") < meaning.index("<p>Because\nof this:</p>")
    assert "<td></td>\n<th>b</th>" in meaning and meaning.endswith("<p>Last.</p>\n")
    assert shown["measured"] == '<h2 id="measured">Measured</h2>\n<p>Twice.</p>\n'
    assert "<form></form><details>" in shown["exercise"] and "<polyline" in shown["exercise"]


def words(language):
    return build.words_of(build.TEXTS, LANGUAGES.index(language))


def test_what_is_drawn_with_characters_or_by_a_figure_is_no_second_picture():
    names = ("v06", "v07", "v09", "v10")
    v06, v07, v09, v10 = ((built() / "zh-CN" / f"{n}.html").read_text("utf-8") for n in names)
    assert 'data-figure="depth"' in v06 and 'data-figure="depth"' in v07
    assert 'data-figure="rates"' in v09 and "rates.zh-CN.svg" not in v09
    assert '<g class="wire">' in v07 and "--&gt;" not in v07
    assert 'data-figure="overfitting"' in v10 and "little_text" not in v10
    assert 'data-figure="all_heads"' in v10 and "attention.svg" not in v10


def test_each_run_of_an_exercise_has_a_name_in_both_languages():
    for language in LANGUAGES:
        for file in (built() / language).glob("v*.html"):
            assert ">exercise_" not in file.read_text(encoding="utf-8"), file.name


def test_of_seeds_that_are_far_apart_an_answer_draws_each():
    for page, drawn in (("v06", True), ("v07", True), ("v05", False)):
        text = (built() / "en" / f"{page}.html").read_text(encoding="utf-8")
        assert all((f">v6 ({seed})" in text) == drawn for seed in (1337, 1338, 1339))


# --- the models


@pytest.mark.parametrize("name", [name for name in MODELS if name[0] == "v"])
def test_committed_weights_have_the_loss_and_the_poems_of_their_record(name, capsys):
    gpt, model, chars, saved = model_of(name)
    record = Records().of(f"v{MODELS[name][0]}")[0]
    gpt.sample(model, gpt.Tokenizer(chars), gpt.Config(device="cpu", seed=record["seed"]))
    assert capsys.readouterr().out.strip() == record["output"].partition("\n\n")[2].strip()
    assert saved["val_loss"] == pytest.approx(record["curve"][-1]["val_loss"], abs=1e-3)


def javascript(weights, expression):
    """Return what an expression is, where m is the model of a file of weights."""
    text = (SITE / "model.js").read_text(encoding="utf-8")
    text += "let m; const loaded = (name, saved) => (m = new BabyGPT(saved));\n"
    text += f"{weights}\nconsole.log(JSON.stringify({expression}));"
    result = subprocess.run(["node"], input=text, capture_output=True, encoding="utf-8")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@needs_node
@pytest.mark.parametrize("version", [version for _, version, _ in weights.models(Records())])
def test_the_model_in_javascript_computes_what_pytorch_does(version, tmp_path):
    """Random weights, all of them; a text within the window and one that is longer."""
    model = new_model(loaded(version), n_head=2).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_((torch.randn_like(p) / 4).half())
    sizes = {"block_size": SMALL["block_size"], "n_head": 2}
    saved = {"shape": sizes, "chars": sorted(ALPHABET), "model": model.state_dict()}
    torch.save(saved, tmp_path / "m.pt")
    weights.write_weights("m", version, tmp_path / "m.pt", tmp_path)
    ids = torch.randint(VOCAB, (11,))
    texts = [ids[:1], ids[:5], ids[:8], ids]
    expression = f"{[t.tolist() for t in texts]}.map((ids) => [Array.from(m.read(ids)), m.looks])"
    results = javascript((tmp_path / "m.js").read_text(encoding="utf-8"), expression)
    for text, (logits, looks) in zip(texts, results, strict=True):
        wanted = model(text[None, -8:])[0][0, -1]
        torch.testing.assert_close(torch.tensor(logits), wanted, atol=1e-3, rtol=1e-5)
        for i, heads in enumerate(looks):
            assert all(len(w) == i + 1 and abs(sum(w) - 1) < 1e-5 for w in heads.values())


@needs_node
def test_a_character_is_drawn_where_the_probabilities_exceed_chance():
    for chance, wanted in ((0, 0), (0.19, 0), (0.2, 1), (0.69, 1), (0.7, 2), (0.999, 2)):
        assert javascript("", f"draw([0.2, 0.5, 0.3], {chance})") == wanted
    numbers = "((next) => Array.from({ length: 1000 }, next))(randomNumbers(%d))"
    first, again, other = (javascript("", numbers % seed) for seed in (1337, 1337, 1338))
    assert first == again != other and all(0 <= number < 1 for number in first)
    assert sum(first) / 1000 == pytest.approx(0.5, abs=0.05)
