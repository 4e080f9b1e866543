"""tools/poems.py and judge.py: rhyme, and what stands beside a model's numbers."""

import random

import judge
import poems
import pytest
import torch
import writing
from conftest import ROOT
from steps import find_step, import_script
from test_form import TEXT, poem

TABLE = ["第一部 平 东同", "第一部 上 董", "第一部 去 送董", "第二部 平 江同", "第二部 入 屋"]
GROUPS = poems.read_rhymes("\n".join(TABLE))

# --- rhyme


def test_characters_rhyme_that_have_a_part_and_a_kind_of_tone_in_common():
    assert GROUPS["同"] == {("第一部", True), ("第二部", True)}
    pairs = {"东同": True, "同江": True, "东江": False, "董送": True, "东董": False, "江屋": False}
    for (a, b), wanted in pairs.items():
        assert poems.rhyme(a, b, GROUPS) == poems.rhyme(b, a, GROUPS) == wanted
    assert not poems.rhyme("春", "春", GROUPS)  # in no group


def test_the_pairs_that_a_tune_asks_for_rhyme_in_seven_tenths_of_its_usual_poems():
    rhyming, other = "春东。\n月江。\n花同。", "春东。\n月江。\n花江。"

    def pairs(*bodies):
        return poems.rhyming_pairs(bodies, GROUPS)

    assert pairs(*[rhyming] * 7, *[other] * 3) == [(0, 2), (1, 2)]  # 江 and 同 do in all
    assert pairs(*[rhyming] * 6, *[other] * 4) == [(1, 2)]
    assert pairs(*[rhyming] * 7, *[other] * 3, *["春东。\n江。"] * 9) == [(0, 2), (1, 2)]


def test_a_pair_has_two_different_characters_and_both_lines():
    assert poems.line_ends("春东，江。\n花同？") == ["东", "江", "同"]
    pairs = [(0, 1), (0, 2), (1, 2)]
    for ends, wanted in {"东江同": 2, "东同同": 2, "东东东": 0, "送董董": 2, "春花月": 0}.items():
        assert poems.rhymed("一{}，二{}。\n三{}。".format(*ends), pairs, GROUPS) == wanted
    assert poems.rhymed("", pairs, GROUPS) == 0
    assert poems.rhymed("春东。\n花同。", pairs, GROUPS) == 1


def test_shuffled_poems_have_the_same_lines_and_as_many_each():
    bodies = ["东，江。\n同。", "春。\n花、月。\n夜。"]
    found = poems.shuffled(bodies, random.Random(2))
    lines = [poems.lines_of(body) for body in found]
    assert [*map(len, lines)] == [3, 4]
    assert sorted(lines[0] + lines[1]) == sorted("东江同春花月夜") != lines[0] + lines[1]
    assert sorted(lines[0]) != sorted("东江同")
    assert found == poems.shuffled(bodies, random.Random(2))
    assert found != poems.shuffled(bodies, random.Random(1))


def test_placed_poems_are_of_one_form_and_each_line_stays_in_its_place():
    bodies = ["东，江。\n同。", "春，花。\n月。", "夜，风。\n香。", "一个，别的。\n样。"]
    lines = [poems.lines_of(body) for body in poems.placed(bodies, random.Random(1))]
    assert [sorted(place) for place in zip(*lines, strict=True)] == [
        *map(sorted, ("东春夜", "江花风", "同月香"))
    ]
    assert not {*map("".join, lines)} & {"东江同", "春花月", "夜风香"}


def test_whole_poems_that_rhyme_everywhere_are_counted_and_distinct_characters():
    by = judge.Judge("甲调 苏轼\n春东。\n月同。\n\n" * 5, "", GROUPS)
    assert by.asked == {"甲调": [(0, 1)]}
    assert by.whole("甲调", "江同，江江。") and not by.whole("甲调", "江同，江。")
    rhymed, repeated = "花江。\n夜同。", "花花，月月。"
    found = by.report([("甲调", rhymed, True), ("甲调", rhymed, False), ("甲调", repeated, True)])
    assert (found["rhyme"], found["rhymed"]) == (round(2 / 3, 4), round(1 / 3, 4))
    assert found["distinct"] == round((4 + 4 + 2) / 12, 4)
    assert by.report([])["rhyme"] is None is by.report([])["rhymed"]


def test_a_poem_opens_with_its_first_lines_and_the_mark_behind_them():
    body = "春东，\n月、江花。\n花同。"
    assert [poems.opening(body, i) for i in range(3)] == [
        "春东，",
        "春东，\n月、",
        "春东，\n月、江花。",
    ]


class Poet:
    """Goes on with what it is given as it is told, whatever that is."""

    def __init__(self, tokenizer, rest):
        self.tokenizer, self.rest = tokenizer, rest

    def generate(self, ids, max_new_tokens):
        rest = torch.tensor([self.tokenizer.encode(self.rest)] * len(ids))
        assert rest.shape[1] <= max_new_tokens
        return torch.cat([ids, rest], dim=1)


def test_what_rhymes_with_a_given_line_is_asked_by_group():
    text = "甲调 苏轼\n花，春东，月同。\n\n" * 5 + "甲调 苏轼\n花，春屋，月屋。\n\n"
    by, tokenizer = judge.Judge(text, "", GROUPS), import_script(find_step(1)).Tokenizer(text)
    held_out = poems.split_poems(f"\n\n{text}")
    assert by.first_rhymes("甲调") == [(1, 2)]
    found = writing.given(by, Poet(tokenizer, "月同。\n\n"), tokenizer, held_out, "cpu")
    assert found == {
        "given": round(5 / 6, 4),
        "given_groups": 1,
        "asked_groups": 2,
    }  # 屋 has its own
    found = writing.given(by, Poet(tokenizer, "月。\n\n"), tokenizer, held_out, "cpu")
    assert (found["given"], found["given_groups"]) == (0, 0)
    other = poems.split_poems("\n\n乙调 苏轼\n花，春东，月同。\n\n甲调 苏轼\n花，月同。\n\n")
    found = writing.given(by, Poet(tokenizer, "月同。\n\n"), tokenizer, other, "cpu")
    assert found["asked_groups"] == 0  # another tune, another form


# --- the corpus


@pytest.fixture(scope="module")
def corpus():
    """Return the judge of the whole corpus, its training part and its held-out part."""
    text = (ROOT / "data" / "ci.txt").read_text(encoding="utf-8")
    rhymes = (ROOT / "data" / "rhymes.txt").read_text(encoding="utf-8")
    train, val = text[: int(0.9 * len(text))], text[int(0.9 * len(text)) :]
    return judge.Judge(train, val, poems.read_rhymes(rhymes)), train, val


def test_real_poems_rhyme_and_their_lines_in_random_order_do_not(corpus):
    """Of all poems to the eight tunes that have the usual form 0.93 rhyme, against 0.08."""
    by, _, _ = corpus
    assert len(by.tunes) == 8 and min(map(len, by.asked.values())) >= 4
    usual = {tune: poems.usual_form(bodies)[0] for tune, bodies in by.bodies.items()}
    real = [(t, b, True) for t in by.tunes for b in by.bodies[t] if poems.form(b) == usual[t]]
    assert len(real) > 3000 and by.rhyme(real)["rhyme"] > 0.9 and by.rhyme(real)["rhymed"] > 0.7
    lines = [(t, b, True) for t in by.tunes for b in poems.shuffled(by.bodies[t], random.Random(7))]
    assert by.rhyme(lines)["rhyme"] < 0.12 and by.rhyme(lines)["rhymed"] < 0.01


def test_what_stands_beside_is_of_held_out_poems_of_chance_and_of_rules(corpus):
    by, train, val = corpus
    known, held_out = poems.split_poems(f"\n\n{train}"), poems.split_poems(val)
    found = by.beside(known, held_out, 1337)
    in_tunes = [body for tune, _, body in held_out if tune in by.tunes]
    assert found["real"]["poems"] == len(in_tunes) and 300 < len(in_tunes) < 400
    assert 0.95 < found["real"]["whole"] < 1 and 0.85 < found["real"]["rhyme"] < 0.95
    assert 0.93 < found["real"]["distinct"] < 0.96 and found["real"]["verbatim"] < 0.02
    assert 0 < found["chance"]["rhyme"] < 0.12
    assert found["chance"]["rhyme"] < found["placed"]["rhyme"] < 0.2
    assert found["rule"]["characters"] == 4 and 0.5 < found["rule"]["line_ends"] < 0.6
    assert 0.85 < found["forms"]["line_ends"] < 0.92


# --- line ends without a model


def test_places_are_those_before_each_character_but_behind_a_full_stop():
    wanted = [(0, 0, False), (0, 1, False), (0, 2, True), (1, 0, False), (1, 1, True)]
    wanted += [(2, 0, False), (2, 1, True)]
    assert judge.places("春江，月。\n夜？") == wanted  # the two new rows are no places


def test_f1_is_of_the_yes():
    yes = [(True, True)] * 2 + [(True, False)] + [(False, True)] * 3 + [(False, False)] * 9
    assert judge.f1(yes) == round(2 * 2 / (3 + 5), 4) and judge.f1([(False, False)]) == 0


def test_the_rules_are_the_best_length_and_the_form_of_the_tune():
    """Of (5, 5) and (3, 4, 3): who says yes from 3 characters on is right 5 times, wrong 5."""
    known = poems.split_poems(f"\n\n{TEXT}")
    found = judge.rules(known, known[:2])
    assert found["rule"] == {"characters": 3, "line_ends": round(2 * 5 / (10 + 5), 4)}
    assert found["forms"]["line_ends"] == 1
    strange = poems.split_poems(f"\n\n{poem('丁调', (5, 5))}")
    assert judge.rules(known, strange)["forms"]["line_ends"] == 0
