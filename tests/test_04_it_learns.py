"""From a text to a model that knows it: vocabulary, batches, loss, training, evaluation; and that
the story of the steps, as the losses tell it, is true of today's code."""

import math
import re
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from conftest import (
    ALPHABET,
    MODEL,
    TEXT,
    VOCAB,
    changed,
    data_of,
    found,
    loaded,
    new_model,
    random_ids,
    says,
    small,
    train,
    versions,
)
from runs import losses_of, samples_of
from torch.optim.lr_scheduler import OneCycleLR

# --- data


@changed("Tokenizer")
def test_the_vocabulary_is_the_sorted_distinct_characters(gpt):
    tokenizer = gpt.Tokenizer("江春江水\n春")
    assert tokenizer.chars == ["\n", "春", "水", "江"]
    assert tokenizer.encode("江春") == [3, 1] and tokenizer.decode([3, 1]) == "江春"
    assert tokenizer.encode("") == [] and tokenizer.decode([]) == ""
    with pytest.raises(KeyError, match="x"):
        tokenizer.encode("春x江")


@says(
    "the first part of the text is for training, the rest for validation: no character is in both",
    "文本的前一部分用来训练，其余的用来验证，两者没有重叠",
)
@changed("load_data")
def test_the_first_part_of_the_text_is_for_training_and_the_rest_for_validation(gpt, device):
    config = small(gpt, train_ratio=0.75, device=device)
    first, rest = ALPHABET * 3, ALPHABET[::-1]
    data = data_of(gpt, config, first + rest)
    assert list(data) == ["train", "val"]
    assert all(ids.device.type == device for ids in data.values())
    decode = gpt.Tokenizer(TEXT).decode
    assert [decode(ids.tolist()) for ids in data.values()] == [first, rest]


@changed("load_data")
def test_a_character_of_the_last_tenth_alone_is_known_and_evaluated(gpt, run):
    """The vocabulary comes from all of the text, not from its training part."""
    path = Path("text.txt").resolve()
    path.write_text(TEXT + "ßß", encoding="utf-8")
    out = run(gpt, data_path=path, prompts=["天ß"], max_iters=1)
    assert f"{len(TEXT) + 2} characters, {VOCAB + 1} distinct" in out
    assert samples_of(out).startswith("天ß")


@says("the targets are the text, one character later", "目标是原文往后移一个字符")
@changed("get_batch")
def test_the_targets_are_the_text_one_character_later(gpt, device):
    ids, starts = torch.arange(100, device=device) * 2, torch.tensor([0, 7, 91], device=device)
    x, y = gpt.get_batch(ids, starts, small(gpt))
    assert x.shape == y.shape == (3, 8) and x.device.type == device
    windows = starts[:, None] + torch.arange(8, device=device)
    assert torch.equal(x, windows * 2)
    assert torch.equal(y, x + 2)


@pytest.fixture
def batches(monkeypatch):
    """Return batches(gpt): the list of (starts, x, y) that training takes from here on."""

    def batches(gpt):
        seen, get_batch = [], gpt.get_batch

        def spy(ids, starts, config):
            x, y = get_batch(ids, starts, config)
            if torch.is_grad_enabled():  # not in an evaluation
                seen.append((starts, x, y))
            return x, y

        monkeypatch.setattr(gpt, "get_batch", spy)
        return seen

    return batches


@changed("train")
def test_training_draws_its_windows_from_everywhere_in_the_text(gpt, batches):
    """A text of 12 characters has 4 windows of 8 that are followed by another character."""
    seen, ids = batches(gpt), torch.arange(12)
    config = small(gpt, batch_size=200, max_iters=2, eval_iters=1)
    train(gpt, new_model(gpt), {"train": ids, "val": ids}, config)
    first, second = (starts for starts, *_ in seen)
    assert first.shape == second.shape == (200,) and not torch.equal(first, second)
    counts = torch.bincount(torch.cat([first, second]))
    assert len(counts) == 4 and counts.min() > 60


# --- the loss and its gradients


@says(
    "model(ids, targets) gives logits (B, T, vocab_size) and a loss; without targets None",
    "model(ids, targets) 返回 logits (B, T, vocab_size) 和损失；没有 targets 时为 None",
)
@changed(*MODEL)
def test_logits_losses_and_samples_have_the_promised_shapes(gpt, device):
    model, windows = new_model(gpt, device), random_ids(3, 6, device=device)
    ids, targets = windows[:, :-1], windows[:, 1:]  # as get_batch cuts them: not contiguous
    for logits, loss in (model(ids), model(ids, targets)):
        size = f"logits {tuple(logits.shape)}, (B, T, vocab_size) = {(3, 5, VOCAB)}"
        assert logits.shape == (3, 5, VOCAB), found(size, size)
        assert loss is None or loss.shape == ()
    assert model(ids)[1] is None
    assert logits.dtype == loss.dtype == torch.float32


@says("the loss is the mean of -log(probability of the target)", "损失是 -log(目标的概率) 的平均值")
@changed("BabyGPT")
def test_the_loss_is_the_mean_surprise_at_the_targets(gpt, device):
    model, ids = new_model(gpt, device).eval(), random_ids(3, 8, device=device)
    targets = random_ids(3, 8, device=device)
    logits, loss = model(ids, targets)
    surprise = -logits.softmax(-1).gather(-1, targets[:, :, None]).log()
    torch.testing.assert_close(loss, surprise.mean())


@says("untrained, its loss is near ln(vocab_size)", "未训练时，损失接近 ln(vocab_size)")
@changed(*MODEL)
def test_the_untrained_model_guesses(gpt, device):
    ids, targets = random_ids(64, 8, device=device), random_ids(64, 8, device=device)
    _, loss = new_model(gpt, device, n_embed=32)(ids, targets)
    numbers = f"{loss.item():.2f}, ln({VOCAB}) = {math.log(VOCAB):.2f}"
    assert abs(loss.item() - math.log(VOCAB)) < 0.5, found(f"it is {numbers}", f"是 {numbers}")


@says("every parameter gets a gradient", "每个参数都有梯度")
@changed(*MODEL)
def test_every_parameter_gets_a_gradient(gpt, device):
    model = new_model(gpt, device, dropout=0.0)
    model(random_ids(32, 8, device=device), random_ids(32, 8, device=device))[1].backward()
    still = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == [], found(f"none: {', '.join(still)}", f"没有梯度：{', '.join(still)}")


# --- training


@says(
    "trained on a short text, it knows the text, and writes it",
    "用一小段文本训练之后，它记得住这段文本，也写得出来",
)
@changed("train", *MODEL)
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
    assert max(gpt.estimate_loss(model, data, config)) < 0.1
    # The text goes round in a circle, and so does a sample
    tokenizer = gpt.Tokenizer(TEXT)
    ids = torch.tensor([tokenizer.encode("天")], device=device)
    assert tokenizer.decode(model.eval().generate(ids, 7)[0].tolist()) == TEXT[:8]


@says("it learns: one batch by heart", "能学：背得下一个批次")
@changed(*MODEL, first=3)
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
    assert loss.item() < 0.5 < 3 < math.log(VOCAB), found(
        f"after 100 steps the loss is {loss.item():.2f}, not below 0.5",
        f"100 步之后损失是 {loss.item():.2f}，没有降到 0.5 以下",
    )


@says(
    "training goes where AdamW goes on the same batches, at a rate that rises and falls",
    "训练走的每一步，都与 AdamW 在同样的批次上走的相同，学习率先升后降",
)
@changed("train")
def test_training_is_adamw_with_fresh_gradients_and_a_rate_that_rises_and_falls(gpt, batches):
    """A twin is trained here, on the same batches. The schedule moves the rate and nothing else:
    by itself OneCycleLR would cycle the first of AdamW's betas too."""
    config = small(gpt, max_iters=29, learning_rate=3e-3, dropout=0.0)
    model, data = new_model(gpt, dropout=0.0), data_of(gpt, config)
    twin, before, seen = deepcopy(model), deepcopy(model.state_dict()), batches(gpt)
    train(gpt, model, data, config)
    optimizer = torch.optim.AdamW(twin.parameters(), lr=3e-3)
    schedule = OneCycleLR(optimizer, 3e-3, total_steps=30, cycle_momentum=False)
    assert len(seen) == 29
    for _, x, y in seen:
        optimizer.zero_grad()
        twin(x, y)[1].backward()
        optimizer.step()
        schedule.step()
    assert optimizer.param_groups[0]["betas"] == (0.9, 0.999)
    torch.testing.assert_close(model.state_dict(), twin.state_dict(), rtol=1e-5, atol=1e-6)
    assert not any(torch.equal(p, before[name]) for name, p in model.named_parameters())


@pytest.mark.parametrize("max_iters, steps", [(0, [0]), (25, [0, 10, 20, 25])])
@changed("train")
def test_the_first_the_last_and_every_tenth_step_are_evaluated_once(gpt, run, max_iters, steps):
    out = run(gpt, max_iters=max_iters)
    assert [step for step, *_ in losses_of(out)] == steps


@changed("train")
def test_progress_shows_the_loss_of_training_and_of_validation(gpt, monkeypatch, run):
    monkeypatch.setattr(gpt, "estimate_loss", lambda *args: [1.25, 2.5])
    assert losses_of(run(gpt, max_iters=1))[0] == (0, 1.25, 2.5)


@changed("train", "estimate_loss")
def test_however_often_one_evaluates_the_model_learns_and_samples_the_same(gpt, run):
    often, seldom = (run(gpt, eval_interval=interval) for interval in (1, 20))
    first, *_, last = losses_of(often)
    assert losses_of(seldom) == [first, last]
    assert samples_of(often) == samples_of(seldom)


# --- evaluation


@versions(1, 10)  # estimate_loss is v1's in all versions; v10 has dropout, which must be off
def test_the_evaluation_is_the_mean_loss_of_evenly_spaced_windows_without_dropout(gpt, device):
    """The same windows every time; and no random number is drawn, so the batches stay the same."""
    config = small(gpt, device=device, dropout=0.5, batch_size=4, eval_iters=3)
    model = new_model(gpt, device, dropout=0.5)
    data = {name: random_ids(n, device=device) for name, n in (("train", 200), ("val", 57))}
    before = torch.get_rng_state()
    losses = gpt.estimate_loss(model, data, config)
    assert torch.equal(before, torch.get_rng_state())
    assert [type(loss) for loss in losses] == [float, float]
    model.eval()
    for ids, ours in zip(data.values(), losses, strict=True):
        starts = [i * (len(ids) - 8) // 12 for i in range(12)]
        windows = torch.stack([ids[i : i + 9] for i in starts])
        _, loss = model(windows[:, :-1], windows[:, 1:])
        assert ours == pytest.approx(loss.item(), abs=1e-5)


@versions(1, 10)
def test_evaluation_leaves_the_model_as_it_was(gpt, device):
    config, model, seen = small(gpt, device=device), new_model(gpt, device), []
    before = deepcopy(model.state_dict())
    model.register_forward_hook(
        lambda *_: seen.append((torch.is_grad_enabled(), {m.training for m in model.modules()}))
    )
    gpt.estimate_loss(model, data_of(gpt, config), config)
    assert seen == [(False, {False})] * 4  # in eval mode, without gradients
    assert all(module.training for module in model.modules())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


# --- on the real poems


@pytest.fixture
def final_loss(capsys):
    """Return final_loss(version, *argv): the last val loss at the defaults, but for argv."""

    def final_loss(version, *argv):
        loaded(version).main(["--device", "cpu", *argv])
        return losses_of(capsys.readouterr().out)[-1][-1]

    return final_loss


def test_the_story_of_v5_to_v7_is_true_of_todays_code(final_loss):
    """Stacking blocks makes learning much harder (v6); with residual connections it is easier than
    before (v7)."""
    short = "--max_iters 100 --batch_size 32 --eval_interval 100 --eval_iters 4 --max_new_tokens 0"
    v5, v6, v7 = (final_loss(version, *short.split()) for version in (5, 6, 7))
    assert v5 + 0.1 < v6 < 6.5 and v7 < v5 - 0.05


@pytest.mark.slow
@pytest.mark.parametrize("version", [1, 7, 9])
def test_a_default_run_reaches_the_loss_that_the_script_promises(version, final_loss):
    expected = re.search(r"^Expect: val loss ([\d.]+)", loaded(version).__doc__, re.M)[1]
    assert final_loss(version) == pytest.approx(float(expected), abs=0.05)
