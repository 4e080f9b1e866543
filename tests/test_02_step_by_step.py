"""Each step against the one before it, weights copied over: what changed, and only that."""

from dataclasses import asdict

import pytest
import torch
from conftest import (
    VOCAB,
    assert_close,
    changed,
    found,
    loaded,
    new_model,
    random_ids,
    says,
    versions,
)
from runs import losses_of, without_checkpoint
from torch import nn

T, C = 8, 16


def pair(version, device, eval=True, **settings):
    """Return the models of the version before and of version, with random weights of their own."""
    models = [new_model(loaded(v), device, n_embed=C, **settings) for v in (version - 1, version)]
    return [model.eval() if eval else model for model in models]


def copy_weights(old, new, rename=lambda name: name, but=()):
    """Copy all of old's weights; new may have others only below the names in but."""
    state = {rename(name): value for name, value in old.state_dict().items()}
    missing, unexpected = new.load_state_dict(state, strict=False)
    assert unexpected == []
    assert all(any(part in name.split(".") for part in but) for name in missing)
    assert bool(missing) is bool(but)


def assert_same(old, new, device, length=T):
    ids = random_ids(4, length, device=device)
    assert_close(new(ids)[0], old(ids)[0])


def zero(*layers):
    with torch.no_grad():
        for layer in layers:
            for p in layer.parameters():
                p.zero_()


@says(
    "the logits are lm_head of the character's embedding, nothing else",
    "logits 就是 lm_head 作用在字符的嵌入上，别无其他",
)
def test_v1_is_a_table_of_logits(device):
    model, ids = new_model(loaded(1), device), random_ids(4, T, device=device)
    table = model.lm_head(model.token_embedding_table.weight)  # (VOCAB, VOCAB), row: character
    assert_close(model(ids)[0], table[ids])
    assert table.shape == (VOCAB, VOCAB)


@says(
    "the position's vector is added to the character's; with a table of zeros this is v1",
    "位置的向量加到字符的向量上；位置表全为零时就是 v1",
)
def test_v2_adds_the_position_to_the_token(device):
    old, new = pair(2, device)
    copy_weights(old, new, but=["position_embedding_table"])
    ids = random_ids(4, 5, device=device)
    shift = new.lm_head.weight @ new.position_embedding_table.weight[:5].T  # (VOCAB, 5)
    assert_close(new(ids)[0], old(ids)[0] + shift.T)
    zero(new.position_embedding_table)
    assert_same(old, new, device)


@says(
    "the head stands between the embeddings and lm_head; without it this is v2",
    "注意力头在嵌入和 lm_head 之间；去掉它就是 v2",
)
def test_v3_puts_one_head_as_wide_as_the_model_between_embeddings_and_lm_head(device):
    old, new = pair(3, device)
    copy_weights(old, new, but=["sa"])
    assert new.sa.value.weight.shape == (C, C)
    # The first position sees nothing but itself: the head passes its value on
    with torch.no_grad():
        new.sa.value.weight.copy_(torch.eye(C))
    assert_same(old, new, device, length=1)
    new.sa = nn.Identity()
    assert_same(old, new, device)


@says("with a single head this is v3", "只有一个头时就是 v3")
def test_v4_with_one_head_is_v3(device):
    old, new = pair(4, device, n_head=1)
    copy_weights(old, new, lambda name: name.replace("sa.", "sa.heads.0."))
    assert_same(old, new, device)


@says("with a feed-forward that passes everything on this is v4", "把前馈网络换成恒等映射，就是 v4")
def test_v5_with_a_feed_forward_that_passes_all_on_is_v4(device):
    old, new = pair(5, device)
    copy_weights(old, new, but=["ffwd"])
    zero(new.ffwd)
    first, _, second = list(new.ffwd.net)[:3]
    with torch.no_grad():  # x = relu(x) - relu(-x)
        first.weight[: 2 * C] = torch.cat([torch.eye(C), -torch.eye(C)])
        second.weight[:, : 2 * C] = torch.cat([torch.eye(C), -torch.eye(C)], dim=1)
    assert_same(old, new, device)


@says("with one block this is v5", "只有一个 Block 时就是 v5")
def test_v6_with_one_layer_is_v5(device):
    old, new = pair(6, device, n_layer=1)
    copy_weights(old, new, lambda n: f"blocks.0.{n}" if n.startswith(("sa.", "ffwd.")) else n)
    assert_same(old, new, device)


@says(
    "the blocks follow one another, each with weights of its own", "Block 一个接一个，各有各的权重"
)
@changed("Block", "BabyGPT", first=6, last=12)
def test_the_blocks_follow_one_another_and_share_no_weights(gpt, device):
    model = new_model(gpt, device, n_layer=3).eval()
    firsts = {block.sa.heads[0].key.weight.data_ptr() for block in model.blocks}
    assert len(model.blocks) == len(firsts) == 3
    read = []
    for block in model.blocks:
        block.register_forward_hook(lambda block, args, output: read.append((args[0], output)))
    model(random_ids(2, T, device=device))
    for (_, put_out), (put_in, _) in zip(read, read[1:], strict=False):
        assert torch.equal(put_in, put_out)


@says(
    "a block adds what its parts put out: x + sa(x), then x + ffwd(x)",
    "Block 把两部分的输出先后加到 x 上：x + sa(x)，再 x + ffwd(x)",
)
def test_v7_adds_what_each_part_of_v6_puts_out(device):
    old, new = (model.blocks[0] for model in pair(7, device))
    copy_weights(old, new)
    x = torch.randn(4, T, C, device=device)
    middle = x + old.sa(x)
    assert_close(new(x), middle + old.ffwd(middle))


@says(
    "parts that put out zero change nothing: x goes straight through",
    "子层输出为零时什么都不变：x 原样通过",
)
@changed("Block", "MultiHeadAttention", first=7, last=12)
def test_parts_that_put_out_zero_leave_the_residual_stream_alone(gpt, device):
    model = new_model(gpt, device, n_layer=3)
    for block in model.blocks:
        zero(*(head.value for head in block.sa.heads), block.ffwd)
        if hasattr(block.sa, "proj"):
            zero(block.sa.proj)
    x = torch.randn(4, T, C, device=device)
    assert torch.equal(model.blocks(x), x)


@says("with a projection that passes everything on this is v7", "把投影换成恒等映射，就是 v7")
def test_v8_with_a_projection_that_passes_all_on_is_v7(device):
    old, new = pair(8, device)
    copy_weights(old, new, but=["proj"])
    for block in new.blocks:
        assert block.sa.proj.weight.shape == (C, C)
        zero(block.sa.proj)
        with torch.no_grad():
            block.sa.proj.weight.copy_(torch.eye(C))
    assert_same(old, new, device)


@says("without the norms this is v8", "去掉各个 LayerNorm 就是 v8")
def test_v9_without_its_norms_is_v8(device):
    old, new = pair(9, device)
    copy_weights(old, new, but=["ln1", "ln2", "ln_final"])
    for block in new.blocks:
        block.ln1 = block.ln2 = nn.Identity()
    new.ln_final = nn.Identity()
    assert_same(old, new, device)


@says(
    "where nothing is dropped (dropout 0, or eval mode) this is v9",
    "什么都不丢弃时（dropout 为 0，或评估模式）就是 v9",
)
@pytest.mark.parametrize("mode", ["dropout 0 in training", "dropout 0.5 in evaluation"])
def test_v10_is_v9_where_nothing_is_dropped(device, mode):
    evaluating = mode.endswith("evaluation")
    old, new = pair(10, device, eval=evaluating, dropout=0.5 if evaluating else 0.0)
    copy_weights(old, new)
    assert_same(old, new, device)


@says(
    "dropout on the attention weights, after the projection, after the feed-forward, nowhere else",
    "Dropout 用在注意力权重、投影之后、前馈网络之后，别处没有",
)
@versions(10)
def test_dropout_comes_after_softmax_projection_and_feed_forward_and_nowhere_else(gpt, device):
    """For each of the three: what goes in, and that what comes out is used as it is."""
    model = new_model(gpt, device, n_layer=1, dropout=0.25)
    masks = [m for m in model.modules() if isinstance(m, nn.Dropout)]
    sa, ffwd = model.blocks[0].sa, model.blocks[0].ffwd
    wanted = [head.dropout for head in sa.heads] + [sa.dropout, ffwd.net[3]]
    assert set(map(id, masks)) == set(map(id, wanted)) and len(masks) == len(wanted)
    assert {mask.p for mask in masks} == {0.25}

    into, out = {}, {}

    def keep(module, args, output):
        into[module], out[module] = args[0], output

    for module in model.modules():
        module.register_forward_hook(keep)
    model(random_ids(2, T, device=device))
    assert into.keys() >= {*wanted}, found(
        "an nn.Dropout was made, but is not called", "建了 nn.Dropout，却没有调用"
    )
    for head in sa.heads:
        weights = into[head.dropout]
        assert_close(weights.sum(-1), torch.ones(2, T, device=device))
        assert torch.equal(weights, weights.tril())
        assert_close(out[head], out[head.dropout] @ out[head.value])
    assert into[sa.dropout] is out[sa.proj] and out[sa] is out[sa.dropout]
    assert into[ffwd.net[3]] is out[ffwd.net[2]] and out[ffwd] is out[ffwd.net[3]]


def test_v12_learns_what_v11_learns_to_the_last_digit(run):
    """Tracking and keeping the best model draw no random number and change no weight."""
    outs = [without_checkpoint(run(loaded(version))) for version in (11, 12)]
    assert outs[0] == outs[1] and losses_of(outs[0])


def test_every_step_up_to_dropout_changes_the_losses(run):
    losses = [losses_of(run(loaded(version))) for version in range(1, 11)]
    assert not any(a == b for i, a in enumerate(losses) for b in losses[:i])


@changed("Config", first=2, last=10)
def test_up_to_v10_the_settings_are_those_of_v1(gpt):
    """So that a change in the loss is the step's doing."""
    first, later = asdict(loaded(1).Config()), asdict(gpt.Config())
    assert {name: later[name] for name in first} == first
    assert first["block_size"] == 8


def test_v11_is_larger_than_v10_in_every_way_but_the_step_size():
    small, large = loaded(10).Config(), loaded(11).Config()
    for name in ("block_size", "n_embed", "n_head", "n_layer", "dropout", "max_iters"):
        assert getattr(large, name) > getattr(small, name)
    assert large.learning_rate < small.learning_rate


def test_v12_has_the_settings_of_v11():
    before, after = asdict(loaded(11).Config()), asdict(loaded(12).Config())
    assert {name: after[name] for name in before} == before
