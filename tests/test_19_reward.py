"""v19: the reward knows poems, its gradient is the one by hand, and what is rewarded is learned."""

import copy
import itertools
import random
import re
from types import SimpleNamespace

import pytest
import torch
from conftest import ROOT, flags, loaded, new_model, small
from pydantic import ValidationError
from runs import files_below, samples_of
from torch import nn
from torch.nn import functional as F

v19 = loaded(19)

# Two lines that rhyme: 东同铜桐 are of one group. 乙调 does not rhyme, 丙调 is rare
RHYMES = "东同铜桐"
PAIRS = [*itertools.permutations(RHYMES, 2)] * 4
TEXT = "\n\n" + "".join(
    f"甲调 苏轼\n春风{a}，明月上{b}。\n\n乙调 苏轼\n风天，地。\n\n" for a, b in PAIRS
)
TEXT += "甲调 苏轼\n春风{}，上{}。\n\n".format(*RHYMES) * 9 + "丙调 苏轼\n春东，同。\n\n" * 9
POEM = "春风东，明月上同。\n\n"


def data_of(text):
    """Return the tokenizer of a text, and its ids; val is its first half."""
    tokenizer = v19.Tokenizer(text)
    ids = torch.tensor(tokenizer.encode(text))
    return tokenizer, {"train": ids, "val": ids[: len(ids) // 2]}


def poems_of(text, **settings):
    """Return the tokenizer of a text, and the poems in it."""
    config = small(v19, **{"block_size": 24, **settings})
    tokenizer, data = data_of(text)
    return tokenizer, v19.load_poems(tokenizer, data, config)


@pytest.fixture
def form():
    return poems_of(TEXT)[1]["train"][0][0]


def earned(form, body):
    """Return what each character of a body earns."""
    return [v19.reward(form, body[:t], body[t]) for t in range(len(body))]


# --- the reward


def test_forms_and_rhymes_are_those_of_the_text():
    _, poems = poems_of(TEXT)
    assert {form.lengths for form, *_ in poems["train"]} == {(3, 4)}  # 乙 has no rhyme, 丙 too few
    assert len(poems["train"]) == len(PAIRS) > len(poems["val"]) > 0  # of the usual form alone
    form, *first = poems["train"][0]
    assert form.pairs == [(0, 1)] and first == ["\n甲调 苏轼\n", ["春风东，", "明月上同。\n\n"]]
    assert poems_of(TEXT, block_size=9)[1]["train"] == []  # too long for the window


def test_a_rhyme_is_due_at_the_end_of_its_line_alone(form):
    due = [form.due(POEM[:t]) for t in range(len(POEM))]
    assert due == [[]] * 7 + [["东"]] + [[]] * 3
    assert form.due("春风东，明月上同。\n春风东") == []  # another line than the form has
    between = [form.due(POEM[:t], POEM[t + 1 :]) for t in range(len(POEM))]  # the poem is known
    assert between == [[]] * 2 + [["同"]] + [[]] * 4 + [["东"]] + [[]] * 3
    assert form.due("春风", "，") == []  # what it is to rhyme with, was not written
    assert form.due("春风", "，明月上同") == []  # nor is a line whole before its mark
    assert form.due("春风", "东，明月上同。\n\n") == ["同"]  # 东 is of this line, still
    assert form.due("春风否，明月上") == []  # 否 has several groups: a rhyme for all would do
    assert form.rhyme("东", "同") and not form.rhyme("东", "东") and not form.rhyme("东", "天")


def test_each_character_earns_what_it_should(form):
    assert earned(form, POEM) == [0] * 7 + [1] + [0] * 3
    assert earned(form, "春风东，明月上天。\n\n") == [0] * 11  # does not rhyme
    for body in ("春风东，明月上东。", "春风东，明同上同。"):  # it has been there
        assert earned(form, body)[7] == -0.1
    assert earned(form, "春风，") == [0, 0, -1] and earned(form, "春风东天，")[3:] == [-1] * 2
    assert earned(form, "春风东，\n")[4] == -1 and earned(form, "\n") == [-1]
    assert earned(form, "春风东，明月上同。\n春，")[10:] == [-1] * 2  # a line too many


def test_a_line_that_rhymes_with_two_earns_what_it_rhymes_with_of_them():
    row = "甲调 苏轼\n春{}，风{}。\n月{}。\n\n"
    rows = "".join(row.format(*ends) for ends in itertools.permutations(RHYMES, 3))
    form = poems_of(f"\n\n{rows * 2}")[1]["train"][0][0]
    assert form.pairs == [(0, 1), (0, 2), (1, 2)]
    assert [earned(form, f"春{a}，风同。\n月铜。\n\n")[8] for a in "东天"] == [1, 0.5]
    found = [v19.reward(form, "春", "东", f"，风同。\n月{a}。\n\n") for a in "铜天东"]
    assert found == [1, 0.5, 0.5]


def test_a_character_with_a_choice_of_groups_earns_nothing_and_asks_for_nothing(form):
    assert all(map(form.clear, [*RHYMES, "中"])) and len(form.groups["中"]) == 2  # level, and not
    assert not any(map(form.clear, "否涯。"))  # in several parts of the table; in none
    for end, char, worth in (("后", "柳", 1), ("后", "否", 0), ("否", "柳", 0)):
        assert form.rhyme(end, char)
        assert v19.reward(form, f"春风{end}，明月上", char) == worth


def test_line_ends_are_borrowed_from_another_poem_of_the_form():
    _, poems = poems_of(TEXT)
    form, _, lines = next(poem for poem in poems["train"] if poem[2][0] == "春风铜，")
    body, all_poems = "".join(lines), [*poems["train"], (None, "", ["天，", "地。"])]
    found = {v19.borrow(form, body, all_poems, random.Random(i)) for i in range(200)}
    assert found == {f"春风{a}，明月上{b}。\n\n" for a, b in PAIRS}


@pytest.fixture(scope="module")
def held_out():
    """Return the tokenizer of the corpus, and its held-out poems."""
    tokenizer, data = v19.load_data(v19.Config(data_path=ROOT / "data" / "ci.txt", device="cpu"))
    return tokenizer, v19.load_poems(tokenizer, data, small(v19, block_size=128))["val"]


def test_there_is_room_for_every_real_poem_and_its_blank_line(held_out, monkeypatch):
    tokenizer, poems = held_out
    model, left = Table(len(tokenizer.chars), None), []
    monkeypatch.setattr(model, "generate", lambda ids, n: left.append(n) or ids)
    for poem in poems:
        v19.write(model, tokenizer, [poem], 0, 1, random)
    over = [n - len("".join(lines)) for n, (*_, lines) in zip(left, poems, strict=True)]
    assert min(over) == 0  # no character more than those with every line in a row need


def test_real_poems_earn_nearly_all_and_mixed_lines_or_repeated_rhymes_do_not(held_out):
    _, every = held_out
    dice, scores = random.Random(1), {"real": [], "mixed": [], "repeated": []}
    for form, _, lines in dice.sample(every, 150):
        poems = [other for of, _, other in every if of is form]
        mixed = [dice.choice(poems)[i] for i in range(len(lines))]
        end = lines[form.pairs[0][0]].strip(v19.Form.ENDS)[-1]
        same = [re.sub(r"\w(?=\W+$)", end, line) for line in lines]
        for name, parts in (("real", lines), ("mixed", mixed), ("repeated", same)):
            body = "".join(parts)
            most = sum(form.due(body[:t]) != [] and form.clear(c) for t, c in enumerate(body))
            scores[name].append((sum(earned(form, body)), most))
    shares = {name: sum(e for e, _ in s) / sum(m for _, m in s) for name, s in scores.items()}
    assert shares["real"] >= 0.75 and shares["mixed"] < 0.1 and shares["repeated"] < 0


# --- the gradient


class Table(nn.Module):
    """A model with the same probabilities everywhere; it writes what it is told."""

    def __init__(self, size, ids):
        super().__init__()
        self.token_embedding_table = nn.Embedding(size, 1)
        self.blocks, self.ln_final = [], torch.ones_like
        self.lm_head, self.ids = nn.Linear(1, size, bias=False), ids
        nn.init.normal_(self.lm_head.weight, std=0.1)

    def forward(self, ids):
        return self.lm_head(torch.ones(*ids.shape, 1)), None

    def generate(self, ids, max_new_tokens):
        return self.ids


WRITTEN = ["春风东，明月上同。\n\n", "春东，明月同同。\n\n乙"]


@pytest.fixture
def tiny():
    """Return (model, tokenizer, learn): learn(…) is the loss of two poems, and the divergence."""
    tokenizer, every = poems_of(TEXT)
    _, data = data_of(TEXT)
    title = every["train"][0][1]
    ids = torch.tensor([tokenizer.encode(title + body) for body in WRITTEN])
    model = Table(len(tokenizer.chars), ids)
    start = copy.deepcopy(model)
    dice = SimpleNamespace(choice=lambda all: all[0], choices=random.choices)

    def learn(ask=1.0, lines=0, **settings):
        config = small(v19, batch_size=2, **settings)
        dice.random = lambda: 0.0 if ask else 1.0  # every place, or those where a rhyme is due
        poems, x = every["train"], data["train"][None, :20]
        return v19.policy_loss(model, start, tokenizer, poems, lines, x, dice, config)

    return model, tokenizer, learn


def test_the_gradient_is_the_sum_by_hand(tiny, form, monkeypatch):
    model, tokenizer, learn = tiny
    bodies = [body.partition("\n\n")[0] + "\n\n" for body in WRITTEN]
    places = [(body[:t], body[t + 1 :]) for body in bodies for t in range(len(body))]
    group = torch.randint(len(tokenizer.chars), (4, len(places)))
    monkeypatch.setattr(v19.Categorical, "sample", lambda self, shape: group)
    loss, _ = learn(leash=0.0, group=4)
    (gradient,) = torch.autograd.grad(loss, model.lm_head.weight)
    log_p = F.log_softmax(model.lm_head.weight[:, 0], dim=-1)
    total, differ = 0, 0
    ends = [i for i, place in enumerate(places) if form.due(*place)]  # they count as all others
    for n, (before, after) in enumerate(places):
        drawn = group[:, n].tolist()
        got = [v19.reward(form, before, tokenizer.chars[c], after) for c in drawn]
        mean = sum(got) / 4
        spread = (sum((worth - mean) ** 2 for worth in got) / 4) ** 0.5
        differ += spread > 0
        for c, worth in zip(drawn, got, strict=True):
            weight = 1 / len(ends) if n in ends else 1 / (len(places) - len(ends))
            total = total + weight * (worth - mean) / (spread + 0.05) * log_p[c] / 4
    (by_hand,) = torch.autograd.grad(-total, model.lm_head.weight)
    assert 0 < differ < len(places) and by_hand.abs().max() > 1e-3
    torch.testing.assert_close(gradient, by_hand)


def test_where_all_earn_the_same_nothing_moves(tiny, monkeypatch):
    model, _, learn = tiny
    monkeypatch.setattr(v19, "reward", lambda *_: 0.7)
    loss, divergence = learn(leash=0.0)
    loss.backward()
    assert divergence == pytest.approx(0, abs=1e-6)
    assert model.lm_head.weight.grad.abs().max() < 1e-6


def test_every_end_that_must_rhyme_is_asked_and_some_of_the_others(tiny, monkeypatch):
    asked = []
    monkeypatch.setattr(v19, "reward", lambda form, body, *_: asked.append(body) or 0)
    for ask, wanted in ((0, 3), (1, 11 + 10 - 2)):  # both begin with nothing, and with 春
        asked.clear()
        tiny[2](ask=ask, group=4)
        ends = {"春风", "春风东，明月上", "春东，明月同"}  # 春东: for 明月同同 would be of its line
        assert len({*asked}) == wanted and ends <= {*asked}


def test_whole_poems_have_borrowed_ends_and_no_end_that_follows_counts(tiny, monkeypatch):
    model, _, learn = tiny
    asked = set()
    monkeypatch.setattr(model, "generate", lambda ids, n: ids)
    monkeypatch.setattr(v19, "borrow", lambda *_: POEM)
    monkeypatch.setattr(v19, "reward", lambda form, *at: asked.add((at[0], at[2])) or 0)
    learn(lines=None)
    assert asked == {(POEM[:t], "") for t in range(len(POEM))}


def test_a_place_ends_where_its_character_comes_next(tiny, monkeypatch):
    next_at, seen = v19.next_at, []

    def noted(model, ids, places):
        seen.extend((ids[row, : column + 1], before) for row, column, _, before, _, _ in places)
        return next_at(model, ids, places)

    monkeypatch.setattr(v19, "next_at", noted)
    tiny[2]()
    assert len(seen) > 30
    assert all(tiny[1].decode(ids.tolist()) == f"\n甲调 苏轼\n{before}" for ids, before in seen)


def test_an_evaluation_says_what_the_poems_are(form, monkeypatch):
    bodies = [POEM, "春风东，明月上天。\n\n", "春风东，明月。\n\n", "春春春，春春春春。"]
    monkeypatch.setattr(v19, "write", lambda *_: (None, [(form, "甲", body) for body in bodies]))
    shown, poem = v19.evaluate(None, None, None, small(v19))
    earned = (1, 0, -1, -0.6)  # the third: its mark comes too early; 。 after it is a new row
    assert shown["reward"] == pytest.approx(sum(earned) / 4, abs=1e-4)
    assert (shown["whole"], shown["rhyme"]) == (0.5, 0.25)
    assert shown["distinct"] == pytest.approx((3 + 1 / 7) / 4) and poem == "甲春风东，明月上同。"


def after(tiny, steps, **settings):
    """Return the probability of 东, and the divergence, after it has been rewarded for a while."""
    model, tokenizer, learn = tiny
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for _ in range(steps):
        loss, divergence = learn(**settings)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return F.softmax(model.lm_head.weight[:, 0], dim=-1)[tokenizer.ids["东"]].item(), divergence


def test_what_is_rewarded_is_learned_and_the_leash_holds_where_nothing_is(tiny, monkeypatch):
    start = F.softmax(tiny[0].lm_head.weight[:, 0], dim=-1)[tiny[1].ids["东"]].item()
    monkeypatch.setattr(
        v19, "reward", lambda form, before, char, _: form.due(before) != [] and char == "东"
    )
    held, near = after(tiny, 60, leash=1000.0)  # before the mark nothing is rewarded: it pulls
    assert held == pytest.approx(start, abs=0.05) and near < 0.05
    learned, far = after(tiny, 60, leash=0.0)
    assert start < 0.2 < 0.9 < learned and far > 1


def test_the_leash_pulls_less_where_a_rhyme_is_due(tiny, monkeypatch):
    model, start, learn = tiny[0], copy.deepcopy(tiny[0]), tiny[2]
    with torch.no_grad():
        model.lm_head.weight.add_(torch.randn_like(model.lm_head.weight))  # away from the start
    monkeypatch.setattr(v19, "reward", lambda *_: 0)
    now, then = (F.log_softmax(m.lm_head.weight[:, 0].detach(), dim=-1) for m in (model, start))
    on_text = (then.exp() * (then - now)).sum().item()  # the same model everywhere
    elsewhere = (now.exp() * (now - then)).sum().item()
    for ask, pulls in ((0, 0.2), (1, 1.2)):  # only where a rhyme is due; everywhere
        loss, far = learn(ask=ask, leash=2.0)
        assert far == pytest.approx(on_text + pulls * elsewhere, abs=1e-4)
        assert loss.item() == pytest.approx(2 * far, abs=1e-4)


def test_sampling_and_learning_have_the_same_log_probabilities(monkeypatch):
    model, probs, multinomial = new_model(v19).eval(), [], torch.multinomial

    def noted(found, **kwargs):
        probs.append(found)
        return multinomial(found, **kwargs)

    monkeypatch.setattr(torch, "multinomial", noted)
    ids = model.generate(torch.tensor([[1, 2], [3, 4]]), 6)
    places = [(row, column) for row in range(2) for column in range(1, 7)]
    found = v19.next_at(model, ids, places).logits.view(2, 6, -1)
    torch.testing.assert_close(found, torch.stack(probs, dim=1).log(), rtol=1e-4, atol=1e-4)


# --- a run


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """Return the settings of a run on the small text, from a model that v18 trained on it."""
    folder, v18 = tmp_path_factory.mktemp("v18"), loaded(18)
    text, start = folder / "text.txt", folder / "start.pt"
    text.write_text(TEXT * 2, encoding="utf-8")
    settings = {"data_path": text, "prompts": ("春",), "block_size": 24}
    v18.main(flags(v18, **settings, checkpoint_path=str(start), max_iters=150, eval_interval=150))
    return {**settings, "start": start, "leash": 0.1}


NUMBERS = ("reward", "whole", "rhyme", "distinct", "divergence", "val_loss")
PROGRESS = r"^step +(\d+): " + ", ".join(rf"{name} (\S+)" for name in NUMBERS) + "$"


def shown(out):
    return [[float(n) for n in found] for found in re.findall(PROGRESS, out, flags=re.M)]


def test_a_run_earns_more_keeps_its_best_model_and_samples_from_it(run, settings):
    out = run(v19, **settings, max_iters=200, eval_interval=50, checkpoint_path="best.pt")
    rows = shown(out)
    assert [row[0] for row in rows] == [0, 50, 100, 150, 200]
    best = max(rows, key=lambda row: row[1] - 0.1 * row[5])
    assert best[1] > rows[0][1] + 0.1 and best[3] > rows[0][3] + 0.1 and rows[0][5] == 0 < best[5]
    assert torch.load("best.pt", weights_only=True)["val_loss"] == pytest.approx(best[-1], abs=1e-3)
    model, tokenizer, config = run.result
    assert config.block_size == 24 and samples_of(out)
    again = run(v19, **settings, sample=str(settings["start"]))
    assert again.startswith("model: ") and "step" not in again


def test_before_the_first_update_there_is_no_divergence_whatever_the_dropout(run, settings):
    rows = shown(run(v19, **{**settings, "dropout": 0.5}, max_iters=2, eval_interval=1))
    assert rows[1][5] == 0 < rows[2][5]  # each is of the step before


def test_the_same_seed_gives_the_same_run(run, settings):
    outs = [shown(run(v19, **settings, max_iters=4, eval_interval=2)) for _ in range(2)]
    assert outs[0] == outs[1]


def test_first_it_reads_with_borrowed_ends_then_it_writes_too(run, settings, monkeypatch):
    write, given = v19.write, []

    def noted(model, tokenizer, poems, lines, n, dice):
        ids, written = write(model, tokenizer, poems, lines, n, dice)
        given.append((lines, [body for *_, body in written]))
        return ids, written

    monkeypatch.setattr(v19, "write", noted)
    run(v19, **settings, max_iters=100, eval_interval=100)
    learned = given[4:-4]  # without those of the two evaluations
    kinds = [lines for lines, _ in learned]
    assert {*kinds[:60]} == {None} and {*kinds[60:]} == {None, 0, 1}
    assert all(kinds[60:].count(lines) > 5 for lines in {*kinds})
    ends = {(body[2], body[7]) for lines, bodies in learned if lines is None for body in bodies}
    assert ends == {*PAIRS}


def test_the_model_is_kept_that_earns_most_on_held_out_poems(run, settings, monkeypatch):
    held_out, load_poems = [None], v19.load_poems
    monkeypatch.setattr(v19, "load_poems", lambda *_: {**load_poems(*_), "val": held_out})
    rewards, losses, loss_of = iter([1.0, 3.0, 2.0]), iter([3.3, 3.2, 3.1]), v19.policy_loss

    def evaluate(model, tokenizer, poems, config):
        assert poems is held_out
        return {"reward": next(rewards)}, ""

    monkeypatch.setattr(v19, "evaluate", evaluate)
    monkeypatch.setattr(v19, "estimate_loss", lambda *_: [0.0, next(losses)])
    fars = iter([9.0, 0.5])
    monkeypatch.setattr(v19, "policy_loss", lambda *args: (loss_of(*args)[0], next(fars)))
    best = {**settings, "leash": 1.0, "max_iters": 2, "eval_interval": 1}
    run(v19, **best, checkpoint_path="best.pt")  # less the leash: 1, 3 - 9, 2 - 0.5
    assert torch.load("best.pt", weights_only=True)["val_loss"] == 3.1


@pytest.mark.parametrize("at", [0, 3])
def test_ctrl_c_ends_the_training_with_one_more_evaluation(run, settings, at, monkeypatch):
    loss_of, count = v19.policy_loss, itertools.count()

    def interrupted(*args):
        if next(count) == at:
            raise KeyboardInterrupt
        return loss_of(*args)

    monkeypatch.setattr(v19, "policy_loss", interrupted)
    rows = shown(run(v19, **settings, max_iters=100, eval_interval=50))
    assert [row[0] for row in rows] == [0, at + 1]


# --- bad input


BAD = {"group": [0], "leash": [-0.1], "temperature": [-1]}


@pytest.mark.parametrize("name", BAD)
def test_a_value_out_of_range_is_refused(name):
    for value in BAD[name]:
        with pytest.raises(ValidationError, match=name):
            v19.Config(**{name: value})


@pytest.mark.parametrize(
    "changes, named",
    [
        ({"start": "missing.pt"}, "error: model missing.pt"),
        ({"data_path": "novel.txt"}, "--data_path novel.txt.*poems"),
        ({"data_path": "other.txt"}, "--data_path other.txt.*--start"),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_refused_by_name(settings, changes, named, tmp_path, monkeypatch):
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "novel.txt").write_text(TEXT.replace("\n\n", "\n") * 2, encoding="utf-8")
    (folder / "other.txt").write_text(TEXT.replace("天", "山") * 2, encoding="utf-8")
    before = files_below(folder)
    with pytest.raises(SystemExit, match=named):
        v19.main(flags(v19, **{**settings, **changes}))
    assert files_below(folder) == before
