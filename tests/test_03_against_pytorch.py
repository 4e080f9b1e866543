"""The hand-written parts against PyTorch's own, with the same weights; v1 against counting."""

import math
from collections import Counter

import pytest
import torch
from conftest import assert_close, changed, new_model, random_ids, says, small, versions
from torch import nn
from torch.nn import functional as F

B, T, C = 3, 8, 16


def sdpa(head, x):
    """One head's weights in PyTorch's attention."""
    q, k, v = head.query(x), head.key(x), head.value(x)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def random_start(module):
    """Give every parameter a random value, those that start as 0 or 1 too."""
    with torch.no_grad():
        for p in module.parameters():
            p.normal_(std=0.5)
    return module


def as_torch_attention(sa):
    """Return nn.MultiheadAttention with the weights of a MultiHeadAttention that has proj."""
    theirs = nn.MultiheadAttention(C, n_heads(sa), batch_first=True)
    state = {
        "in_proj_weight": qkv_of(sa),
        "in_proj_bias": torch.zeros(3 * C),
        "out_proj.weight": sa.proj.weight,
        "out_proj.bias": sa.proj.bias,
    }
    theirs.load_state_dict(state)
    return theirs


PARTS = ("query", "key", "value")


def n_heads(sa):
    return sa.n_head if hasattr(sa, "n_head") else len(sa.heads)


def qkv_of(sa):
    """Return the weights of query, key and value of all heads as one matrix, as PyTorch has it."""
    if hasattr(sa, "qkv"):
        return sa.qkv.weight
    return torch.cat([getattr(head, name).weight for name in PARTS for head in sa.heads])


def as_torch_block(block):
    """Return nn.TransformerEncoderLayer with the weights of a Block."""
    theirs = nn.TransformerEncoderLayer(
        C, n_heads(block.sa), 4 * C, dropout=0.0, batch_first=True, norm_first=True
    )
    theirs.self_attn = as_torch_attention(block.sa)
    theirs.linear1, theirs.linear2 = block.ffwd.net[0], block.ffwd.net[2]
    theirs.norm1, theirs.norm2 = block.ln1, block.ln2
    return theirs


def no_future(length, device):
    return nn.Transformer.generate_square_subsequent_mask(length, device=device)


@says("a head is PyTorch's own causal attention", "一个头的输出与 PyTorch 自带的因果注意力一致")
@pytest.mark.parametrize("length", [1, 5, T])
@changed("Head", last=12)
def test_a_head_is_pytorchs_causal_attention(gpt, device, length):
    head = random_start(gpt.Head(small(gpt, n_embed=C), 12)).to(device).eval()
    x = torch.randn(B, length, C, device=device)
    assert head(x).shape == (B, length, 12)
    assert_close(head(x), sdpa(head, x))


@says(
    "the heads are PyTorch's attention, side by side",
    "各头的输出与 PyTorch 的多头注意力一致，并排拼接",
)
@versions(4)
def test_several_heads_are_pytorchs_attention_side_by_side(gpt, device):
    sa = random_start(gpt.MultiHeadAttention(small(gpt, n_embed=C, n_head=4))).to(device)
    x = torch.randn(B, T, C, device=device)
    # PyTorch's layout: one tensor (B, heads, T, head_size)
    q, k, v = (torch.stack([getattr(head, name)(x) for head in sa.heads], dim=1) for name in PARTS)
    theirs = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    assert_close(sa(x), theirs.transpose(1, 2).flatten(2))


@says(
    "each head has weights of its own, of n_embed // n_head columns",
    "每个头有自己的权重，大小是 n_embed // n_head",
)
@changed("MultiHeadAttention", last=12)
def test_the_heads_share_no_weights_and_start_different(gpt):
    sa = gpt.MultiHeadAttention(small(gpt, n_embed=C, n_head=4))
    keys = [head.key.weight for head in sa.heads]
    assert [key.shape for key in keys] == [(C // 4, C)] * 4
    assert len({key.data_ptr() for key in keys}) == 4
    assert not any(torch.equal(a, b) for a in keys for b in keys if a is not b)


@says(
    "attention is PyTorch's nn.MultiheadAttention", "注意力与 PyTorch 的 nn.MultiheadAttention 一致"
)
@changed("MultiHeadAttention", first=8, last=13)
def test_attention_with_projection_is_pytorchs_multihead_attention(gpt, device):
    sa = random_start(gpt.MultiHeadAttention(small(gpt, n_embed=C, n_head=4))).eval()
    theirs = as_torch_attention(sa).to(device)
    x = torch.randn(B, T, C, device=device)
    wanted, _ = theirs(x, x, x, attn_mask=no_future(T, device), is_causal=True)
    assert_close(sa.to(device)(x), wanted)


@says(
    "feed-forward: widen to 4 * n_embed, ReLU, back to n_embed",
    "前馈网络：放宽到 4 * n_embed，ReLU，再回到 n_embed",
)
@changed("FeedForward")
def test_feed_forward_widens_by_four_and_cuts_off_the_negative(gpt, device):
    ffwd = random_start(gpt.FeedForward(small(gpt, n_embed=C))).to(device).eval()
    w1, b1, w2, b2 = ffwd.parameters()
    assert w1.shape == (4 * C, C)
    x = torch.randn(B, T, C, device=device)
    assert_close(ffwd(x), (x @ w1.T + b1).clamp(min=0) @ w2.T + b2)


@says(
    "a block is PyTorch's nn.TransformerEncoderLayer(norm_first=True)",
    "Block 与 PyTorch 的 nn.TransformerEncoderLayer(norm_first=True) 一致",
)
@changed("Block", "MultiHeadAttention", "FeedForward", first=9, last=13)
def test_a_block_is_pytorchs_encoder_layer_with_the_norm_first(gpt, device):
    block = random_start(gpt.Block(small(gpt, n_embed=C, n_head=4))).eval()
    theirs = as_torch_block(block).to(device)
    x = torch.randn(B, T, C, device=device)
    wanted = theirs(x, src_mask=no_future(T, device), is_causal=True)
    assert_close(block.to(device)(x), wanted)


@says(
    "the whole model is PyTorch's encoder, with a norm before lm_head",
    "整个模型与 PyTorch 的编码器一致，lm_head 之前有 LayerNorm",
)
@changed("BabyGPT", "Block", "MultiHeadAttention", first=9, last=13)
def test_the_whole_model_is_pytorchs_encoder_between_embeddings_and_head(gpt, device):
    model = random_start(new_model(gpt, n_embed=C, n_head=4, n_layer=3)).eval()
    ids = random_ids(B, T, device=device)
    layers = nn.ModuleList([as_torch_block(block) for block in model.blocks]).to(device)
    model.to(device)
    x = model.token_embedding_table.weight[ids] + model.position_embedding_table.weight
    for layer in layers:
        x = layer(x, src_mask=no_future(T, device), is_causal=True)
    x = F.layer_norm(x, (C,), model.ln_final.weight, model.ln_final.bias)
    wanted = F.linear(x, model.lm_head.weight, model.lm_head.bias)
    assert_close(model(ids)[0], wanted, atol=1e-3)


@says(
    "trained, it reaches the loss that counting pairs would give",
    "训练之后，损失达到数字对所能得到的值",
)
@versions(1)
def test_the_bigram_model_learns_exactly_what_counting_pairs_would_tell(gpt, device):
    """Its loss on its own text reaches the entropy of a character given the one before, from above.

    A model that sees one character cannot do better; this one does as well.
    """
    ids = random_ids(300, vocab_size=6)  # few characters: each is followed by several others
    pairs = Counter(zip(ids[:-1].tolist(), ids[1:].tolist(), strict=True))
    firsts = Counter(ids[:-1].tolist())
    entropy = -sum(n * math.log(n / firsts[a]) for (a, _), n in pairs.items()) / (len(ids) - 1)
    assert 1 < entropy < math.log(6)

    model, ids = new_model(gpt, device, vocab_size=6), ids.to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-2, weight_decay=0)
    for _ in range(200):
        _, loss = model(ids[None, :-1], ids[None, 1:])
        assert loss.item() > entropy - 1e-5
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < entropy + 1e-3
