"""What is true of all twelve scripts: shapes, data, training, evaluation, sampling."""

import math
import subprocess
import sys
from copy import deepcopy
from dataclasses import asdict, fields
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import (
    ALPHABET,
    FILES,
    PROGRESS,
    TEXT,
    VOCAB,
    data_of,
    files_below,
    flags,
    load,
    new_model,
    random_ids,
    small,
    versions,
    without_speed,
)

IMPORT_ALL = """
import os, sys, importlib.util
import torch, wandb
seen = []
sys.addaudithook(lambda event, args: seen.append(str(args[0])) if event == "open" else None)
state, precision = torch.get_rng_state(), torch.get_float32_matmul_precision()
for path in sys.argv[1:]:
    spec = importlib.util.spec_from_file_location("script", path)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
assert torch.equal(state, torch.get_rng_state()), "random numbers drawn"
assert precision == torch.get_float32_matmul_precision()
assert wandb.run is None
assert not [path for path in seen if path.endswith((".txt", ".pt"))], seen
"""


def test_importing_a_script_does_nothing(tmp_path):
    command = [sys.executable, "-B", "-c", IMPORT_ALL, *map(str, FILES.values())]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (result.stdout, result.stderr, result.returncode) == ("", "", 0)
    assert files_below(tmp_path) == []


# --- the command line


@versions()
def test_help_lists_every_knob_with_a_line_of_help_and_its_default(gpt, capsys):
    with pytest.raises(SystemExit) as end:
        gpt.parse_args(["--help"])
    assert end.value.code == 0
    text = "".join(capsys.readouterr().out.split())
    for f in fields(gpt.Config):
        shown = "".join(f"{f.metadata['help']} (default: {f.default})".split())
        assert f"--{f.name}" in text and shown in text
        assert len(f.metadata["help"]) > 5


@versions()
def test_every_field_of_config_is_a_flag(gpt):
    config = small(gpt, train_ratio=0.7, seed=5, data_path="some.txt", dropout=0.3, n_layer=5)
    argv = flags(gpt, train_ratio=0.7, seed=5, data_path="some.txt", dropout=0.3, n_layer=5)
    wanted, got = asdict(config), asdict(gpt.parse_args(argv))
    assert got == {**wanted, "prompts": list(wanted["prompts"])}


@versions()
def test_without_flags_the_defaults_hold(gpt):
    assert asdict(gpt.parse_args([])) == asdict(gpt.Config())


@pytest.mark.parametrize("version", FILES, ids=lambda n: f"v{n}")
def test_the_default_device_is_cuda_where_there_is_one_and_never_mps(version, monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    for there, device in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert load(version).Config().device == device


# --- data


@versions()
def test_the_vocabulary_is_the_sorted_distinct_characters(gpt):
    tokenizer = gpt.Tokenizer("江春江水\n春")
    assert (tokenizer.chars, tokenizer.vocab_size) == (["\n", "春", "水", "江"], 4)


@versions()
def test_decoding_undoes_encoding(gpt):
    tokenizer = gpt.Tokenizer(TEXT)
    ids = tokenizer.encode("日月盈昃")
    assert len(set(ids)) == 4 and all(0 <= i < VOCAB for i in ids)
    assert tokenizer.decode(ids) == "日月盈昃"
    assert tokenizer.encode("") == [] and tokenizer.decode([]) == ""


@versions()
def test_unknown_characters_are_named(gpt):
    with pytest.raises(ValueError, match="'x' 'y'"):
        gpt.Tokenizer(TEXT).encode("天y地x")


@versions()
def test_the_first_part_of_the_text_is_for_training_and_the_rest_for_validation(gpt, device):
    config = small(gpt, train_ratio=0.75, device=device)
    tokenizer = gpt.Tokenizer(TEXT)
    first, rest = ALPHABET * 3, ALPHABET[::-1]
    data = gpt.split_text(first + rest, tokenizer, config)
    assert list(data) == ["train", "val"]
    assert all(ids.device.type == device for ids in data.values())
    assert tokenizer.decode(data["train"].tolist()) == first
    assert tokenizer.decode(data["val"].tolist()) == rest


@versions()
def test_the_targets_are_the_text_one_character_later(gpt, device):
    split = torch.arange(100, device=device)
    x, y = gpt.get_batch(split, small(gpt))
    assert x.shape == y.shape == (8, 8) and x.device.type == device
    assert torch.equal(x, x[:, :1] + torch.arange(8, device=device))  # windows of the text
    assert torch.equal(y, x + 1)


@versions()
def test_batches_come_from_everywhere_in_the_text(gpt):
    x, y = gpt.get_batch(torch.arange(12), small(gpt, batch_size=400))
    # 12 characters have 4 windows of 8 that are followed by another character
    counts = torch.bincount(x[:, 0])
    assert len(counts) == 4 and counts.min() > 60
    assert y.max() == 11


# --- the model


@versions()
def test_logits_losses_and_samples_have_the_promised_shapes(gpt, device):
    model, idx = new_model(gpt, device), random_ids(3, 5, device=device)
    logits, loss = model(idx)
    assert logits.shape == (3, 5, VOCAB) and loss is None
    logits, loss = model(idx, idx)
    assert logits.shape == (3, 5, VOCAB) and loss.shape == ()
    assert logits.dtype == loss.dtype == torch.float32


@versions()
def test_the_loss_is_the_mean_surprise_at_the_targets(gpt, device):
    model, idx = new_model(gpt, device).eval(), random_ids(3, 8, device=device)
    targets = random_ids(3, 8, device=device)
    logits, loss = model(idx, targets)
    surprise = -logits.softmax(-1).gather(-1, targets[:, :, None]).log()
    torch.testing.assert_close(loss, surprise.mean())


@versions()
def test_the_untrained_model_guesses(gpt, device):
    idx, targets = random_ids(64, 8, device=device), random_ids(64, 8, device=device)
    _, loss = new_model(gpt, device, n_embed=32)(idx, targets)
    assert abs(loss.item() - math.log(VOCAB)) < 0.5


@versions()
def test_every_parameter_gets_a_gradient(gpt, device):
    model = new_model(gpt, device, dropout=0.0)
    model(random_ids(32, 8, device=device), random_ids(32, 8, device=device))[1].backward()
    still = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


# --- training


@versions()
def test_training_moves_every_parameter(gpt, device):
    config = small(gpt, device=device)
    model = new_model(gpt, device)
    before = deepcopy(model.state_dict())
    gpt.train(model, data_of(gpt, config), config)
    still = [name for name, p in model.named_parameters() if torch.equal(p, before[name])]
    assert still == []


@versions()
def test_the_loss_falls_from_guessing_to_knowing_the_text(gpt, device):
    """One layer: two without a residual connection (v6) learn badly, which is v6's lesson."""
    settings = {"n_embed": 32, "n_layer": 1, "max_iters": 100, "eval_interval": 100}
    config = small(gpt, device=device, **settings)
    model, data = new_model(gpt, device, **settings), data_of(gpt, config)
    gpt.train(model, data, config)
    # Judged by windows cut here, so that wrongly cut batches cannot flatter themselves
    ids = data["val"]
    windows = torch.stack([ids[i : i + 9] for i in range(len(ids) - 8)])
    _, loss = model.eval()(windows[:, :-1], windows[:, 1:])
    assert loss.item() < 0.1 < 3 < math.log(VOCAB)
    for name, value in gpt.estimate_loss(model, data, config).items():
        assert value < 0.1, name
    # The text goes round in a circle, and so does a sample
    tokenizer = gpt.Tokenizer(TEXT)
    idx = torch.tensor([tokenizer.encode("天")], device=device)
    assert tokenizer.decode(model.generate(idx, 7)[0].tolist()) == TEXT[:8]


@versions(3)
def test_one_batch_can_be_learned_by_heart(gpt, device):
    """Random characters: what follows depends on the place and the past."""
    x = torch.stack([torch.randperm(VOCAB)[:8] for _ in range(4)])
    x[:, 0] = torch.arange(4)  # the first place has no past: there, the character must tell
    x, y = x.to(device), random_ids(4, 8, device=device)
    model = new_model(gpt, device, n_embed=32, n_layer=1, dropout=0.0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(100):
        _, loss = model(x, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5 < 3 < math.log(VOCAB)


@versions()
def test_training_is_adamw_with_fresh_gradients_on_random_batches(gpt):
    config = small(gpt, max_iters=5, eval_interval=2, learning_rate=3e-3, dropout=0.5)
    model, data = new_model(gpt, dropout=0.5), data_of(gpt, config)
    twin = deepcopy(model)
    torch.manual_seed(1)
    gpt.train(model, data, config)

    torch.manual_seed(1)
    optimizer = torch.optim.AdamW(twin.parameters(), lr=3e-3)
    for _ in range(5):
        x, y = gpt.get_batch(data["train"], config)
        optimizer.zero_grad()
        twin(x, y)[1].backward()
        optimizer.step()
    torch.testing.assert_close(model.state_dict(), twin.state_dict(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "max_iters, steps", [(0, [0]), (3, [0, 3]), (20, [0, 10, 20]), (25, [0, 10, 20, 25])]
)
@versions()
def test_the_first_the_last_and_every_tenth_step_are_evaluated_once(gpt, run, max_iters, steps):
    out = run(gpt, max_iters=max_iters)
    assert [int(step) for step, *_ in PROGRESS.findall(out)] == steps


@versions()
def test_progress_shows_the_losses_and_the_speed_of_training_alone(gpt, monkeypatch, run):
    clock = [0]

    def tick():
        clock[0] += 1
        return clock[0]

    def slow(model, data, config):
        clock[0] += 1000
        return {"train": 1.25, "val": 2.5}

    monkeypatch.setattr(gpt, "time", SimpleNamespace(perf_counter=tick))
    monkeypatch.setattr(gpt, "estimate_loss", slow)
    # 8 windows of 8 characters a step, each of which takes one tick
    told = ("1.2500", "2.5000")
    lines = [("0", *told, "0"), ("10", *told, "64"), ("20", *told, "64")]
    assert PROGRESS.findall(run(gpt)) == lines


@versions()
def test_the_header_counts_characters_vocabulary_parameters_and_the_loss_of_guessing(gpt, run):
    parameters = sum(p.numel() for p in new_model(gpt).parameters())
    out = run(gpt, max_iters=0)
    assert f"{len(TEXT):,} characters, {VOCAB:,} distinct" in out
    assert f"{parameters:,} parameters, on cpu" in out
    assert f"{math.log(VOCAB):.4f}" in out


# --- evaluation


@versions()
def test_the_evaluation_is_the_mean_loss_of_evenly_spaced_windows_without_dropout(gpt, device):
    config = small(gpt, device=device, dropout=0.5, batch_size=4, eval_iters=3)
    model = new_model(gpt, device, dropout=0.5)
    data = {name: random_ids(n, device=device) for name, n in (("train", 200), ("val", 57))}
    losses = gpt.estimate_loss(model, data, config)
    assert list(losses) == ["train", "val"]
    model.eval()
    for name, ids in data.items():
        places = [i * (len(ids) - 8) // 12 for i in range(12)]
        windows = torch.stack([ids[i : i + 9] for i in places])
        _, loss = model(windows[:, :-1], windows[:, 1:])
        assert type(losses[name]) is float
        assert losses[name] == pytest.approx(loss.item(), abs=1e-5)


@pytest.mark.parametrize("mode", [True, False], ids=["training", "evaluating"])
@versions()
def test_evaluation_and_sampling_leave_the_model_as_it_was(gpt, device, mode):
    config = small(gpt, device=device)
    model = new_model(gpt, device).train(mode)
    before = deepcopy(model.state_dict())
    state = torch.get_rng_state()
    gpt.estimate_loss(model, data_of(gpt, config), config)
    assert torch.equal(torch.get_rng_state(), state)  # the training's batches stay the same
    assert all(module.training is mode for module in model.modules())
    sample = model.generate(random_ids(1, 2, device=device), 10)
    assert all(module.training is mode for module in model.modules())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert not sample.requires_grad


@versions()
def test_neither_evaluation_nor_sampling_keeps_gradients(gpt):
    config, model = small(gpt), new_model(gpt)
    seen = []
    model.register_forward_hook(lambda *_: seen.append(torch.is_grad_enabled()))
    gpt.estimate_loss(model, data_of(gpt, config), config)
    model.generate(random_ids(1, 2), 2)
    assert seen == [False] * 6


# --- sampling


@versions()
def test_a_sample_continues_its_prompt(gpt, device):
    model, prompt = new_model(gpt, device), random_ids(3, 5, device=device)
    sample = model.generate(prompt, 20)
    assert sample.shape == (3, 25)
    assert torch.equal(sample[:, :5], prompt)
    assert 0 <= sample.min() and sample.max() < VOCAB
    assert torch.equal(model.generate(prompt, 0), prompt)


@versions()
def test_characters_are_drawn_by_the_softmax_of_the_last_place(gpt, device):
    """Chi-square with 5 degrees of freedom: above 20.5 once in a thousand seeds."""
    chances = torch.tensor([0.4, 0.25, 0.2, 0.1, 0.04, 0.01], device=device)
    model = new_model(gpt, device, vocab_size=6)

    def known_logits(module, args, output):
        logits = torch.zeros_like(output[0])
        logits[:, -1] = chances.log() + 3  # softmax does not care about the 3
        return logits, None

    model.register_forward_hook(known_logits)
    n = 5000
    drawn = model.generate(random_ids(n, 3, device=device, vocab_size=6), 2)[:, 3:]
    for column in drawn.T.tolist():
        expected = n * chances.cpu().numpy()
        counts = np.bincount(column, minlength=6)
        assert ((counts - expected) ** 2 / expected).sum() < 20.5


@versions()
def test_sampling_reads_all_of_the_last_block_size_characters(gpt, device):
    """v1 needs no limit: it looks at the last character alone."""
    model, seen = new_model(gpt, device), []
    model.register_forward_hook(lambda module, args, output: seen.append(args[0]))
    sample = model.generate(random_ids(1, 3, device=device), 10)
    for i, idx in enumerate(seen):
        start = 0 if not hasattr(model, "position_embedding_table") else max(0, 3 + i - 8)
        assert torch.equal(idx, sample[:, start : 3 + i])


@versions()
def test_a_prompt_may_be_longer_than_block_size(gpt, device):
    model, prompt = new_model(gpt, device), random_ids(1, 30, device=device)
    torch.manual_seed(3)
    long = model.generate(prompt, 10)
    torch.manual_seed(3)
    short = model.generate(prompt[:, -8:], 10)
    assert torch.equal(long[:, 30:], short[:, 8:])


@versions()
def test_each_prompt_is_continued_on_its_own(gpt, run):
    """Prompts of different lengths, one longer than block_size; each starts one paragraph."""
    prompts = ("天", "日月盈", ALPHABET[:20])
    samples = run(gpt, prompts=prompts, max_iters=1).split("\n\n")[1:]
    assert [len(sample.strip()) for sample in samples] == [13, 15, 32]
    assert all(s.startswith(p) for s, p in zip(samples, prompts, strict=True))


# --- a whole run


@versions()
def test_the_same_seed_gives_the_same_run_and_another_seed_another(gpt, device, run):
    def losses_and_samples(seed):
        return without_speed(run(gpt, seed=seed, device=device))

    first = losses_and_samples(1)
    assert losses_and_samples(1) == first
    other = losses_and_samples(2)
    assert other.split("\n\n")[0] != first.split("\n\n")[0]
    assert other.split("\n\n")[1:] != first.split("\n\n")[1:]


@versions()
def test_however_often_one_evaluates_the_model_learns_the_same(gpt, run):
    often = PROGRESS.findall(run(gpt, eval_interval=1))
    seldom = PROGRESS.findall(run(gpt, eval_interval=20))
    assert [line[:3] for line in seldom] == [often[0][:3], often[-1][:3]]
