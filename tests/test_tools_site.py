"""tools/site.py: the pages that it writes, and the model in JavaScript against PyTorch's."""

import importlib.util
import itertools
import json
import re
import shutil
import subprocess
import sys

import pytest
import torch
from conftest import ALPHABET, FILES, ROOT, SMALL, VOCAB, loaded, new_model

for package in ("jinja2", "markdown_it", "pygments"):
    pytest.importorskip(package, reason="needs pip install -r tools/site/requirements.txt")

sys.path.insert(0, str(ROOT / "tools"))
# By its path: Python has a module named site of its own
spec = importlib.util.spec_from_file_location("lesson_site", ROOT / "tools" / "site.py")
site = importlib.util.module_from_spec(spec)
spec.loader.exec_module(site)
import xray  # noqa: E402

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")


def javascript(weights, expression):
    """Return what an expression is, where m is the model of a file of weights."""
    text = (ROOT / "tools" / "site" / "model.js").read_text(encoding="utf-8")
    text += "let m; const babygpt = { loaded: (name, saved) => (m = new BabyGPT(saved)) };\n"
    text += f"{weights}\nconsole.log(JSON.stringify({expression}));"
    result = subprocess.run(["node"], input=text, capture_output=True, encoding="utf-8")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("version", [1, 4, 6, 9])
def test_committed_weights_have_the_loss_and_the_poems_of_their_record(version, capsys):
    record = site.Records().of(f"v{version}")[0]
    gpt, saved = loaded(version), torch.load(ROOT / site.WEIGHTS[f"v{version:02}"][0])
    model = gpt.BabyGPT(gpt.Config(device="cpu"), len(saved["chars"])).eval()
    model.load_state_dict(saved["model"])
    gpt.sample(model, gpt.Tokenizer(saved["chars"]), gpt.Config(device="cpu", seed=record["seed"]))
    assert capsys.readouterr().out.strip() == record["output"].partition("\n\n")[2]
    assert saved["val_loss"] == pytest.approx(record["curve"][-1]["val_loss"], abs=1e-3)


@needs_node
@pytest.mark.parametrize("version", range(1, 16))
def test_the_model_in_javascript_computes_what_pytorch_does(version, tmp_path, monkeypatch):
    """Random weights, all of them; a text within the window and one that is longer."""
    model = new_model(loaded(version), n_head=2).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_((torch.randn_like(p) / 4).half())
    sizes = {"block_size": SMALL["block_size"], "n_head": 2}
    saved = {"shape": sizes, "chars": sorted(ALPHABET), "model": model.state_dict()}
    torch.save(saved, tmp_path / "m.pt")
    monkeypatch.setattr(site, "ROOT", tmp_path)
    site.write_weights("m.pt", "m", version, tmp_path)
    weights = (tmp_path / "m.js").read_text(encoding="utf-8")
    ids = torch.randint(VOCAB, (11,))
    texts = [ids[:1], ids[:5], ids[:8], ids]
    script = "%s.map((ids) => [Array.from(m.read(ids)), m.attention])"
    results = javascript(weights, script % json.dumps([text.tolist() for text in texts]))
    for text, (logits, looks) in zip(texts, results, strict=True):
        window = text[None, -8:]
        wanted = model(window)[0][0, -1]
        torch.testing.assert_close(torch.tensor(logits), wanted, atol=1e-3, rtol=1e-5)
        for name, wanted in xray.look(loaded(version), model, window)[1].items():
            rows = [look[name] + [0.0] * (len(looks) - len(look[name])) for look in looks]
            rows = torch.tensor(rows, dtype=torch.float32)
            torch.testing.assert_close(rows, wanted, atol=1e-3, rtol=1e-5)


@needs_node
def test_a_character_is_drawn_where_the_probabilities_exceed_chance():
    for chance, wanted in ((0, 0), (0.19, 0), (0.2, 1), (0.69, 1), (0.7, 2), (0.999, 2)):
        assert javascript("", f"draw([0.2, 0.5, 0.3], {chance})") == wanted
    first = javascript("", "((next) => [next(), next(), next()])(randomNumbers(1337))")
    assert first == javascript("", "((next) => [next(), next(), next()])(randomNumbers(1337))")
    assert all(0 <= number < 1 for number in first) and len(set(first)) == 3


def test_every_version_has_a_page_in_both_languages_and_no_link_is_dead(folder):
    texts = {p: p.read_text(encoding="utf-8") for p in folder.rglob("*.html")}
    names = [f"v{version:02}" for version in FILES] + ["index", "play", "glossary"]
    wanted = [folder / language / f"{name}.html" for language in ("en", "zh-CN") for name in names]
    assert set(texts) == {folder / "index.html", *wanted}
    for page, text in texts.items():
        for target in re.findall(r'(?:href|src)="([^"]+)"', text):
            if not target.startswith(("https://", "#")):
                assert (page.parent / target).exists(), (page, target)
        assert not re.findall(r'src="http|<link[^>]+http', text)  # nothing is loaded from elsewhere
        assert len(re.findall("<h1", text)) == 1 and "<title>" in text and "<html lang=" in text
        assert len(text.encode()) < 200_000


@pytest.mark.parametrize("name", ["index", "v01", "v07", "play", "glossary"])
def test_a_page_is_valid_html_with_headings_in_order(folder, name):
    html5lib = pytest.importorskip("html5lib", reason="needs tools/site/requirements.txt")
    for language in ("en", "zh-CN"):
        text = (folder / language / f"{name}.html").read_text(encoding="utf-8")
        html5lib.HTMLParser(strict=True).parse(text)  # raises at the first error
        levels = [int(level) for level in re.findall(r"<h([1-6])", text)]
        assert all(level <= before + 1 for before, level in itertools.pairwise(levels))
        ids = re.findall(r' id="([^"]+)"', text)
        assert len(ids) == len(set(ids))


def test_the_diff_puts_old_and_new_side_by_side_and_marks_what_changed():
    (block,) = (part for part in site.diff(7) if not part["folded"])
    assert block["name"] == "Block"
    changed = [row for row in block["rows"] if row["changed"]]
    assert [row["code"].strip() for row in changed] == [
        "x = x + self.sa(x)",
        "x = x + self.ffwd(x)",
    ]
    assert all(row["old"] and "<mark>" in row["new"] for row in changed)


def test_what_is_gone_stands_where_it_stood():
    names = [part["name"] for part in site.diff(13)]
    assert names.index("Head") == names.index("MultiHeadAttention") - 1


def test_an_explanation_of_a_line_that_nobody_has_is_an_error():
    with pytest.raises(SystemExit, match="no new line has 'x = 3'"):
        site.place_notes(site.diff(7), [("x = 3", "")], "v07.md")
