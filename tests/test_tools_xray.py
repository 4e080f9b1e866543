"""tools/xray.py on tiny models: shapes, parameters, time, attention, pictures."""

import dataclasses
import re
import sys
import unicodedata
import warnings
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from torch.nn import functional as F

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import steps  # noqa: E402
import xray  # noqa: E402

TEXT = "春江花月夜"
CORPUS = "春江花月夜，往事知多少。" * 20  # 11 different characters
SIZES = {"n_embed": 12, "n_head": 3, "n_layer": 2, "block_size": 6, "batch_size": 2}
SIZES |= {"device": "cpu", "eval_iters": 1}


@pytest.fixture
def xrayed(tmp_path, monkeypatch, capsys):
    """Return a function that runs the tool on tiny models and returns what it printed."""
    (tmp_path / "corpus.txt").write_text(CORPUS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def run(version, *arguments, status=0, **sizes):
        first_with = {"n_head": 4, "n_layer": 6}
        sets = {"data_path": "corpus.txt", **SIZES, **sizes}
        number = int(version.lstrip("v"))
        for name, value in sets.items():
            if number >= first_with.get(name, 1):
                arguments += ("--set", f"{name}={value}")
        if status == 0:
            xray.main([version, *arguments])
            return capsys.readouterr().out
        with pytest.raises(SystemExit) as end:
            xray.main([version, *arguments])
        assert end.value.code == status
        printed = capsys.readouterr()
        assert printed.err.startswith("error: ") and printed.err.count("\n") == 1
        assert printed.out == ""
        return printed.err

    return run


def tiny_model(version, **sizes):
    """Return a version's script, an untrained model of it, and its config."""
    script = xray.load_script(steps.find_step(version))
    names = {f.name for f in dataclasses.fields(script.Config)}
    config = script.Config(**{k: v for k, v in {**SIZES, **sizes}.items() if k in names})
    torch.manual_seed(0)
    return script, script.BabyGPT(config, len(set(CORPUS))), config


def columns(line):
    """Return how many columns of a terminal a line takes."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in line)


def table_of(output):
    """Return the rows of the table of modules, without the time."""
    lines = output.split("\n\n")[1].splitlines()[1:]
    return [re.split(r"  +", line.strip())[:4] for line in lines]


@pytest.mark.parametrize("step", steps.STEPS, ids=lambda step: f"v{step.version}")
def test_every_version_shows_its_parameters_and_where_the_time_goes(xrayed, step):
    output = xrayed(f"v{step.version}")
    _, model, _ = tiny_model(f"v{step.version}")
    total = f"{sum(p.numel() for p in model.parameters()):,}"
    assert f"parameters in all: {total}\n" in output
    assert table_of(output)[0] == ["BabyGPT", "(B=1, T=5)", "(B=1, T=5, V=12)", total]
    shares = map(int, re.search(r"forward (\d+)%, backward (\d+)%, opt.* (\d+)%", output).groups())
    assert sum(shares) in (99, 100, 101)
    assert "weights: untrained" in output
    assert ("attention: none" in output) == (step.version < 3)


def test_modules_stand_in_the_order_of_the_data_with_named_shapes(xrayed):
    x, inside = "(B=1, T=5, C=12)", "(B=1, T=5, 4*C=48)"
    head = "(B=1, T=5, head_size=4)"
    assert table_of(xrayed("v10")) == [
        ["BabyGPT", "(B=1, T=5)", "(B=1, T=5, V=12)", "4,092"],
        ["token_embedding_table: Embedding", "(B=1, T=5)", x, "144"],
        ["position_embedding_table: Embedding", "(T=5)", "(T=5, C=12)", "72"],
        ["blocks: Sequential", x, x, "3,696"],
        ["0..1: Block x2", x, x, "3,696"],
        ["ln1: LayerNorm x2", x, x, "48"],
        ["sa: MultiHeadAttention x2", x, x, "1,176"],
        ["heads.0..2: Head x6", x, head, "864"],
        ["key: Linear x6", x, head, "288"],
        ["query: Linear x6", x, head, "288"],
        ["value: Linear x6", x, head, "288"],
        ["dropout: Dropout x6", "(B=1, T=5, T=5)", "(B=1, T=5, T=5)", "0"],
        ["proj: Linear x2", x, x, "312"],
        ["dropout: Dropout x2", x, x, "0"],
        ["ln2: LayerNorm x2", x, x, "48"],
        ["ffwd: FeedForward x2", x, x, "2,424"],
        ["net: Sequential x2", x, x, "2,424"],
        ["0: Linear x2", x, inside, "1,248"],
        ["1: ReLU x2", inside, inside, "0"],
        ["2: Linear x2", inside, x, "1,176"],
        ["3: Dropout x2", x, x, "0"],
        ["ln_final: LayerNorm", x, x, "24"],
        ["lm_head: Linear", x, "(B=1, T=5, V=12)", "156"],
    ]


def test_timing_changes_neither_the_model_nor_its_hooks():
    _, model, config = tiny_model("v10")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    split, seconds = xray.time_step(model, config, 12)
    assert min(split) > 0 and split[0] >= seconds[""] > seconds["blocks"] > seconds["blocks.0"] > 0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize("version, heads", [("v3", 1), ("v4", 3), ("v10", 6)])
def test_attention_weights_are_those_of_the_model(version, heads):
    _, model, _ = tiny_model(version)
    idx = torch.arange(5)[None]
    calls = xray.look(model, idx)
    weights = xray.attention_weights(model, calls)
    outputs = {name: output for name, _, _, output in calls}
    assert len(weights) == heads
    for name, w in weights.items():
        q, k, v = (outputs[f"{name}.{part}"] for part in ("query", "key", "value"))
        # PyTorch's own attention, which passes the weights on where the values are the identity
        expected = F.scaled_dot_product_attention(q, k, torch.eye(5)[None], is_causal=True)
        torch.testing.assert_close(w, expected[0])
        torch.testing.assert_close(w[None] @ v, outputs[name])


def test_a_head_that_computes_something_else_is_not_shown(capsys, monkeypatch):
    script, model, _ = tiny_model("v9")
    forward = script.Head.forward
    monkeypatch.setattr(script.Head, "forward", lambda self, x: forward(self, x.flip(1)).flip(1))
    calls = xray.look(model, torch.arange(5)[None])
    with pytest.raises(SystemExit):
        xray.attention_weights(model, calls)
    assert "no longer computes what xray" in capsys.readouterr().err


def test_the_heat_map_is_aligned_and_holds_the_percentages():
    weights = torch.tensor([[1, 0, 0], [0.05, 0.95, 0], [0.25, 0.5, 0.25]])
    assert [line.rstrip() for line in xray.heat_map("sa", weights, "春a月")] == [
        "sa",
        "   春  a   月",
        "春 █100",
        "a  ░5  █95",
        "月 ▒25 ▓50 ▒25",
    ]
    lines = xray.heat_map("sa", torch.ones(20, 20).tril() / 20, "春" * 20)
    assert lines[-1] == "春 " + "░░" * 20
    assert {columns(line) for line in lines} == {43}


def test_heads_stand_side_by_side_as_far_as_there_is_room(xrayed, monkeypatch):
    assert "\nblocks.1.sa.heads.0      blocks.1.sa.heads.1      blocks.1.sa.heads.2\n" in xrayed(
        "v9"
    )
    monkeypatch.setenv("COLUMNS", "30")
    output = xrayed("v9")
    assert "\nblocks.1.sa.heads.0\n" in output
    assert max(map(columns, output.split("above.\n")[1].splitlines())) <= 23
    monkeypatch.setenv("COLUMNS", "20")
    assert "5 characters need 23 columns: see --out" in xrayed("v9")


def test_only_the_last_characters_of_a_long_text_are_shown(xrayed):
    output = xrayed("v3", "往事" + TEXT + "，")
    assert f"text: {TEXT}， (its last 6 characters: block_size)\n" in output
    assert table_of(output)[0][1] == "(B=1, T=6)"


def test_signs_stand_for_characters_that_leave_no_mark():
    assert "".join(map(xray.visible, "春 \n\x07")) == "春␣↵·"


def test_the_svg_holds_every_weight_as_text_under_real_characters(xrayed):
    xrayed("v9", "--out", "picture.svg")
    picture = Path("picture.svg").read_text(encoding="utf-8")
    texts = [element.text for element in ElementTree.fromstring(picture).iter() if element.text]
    assert [texts.count(char) for char in TEXT] == [12] * 5  # 6 heads, both axes
    assert sum(bool(re.fullmatch(r"\d+", text)) for text in texts) == 6 * 15
    assert sum("looks at" in text and text.endswith("%") for text in texts) == 6 * 15
    assert {f"blocks.{i}.sa.heads.{j}" for i in range(2) for j in range(3)} <= set(texts)
    assert "prefers-color-scheme: dark" in picture and "sans-serif" in picture


def test_numbers_can_be_read_on_every_shade_in_light_and_in_dark_mode():
    def luminance(color):
        parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    def contrast(*colors):
        dark, light = sorted(map(luminance, colors))
        return (light + 0.05) / (dark + 0.05)

    def colors(style):
        found = re.findall(r"\.?(\w+) {[^}]*fill: #(\w{6})", style)
        return {name: [int(rgb[i : i + 2], 16) / 255 for i in (0, 2, 4)] for name, rgb in found}

    light, dark = map(colors, xray.STYLE.split("@media"))
    assert light.keys() == dark.keys() == {"text", "page", "empty", "ink", "on"}
    for mode in (light, dark):
        assert contrast(mode["text"], mode["page"]) > 12
        for opacity in range(101):
            ink = opacity / 100
            mixed = zip(mode["ink"], mode["empty"], strict=True)
            cell = [ink * a + (1 - ink) * b for a, b in mixed]
            assert contrast(mode["on" if ink > 0.6 else "text"], cell) > 3.6


def test_characters_with_a_meaning_in_xml_are_escaped():
    picture = xray.draw_svg("<&>", ["&"], {"sa": torch.ones(2, 2).tril() / 2}, "<&")
    texts = [element.text for element in ElementTree.fromstring(picture).iter()]
    assert texts.count("<") == 2 and "< looks at <: 50.0%" in texts


def test_the_html_holds_the_picture_and_the_table(xrayed):
    xrayed("v3", "--out", "picture.html")
    page = Path("picture.html").read_text(encoding="utf-8")
    assert "<svg " in page and "(B=1, T=5, head_size=12)" in page and page.endswith("</html>\n")


def test_a_png_is_drawn_with_a_font_that_has_the_characters_or_not_at_all(xrayed, monkeypatch):
    font_manager = pytest.importorskip("matplotlib.font_manager")
    try:
        xray.find_font(font_manager, TEXT)
    except SystemExit:
        pass
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # matplotlib warns of a character that it cannot draw
            xrayed("v4", "--out", "picture.png")
        assert Path("picture.png").read_bytes().startswith(b"\x89PNG")
    latin = font_manager.findfont("DejaVu Sans")
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [latin])
    with pytest.raises(SystemExit) as end:
        xray.main(["v3", "--out", "none.png", "--set", "data_path=corpus.txt"])
    assert end.value.code == 2 and not Path("none.png").exists()


def test_only_a_png_needs_matplotlib(xrayed, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    xrayed("v3", "--out", "picture.svg")
    with pytest.raises(SystemExit) as end:
        xrayed("v3", "--out", "picture.png")
    assert end.value.code == 2
    assert "pip install matplotlib, or use .svg" in capsys.readouterr().err


@pytest.mark.parametrize("version", ["v9", "v12"])
def test_training_is_the_scripts_own_quiet_and_leaves_no_files(xrayed, version):
    output = xrayed(version, "--train", "30", learning_rate=0.02, block_size=6)
    loss = float(re.search(r"weights: trained here, step +30: train loss (\S+),", output)[1])
    assert loss < 1  # from ln(12) = 2.5
    assert output.count("step ") == 2  # the line about the weights, and the one about the time
    assert [path.name for path in Path().iterdir()] == ["corpus.txt"]


def save_checkpoint(**sizes):
    """Write a checkpoint as v12 does, of the shape of a tiny v10, and return its model."""
    _, model, config = tiny_model("v10", **sizes)
    saved = {"model": model.state_dict(), "config": dataclasses.asdict(config)}
    torch.save({**saved, "chars": sorted(set(CORPUS)), "step": 1, "val_loss": 1.0}, "model.pt")
    return model


def test_a_checkpoint_brings_its_weights_shape_and_vocabulary(xrayed, monkeypatch):
    model = save_checkpoint(n_embed=20, n_head=2, block_size=4)
    seen = []
    look = xray.look
    monkeypatch.setattr(xray, "look", lambda *args: seen.append(args) or look(*args))
    output = xrayed("v12", "--init_from", "model.pt", data_path="none.txt")
    assert "weights: from model.pt\n" in output and "text: 江花月夜 (its last 4" in output
    shown, idx = seen[0]
    assert all(torch.equal(shown.state_dict()[k], v) for k, v in model.state_dict().items())
    assert idx.tolist() == [[sorted(set(CORPUS)).index(char) for char in "江花月夜"]]


def test_bad_input_gets_one_line_and_status_2(xrayed):
    assert "'x'" in xrayed("v3", "x春", "--train", "5", status=2)
    assert "empty" in xrayed("v3", "", status=2)
    assert "at least 1" in xrayed("v3", "--train", "0", status=2)
    assert ".svg" in xrayed("v3", "--out", "picture.jpg", status=2)
    assert "no such folder" in xrayed("v3", "--out", "none/picture.svg", status=2)
    assert "v3 is the first" in xrayed("v2", "--out", "picture.svg", status=2)
    assert "room for 64" in xrayed("v3", TEXT * 20, "--out", "a.svg", block_size=100, status=2)
    assert "--n_embed" in xrayed("v4", n_embed=7, status=2)
    assert "--colour" in xrayed("v4", colour="red", status=2)
    assert "corpus" in xrayed("v4", data_path="no_corpus", status=2)
    assert "expected v1 to v12" in xrayed("v13", status=2)
    assert "none.pt" in xrayed("v12", "--init_from", "none.pt", status=2)
    assert "fits" in xrayed("v12", "--init_from", "corpus.txt", status=2)
    save_checkpoint()
    assert "fits babygpt_v8" in xrayed("v8", "--init_from", "model.pt", status=2)
