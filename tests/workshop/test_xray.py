"""tools/xray.py on tiny models: shapes, parameters, attention, depth, errors."""

import re
from dataclasses import fields
from unittest.mock import Mock

import depth
import pytest
import torch
import xray
from steps import STEPS, find_step, import_script
from torch.nn import functional as F

TEXT = "春江花月夜"
CORPUS = "春江花月夜，往事知多少。" * 20
VOCAB_SIZE = len(set(CORPUS))
SIZES = {"n_embed": 12, "n_head": 3, "n_layer": 2, "block_size": 6, "batch_size": 2}
SIZES |= {"device": "cpu", "eval_iters": 1, "data_path": "corpus.txt"}


def tiny_model(version, **sizes):
    """Return a version's script, its untrained model, and its config."""
    script = import_script(find_step(version))
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


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
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
    (tmp_path / "model.pt").unlink(missing_ok=True)
    _, shown = xrayed(version, "--train", "3")
    if version == "v3":  # v12 ends with its best model, which need not be its last
        assert same(shown, model)
    assert not same(shown, tiny_model(version)[1])
    assert [path.name for path in tmp_path.iterdir()] == ["corpus.txt"]


def test_sample_shows_the_model_of_the_file(xrayed, tmp_path):
    script, model, config = tiny_model("v12", n_embed=20, n_head=2, n_layer=1, block_size=4)
    config.checkpoint_path = "model.pt"
    script.save_checkpoint(model, script.Tokenizer(CORPUS), config, 1.5)
    output, shown = xrayed("v12", "往事" + TEXT, "--sample", "model.pt", data_path="none.txt")
    assert same(shown, model) and shown.block_size == 4
    assert "江花月夜 (its last 4" in output and "(1, 4, 20)" in output and "(1, 4, 10)" in output


def test_each_head_is_shown_as_a_map_of_its_weights(xrayed):
    output, model = xrayed("v4")
    _, weights = xray.look(import_script(find_step("v4")), model, torch.tensor([[0, 1]]))
    assert output.count("\nsa.heads.") == len(weights) == 3
    for lines in output.split("\nsa.heads.")[1:]:
        rows = [re.findall(r"\d+", line) for line in lines.splitlines()[2:7]]
        assert [len(row) for row in rows] == [1, 2, 3, 4, 5]
        assert all(abs(sum(map(int, row)) - 100) <= 2 for row in rows)
        assert rows[0] == ["100"] and "█100" in lines


BAD = {
    "v99": ["v99"],
    "['x', 'y']": ["v3", "x春y", "--train", "5"],
    "v11": ["v11", "--sample", "model.pt"],
    "none.pt": ["v12", "--sample", "none.pt"],
}


@pytest.mark.parametrize("named, arguments", BAD.items())
def test_bad_input_is_named_before_anything_is_printed(xrayed, named, arguments, capsys):
    with pytest.raises(SystemExit) as end:
        xray.main([*arguments, "--n_embed", "12", "--data_path", "corpus.txt"])
    printed = capsys.readouterr()
    assert named in f"{end.value.code}{printed.err}" and printed.out == ""


# --- what becomes of the signal and the gradient with depth


def test_depth_is_the_spread_and_the_gradient_after_each_block():
    script, model, config = tiny_model("v9", dropout=0)
    ids = torch.randint(VOCAB_SIZE, (400,))
    (embedding, *blocks) = depth.signal(script, model, config, ids)
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


@pytest.mark.parametrize("version", ["v5", "v9", "v15"])
def test_units_are_dead_that_fire_at_no_position_of_the_batch(version):
    script, model, config = tiny_model(version, dropout=0)
    layers = [m for m in model.modules() if isinstance(m, torch.nn.ReLU)]
    firsts = [m.net[0] for m in model.modules() if type(m).__name__ == "FeedForward"]
    ids = torch.randint(VOCAB_SIZE, (400,))
    seen = []
    hooks = [layer.register_forward_hook(lambda m, x, y: seen.append(y)) for layer in layers]
    wanted = depth.dead(script, model, config, ids)
    for hook in hooks:
        hook.remove()
    fires = [(y > 0).flatten(0, -2).any(dim=0).float().mean().item() for y in seen]
    assert wanted == pytest.approx([1 - share for share in fires], abs=1e-4)
    with torch.no_grad():
        firsts[-1].bias[:12] = -1e9  # a quarter of the 48 never fires
        firsts[-1].bias[12:] = 1e9
    assert depth.dead(script, model, config, ids)[-1] == 0.25
    assert depth.dead(script, model, config, ids)[:-1] == wanted[:-1]
    assert not any(m._forward_hooks for m in model.modules())


@pytest.mark.parametrize("version, names", [("v1", 1), ("v4", 2), ("v5", 2), ("v6", 3)])
def test_depth_works_before_there_are_blocks(xrayed, version, names):
    printed, _ = xrayed(version, "--depth")
    lines = printed.partition("after ")[2].split("\n\n")[0].splitlines()[1:]
    assert [line.split("  ")[0] for line in lines] == ["embedding", "block 1", "block 2"][:names]
    shares = [line.split()[-1] for line in lines if line.endswith("%")]
    assert len(shares) == {"v5": 1, "v6": 2}.get(version, 0)
