"""tools/form.py and poems.py: hand-made poems, and stub models whose answers are known."""

import json
import math

import form
import judge
import poems
import pytest
import steps
import torch
from conftest import flags
from steps import find_step, import_script

HAN = "春江花月夜往事知多少明几时有把酒问青天"


def poem(tune, lengths, first=0):
    """Return a poem whose lines have these lengths, title and blank line included."""
    lines = ["".join(HAN[(first + i) % len(HAN)] for i in range(n)) for n in lengths]
    return f"{tune} 苏轼\n" + "".join(f"{line}。\n" for line in lines) + "\n"


TEXT = "".join(
    [poem("甲调", (5, 5), i) + poem("乙调", (3, 4, 3), i) for i in range(20)]
    + [poem("乙调", (3, 3)), poem("丙调", (2, 2)), poem("丙调", (2, 3)), poem("丙调", (2, 2))]
)


class Stub:
    """Has the interface of a model; what comes next is up to logits(ids)."""

    def __init__(self, tokenizer, block_size, logits):
        self.tokenizer, self.block_size, self.logits = tokenizer, block_size, logits
        self.shapes = []

    def __call__(self, ids):
        self.shapes.append(ids.shape)
        return self.logits(ids), None

    def eval(self):
        pass


def surely(tokenizer, chars):
    """Return the logits of a model that is sure of these next characters."""
    logits = torch.full((len(chars), len(tokenizer.chars)), -50.0)
    logits[range(len(chars)), tokenizer.encode(chars)] = 50.0
    return logits


@pytest.fixture
def tokenizer():
    return import_script(find_step(1)).Tokenizer(TEXT)


def test_the_poems_of_a_text_are_whole_ones():
    part = "把酒\n\n" + poem("甲调", (5, 5)) + poem("乙调", (3, 4, 3)) + "丙调 苏轼\n春江"
    tunes_and_forms = [(tune, poems.form(body)) for tune, _, body in poems.split_poems(part)]
    assert tunes_and_forms == [("甲调", (5, 5)), ("乙调", (3, 4, 3))]


def test_lines_end_at_marks_and_line_breaks():
    assert poems.form("春江花月，夜。\n往事、知多少？") == (4, 1, 2, 3)


def test_tunes_of_fixed_form_come_with_every_form_of_three_poems(monkeypatch):
    """丙调 has the same form in two of three poems only; (3, 3) of 乙调 is a single one."""
    found = poems.split_poems(f"\n\n{TEXT}")
    assert poems.fixed_tunes(found) == {"乙调": ({(3, 4, 3)}, 15), "甲调": ({(5, 5)}, 13)}
    once_more, twice_more = (f"\n\n{TEXT}{poem('乙调', (3, 3)) * n}" for n in (1, 2))
    assert poems.fixed_tunes(poems.split_poems(once_more))["乙调"][0] == {(3, 4, 3)}
    assert set(poems.fixed_tunes(poems.split_poems(twice_more))) == {"甲调"}
    many = poems.split_poems(f"\n\n{TEXT * 10}")
    assert poems.fixed_tunes(many)["乙调"][0] == {(3, 4, 3), (3, 3)}
    monkeypatch.setattr(poems, "N_TUNES", 1)
    assert set(poems.fixed_tunes(found)) == {"乙调"}


def test_each_character_is_predicted_from_the_last_ones_and_no_more(monkeypatch, tokenizer):
    def count(idx):  # logits that depend on every id of the window so far
        return idx.float().cumsum(dim=1)[:, :, None] * torch.arange(3)

    monkeypatch.setattr(form, "TOKENS", 12)  # so that there are several parts
    for n in (1, 3, 4, 5, 14):
        stub, ids = Stub(tokenizer, 4, count), torch.randint(9, (n,))
        probs = form.next_probs(stub, ids, 4)
        sums = torch.stack([ids[max(0, i - 3) : i + 1].sum() for i in range(n)])
        assert torch.equal(probs, (sums[:, None] * torch.arange(3.0)).softmax(dim=-1))
        assert all(rows * width <= 12 and width <= 4 for rows, width in stub.shapes)


def oracle(tokenizer, after):
    """A stub that says a line ends after the characters of after, and nowhere else."""

    def logits(idx):
        chars = tokenizer.decode(idx.flatten().tolist())
        says = "".join("。" if char in after else "春" for char in chars)
        return surely(tokenizer, says).view(*idx.shape, -1)

    return Stub(tokenizer, 8, logits)


def test_line_ends_are_the_f1_of_a_known_answer(tokenizer):
    """Three lines of four characters, a mark and a line break."""
    verses = [("甲调", "苏轼", "春江花月，\n春江花月，\n春江花月。")]

    def f1(after):
        return form.read(oracle(tokenizer, after), tokenizer, verses, 8, "cpu")["line_ends"]

    # The title ends in 轼, which is no question, but its line break is what the first line follows.
    # Behind 。 nothing is asked: five ends, among seventeen places
    tokenizer.chars.append("，")
    tokenizer.ids["，"] = len(tokenizer.ids)
    assert f1("月，。") == 1
    assert f1("月，") == f1("月，。") == 1
    assert f1("，。") == pytest.approx(2 * 2 / (2 + 5), abs=1e-4)  # no mark is seen
    assert f1("花月，。") == pytest.approx(2 * 5 / (8 + 5), abs=1e-4)  # three lines too short
    assert f1("轼月，。") == 1 and f1("") == f1("。") == 0
    assert f1("\n月，。") == pytest.approx(2 * 5 / (8 + 5), abs=1e-4)


def test_the_loss_is_of_the_body_and_depends_on_the_context(tokenizer):
    """Of a model that knows the verse by heart, but only where it sees four characters or more."""
    verse = HAN[:9] + "\n"
    following = dict(zip("\n" + HAN[:9], verse, strict=True))

    def logits(idx):
        chars = tokenizer.decode(idx.flatten().tolist())
        sure = surely(tokenizer, "".join(following.get(char, "春") for char in chars))
        seen = torch.arange(1, idx.shape[1] + 1)[:, None]
        return sure.view(*idx.shape, -1) * (seen >= 4)

    stub, verses = Stub(tokenizer, 8, logits), [("甲调", "苏轼", verse[:-1])]
    losses = [form.read(stub, tokenizer, verses, n, "cpu")["loss"] for n in (3, 4, 8)]
    assert losses == pytest.approx([math.log(len(tokenizer.chars)), 0, 0], abs=1e-4)


def test_a_line_ends_where_all_ends_together_are_likelier_than_not(tokenizer):
    """After 春 0.6 in two parts of 0.3, after 江 0.4 in two parts of 0.2, after the rest none."""
    parts = {"春": (0.3, 0.3, 0.4), "江": (0.2, 0.2, 0.6)}

    def logits(idx):
        result = torch.full((idx.numel(), len(tokenizer.chars)), -50.0)
        for row, char in zip(result, tokenizer.decode(idx.flatten().tolist()), strict=True):
            row[tokenizer.encode("。\n月")] = torch.tensor(parts.get(char, (0, 0, 1.0))).log()
        return result.view(*idx.shape, -1)

    verses = [("甲调", "苏轼", "春。")]
    found = form.read(Stub(tokenizer, 8, logits), tokenizer, verses, 8, "cpu")
    assert found["line_ends"] == 1
    verses = [("甲调", "苏轼", "江。")]
    found = form.read(Stub(tokenizer, 8, logits), tokenizer, verses, 8, "cpu")
    assert found["line_ends"] == 0


def test_a_model_is_asked_at_the_places_where_the_rules_are(tokenizer):
    """One that always says yes has the F1 of the rule that always says yes."""
    verses = poems.split_poems(f"\n\n{TEXT}")[:7]
    always = form.read(oracle(tokenizer, tokenizer.chars), tokenizer, verses, 8, "cpu")
    places = [place for *_, body in verses for place in judge.places(body)]
    assert always["line_ends"] == judge.f1((True, ends) for *_, ends in places)


def test_a_report_counts_what_was_sampled(monkeypatch, tmp_path):
    v4 = import_script(find_step(4))
    path = tmp_path / "poems.txt"
    path.write_text(TEXT, encoding="utf-8")
    config = v4.Config(data_path=str(path), prompts=(), device="cpu", block_size=8)
    tokenizer, data = v4.load_data(config)
    train = tokenizer.decode(data["train"].tolist())
    known, fresh = poem("甲调", (5, 5), 3), "甲调 苏轼\n" + "春春春春春。\n" * 2 + "\n"
    assert known in train and "春春" not in train
    endless = "甲调 苏轼\n" + "春春春春春。\n" * 2 + "。" * 99  # the form is right, but no end
    written = {
        "甲调": [known, fresh, endless],
        "乙调": ["乙调 苏轼\n" + "春春春。\n" * 2 + "\n"] * 3,
    }

    def generate(idx, n):
        assert n == {"甲": 13, "乙": 15}[tokenizer.decode(idx[0].tolist())[1]] + 2
        title = tokenizer.decode(idx[0].tolist())
        texts = ["\n" + text for text in written[title.strip().split(" ")[0]]]
        assert idx.shape[0] == 3 and all(text.startswith(title) for text in texts)
        return torch.tensor([tokenizer.encode(text.ljust(60, "\n")[:60]) for text in texts])

    stub = oracle(tokenizer, "")
    stub.generate = generate
    monkeypatch.setattr(v4, "estimate_loss", lambda *args: [1.0, 2.0])
    monkeypatch.setattr(judge, "FREQUENT", 10)
    report = form.judge(v4, stub, tokenizer, config, 3)
    assert report["perplexity"] == 7.4 and report["line_ends"] == 0
    assert report["whole"] == {"乙调": 0, "甲调": 2}
    first = [(poem["tune"], poem["whole"]) for poem in report["poems"][:2]]
    assert first == [("乙调", False), ("甲调", True)]
    # Bodies of 13, 13, 53 and three times 9 characters; the runs of the first alone are known
    assert report["verbatim"] == pytest.approx(6 / (6 + 6 + 46 + 3 * 2), abs=1e-4)
    assert report["pairs"] == pytest.approx(8 / (8 + 8 + 8 + 3 * 4), abs=1e-4)
    assert report["rhyme"] == 0 == report["rhymed"] and 0 < report["distinct"] < 1
    assert report["beside"]["real"]["whole"] == 0.5 and report["beside"]["chance"]["poems"] == 41
    assert report["held_out_poems"] == len(
        poems.split_poems(tokenizer.decode(data["val"].tolist()))
    )
    monkeypatch.setattr(judge, "FREQUENT", 10**6)
    monkeypatch.setattr(form, "HELD_OUT", 2)
    report = form.judge(v4, stub, tokenizer, config, 3)
    assert (report["pairs"], report["held_out_poems"]) == (0, 2)


def test_the_same_seed_gives_the_same_report(tmp_path, monkeypatch, capsys):
    path = tmp_path / "poems.txt"
    path.write_text(TEXT, encoding="utf-8")
    argv = ["v4", "--poems", "5", "--show", "2"]
    argv += flags(import_script(find_step(4)), data_path=path, prompts=["春江"])
    reports = []
    for name in ("one.json", "two.json"):
        form.main([*argv, "--out", name])
        reports.append(json.loads((tmp_path / name).read_text(encoding="utf-8")))
    assert reports[0] == reports[1] and len(reports[0]["poems"]) == 10
    printed = capsys.readouterr().out
    assert printed.count("whole poems") == 2 and "甲调 苏轼" in printed


def test_a_saved_model_is_judged_as_the_trained_one(tmp_path, capsys):
    path, script = tmp_path / "poems.txt", import_script(find_step(12))
    path.write_text(TEXT, encoding="utf-8")
    argv = flags(script, data_path=path, prompts=["春江"], checkpoint_path="model.pt")
    wanted = form.judge(script, *steps.trained(script, argv), 3)
    argv = ["--data_path", str(path), "--device", "cpu", "--batch_size", "8", "--eval_iters", "2"]
    form.main(["v12", "--sample", "model.pt", "--poems", "3", "--out", "report.json", *argv])
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8")) == wanted
    with pytest.raises(SystemExit):
        form.main(["v11", "--sample", "model.pt"])
    assert "v12" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["Call me what you like. " * 99, TEXT.replace("苏轼", "春江")])
def test_a_text_without_poems_is_refused_before_the_training(tmp_path, text, capsys):
    path = tmp_path / "novel.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SystemExit, match="novel.txt"):
        form.main(["v1", "--data_path", str(path), "--prompts"])
    assert capsys.readouterr().out == ""


def test_another_text_than_the_models_is_refused(tmp_path):
    path, script = tmp_path / "poems.txt", import_script(find_step(1))
    path.write_text(TEXT, encoding="utf-8")
    config = script.Config(data_path=str(path), prompts=(), device="cpu")
    other = script.Tokenizer(TEXT + "甬")
    with pytest.raises(SystemExit, match="poems.txt"):
        form.judge(script, script.BabyGPT(config, len(other.chars)), other, config, 1)
