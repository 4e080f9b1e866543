"""beyond/: each step equals the one before it where it should, and what it changes is proven."""

import contextlib
import functools
import io
import itertools
import os
import signal
import sys
from pathlib import Path

import pytest
import torch
from conftest import (
    MINE,
    MODEL,
    SMALL,
    TEXT,
    assert_close,
    changed,
    data_of,
    flags,
    loaded,
    new_model,
    random_ids,
    says,
    small,
    versions,
)
from runs import files_below, finish, losses_of, samples_of, start, wait_for, without_checkpoint
from torch.nn import functional as F

T, C = 8, 16


def qkv_of(sa):
    """Return the weights of query, key and value of all of v12's heads as one matrix."""
    parts = ("query", "key", "value")
    return torch.cat([getattr(head, part).weight for part in parts for head in sa.heads])


def fused(model):
    """Return v12's weights as v13 names them."""
    kept = {name: p for name, p in model.state_dict().items() if ".heads." not in name}
    matrices = {f"blocks.{i}.sa.qkv.weight": qkv_of(b.sa) for i, b in enumerate(model.blocks)}
    return {**kept, **matrices}


# --- v13: fused attention


@says(
    "with v12's weights it has v12's logits, loss and gradients",
    "换上 v12 的权重，logits、损失、梯度都与 v12 相同",
)
def test_v13_with_v12s_weights_has_its_logits_loss_and_gradients(device):
    old, new = (new_model(loaded(v), device, n_head=4, dropout=0.0) for v in (12, 13))
    new.load_state_dict(fused(old))
    ids, targets = (random_ids(3, T, device=device) for _ in range(2))
    (logits, loss), (other_logits, other_loss) = (model(ids, targets) for model in (old, new))
    assert_close(other_logits, logits)
    assert_close(other_loss, loss)
    loss.backward()
    other_loss.backward()
    for i, block in enumerate(old.blocks):
        for head in block.sa.heads:
            for part in (head.query, head.key, head.value):
                part.weight.data = part.weight.grad
        assert_close(new.blocks[i].sa.qkv.weight.grad, qkv_of(block.sa))
    for name, p in new.named_parameters():
        if "qkv" not in name:
            assert_close(p.grad, old.get_parameter(name).grad)


@says("attention weights are dropped in training and at no other time", "注意力权重只在训练时丢弃")
@changed("MultiHeadAttention", first=13)
def test_fused_attention_drops_weights_in_training_and_at_no_other_time(gpt, monkeypatch, device):
    """The function would also drop while evaluating: it is told not to."""
    asked, dropped, attention = [], [], F.scaled_dot_product_attention

    def watched(query, key, value, attn_mask=None, dropout_p=0.0, **kwargs):
        asked.append(dropout_p)
        return attention(query, key, value, attn_mask, dropout_p, **kwargs)

    monkeypatch.setattr(gpt.F, "scaled_dot_product_attention", watched)
    model, ids = new_model(gpt, device, n_layer=2, dropout=0.25), random_ids(2, T, device=device)
    for block in model.blocks:
        block.sa.dropout.register_forward_hook(lambda *_: dropped.append("after proj"))
    model(ids)
    assert asked == [0.25, 0.25] and len(dropped) == 2
    model.eval()
    model(ids)
    model.generate(ids, 1)
    assert set(asked[2:]) == {0.0}


# --- v14: rotary positions


def rotated(gpt, x, start=0):
    """Call rotate(), which from v15 on takes the first position too."""
    return gpt.rotate(x, start) if gpt.rotate.__code__.co_argcount == 2 else gpt.rotate(x)


@says(
    "rotate turns (number i, number i + half) by position * speed; position 0 stays",
    "rotate 把（第 i 个数，第 i + half 个数）转动 位置 × 速度；位置 0 不动",
)
@changed("rotate")
def test_rotation_is_multiplication_by_complex_numbers_of_length_one(gpt, device):
    x = torch.randn(2, 3, T, 12, dtype=torch.float64, device=device)
    angles = torch.outer(
        torch.arange(T, dtype=torch.float64), 1000.0 ** -(torch.arange(6, dtype=torch.float64) / 6)
    ).to(device)
    wanted = torch.complex(x[..., :6], x[..., 6:]) * torch.polar(torch.ones_like(angles), angles)
    assert_close(rotated(gpt, x), torch.cat([wanted.real, wanted.imag], dim=-1))
    assert_close(rotated(gpt, x).norm(dim=-1), x.norm(dim=-1))  # lengths are kept
    assert torch.equal(rotated(gpt, x)[:, :, 0], x[:, :, 0])  # position 0 turns nothing


@says("a score depends on the distance of two positions alone", "分数只取决于两个位置的距离")
@changed("rotate")
def test_scores_depend_on_the_distance_of_two_positions_alone(gpt, device):
    query, key = torch.randn(2, 12, device=device)
    rows = [rotated(gpt, vector.expand(1, 1, T, 12))[0, 0] for vector in (query, key)]
    scores = rows[0] @ rows[1].T  # (T, T), the same two vectors at all positions
    for distance in range(T):
        diagonal = scores.diagonal(-distance)
        assert_close(diagonal, diagonal[:1].expand_as(diagonal))
    assert len({round(score, 3) for score in scores[:, 0].tolist()}) == T


@says("queries and keys are turned alike before they are compared", "查询和键先同样转动，再作比较")
@changed("MultiHeadAttention", first=14)
def test_queries_and_keys_are_turned_alike_before_they_are_compared(gpt, device):
    sa = gpt.MultiHeadAttention(small(gpt, n_embed=C, n_head=2)).to(device).eval()
    x = torch.randn(3, T, C, device=device)
    parts = sa.qkv(x).chunk(3, dim=-1)  # each (3, T, C)
    query, key, value = (part.view(3, T, 2, C // 2).transpose(1, 2) for part in parts)
    turned = rotated(gpt, query), rotated(gpt, key)
    mixed = F.scaled_dot_product_attention(*turned, value, is_causal=True)
    assert_close(sa(x), sa.proj(mixed.transpose(1, 2).flatten(2)))


@says("without the rotation this is v13 without positions", "去掉转动，就是没有位置嵌入的 v13")
def test_v14_without_its_rotation_is_v13_without_positions(device, monkeypatch):
    old, new = (new_model(loaded(v), device).eval() for v in (13, 14))
    with torch.no_grad():
        old.position_embedding_table.weight.zero_()
    state = old.state_dict()
    del state["position_embedding_table.weight"]
    new.load_state_dict(state)
    ids = random_ids(2, T, device=device)
    assert (new(ids)[0] - old(ids)[0]).abs().max() > 1e-4
    monkeypatch.setattr(loaded(14), "rotate", lambda x: x)
    assert_close(new(ids)[0], old(ids)[0])


@says("values are not turned", "值不转动")
@changed(*MODEL, first=14)
def test_values_are_not_turned(gpt, device):
    """A row of equal characters: whoever looks where, the mix of equal values is that value."""
    logits, _ = new_model(gpt, device).eval()(torch.full((1, T), 5, device=device))
    assert_close(logits, logits[:, :1].expand_as(logits))


@says("a head of odd size is refused, naming --n_embed", "头的大小为奇数时报错，指出 --n_embed")
@versions(14)
def test_a_head_of_odd_size_is_refused(gpt, corpus):
    with pytest.raises(SystemExit, match="n_embed" if MINE else "n_embed 18.*n_head 2"):
        gpt.main(["--data_path", str(corpus), "--n_embed", "18", "--n_head", "2"])


# --- v15: the key-value cache


def same_weights(version, device, **settings):
    """Return the models of the version before and of version, in use, with the same weights."""
    models = [new_model(loaded(v), device, **settings).eval() for v in (version - 1, version)]
    models[1].load_state_dict(models[0].state_dict())
    return models


@says(
    "with v14's weights it writes what v14 writes, past the window too",
    "换上 v14 的权重，写出的与 v14 相同，超出窗口之后也一样",
)
@pytest.mark.parametrize("length", [1, 2, T - 1, T, T + 1, 3 * T])
def test_v15_writes_what_v14_writes_past_the_window_too(length, device):
    old, new = same_weights(15, device)
    ids = random_ids(3, length, device=device)  # a batch of prompts
    texts = []
    for model in (old, new):
        torch.manual_seed(1)
        texts.append(model.generate(ids, 2 * T))
    assert torch.equal(*texts)


@says("read in parts, a text has the logits of the whole", "文本分段读入，logits 与一次读完相同")
@pytest.mark.parametrize("cuts", [[0, 3, 4, 5, 6, 7, 8], [0, 3, 6, 8], [0, 8], [0, 1, 8]], ids=str)
@versions(15)
def test_with_a_cache_a_text_may_be_read_in_any_parts(gpt, device, cuts):
    """Each part has the logits that it has in the whole window, of however many positions it is."""
    model = new_model(gpt, device).eval()
    ids, caches = random_ids(2, T, device=device), [gpt.Cache() for _ in model.blocks]
    wanted, _ = model(ids)
    for begin, end in itertools.pairwise(cuts):
        logits, _ = model(ids[:, begin:end], caches=caches)
        assert_close(logits, wanted[:, begin:end])
        assert caches[0].length == end


@says("each position is computed once, until the window slides", "窗口滑动之前，每个位置只算一次")
@versions(15)
def test_sampling_with_a_cache_computes_each_position_once(gpt, device):
    model, widths = new_model(gpt, device).eval(), []
    first = model.blocks[0]
    first.register_forward_hook(lambda module, args, output: widths.append(args[0].shape[1]))
    model.generate(random_ids(1, 3, device=device), T)
    # The prompt, then one at a time; once the window slides, all of it
    assert widths == [3, *[1] * (T - 3), *[T] * 2]


# --- v16: mixed precision and compilation


@pytest.fixture
def products(monkeypatch):
    """Return the list of (in training?, number type) of what linear layers put out."""
    seen = []

    class Watched(torch.nn.Linear):
        def forward(self, x):
            result = super().forward(x)
            seen.append((self.training, result.dtype))
            return result

    monkeypatch.setattr(loaded(16).nn, "Linear", Watched)
    return seen


def test_v16_with_both_flags_off_is_v15_digit_for_digit(run):
    outs = [without_checkpoint(run(loaded(v))) for v in (15, 16)]
    assert outs[0] == outs[1] and "step" in outs[0]


def test_bfloat16_multiplies_in_training_only_and_stays_close(run, products):
    exact = losses_of(run(loaded(16), dropout=0.0))
    assert {dtype for _, dtype in products} == {torch.float32}
    products.clear()
    rounded = losses_of(run(loaded(16), dropout=0.0, dtype="bfloat16"))
    assert set(products) == {(True, torch.bfloat16), (False, torch.float32)}
    for (step, *ours), (same_step, *theirs) in zip(exact, rounded, strict=True):
        assert step == same_step and ours == pytest.approx(theirs, abs=0.02)
    assert exact != rounded


def test_parameters_stay_float32_under_bfloat16(run, tmp_path):
    run(loaded(16), dtype="bfloat16", checkpoint_path=tmp_path / "model.pt")
    saved = torch.load(tmp_path / "model.pt", weights_only=True)["model"]
    assert {value.dtype for value in saved.values()} == {torch.float32}


def test_the_compiled_model_trains_and_the_plain_one_is_evaluated_and_saved(
    run, monkeypatch, tmp_path
):
    calls = []

    class Compiled(torch.nn.Module):
        def __init__(self, model):
            super().__init__()
            self._orig_mod = model

        def forward(self, *args):
            calls.append(torch.is_grad_enabled())
            return self._orig_mod(*args)

    monkeypatch.setattr(
        torch, "compile", lambda f: Compiled(f) if isinstance(f, torch.nn.Module) else f
    )
    out = run(loaded(16), compile=True, checkpoint_path=tmp_path / "model.pt")
    assert calls == [True] * SMALL["max_iters"]
    assert without_checkpoint(out) == without_checkpoint(run(loaded(16)))
    saved = torch.load(tmp_path / "model.pt", weights_only=True)["model"]
    assert not [name for name in saved if "_orig_mod" in name]


@pytest.mark.slow
def test_compiled_and_eager_losses_agree(run):
    eager, compiled = (losses_of(run(loaded(16), dropout=0.0, compile=c)) for c in (False, True))
    for ours, theirs in zip(eager, compiled, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-3)


@changed("main", first=16)
def test_a_compiler_that_is_missing_is_said_before_the_training(gpt, run, monkeypatch):
    def no_compiler(function):
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(torch, "compile", no_compiler)
    with pytest.raises(SystemExit, match="--compile.*no C.. compiler"):
        run(gpt, compile=True)


# --- v17: several processes


def test_v17_alone_is_v16_digit_for_digit(run):
    """Without dropout: it has random numbers of its own in each process."""
    outs = [without_checkpoint(run(loaded(version), dropout=0.0)) for version in (16, 17)]
    assert outs[0] == outs[1] and losses_of(outs[0])


def test_accumulated_parts_give_the_step_of_the_whole_batch(run, monkeypatch):
    """With SGD: AdamW would divide out a gradient that is too large by the number of parts."""
    sgd = functools.partial(torch.optim.SGD, momentum=0.9)
    monkeypatch.setattr(torch.optim, "AdamW", sgd)
    settings = {"dropout": 0.0, "learning_rate": 0.1}
    whole, parts = (losses_of(run(loaded(17), **settings, accumulate=n)) for n in (1, 4))
    assert len(whole) == len(parts) == 3 and whole[2][1] < whole[0][1]
    for ours, theirs in zip(whole, parts, strict=True):
        assert ours == pytest.approx(theirs, abs=2e-4)


@pytest.mark.parametrize("batch_size, accumulate", [(8, 3), (2, 4)])
def test_a_batch_that_cannot_be_shared_out_is_refused(run, batch_size, accumulate):
    with pytest.raises(SystemExit, match=f"--batch_size {batch_size}"):
        run(loaded(17), batch_size=batch_size, accumulate=accumulate)


@pytest.mark.parametrize("rank", [0, 1])
def test_gradients_are_exchanged_in_the_last_part_of_a_step_alone(monkeypatch, rank):
    """And of two processes, the first alone saves, and dropout has a seed of its own in each."""
    v17, exchanging = loaded(17), []

    class Shared(torch.nn.Module):  # stands in for DistributedDataParallel
        require_backward_grad_sync = True

        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, *args):
            exchanging.append(self.require_backward_grad_sync)
            return self.model(*args)

    monkeypatch.setattr(v17, "DistributedDataParallel", Shared)
    config = small(v17, accumulate=2, max_iters=2, checkpoint_path="model.pt")
    model, data = new_model(v17), data_of(v17, config)
    v17.train(model, data, config, v17.Tokenizer(TEXT), rank=rank, world_size=2)
    assert Path("model.pt").exists() is (rank == 0)
    assert torch.initial_seed() == config.seed + rank
    assert exchanging == [False, True] * 2


def torchrun(argv, folder):
    """Start v17 as two processes, as a user would."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    return start(17, argv, folder, launcher)


def test_two_processes_give_what_one_gives(tmp_path, corpus):
    """Parameters, losses and poem; the gradients of two parts each are exchanged once."""
    argv = flags(loaded(17), data_path=corpus, dropout=0.0, checkpoint_path="model.pt")
    argv += ["--accumulate", "2"]
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    processes = [start(17, argv, folders[0]), torchrun(argv, folders[1])]
    (one, _, status), (two, err, other_status) = map(finish, processes)
    assert status == other_status == 0, err
    assert [len(losses_of(out)) for out in (one, two)] == [3, 3]
    for ours, theirs in zip(losses_of(one), losses_of(two), strict=True):
        assert ours == pytest.approx(theirs, abs=2e-4)
    assert samples_of(without_checkpoint(one)) == samples_of(without_checkpoint(two))
    assert [files_below(folder) for folder in folders] == [["model.pt"]] * 2
    saved = [torch.load(folder / "model.pt", weights_only=True)["model"] for folder in folders]
    for name, value in saved[0].items():
        torch.testing.assert_close(saved[1][name], value, rtol=1e-3, atol=1e-4)


def test_the_first_process_alone_needs_the_file_whose_name_has_the_second_it_began_in(
    monkeypatch, corpus, tmp_path
):
    v17 = loaded(17)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(sys, "stdout", sys.stdout)  # main replaces it
    for module, name in ((v17.dist, "init_process_group"), (v17.dist, "destroy_process_group")):
        monkeypatch.setattr(module, name, lambda: None)
    monkeypatch.setattr(v17.signal, "signal", lambda *_: None)
    monkeypatch.setattr(v17, "train", lambda *_: None)
    v17.main(flags(v17, data_path=corpus, checkpoint_path=str(tmp_path / "of another name.pt")))


def worker(rank):
    """Return the process id of one of the processes that torchrun has started."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"RANK={rank}" in (folder / "environ").read_text().split("\0"):
                return int(folder.name)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").exists(), reason="finds the process by /proc")
def test_a_process_that_dies_ends_the_run_and_the_checkpoint_is_whole(tmp_path, corpus):
    folder = tmp_path / "run"
    folder.mkdir()
    argv = flags(loaded(17), data_path=corpus, max_iters=10**6, checkpoint_path="model.pt")
    process = torchrun(argv, folder)
    wait_for(process, "step    20")
    os.kill(worker(1), signal.SIGKILL)
    _, err, status = finish(process)
    assert status != 0 and "Signal 9" in err
    v17 = loaded(17)
    v17.load_checkpoint(folder / "model.pt", v17.Config(prompts=("天",), device="cpu"))
    assert worker(0) is None  # nobody is left behind


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is another thing there")
def test_ctrl_c_ends_all_processes_and_the_best_model_is_in_its_file(tmp_path, corpus):
    folder = tmp_path / "run"
    folder.mkdir()
    argv = flags(loaded(17), data_path=corpus, max_iters=10**6, checkpoint_path="model.pt")
    process = torchrun(argv, folder)
    wait_for(process, "step    20")
    os.killpg(process.pid, signal.SIGINT)
    assert finish(process)[2] != 0
    v17 = loaded(17)
    v17.load_checkpoint(folder / "model.pt", v17.Config(prompts=("天",), device="cpu"))
    assert files_below(folder) == ["model.pt"]


# --- v18: how the next character is chosen


def knows(model, chances):
    """Let a model give these probabilities at every position, whatever it reads."""
    logits = torch.tensor(chances).log() + 3  # softmax does not care about the 3

    def known_logits(module, args, output):
        return logits.expand_as(output[0]), None

    model.register_forward_hook(known_logits)


def test_v18_at_temperature_1_without_top_k_and_stop_is_v15_digit_for_digit(run):
    outs = [without_checkpoint(run(loaded(v), stop="")) for v in (15, 18)]
    assert outs[0] == outs[1] and "step" in outs[0]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("top_k", [0, 1, 3, 6, 99])
@versions(18)
def test_characters_are_drawn_by_temperature_and_among_the_k_likeliest(gpt, temperature, top_k):
    """Chi-square with 5 degrees of freedom at most: above 20.5 once in a thousand seeds."""
    chances = torch.tensor([0.01, 0.4, 0.2, 0.1, 0.25, 0.04])
    model, n = new_model(gpt, vocab_size=6), 5000
    knows(model, chances.tolist())
    drawn = model.generate(random_ids(n, 3, vocab_size=6), 2, temperature, top_k)[:, 3:]
    wanted = chances ** (1 / temperature)
    wanted[wanted.argsort(descending=True)[top_k or 6 :]] = 0
    wanted = n * wanted / wanted.sum()
    for column in drawn.T:
        counts = torch.bincount(column, minlength=6)
        assert counts[wanted == 0].sum() == 0
        assert ((counts - wanted) ** 2 / wanted)[wanted > 0].sum() < 20.5


@versions(18)
def test_at_temperature_0_the_likeliest_character_comes(gpt, device):
    """As with a top_k of 1, whatever the seed, past the window too."""
    model, ids = new_model(gpt, device).eval(), random_ids(2, 3, device=device)
    texts = [model.generate(ids, 2 * T, *how) for how in ((0.0,), (0.0, 5), (1.0, 1), (9.9, 1))]
    assert all(torch.equal(text, texts[0]) for text in texts)
    for end in range(3, 3 + 2 * T):
        logits, _ = model(texts[0][:, max(0, end - T) : end])
        assert torch.equal(logits[:, -1].argmax(dim=-1), texts[0][:, end])


@versions(18)
def test_a_stream_is_one_character_longer_each_time_and_leaves_gradients_on_between(gpt):
    model, ids = new_model(gpt).eval(), random_ids(2, 3)
    parts = []
    for part in model.stream(ids, 5):
        assert torch.is_grad_enabled() and not part.requires_grad
        parts.append(part)
    torch.manual_seed(0)
    random_ids(2, 3)  # as above
    assert [part.shape[1] for part in parts] == [4, 5, 6, 7, 8]
    assert all(torch.equal(part, parts[-1][:, : part.shape[1]]) for part in parts)


class Watched(io.StringIO):
    """Notes what it is told, and when it is told to pass it on."""

    def __init__(self, events):
        super().__init__()
        self.events, self.flushed = events, 0

    def flush(self):
        self.events.append(self.getvalue()[self.flushed :])
        self.flushed = len(self.getvalue())


@versions(18)
def test_a_character_is_on_the_screen_before_the_next_is_drawn(gpt, monkeypatch):
    events, multinomial = [], torch.multinomial

    def noted(probs, **kwargs):
        events.append("drawn")
        return multinomial(probs, **kwargs)

    monkeypatch.setattr(torch, "multinomial", noted)
    monkeypatch.setattr(sys, "stdout", Watched(events))
    config = small(gpt, max_new_tokens=3, prompts=("天地",))
    gpt.sample(new_model(gpt), gpt.Tokenizer(TEXT), config)
    assert events[:1] == ["\n天地"] and events[1::2] == ["drawn"] * 3
    assert all(len(char) == 1 for char in events[2::2])


@pytest.mark.parametrize(
    "stop, comes, shown",
    [
        ("\n\n", "花开。\n\n春", "\n春\n花开。\n\n"),
        ("\n\n", "\n春", "\n春\n\n"),  # the end of the prompt counts
        ("花开", "花开。\n\n春", "\n春\n花\n"),
        ("开花", "花开。\n\n春", "\n春\n花开。\n\n春\n"),
        ("", "花开。\n\n春", "\n春\n花开。\n\n春\n"),
    ],
)
@versions(18)
def test_a_sample_ends_at_its_stop_and_the_next_prompt_has_its_turn(
    gpt, stop, comes, shown, monkeypatch, capsys
):
    """What completes the stop is not printed."""
    tokenizer = gpt.Tokenizer("春花开。\n")

    def stream(model, ids, max_new_tokens, *how):
        for end in range(max_new_tokens):
            yield torch.cat([ids, torch.tensor([tokenizer.encode(comes[: end + 1])])], dim=1)

    monkeypatch.setattr(gpt.BabyGPT, "stream", stream)
    config = small(gpt, stop=stop, max_new_tokens=len(comes), prompts=("春\n", "春\n"))
    gpt.sample(new_model(gpt), tokenizer, config)
    assert capsys.readouterr().out == 2 * shown
