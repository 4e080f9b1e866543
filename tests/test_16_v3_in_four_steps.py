"""The pages' own snippets: v3's four steps to attention, and what two heads of a trained v4 see."""

import contextlib
import io
import re

import pytest
import torch
from conftest import (
    ROOT,
    assert_close,
    changed,
    found,
    loaded,
    new_model,
    random_ids,
    says,
    small,
    solution,
    versions,
)

SNIPPET = re.compile(r"^```py\n(.*?)^```\n\n```text\n(.*?)^```$", re.M | re.S)
AVERAGES = torch.tensor([[1, 0], [1 / 2, 1 / 2], [2 / 3, 2 / 3]])


def snippets(page):
    """Return [(code, output)] of a page: each snippet with what it prints, as the page has it."""
    return SNIPPET.findall((ROOT / "docs" / "en" / page).read_text(encoding="utf-8"))


def printed(code, names):
    """Run a snippet with these names, which it may add to. Return what it prints."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(code, names)
    return out.getvalue()


@pytest.fixture
def steps():
    """The names that are known after each of v3's four steps."""
    names, after = {}, []
    for code, _ in snippets("v03.md"):
        printed(code, names)
        after.append(dict(names))
    return after


def test_the_four_steps_print_what_the_page_says():
    names, found = {}, snippets("v03.md")
    assert len(found) == 4
    for code, output in found:
        assert printed(code, names) == output


def test_loop_product_and_softmax_make_the_same_averages(steps):
    loop, product, softmax, _ = steps
    assert_close(loop["result"], AVERAGES)
    for step in (product, softmax):
        assert_close(step["weights"] @ step["x"], loop["result"])
        assert_close(step["weights"].sum(dim=1), torch.ones(3))


def test_query_and_key_change_all_rows_but_the_first(steps):
    """It sees itself alone, whatever it looks for."""
    result = steps[3]["weights"] @ steps[3]["x"]
    assert_close(result[0], AVERAGES[0])
    assert ((result - AVERAGES)[1:].abs().amax(dim=1) > 0.1).all()


def test_with_queries_of_zeros_the_fourth_step_is_an_average_again(steps):
    code, _ = snippets("v03.md")[3]
    without = re.sub(r"(?m)^query = .*$", "query = torch.zeros(3, 4)", code)
    assert without != code
    printed(without, names := dict(steps[2]))
    assert_close(names["weights"] @ names["x"], AVERAGES)


@changed("Head", last=3)
def test_the_head_of_the_script_computes_the_fourth_step(gpt):
    """With linear layers that give each of the three characters its query, key and value."""
    head, names = gpt.Head(small(gpt, n_embed=3), 4), steps_of_the_page()
    values = torch.cat([names["x"], torch.zeros(3, 2)], dim=1)  # as long as queries and keys
    with torch.no_grad():
        for layer, rows in ((head.query, "query"), (head.key, "key")):
            layer.weight.copy_(names[rows].T)
        head.value.weight.copy_(values.T)
        result = head(torch.eye(3)[None])[0]
    assert_close(result[:, :2], names["weights"] @ names["x"])
    assert not result[:, 2:].any()


def steps_of_the_page():
    names = {}
    for code, _ in snippets("v03.md"):
        printed(code, names)
    return names


@versions(3)
def test_unscaled_scores_would_make_softmax_pick_one_position(gpt):
    """The numbers of the page: before training, with and without the root of head_size."""
    model = new_model(gpt, n_embed=128, vocab_size=4295)
    ids = random_ids(512, 8, vocab_size=4295)
    with torch.no_grad():
        x = model.token_embedding_table(ids) + model.position_embedding_table.weight
        scores = model.sa.query(x) @ model.sa.key(x).transpose(-2, -1)
    for factor, spread, largest in ((1, 7.5, 0.85), (128**-0.5, 0.66, 0.26)):
        assert (factor * scores).std().item() == pytest.approx(spread, rel=0.03)
        weights = torch.softmax(factor * scores[:, -1], dim=-1)
        assert weights.amax(dim=-1).mean().item() == pytest.approx(largest, rel=0.05)


@pytest.fixture
def trained_v4(monkeypatch):
    """The names that are known after the snippet of v4's page, and what it printed."""
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(ROOT)
    ((code, output),) = snippets("v04.md")
    output_now = printed(code, names := {})
    return names, output, output_now


def test_the_two_heads_of_v4_print_what_the_page_says(trained_v4):
    """Percents, so that another processor may round one of them the other way."""
    _, output, output_now = trained_v4
    words, words_now = output.split(), output_now.split()
    assert len(words) == len(words_now)
    for word, now in zip(words, words_now, strict=True):
        assert word == now or abs(int(word) - int(now)) == 1, output_now


def test_one_head_of_v4_takes_the_character_itself_and_one_the_character_before(trained_v4):
    """As the page says, over all windows of the val loss, without their first positions."""
    gpt, model = loaded(4), trained_v4[0]["model"]
    config = gpt.Config(device="cpu")
    tokenizer, data = gpt.load_data(config)
    n = config.eval_iters * config.batch_size
    starts = torch.arange(n) * (len(data["val"]) - config.block_size) // n
    ids, _ = gpt.get_batch(data["val"], starts, config)
    marks = torch.isin(ids, torch.tensor(tokenizer.encode("，。、？！\n")))
    with torch.no_grad():
        x = model.token_embedding_table(ids) + model.position_embedding_table.weight
        weights = [weights_of(head, x) for head in model.sa.heads]  # (windows, T, T) each
    own = [w.diagonal(0, 1, 2)[:, 1:].mean().item() for w in weights]
    before = [w.diagonal(-1, 1, 2).mean().item() for w in weights]
    assert own[3] > 0.9 and before[0] > 0.5
    on_marks = (weights[0][:, 1:] * marks[:, None]).sum(dim=-1).mean().item()
    assert marks.float().mean().item() == pytest.approx(0.24, abs=0.02)
    assert on_marks == pytest.approx(0.46, abs=0.04)


def weights_of(head, x):
    scores = head.query(x) @ head.key(x).transpose(-2, -1) * head.key.out_features**-0.5
    return scores.masked_fill(head.tril == 0, float("-inf")).softmax(dim=-1)


# --- the first three steps as tasks of practice: tools/tasks/v3_1.py and on, or the reader's file


@says("each row is the mean of its own and those before it", "每一行是它自己和前面各行的平均")
def test_v3_1_averages_the_past_position_by_position():
    x = torch.randn(5, 3)
    result = solution("v3.1").average(x.clone())
    assert_close(result, torch.stack([x[: i + 1].mean(dim=0) for i in range(5)]))


@says("x itself is not changed", "x 本身没有被改动")
def test_v3_1_leaves_its_input_alone():
    x = torch.randn(5, 3)
    before = x.clone()
    solution("v3.1").average(x)
    assert torch.equal(x, before), found("x itself is changed", "x 本身被改动了")


@says("a lower triangle, each row sums to 1", "下三角，每行之和为 1")
def test_v3_2_is_a_lower_triangle_of_rows_that_sum_to_one():
    weights = solution("v3.2").averaging(5)
    assert_close(weights, weights.tril())
    assert_close(weights.sum(dim=1), torch.ones(5))


@says("times x it makes the averages of v3.1", "乘以 x，就是 v3.1 的平均")
def test_v3_2_makes_the_averages_of_v3_1_as_one_product():
    x = torch.randn(5, 3)
    averages = torch.stack([x[: i + 1].mean(dim=0) for i in range(5)])
    assert_close(solution("v3.2").averaging(5) @ x, averages)


@says("equal scores make the averages again", "分数都相等时，又是平均")
def test_v3_3_of_equal_scores_makes_the_averages_again():
    ones = torch.ones(5, 5).tril()
    weights = solution("v3.3").attention_weights(torch.full((5, 5), 3.0))
    assert_close(weights, ones / ones.sum(dim=1, keepdim=True))


@says(
    "weights are exp(score) by their sum, and 0 for later positions",
    "权重是 exp(分数) 除以总和，后面的位置为 0",
)
def test_v3_3_takes_more_of_what_scores_higher_and_nothing_of_what_is_later():
    scores = torch.randn(5, 5)
    weights = solution("v3.3").attention_weights(scores)
    likes = scores.exp().tril()
    assert_close(weights, likes / likes.sum(dim=1, keepdim=True))
    assert not weights.triu(1).any()
