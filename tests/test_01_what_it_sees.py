"""What a prediction depends on: the character (v1), its position (v2), all the past (v3 on)."""

import torch
from conftest import (
    MODEL,
    VOCAB,
    assert_close,
    changed,
    found,
    new_model,
    random_ids,
    says,
    small,
    versions,
)

T = 8


def changed_at(ids, position):
    """Return ids (1, T) with another character at position."""
    other = ids.clone()
    other[:, position] = (other[:, position] + 1) % VOCAB
    return other


def positions_that_matter(model, ids, position):
    """Return the positions whose embeddings get a gradient from the logits at position."""
    seen = []
    table = model.token_embedding_table
    hook = table.register_forward_hook(lambda module, args, output: seen.append(output))
    (gradient,) = torch.autograd.grad(model(ids)[0][0, position].square().sum(), seen)
    hook.remove()
    return gradient[0].abs().sum(-1).nonzero().flatten().tolist()


@says("no position sees a later character", "每个位置都看不到后面的字符")
@changed(*MODEL)
def test_the_future_never_changes_the_past(gpt, device):
    """To the last bit; in training mode, where the loss is taken at every position."""
    model, ids = new_model(gpt, device, dropout=0.0), random_ids(1, T, device=device)
    with torch.no_grad():
        logits, _ = model(ids)
        bad = logits[0].isnan().any(-1).nonzero().flatten().tolist()
        assert not bad, found(
            f"logits are nan at the positions {bad}", f"位置 {bad} 的 logits 是 nan"
        )
        assert torch.equal(model(ids)[0], logits), found(
            "with dropout 0, the same text gives other logits a second time: something is random",
            "dropout 为 0，同一段文本第二次的 logits 却不同：有什么是随机的",
        )
        for position in range(1, T):
            other, _ = model(changed_at(ids, position))
            assert torch.equal(other[:, :position], logits[:, :position]), found(
                f"position {position - 1} or one before changes when character {position} does",
                f"第 {position} 个字符一变，第 {position - 1} 个位置或更前面的也变了（从 0 数起）",
            )
            assert not torch.equal(other[:, position], logits[:, position])


@says(
    "a window shorter than block_size works, and gives the same logits",
    "比 block_size 短的窗口也能用，logits 不变",
)
@changed(*MODEL)
def test_a_window_of_any_length_gives_what_its_positions_give_in_a_longer_one(gpt, device):
    model, ids = new_model(gpt, device).eval(), random_ids(2, T, device=device)
    logits, _ = model(ids)
    for length in range(1, T):
        assert_close(model(ids[:, :length])[0], logits[:, :length])


@changed(*MODEL)
def test_the_texts_of_a_batch_do_not_see_each_other(gpt, device):
    model, ids = new_model(gpt, device).eval(), random_ids(3, T, device=device)
    together, _ = model(ids)
    alone = torch.cat([model(row[None])[0] for row in ids])
    assert_close(together, alone)


@says(
    "a prediction depends on the current character (and its position), not on those before",
    "预测只取决于当前字符（和它的位置），与前面的字符无关",
)
@versions(1, 2)
def test_before_attention_only_the_current_character_matters(gpt, device):
    model, ids = new_model(gpt, device), random_ids(1, T, device=device)
    with torch.no_grad():
        logits, _ = model(ids)
        for position in range(T - 1):
            other, _ = model(changed_at(ids, position))
            assert torch.equal(other[:, position + 1 :], logits[:, position + 1 :])
    for position in range(T):
        assert positions_that_matter(model, ids, position) == [position]


@says("each position takes in every earlier character", "每个位置都用上了前面的每个字符")
@changed(*MODEL, first=3)
def test_with_attention_every_earlier_character_matters_and_no_later_one(gpt, device):
    model, ids = new_model(gpt, device, n_embed=32).eval(), random_ids(1, T, device=device)
    for position in range(T):
        seen = positions_that_matter(model, ids, position)
        assert seen == list(range(position + 1)), found(
            f"position {position} sees the positions {seen}", f"位置 {position} 看到的位置是 {seen}"
        )
    with torch.no_grad():
        logits, _ = model(ids)
        for position in range(T):
            other, _ = model(changed_at(ids, position))
            for later in range(position, T):
                assert not torch.equal(other[:, later], logits[:, later])


@versions(1)
def test_without_positions_a_character_means_the_same_everywhere(gpt, device):
    logits, _ = new_model(gpt, device)(torch.full((1, T), 5, device=device))
    assert_close(logits, logits[:, :1].expand_as(logits))


@says(
    "the same character at another position gives other logits",
    "同一个字符换一个位置，logits 就不同",
)
@changed(*MODEL, first=2, last=13)  # from v14 on values carry no position
def test_with_positions_the_same_character_differs_from_position_to_position(gpt, device):
    """A row of one character: only the position can make a difference, with attention too."""
    model = new_model(gpt, device, n_embed=32, n_layer=1).eval()
    logits, _ = model(torch.full((1, T), 5, device=device))
    for a in range(T):
        for b in range(a):
            assert (logits[0, a] - logits[0, b]).abs().max() > 1e-3


@says("the order of two characters matters: 春江 is not 江春", "两个字的顺序有区别：春江不是江春")
@changed(*MODEL, first=2)
def test_the_order_of_two_characters_matters(gpt, device):
    """春江 is not 江春: each character differs by whether it stands first or second."""
    model = new_model(gpt, device, n_embed=32, n_layer=1).eval()
    ab, ba = (model(torch.tensor([pair], device=device))[0][0] for pair in ([1, 2], [2, 1]))
    assert (ab[1] - ba[0]).abs().max() > 1e-3
    assert (ab[0] - ba[1]).abs().max() > 1e-3


@says(
    "the attention weights are a lower triangle, each row sums to 1",
    "注意力权重是下三角矩阵，每行之和为 1",
)
@changed("Head", last=12)
def test_attention_weights_are_a_triangle_of_rows_that_sum_to_one(gpt, device):
    head = gpt.Head(small(gpt, n_embed=T), T).to(device).eval()
    one_hot = torch.eye(T, device=device)[None]  # (1, T, T)
    with torch.no_grad():
        head.value.weight.copy_(one_hot[0])
    weights = head(one_hot)[0]  # each value marks its position, so the mix shows the weights
    assert torch.equal(weights, weights.tril())
    assert (weights[one_hot[0].cumsum(0) > 0] > 0).all()
    assert_close(weights.sum(-1), torch.ones(T, device=device))
