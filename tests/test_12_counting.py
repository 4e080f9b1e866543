"""Counting, tools/count.py: the tables are what the definition says, and what they must be."""

import importlib
import json
import math
import random
import re
from collections import Counter

import count
import pytest
from conftest import ALPHABET, ROOT, data_of, loaded, small
from count import Counts

ORDERS = pytest.mark.parametrize("order", [1, 2, 3])
TINY = "春江春水春江花春春水江水花"
CHARS = sorted({*TINY, "月"})  # one that TINY lacks: it may stand in the validation text


def direct(text, order, chars, before, char):
    """Return the probability by its definition, from a look at the whole text for each context."""

    def after(context):
        shorter = after(context[1:]) if context else 1 / len(chars)
        places = range(len(text) - len(context))
        found = [text[i + len(context)] for i in places if text.startswith(context, i)]
        kinds = len({*found})
        return (found.count(char) + kinds * shorter) / (len(found) + kinds) if found else shorter

    return after(before[len(before) - order + 1 :] if len(before) >= order else before)


@ORDERS
@pytest.mark.parametrize("before", ["", "春", "江春", "花月", "月月月", "春江春水春"])
def test_the_probabilities_after_any_context_are_those_of_the_definition(order, before):
    counts = Counts(TINY, order, CHARS)
    for char in CHARS:
        wanted = direct(TINY, order, CHARS, before, char)
        assert counts.prob(before, char) == pytest.approx(wanted)


@ORDERS
@pytest.mark.parametrize("before", ["", "春", "江春", "花月", "月月月", "春江春水春"])
def test_they_add_up_to_one_and_none_is_zero(order, before):
    counts = Counts(TINY, order, CHARS)
    probs = [counts.prob(before, char) for char in CHARS]
    assert sum(probs) == pytest.approx(1) and min(probs) > 0


def test_where_each_character_tells_the_next_pairs_predict_all_and_frequencies_nothing():
    """No frequency helps where all characters are equally frequent: the loss is ln(vocabulary)."""
    text, chars = ALPHABET * 200, sorted(ALPHABET)
    assert Counts(text, 1, chars).loss(text) == pytest.approx(math.log(len(chars)))
    assert Counts(text, 2, chars).loss(text, first=1) < 0.01
    assert Counts(text, 3, chars).loss(text, first=2) < 0.01


def test_no_pairs_beat_the_entropy_of_the_text_that_they_count():
    """The best that knows one character is the conditional entropy; smoothing costs a little."""
    text = (ROOT / "data" / "ci.txt").read_text(encoding="utf-8")[:200_000]
    pairs, firsts = Counter(zip(text, text[1:], strict=False)), Counter(text[:-1])
    entropy = -sum(n * math.log(n / firsts[a]) for (a, _), n in pairs.items()) / (len(text) - 1)
    characters, pairs, triples = (
        Counts(text, order, sorted({*text})).loss(text, first=1) for order in (1, 2, 3)
    )
    assert entropy < pairs < characters - 1
    assert triples < pairs


@ORDERS
def test_the_windows_are_those_of_estimate_loss_and_nothing_before_them_is_seen(order):
    gpt = loaded(1)
    config = small(gpt, block_size=4, batch_size=3, eval_iters=2)
    text = "".join(random.Random(1).choices(ALPHABET[:5], k=300))
    data, chars = data_of(gpt, config, text), sorted({*text})
    train, val = text[: len(data["train"])], text[len(data["train"]) :]
    for part, loss in zip(
        (train, val), gpt.estimate_loss(Counts(train, order, chars), data, config), strict=True
    ):
        starts = [i * (len(part) - 4) // 6 for i in range(6)]  # evenly spaced: batch 3, twice
        probs = [
            direct(train, order, chars, part[start : start + t], part[start + t])
            for start in starts
            for t in (1, 2, 3, 4)
        ]
        assert loss == pytest.approx(-sum(map(math.log, probs)) / len(probs), rel=1e-5)


def test_what_is_written_goes_on_as_the_text_does():
    table = Counts(ALPHABET * 2000, 2, sorted(ALPHABET))
    assert table.write("天", 20, random.Random(0)) == ALPHABET[:21]


def test_characters_are_drawn_by_their_probability():
    table = Counts("春春春江" * 100, 1, ["春", "江"])
    written = table.write("", 2000, random.Random(0))
    assert written.count("春") == pytest.approx(1500, abs=80)


MIXED = ALPHABET + "".join(random.Random(1).choices(ALPHABET, k=608))


@pytest.fixture
def report(tmp_path, capsys):
    """Return report(*flags): what main() prints for a small text, whose two parts differ."""
    path = tmp_path / "mixed.txt"
    path.write_text(MIXED, encoding="utf-8")

    def report(*flags):
        few = ["--prompts", "天地", "日", "--max_new_tokens", "12", "--eval_iters", "2"]
        count.main(["--data_path", str(path), *few, *flags])
        return capsys.readouterr().out

    return report


def without_seconds(out):
    return re.sub(r"\d+\.\d$", "", out, flags=re.M)


def test_the_report_has_the_losses_and_a_poem_to_each_prompt(report):
    out, record = report(), json.loads(report("--json"))
    assert "ln(32) = 3.4657" in out
    assert [table["table"] for table in record["tables"]] == ["characters", "pairs", "triples"]
    for table in record["tables"]:
        losses = [table[name] for name in ("train_loss", "val_loss", "all_of_val")]
        row = re.search(rf"^{table['table']} +(\S+) +(\S+) +(\S+) +(\S+) ", out, re.M)
        assert [float(number) for number in row.groups()[:3]] == losses
        assert float(row[4]) == pytest.approx(math.exp(table["val_loss"]), abs=0.05)
        assert [len(text) for text in table["samples"]] == [14, 13]
        assert "\n\n".join(table["samples"]) in out
    wanted = Counts(MIXED[:576], 2, sorted(ALPHABET)).loss(MIXED[576:])
    assert record["tables"][1]["all_of_val"] == pytest.approx(wanted, abs=1e-4)


def test_the_same_seed_writes_the_same(report):
    first, again, other = report(), report(), report("--seed", "7")
    assert without_seconds(first) == without_seconds(again) != without_seconds(other)


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--data_path", "no-such.txt"], "--data_path no-such.txt: no UTF-8 text"),
        (["--prompts", "天A"], "--prompts: empty, or not in the text: ['A']"),
        (["--train_ratio", "0.999"], "too short for this --block_size and --train_ratio"),
    ],
    ids=["data_path", "prompts", "train_ratio"],
)
def test_bad_input_is_refused_as_by_the_scripts(report, capsys, flags, message):
    with pytest.raises(SystemExit) as stopped:
        report(*flags)
    assert message in str(stopped.value) and capsys.readouterr().out == ""


def test_importing_does_nothing(capsys):
    importlib.reload(count)
    assert capsys.readouterr() == ("", "")
