"""tools/xray.py on tiny models: shapes, parameters, attention, the picture, errors."""

import re
import sys
from dataclasses import fields
from pathlib import Path
from unittest.mock import Mock
from xml.etree import ElementTree

import pytest
import torch
from torch.nn import functional as F

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

import rules  # noqa: E402
import xray  # noqa: E402

TEXT = "春江花月夜"
CORPUS = "春江花月夜，往事知多少。" * 20
VOCAB_SIZE = len(set(CORPUS))
SIZES = {"n_embed": 12, "n_head": 3, "n_layer": 2, "block_size": 6, "batch_size": 2}
SIZES |= {"device": "cpu", "eval_iters": 1, "data_path": "corpus.txt"}


def tiny_model(version, **sizes):
    """Return a version's script, its untrained model, and its config."""
    script = rules.import_script(rules.find_step(version))
    names = {field.name for field in fields(script.Config)}
    config = script.Config(**{k: v for k, v in {**SIZES, **sizes}.items() if k in names})
    torch.manual_seed(config.seed)
    return script, script.BabyGPT(config, VOCAB_SIZE), config


@pytest.fixture
def xrayed(tmp_path, monkeypatch, capsys):
    """Return a function that runs the tool on tiny models: what it printed, the model it showed."""
    (tmp_path / "corpus.txt").write_text(CORPUS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    look = Mock(wraps=xray.look)
    monkeypatch.setattr(xray, "look", look)

    def run(version, *arguments, **sizes):
        config = vars(tiny_model(version, **sizes)[2])
        flags = [f"--{name}={config[name]}" for name in {**SIZES, **sizes} if name in config]
        xray.main([version, *arguments, *flags])
        return capsys.readouterr().out, look.call_args.args[1]

    return run


def same(model, other):
    other = other.state_dict()
    return all(torch.equal(value, other[name]) for name, value in model.state_dict().items())


def n_params(module):
    return sum(p.numel() for p in module.parameters())


def table_of(output):
    rows = output.partition("module  ")[2].partition("\n\n")[0].splitlines()[1:]
    return [re.split(r"  +", row.strip()) for row in rows]


@pytest.mark.parametrize("version, n_heads", [("v3", 1), ("v4", 3), ("v10", 6), ("v12", 6)])
def test_attention_weights_are_those_that_each_head_works_with(version, n_heads):
    script, model, _ = tiny_model(version, dropout=0.5)
    heads = {name: m for name, m in model.named_modules() if isinstance(m, script.Head)}
    seen = {}
    for name, head in heads.items():
        head.register_forward_hook(lambda m, x, y, name=name: seen.update({name: x[0]}))
    _, weights = xray.look(script, model.train(), torch.arange(5)[None])
    again = xray.look(script, model.train(), torch.arange(5)[None])[1]
    torch.testing.assert_close(again, weights, rtol=0, atol=0)  # so dropout was off
    assert list(weights) == list(heads) and len(heads) == n_heads
    for name, head in heads.items():
        query, key = head.query(seen[name])[0], head.key(seen[name])[0]  # (T, head_size)
        for i, row in enumerate(weights[name]):
            past = (key[: i + 1] @ query[i] / key.shape[1] ** 0.5).exp()
            torch.testing.assert_close(row[: i + 1], past / past.sum())
            assert row.sum().item() == pytest.approx(1) and not row[i + 1 :].any()


@pytest.mark.parametrize("version", ["v13", "v15"])
def test_weights_of_fused_attention_are_made_by_hand(version):
    """The fused function hands out none: the output must be as without looking."""
    script, model, _ = tiny_model(version)
    model.eval()
    idx = torch.randint(VOCAB_SIZE, (1, 5))
    wanted, _ = model(idx)
    calls, weights = xray.look(script, model, idx)
    torch.testing.assert_close(calls[0][3], wanted)
    assert list(weights)[2:4] == ["blocks.0.sa.heads.2", "blocks.1.sa.heads.0"]
    for found in weights.values():
        assert torch.equal(found, found.tril())
        torch.testing.assert_close(found.sum(dim=-1), torch.ones(5))


def test_looking_leaves_nothing_behind_even_when_the_model_fails():
    script, model, _ = tiny_model("v10")
    softmax = F.softmax
    with pytest.raises(IndexError):
        xray.look(script, model, torch.arange(7)[None])  # longer than block_size
    assert script.F.softmax is F.softmax is softmax
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize("step", rules.STEPS, ids=lambda step: f"v{step.version}")
def test_every_version_shows_its_real_shapes_and_parameters(xrayed, step):
    output, model = xrayed(f"v{step.version}")
    assert same(model, tiny_model(f"v{step.version}")[1])
    called = []

    def record(m, x, y):
        y = y[0] if m is model else y
        called.append((type(m).__name__, x[0].shape, y.shape, n_params(m)))

    for module in model.modules():
        module.register_forward_hook(record)
    model(torch.arange(5)[None])
    shown = []
    for title, *shapes, params in table_of(output):
        kind, times = re.fullmatch(r"(?:\S+: )?(\w+?)(?: x(\d+))?", title).groups()
        x, y = (tuple(map(int, re.findall(r"\d+", shape))) for shape in shapes)
        times = int(times or 1)
        shown += [(kind, x, y, int(params.replace(",", "")) / times)] * times
    assert sorted(shown) == sorted(called)  # so modules that share a line are counted right
    assert f"parameters in all: {n_params(model):,}\n" in output
    assert ("attention: none" in output) == (step.version < 3)


def test_alike_modules_share_a_line(xrayed):
    rows = {title: shapes for title, *shapes in table_of(xrayed("v10")[0])}
    assert rows["heads.0..2: Head x6"] == ["(1, 5, 12)", "(1, 5, 4)", "864"]
    assert rows["0: Linear x2"][1] == "(1, 5, 48)"
    assert rows["dropout: Dropout x6"][0] == "(1, 5, 5)"
    assert rows["lm_head: Linear"][1] == f"(1, 5, {VOCAB_SIZE})"


@pytest.mark.parametrize("version", ["v3", "v12"])
def test_train_shows_what_the_script_itself_trains(xrayed, version, tmp_path):
    script, model, config = tiny_model(version, max_iters=3, wandb_mode="disabled")
    config.checkpoint_path = str(tmp_path / "model.pt")
    tokenizer, data = script.load_data(config)
    script.train(model, data, config, *([tokenizer] if version == "v12" else []))
    Path(config.checkpoint_path).unlink(missing_ok=True)
    _, shown = xrayed(version, "--train", "3")
    assert same(shown, model) and not same(shown, tiny_model(version)[1])
    assert [path.name for path in tmp_path.iterdir()] == ["corpus.txt"]


def test_sample_shows_the_model_of_the_file(xrayed):
    script, model, config = tiny_model("v12", n_embed=20, n_head=2, n_layer=1, block_size=4)
    config.checkpoint_path = "model.pt"
    script.save_checkpoint(model, script.Tokenizer(CORPUS), config, 1.5)
    output, shown = xrayed("v12", "往事" + TEXT, "--sample", "model.pt", data_path="none.txt")
    assert same(shown, model) and shown.block_size == 4
    assert "江花月夜 (its last 4" in output and "(1, 4, 20)" in output and "(1, 4, 10)" in output


def test_the_svg_has_a_panel_for_each_head_with_a_cell_for_each_weight(xrayed):
    Path("corpus.txt").write_text(CORPUS + "<&", encoding="utf-8")  # they mean something in XML
    xrayed("v10", TEXT + "<&", "--out", "picture.svg", block_size=7)
    elements = list(ElementTree.parse("picture.svg").iter())
    classes = [element.get("class") for element in elements]
    counts = [classes.count(name) for name in ("name", "char", "empty", "ink")]
    assert counts == [6, 6 * 7 * 2, 6 * 28, 6 * 28]  # two axes of 7; 1 + 2 + ... + 7 cells
    tips = [element.text for element in elements if element.tag.endswith("title")]
    assert len(tips) == 6 * 28 and any(tip.startswith("& looks at <: ") for tip in tips)
    assert "prefers-color-scheme: dark" in Path("picture.svg").read_text(encoding="utf-8")


BAD = {
    "v99": ["v99"],
    "['x', 'y']": ["v3", "x春y", "--train", "5"],
    ".svg": ["v3", "--out", "picture.png"],
    "no such folder": ["v3", "--out", "none/picture.svg"],
    "v2": ["v2", "--out", "picture.svg"],
    "v11": ["v11", "--sample", "model.pt"],
    "none.pt": ["v12", "--sample", "none.pt"],
}


@pytest.mark.parametrize("named, arguments", BAD.items())
def test_bad_input_gets_one_line_that_names_it(xrayed, named, arguments, capsys):
    with pytest.raises(SystemExit, match="^error: [^\n]*$") as end:  # to stderr, with status 1
        xray.main([*arguments, "--n_embed", "12", "--data_path", "corpus.txt"])
    assert named in end.value.code and capsys.readouterr().out == ""


# --- what becomes of the signal and the gradient with depth


def test_depth_is_the_spread_and_the_gradient_after_each_block():
    script, model, config = tiny_model("v9", dropout=0)
    ids = torch.randint(VOCAB_SIZE, (400,))
    (embedding, *blocks) = xray.depth(script, model, config, ids)
    assert [name for name, *_ in blocks] == ["block 1", "block 2"]
    # The same by hand: the windows start at 0, 997, ... around the text
    starts = torch.tensor([0, 997 % (400 - config.block_size)])
    x, y = script.get_batch(ids, starts, config)
    token = model.token_embedding_table(x)
    first = model.blocks[0](token + model.position_embedding_table.weight)
    loss = F.cross_entropy(
        model.lm_head(model.ln_final(model.blocks[1](first))).flatten(0, 1), y.flatten()
    )
    grads = torch.autograd.grad(loss, [token, first])
    for found, value, grad in zip((embedding, blocks[0]), (token, first), grads, strict=True):
        assert found[1] == pytest.approx(value.std(dim=1).mean().item(), rel=0.01)
        assert found[2] == pytest.approx(grad.square().mean().sqrt().item(), rel=0.01)
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("version, names", [("v1", 1), ("v4", 2), ("v5", 2), ("v6", 3)])
def test_depth_works_before_there_are_blocks(xrayed, version, names):
    printed, _ = xrayed(version, "--depth")
    lines = printed.partition("after ")[2].split("\n\n")[0].splitlines()[1:]
    assert [line.split("  ")[0] for line in lines] == ["embedding", "block 1", "block 2"][:names]
