"""What is true of all twelve scripts: shapes, data, training, evaluation, sampling."""

import math
import re
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

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
    loaded,
    new_model,
    random_ids,
    samples_of,
    small,
    train,
    versions,
)
from torch.optim.lr_scheduler import OneCycleLR

IMPORT_ALL = """
import os, sys, importlib.util
import torch, wandb
seen = []
sys.addaudithook(lambda event, args: seen.append(str(args[0])) if event == "open" else None)
state = torch.get_rng_state()
for path in sys.argv[1:]:
    spec = importlib.util.spec_from_file_location("script", path)
    sys.modules["script"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["script"])
assert torch.equal(state, torch.get_rng_state()), "random numbers drawn"
assert wandb.run is None
assert not [path for path in seen if path.endswith((".txt", ".pt"))], seen
"""


def test_importing_a_script_does_nothing(tmp_path):
    command = [sys.executable, "-B", "-c", IMPORT_ALL, *map(str, FILES.values())]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (result.stdout, result.stderr, result.returncode) == ("", "", 0)
    assert files_below(tmp_path) == []


# --- the command line


@pytest.fixture
def config_from(monkeypatch):
    """Return config_from(gpt, argv): the Config that main() makes of a command line."""

    class Made(Exception):
        pass

    def stop(config, *args):
        raise Made(config)

    def config_from(gpt, argv):
        monkeypatch.setattr(gpt, "load_data", stop)
        with pytest.raises(Made) as made:
            gpt.main(argv)
        return made.value.args[0]

    return config_from


@versions()
def test_help_lists_every_field_with_its_comment_and_its_default(gpt, capsys):
    with pytest.raises(SystemExit) as end:
        gpt.main(["--help"])
    assert end.value.code == 0
    text = re.sub(r"[\s│]", "", capsys.readouterr().out)
    source = Path(gpt.__file__).read_text(encoding="utf-8")
    for name, default in vars(gpt.Config()).items():
        line = rf"^    {name}: "  # the comment stands at the line's end, or above the line
        comment = re.search(rf"{line}.*  # (.+)$|^    # (.+)\n{line}", source, re.M)
        comment = re.sub(r"\s", "", comment[1] or comment[2])
        values = default if isinstance(default, tuple) else [default]
        assert f"--{name}" in text and len(comment) > 5
        shown = text.split(comment)[1].split("--")[0]
        assert all(re.sub(r"\s", "", str(value)) in shown for value in values)


@versions()
def test_every_field_of_config_is_a_flag(gpt, config_from):
    changes = dict(train_ratio=0.7, seed=5, data_path="some.txt", dropout=0.3, n_layer=5)
    assert config_from(gpt, flags(gpt, **changes)) == small(gpt, **changes)
    assert config_from(gpt, []) == gpt.Config()


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
    assert tokenizer.chars == ["\n", "春", "水", "江"]
    assert tokenizer.encode("江春") == [3, 1] and tokenizer.decode([3, 1]) == "江春"
    assert tokenizer.encode("") == [] and tokenizer.decode([]) == ""
    with pytest.raises(KeyError, match="x"):
        tokenizer.encode("春x江")


@versions()
def test_the_first_part_of_the_text_is_for_training_and_the_rest_for_validation(gpt, device):
    config = small(gpt, train_ratio=0.75, device=device)
    first, rest = ALPHABET * 3, ALPHABET[::-1]
    data = data_of(gpt, config, first + rest)
    assert list(data) == ["train", "val"]
    assert all(ids.device.type == device for ids in data.values())
    decode = gpt.Tokenizer(TEXT).decode
    assert [decode(ids.tolist()) for ids in data.values()] == [first, rest]


@versions()
def test_a_character_of_the_last_tenth_alone_is_known_and_evaluated(gpt, run):
    """The vocabulary comes from all of the text, not from its training part."""
    text = TEXT + "ßß"
    Path("text.txt").write_text(text, encoding="utf-8")
    tokenizer, data = gpt.load_data(small(gpt, data_path="text.txt"))
    assert "ß" in tokenizer.chars
    assert "".join(tokenizer.decode(ids.tolist()) for ids in data.values()) == text
    out = run(gpt, data_path=Path("text.txt").resolve(), prompts=["天ß"], max_iters=1)
    assert f"{len(text)} characters, {VOCAB + 1} distinct" in out
    assert samples_of(out).startswith("天ß")


@versions()
def test_the_targets_are_the_text_one_character_later(gpt, device):
    ids, starts = torch.arange(100, device=device) * 2, torch.tensor([0, 7, 91], device=device)
    x, y = gpt.get_batch(ids, starts, small(gpt))
    assert x.shape == y.shape == (3, 8) and x.device.type == device
    windows = starts[:, None] + torch.arange(8, device=device)
    assert torch.equal(x, windows * 2)
    assert torch.equal(y, x + 2)


@versions()
def test_training_draws_its_windows_from_everywhere_in_the_text(gpt, monkeypatch):
    """A text of 12 characters has 4 windows of 8 that are followed by another character."""
    seen, get_batch = [], gpt.get_batch

    def spy(ids, starts, config):
        if torch.is_grad_enabled():
            seen.append(starts)
        return get_batch(ids, starts, config)

    monkeypatch.setattr(gpt, "get_batch", spy)
    config = small(gpt, batch_size=200, max_iters=2, eval_iters=1)
    train(gpt, new_model(gpt), {"train": torch.arange(12), "val": torch.arange(12)}, config)
    assert [starts.shape for starts in seen] == [(200,), (200,)]
    assert not torch.equal(*seen)
    counts = torch.bincount(torch.cat(seen))
    assert len(counts) == 4 and counts.min() > 60


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
def test_the_loss_falls_from_guessing_to_knowing_the_text(gpt, device):
    """One layer: two without a residual connection (v6) learn badly, which is v6's lesson."""
    settings = {"n_embed": 32, "n_layer": 1, "max_iters": 100, "eval_interval": 100}
    config = small(gpt, device=device, learning_rate=2e-2, **settings)
    model, data = new_model(gpt, device, **settings), data_of(gpt, config)
    train(gpt, model, data, config)
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
    assert tokenizer.decode(model.eval().generate(idx, 7)[0].tolist()) == TEXT[:8]


@versions(3)
def test_one_batch_can_be_learned_by_heart(gpt, device):
    """Random characters: what follows depends on the position and the past."""
    x = torch.stack([torch.randperm(VOCAB)[:8] for _ in range(4)])
    x[:, 0] = torch.arange(4)  # the first position has no past: there, the character must tell
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
def test_training_is_adamw_on_a_one_cycle_schedule_with_fresh_gradients(gpt, monkeypatch):
    """A twin is trained here; the rates are noted too: up to learning_rate, then down to its 0."""
    rates = []

    class Noting(torch.optim.AdamW):
        def step(self, *args):
            rates.append(self.param_groups[0]["lr"])
            return super().step(*args)

    config = small(gpt, seed=1, max_iters=29, learning_rate=3e-3, dropout=0.5)
    model, data = new_model(gpt, dropout=0.5), data_of(gpt, config)
    data["train"] = random_ids(200)  # nothing like the text to evaluate on
    before, twin = deepcopy(model.state_dict()), deepcopy(model)
    torch.manual_seed(1)
    with monkeypatch.context() as patch:
        patch.setattr(torch.optim, "AdamW", Noting)
        train(gpt, model, data, config)

    torch.manual_seed(1)
    # v17 has batches of their own random numbers, so that all processes draw the same ones
    batches = torch.Generator().manual_seed(1) if gpt is loaded(17) else torch.default_generator
    optimizer = torch.optim.AdamW(twin.parameters(), lr=3e-3)
    schedule, wanted = OneCycleLR(optimizer, 3e-3, total_steps=30), []
    for _ in range(29):
        starts = torch.randint(192, (8,), generator=batches)
        x, y = (torch.stack([data["train"][i + at : i + at + 8] for i in starts]) for at in (0, 1))
        twin(x, y)[1].backward()
        wanted.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    assert rates == wanted
    assert max(rates) == rates[8] == pytest.approx(3e-3) and rates[-1] < 1e-4
    torch.testing.assert_close(model.state_dict(), twin.state_dict(), rtol=1e-5, atol=1e-6)
    still = [name for name, p in model.named_parameters() if torch.equal(p, before[name])]
    assert still == []


@pytest.mark.parametrize("max_iters, steps", [(0, [0]), (25, [0, 10, 20, 25])])
@versions()
def test_the_first_the_last_and_every_tenth_step_are_evaluated_once(gpt, run, max_iters, steps):
    out = run(gpt, max_iters=max_iters)
    assert [int(step) for step, *_ in PROGRESS.findall(out)] == steps


@versions()
def test_progress_shows_the_loss_of_training_and_of_validation(gpt, monkeypatch, run):
    monkeypatch.setattr(gpt, "estimate_loss", lambda *args: {"train": 1.25, "val": 2.5})
    assert PROGRESS.findall(run(gpt, max_iters=1))[0] == ("0", "1.2500", "2.5000")


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
    """The same windows every time; and no random number is drawn, so the batches stay the same."""
    config = small(gpt, device=device, dropout=0.5, batch_size=4, eval_iters=3)
    model = new_model(gpt, device, dropout=0.5)
    data = {name: random_ids(n, device=device) for name, n in (("train", 200), ("val", 57))}
    before = torch.get_rng_state()
    losses = gpt.estimate_loss(model, data, config)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(5)
    assert gpt.estimate_loss(model, data, config) == losses
    assert list(losses) == ["train", "val"]
    model.eval()
    for name, ids in data.items():
        starts = [i * (len(ids) - 8) // 12 for i in range(12)]
        windows = torch.stack([ids[i : i + 9] for i in starts])
        _, loss = model(windows[:, :-1], windows[:, 1:])
        assert type(losses[name]) is float
        assert losses[name] == pytest.approx(loss.item(), abs=1e-5)


@versions()
def test_evaluation_and_sampling_leave_the_model_as_it_was(gpt, device):
    config = small(gpt, device=device)
    model = new_model(gpt, device)
    before, seen = deepcopy(model.state_dict()), []
    model.register_forward_hook(
        lambda *_: seen.append((torch.is_grad_enabled(), {m.training for m in model.modules()}))
    )
    gpt.estimate_loss(model, data_of(gpt, config), config)
    assert seen == [(False, {False})] * 4  # in eval mode, without gradients
    assert all(module.training for module in model.modules())
    sample = model.generate(random_ids(1, 2, device=device), 10)
    assert [grad for grad, _ in seen[4:]] == [False] * 10
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert not sample.requires_grad


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
def test_characters_are_drawn_by_the_softmax_of_the_last_position(gpt, device):
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


@versions(1, 14)  # v15 keeps what it has read
def test_sampling_reads_all_of_the_last_block_size_characters(gpt, device):
    """v1 needs no limit: it looks at the last character alone."""
    model, seen = new_model(gpt, device), []
    model.register_forward_hook(lambda module, args, output: seen.append(args[0]))
    for length in (3, 30):  # a prompt may be longer than block_size
        seen.clear()
        sample = model.generate(random_ids(1, length, device=device), 10)
        for i, idx in enumerate(seen):
            end = length + i
            start = max(0, end - 8) if hasattr(model, "block_size") else 0
            assert torch.equal(idx, sample[:, start:end])


@versions()
def test_the_samples_of_a_run_come_from_eval_mode_and_from_the_seed(gpt, run, monkeypatch):
    """In training mode dropout would be on, which is a known bug of scripts like these."""
    seen, states, generate = [], [], gpt.BabyGPT.generate

    def spy(model, *args):
        states.append(torch.get_rng_state())
        hook = model.register_forward_hook(
            lambda *_: seen.append((torch.is_grad_enabled(), {m.training for m in model.modules()}))
        )
        idx = generate(model, *args)
        hook.remove()
        return idx

    monkeypatch.setattr(gpt.BabyGPT, "generate", spy)
    run(gpt, seed=7, max_iters=2)
    assert seen == [(False, {False})] * 24
    torch.manual_seed(7)
    assert torch.equal(states[0], torch.get_rng_state())


# --- a whole run


@versions()
def test_the_same_seed_gives_the_same_run_and_another_seed_another(gpt, device, run):
    first, again, other = (run(gpt, seed=seed, device=device) for seed in (1, 1, 2))
    assert again == first
    assert PROGRESS.findall(other) != PROGRESS.findall(first)
    assert samples_of(other) != samples_of(first)


@versions()
def test_however_often_one_evaluates_the_model_learns_and_samples_the_same(gpt, run):
    often, seldom = (run(gpt, eval_interval=interval) for interval in (1, 20))
    first, *_, last = PROGRESS.findall(often)
    assert PROGRESS.findall(seldom) == [first, last]
    assert samples_of(often) == samples_of(seldom)
