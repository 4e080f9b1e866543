"""Sampling: one character after the other, drawn by the model's probabilities."""

import pytest
import torch
from conftest import VOCAB, changed, found, loaded, new_model, random_ids, says
from runs import samples_of


@says(
    "generate continues the prompt by max_new_tokens characters",
    "generate 在提示之后接上 max_new_tokens 个字符",
)
@changed("BabyGPT")
def test_a_sample_continues_its_prompt(gpt, device):
    model, prompt = new_model(gpt, device), random_ids(3, 5, device=device)
    sample = model.generate(prompt, 20)
    length = sample.shape[1]
    assert sample.shape == (3, 25), found(
        f"5 characters and 20 new ones make {length}", f"5 个字符加 20 个新的，得到 {length} 个"
    )
    assert torch.equal(sample[:, :5], prompt)
    assert 0 <= sample.min() and sample.max() < VOCAB
    assert torch.equal(model.generate(prompt, 0), prompt)


@says(
    "the next character is drawn by the softmax of the last position",
    "按最后一个位置的 softmax 概率抽取下一个字符",
)
@changed("BabyGPT")
def test_characters_are_drawn_by_the_softmax_of_the_last_position(gpt, device):
    """Chi-square with 5 degrees of freedom: above 20.5 once in a thousand seeds."""
    chances = torch.tensor([0.4, 0.25, 0.2, 0.1, 0.04, 0.01])
    model = new_model(gpt, device, vocab_size=6)

    def known_logits(module, args, output):
        logits = torch.zeros_like(output[0])
        logits[:, -1] = chances.log() + 3  # softmax does not care about the 3
        return logits, None

    model.register_forward_hook(known_logits)
    n = 5000
    drawn = model.generate(random_ids(n, 3, device=device, vocab_size=6), 2)[:, 3:].cpu()
    for column in drawn.T:
        counts = torch.bincount(column, minlength=6)
        ours, theirs = ([round(100 * p.item()) for p in x] for x in (counts / n, chances))
        assert ((counts - n * chances) ** 2 / (n * chances)).sum() < 20.5, found(
            f"drawn, in percent: {ours}, by softmax: {theirs} (is the model called as self(ids)?)",
            f"抽到的百分比：{ours}，按 softmax：{theirs}（调用模型用的是 self(ids) 吗？）",
        )


@says(
    "generate reads the last block_size characters, neither more nor fewer",
    "generate 每次读最后 block_size 个字符，不多不少",
)
@changed("BabyGPT", last=14)  # v15 keeps what it has read
def test_each_character_is_drawn_after_reading_all_of_the_last_block_size(gpt, device):
    """v1 needs no limit: it looks at the last character alone."""
    model, seen = new_model(gpt, device), []
    model.register_forward_hook(lambda module, args, output: seen.append(args[0]))
    for length in (3, 30):  # a prompt may be longer than block_size
        seen.clear()
        sample = model.generate(random_ids(1, length, device=device), 10)
        for i, ids in enumerate(seen):
            end = length + i
            start = 0 if gpt is loaded(1) else max(0, end - 8)
            wanted, given = sample[0, start:end].tolist(), ids[0].tolist()
            assert given == wanted, found(
                f"to write character {end}, it read the ids {given}, not the last ones {wanted}",
                f"写第 {end} 个字符时读的编号是 {given}，而不是最后的 {wanted}",
            )


def mode_of(model):
    """Return whether gradients are on, and which of its parts are in training mode."""
    return torch.is_grad_enabled(), {module.training for module in model.modules()}


@says(
    "what a run writes is drawn in eval mode, without gradients, from the seed",
    "写词在评估模式下进行，不算梯度，从种子开始",
)
@changed("sample", "main", "BabyGPT")
def test_the_samples_of_a_run_come_from_eval_mode_without_gradients_and_from_the_seed(
    gpt, run, monkeypatch
):
    """In training mode dropout would be on, which is a known bug of scripts like these."""
    seen, modes, states = [], [], []
    forward, multinomial = gpt.BabyGPT.forward, torch.multinomial

    def watched(model, *args, **kwargs):
        seen[:] = [mode_of(model)]
        return forward(model, *args, **kwargs)

    def spy(probs, **kwargs):
        states.append(torch.get_rng_state())
        modes.extend(seen)
        return multinomial(probs, **kwargs)

    monkeypatch.setattr(gpt.BabyGPT, "forward", watched)
    monkeypatch.setattr(torch, "multinomial", spy)
    run(gpt, seed=7, max_iters=2)
    assert modes == [(False, {False})] * 24  # two prompts, twelve characters each
    torch.manual_seed(7)
    assert torch.equal(states[0], torch.get_rng_state())


@changed("sample", "main")
def test_a_run_may_have_no_new_characters_no_steps_and_no_prompts(gpt, run):
    assert samples_of(run(gpt, max_iters=0, max_new_tokens=0)) == "天地\n\n日\n"
    assert samples_of(run(gpt, max_iters=0, prompts=[])) == ""


@pytest.mark.parametrize("prompt", ["天地玄黄宇宙洪荒日月盈昃", "天"])
@changed("sample")
def test_a_prompt_may_be_longer_than_the_context(gpt, run, prompt):
    out = samples_of(run(gpt, max_iters=0, prompts=[prompt], max_new_tokens=5))
    assert out.startswith(prompt) and len(out) == len(prompt) + 5 + len("\n")
