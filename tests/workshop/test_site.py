"""The lesson site as it is written, and the model in JavaScript against PyTorch's."""

import functools
import html
import itertools
import json
import re
import shutil
import subprocess
import sys
import tempfile
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
import pages  # noqa: E402
import weights  # noqa: E402
from diff import body, diff  # noqa: E402
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
    names = {file.stem for file in pages.DOCS[0].glob("*.md")} | {"index", "play"}
    texts = {file: file.read_text(encoding="utf-8") for file in built().rglob("*.html")}
    wanted = {built() / language / f"{name}.html" for language in LANGUAGES for name in names}
    assert set(texts) == {built() / "index.html", *wanted}
    assert {f"v{step.version:02}" for step in STEPS} < names
    for page, text in texts.items():
        for link in re.findall(r'(?:href|src)="([^"]+)"', text):
            path, _, anchor = unquote(link).partition("#")
            if not link.startswith("https://"):
                file = page.parent / path if path else page
                assert file.exists(), (page, link)
                assert not anchor or f'id="{anchor}"' in texts[file.resolve()], (page, link)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", ["index", "v01", "v07", "play", "glossary", "setup"])
def test_a_page_is_valid_html_with_headings_in_order(language, name):
    html5lib = pytest.importorskip("html5lib", reason="needs workshop/site/requirements.txt")
    text = (built() / language / f"{name}.html").read_text(encoding="utf-8")
    html5lib.HTMLParser(strict=True).parse(text)  # raises at the first error
    levels = [int(level) for level in re.findall(r"<h([1-6])", text)]
    assert levels.count(1) == 1
    assert all(level <= before + 1 for before, level in itertools.pairwise(levels))
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids))


def test_both_languages_explain_the_same_lines():
    for file in sorted(pages.DOCS[0].glob("v*.md")):
        en, zh = (docs / file.name for docs in pages.DOCS)
        read = [pages.read_page(page, page.read_text(encoding="utf-8")) for page in (en, zh)]
        assert [code for code, _ in read[0]["notes"]] == [code for code, _ in read[1]["notes"]]


def test_the_first_page_has_what_was_measured():
    text = (built() / "en" / "index.html").read_text(encoding="utf-8")
    for step in STEPS:
        assert f'<td><a href="v{step.version:02}.html">{step.name}</a>' in text
    assert Records().text("v7", "loss") in text and "浣溪沙" in text


# --- the code of a step


@by_version
def test_a_diff_has_every_line_of_the_version_and_of_the_one_before(step):
    rows = [row for part in diff(step) for row in part["rows"]]
    new = [row for row in rows if row["tag"] != "del"]
    assert [row["text"] for row in new] == body(step)
    assert [row["text"] for row in rows if row["tag"] != "ins"] == body(base_of(step) or step)
    lines = step.path.read_text(encoding="utf-8").splitlines()
    assert [lines[row["number"] - 1] for row in new] == body(step)
    for row in rows:
        assert html.unescape(re.sub(r"<[^>]+>", "", row["html"])) == row["text"]


def test_words_that_changed_are_marked_and_what_is_far_from_them_is_folded():
    before, near, after = diff(find_step("v7"))
    assert before["folded"] and after["folded"] and not near["folded"]
    assert before["names"][-1] == "Block" and "BabyGPT" in after["names"]
    new = [row for row in near["rows"] if row["tag"] == "ins"]
    assert [row["text"].strip() for row in new] == [
        "x = x + self.sa(x)",
        "x = x + self.ffwd(x)",
    ]
    for row in new:
        assert re.findall(r"<mark>.*?</mark>", row["html"]) == [
            "<mark>x</mark>",
            "<mark>+</mark>",
        ]


def test_nothing_of_the_first_version_is_folded_or_called_new():
    (part,) = diff(STEPS[0])
    assert not part["folded"] and {row["tag"] for row in part["rows"]} == {"span"}


def test_an_explanation_stands_at_its_line_and_without_one_it_is_an_error():
    notes = [("x = x + self.ffwd(x)", "why")]
    rows = [row for part in diff(find_step("v7"), notes) for row in part["rows"]]
    (row,) = (row for row in rows if row["notes"])
    assert row["text"].strip() == notes[0][0] and row["notes"] == ["why"]
    with pytest.raises(SystemExit, match="v7"):
        diff(find_step("v7"), [("x = self.ffwd(x)", "that line is gone")])


# --- the text of a page


@pytest.mark.parametrize(
    "link, wanted",
    [
        ("v03.md", "../en/v03.html"),
        ("../zh-CN/v03.md", "../zh-CN/v03.html"),
        ("setup.md#your-own-text", "../en/setup.html#your-own-text"),
        ("../../README.zh-CN.md#x", "index.html"),
        ("../../babygpt_v2_position.py", "v02.html"),
        ("../../beyond/README.md", None),
        ("../../tests/conftest.py", None),
        ("https://example.org/v03.md", "https://example.org/v03.md"),
    ],
)
def test_a_link_leads_to_the_page_of_the_site_if_there_is_one(link, wanted):
    found = pages.html(f"[there]({link})", pages.DOCS[0] / "v01.md")
    assert found == f"<p><a{f' href={wanted!r}' if wanted else ''}>there</a></p>\n".replace(
        "'", '"'
    )


def test_a_page_is_read_in_parts():
    text = """# v3: a head

<!-- links -->
[v2](v02.md)
<!-- end of links -->

**The question.** Why?

These are the new lines:

<!-- new lines -->
```diff
+x
```
<!-- end of new lines -->

**What it means.**

First <!-- loss v3 -->5.02<!-- -->.

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

![A picture](../images/ladder.svg)
"""
    page = pages.read_page(pages.DOCS[0] / "v03.md", text)
    assert page["title"] == "v3: a head"
    assert page["before"] == "<p><strong>The question.</strong> Why?</p>\n"
    assert page["after"].startswith('<h2 id="what-it-means">What it means</h2>\n<p>First 5.02.</p>')
    assert page["after"].endswith(
        '<p>Last.</p>\n<p><img src="../images/ladder.svg" alt="A picture" /></p>\n'
    )
    ((code, note),) = page["notes"]
    assert code == "x = 3" and note.startswith("<p>Because\nof this:</p>") and "pre" not in note
    assert "<td></td>\n<th>b</th>" in note and note.endswith("</table></div>\n")


# --- the models


@pytest.mark.parametrize("name", [name for name in MODELS if name != "evening"])
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
