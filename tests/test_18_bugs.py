"""Twelve bugs to find, and the page about finding them: each bug is one line, runs, and does what
is said of it; the right script does not; and the page's checks tell the two apart."""

import ast
import contextlib
import io
import json
import math
import re
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace

import practice
import pytest
import task as tasks
import torch
from conftest import ROOT, TEXT, VOCAB, data_of, flags, new_model, random_ids, small, train
from practice import LANGUAGES, say
from runs import losses_of
from steps import find_step, import_script, read_script, tomllib
from task import edited, read_task

BUGS = tomllib.loads((ROOT / "tools" / "tasks" / "bugs.toml").read_text(encoding="utf-8"))["bug"]
RUNS = tomllib.loads((ROOT / "workshop" / "runs.toml").read_text(encoding="utf-8"))
SYLLABUS = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob("test_*.py"))
by_bug = pytest.mark.parametrize("bug", BUGS, ids=lambda bug: f"bug {bug['number']}")


def scripts(bug):
    """Return the right script and the one with the bug."""
    step = find_step(bug["version"])
    return import_script(step), import_script(step, bug["edit"])


def model_of(script, **changes):
    torch.manual_seed(0)
    return new_model(script, n_embed=32, dropout=0.0, **changes)


# --- the data


def test_there_are_twelve_of_all_kinds():
    assert [bug["number"] for bug in BUGS] == [*range(1, 13)]
    assert {bug["seen_in"] for bug in BUGS} == {"loss better", "loss worse", "poem", "nothing"}


@by_bug
def test_a_bug_is_one_line_that_is_wrong_or_missing(bug):
    right, source = bug["edit"], read_script(find_step(bug["version"]))
    assert source.count(right[0]) == 1
    wrong = source.replace(*right)
    assert ast.dump(ast.parse(wrong)) != ast.dump(ast.parse(source))
    assert max(map(len, wrong.splitlines())) <= 100
    old, new = source.splitlines(), wrong.splitlines()
    while old and new and old[0] == new[0]:
        old, new = old[1:], new[1:]
    while old and new and old[-1] == new[-1]:
        old, new = old[:-1], new[:-1]
    assert len(old) == 1 and len(new) <= 1


@by_bug
def test_a_bug_has_all_that_practice_shows_in_both_languages(bug):
    for language in LANGUAGES:
        texts = bug[language]
        assert texts["symptom"].strip() and texts["mended"].strip()
        assert len(texts["hints"]) == 3 and all(texts["hints"])
        lines = f"{texts['symptom']}{texts['mended']}".splitlines()
        assert max(map(len, lines)) <= 100
        assert not re.search(r"\d\.\d\d", texts["symptom"])  # numbers come from the records
    assert all(address.startswith("https://") for address in bug["sources"])
    properties = {*read_task(f"bug {bug['number']}")["properties"]}
    assert properties == {*bug["tests"], *read_task(f"v{bug['version']}")["properties"]}
    for name in properties - {"names"}:  # practice shows what each says
        assert "@says(" in SYLLABUS.split(f"def {name}(")[0].split("\n\n\n")[-1]


@by_bug
def test_a_bug_is_recorded_as_it_is(bug):
    run = RUNS["bugs"][f"bug_{bug['number']}"]
    assert (run["versions"], run["edit"], run["seeds"]) == ([bug["version"]], bug["edit"], 1)


# --- what is wrong with each


def targets_come_later(script):
    x, y = script.get_batch(torch.arange(50), torch.tensor([3, 20]), small(script))
    return torch.equal(y, x + 1)


def untrained_loss_is_finite(script):
    _, loss = model_of(script)(random_ids(4, 8), random_ids(4, 8))
    return math.isfinite(loss.item())


def rate_moves(script):
    schedule, seen = script.OneCycleLR, []
    script.OneCycleLR = lambda optimizer, *a, **k: (
        seen.append(optimizer) or schedule(optimizer, *a, **k)
    )
    config = small(script, max_iters=3)
    train(script, model_of(script), data_of(script, config), config)
    script.OneCycleLR = schedule
    return seen[0].param_groups[0]["lr"] < config.learning_rate / 100  # it began at a 25th


def heads_are_different(script):
    first, second = model_of(script).sa.heads
    return first is not second


def last_position_is_drawn(script):
    """Of a model that predicts at each position the number of that position."""
    model = model_of(script)
    model.forward = lambda ids: (100 * torch.eye(VOCAB)[None, : ids.shape[1]], None)
    return model.generate(random_ids(1, 5), 1)[0, -1] == 4


def gradients_are_those_of_one_batch(script):
    """At a rate at which no weight moves, all steps would be alike but for their batch."""
    config = small(script, max_iters=10, batch_size=200, learning_rate=1e-12)
    model = model_of(script)
    train(script, model, data_of(script, config), config)
    x, y = script.get_batch(data_of(script, config)["train"], torch.arange(200), config)
    alone = model_of(script)
    alone(x, y)[1].backward()
    return model.lm_head.weight.grad.norm() < 2 * alone.lm_head.weight.grad.norm()


def future_is_hidden(script):
    model, ids = model_of(script), random_ids(1, 8)
    other = ids.clone()
    other[0, -1] = (ids[0, -1] + 1) % VOCAB
    return torch.equal(model(ids)[0][:, :-1], model(other)[0][:, :-1])


def everything_gets_a_gradient(script):
    model = model_of(script)
    model(random_ids(4, 8), random_ids(4, 8))[1].backward()
    return all(p.grad is not None for p in model.parameters())


def it_writes_in_eval_mode(script):
    seen, model, tokenizer = [], new_model(script), script.Tokenizer(TEXT)
    model.train().register_forward_hook(lambda *_: seen.append(model.training))
    with contextlib.redirect_stdout(io.StringIO()):
        script.sample(model, tokenizer, small(script))
    return not any(seen)


def short_windows_are_like_long_ones(script):
    model, ids = model_of(script), random_ids(2, 8)
    return torch.allclose(model(ids)[0][:, :3], model(ids[:, :3])[0], atol=1e-4)


def val_is_apart(script):
    return sum(map(len, data_of(script, small(script)).values())) == len(TEXT)


def seed_counts(script):
    """In the training; what is written is from the seed again."""
    losses = []
    for seed in (1, 2):
        argv = flags(script, data_path="text.txt", max_iters=0, max_new_tokens=0, seed=seed)
        Path("text.txt").write_text(TEXT, encoding="utf-8")
        with contextlib.redirect_stdout(io.StringIO()) as out:
            script.main(argv)
        losses += losses_of(out.getvalue())
    return losses[0] != losses[1]


WHOLE = [
    targets_come_later,
    rate_moves,
    untrained_loss_is_finite,
    gradients_are_those_of_one_batch,
    heads_are_different,
    last_position_is_drawn,
    short_windows_are_like_long_ones,
    future_is_hidden,
    everything_gets_a_gradient,
    it_writes_in_eval_mode,
    val_is_apart,
    seed_counts,
]


@by_bug
def test_a_bug_does_what_is_said_of_it_and_the_right_script_does_not(bug):
    right, wrong = scripts(bug)
    is_whole = WHOLE[bug["number"] - 1]
    assert is_whole(right) and not is_whole(wrong)


@by_bug
def test_a_bug_runs_to_its_end_or_to_a_message(bug, corpus):
    _, wrong = scripts(bug)
    argv = ["--max_iters", "2", "--eval_iters", "1", "--batch_size", "4", "--n_embed", "16"]
    argv += ["--data_path", str(corpus), "--prompts", "天", "--max_new_tokens", "3"]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            wrong.main([*argv, "--device", "cpu"])
        except SystemExit as error:
            assert bug["number"] == 3 and "not finite" in str(error)
    assert "step     0: train loss" in out.getvalue()


@pytest.mark.parametrize(
    "bug", [b for b in BUGS if b["seen_in"] == "poem"], ids=lambda b: b["number"]
)
def test_what_shows_in_the_poem_alone_leaves_the_losses_as_they_are(bug):
    """Digit for digit; where positions are counted from the end, with the table turned round."""
    right, wrong = (model_of(script) for script in scripts(bug))
    if bug["number"] == 7:
        table = wrong.position_embedding_table.weight.data
        table.copy_(table.flip(0).clone())
    x, y = random_ids(4, 8), random_ids(4, 8)
    assert torch.equal(right(x, y)[1], wrong(x, y)[1])


def test_a_shared_head_is_counted_once():
    right, wrong = ([*model_of(script).parameters()] for script in scripts(BUGS[4]))
    assert len(right) - len(wrong) == 3  # key, query and value of the second head


def test_with_gradients_added_up_one_batch_is_not_learned_by_heart():
    """As its text says: the loss falls a little, then goes up and down."""
    model, (x, y) = model_of(scripts(BUGS[3])[0]), random_ids(2, 16, 8)
    last = {}
    for cleared in (True, False):
        learner = deepcopy(model)
        optimizer = torch.optim.AdamW(learner.parameters(), lr=1e-2)
        for _ in range(100):
            loss = learner(x, y)[1]
            if cleared:
                optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        last[cleared] = loss.item()
    assert last[True] < 0.7 and last[False] > 3 * last[True]


@pytest.mark.slow
@by_bug
def test_the_tests_that_are_named_pass_for_the_right_script_and_fail_with_the_bug(bug, tmp_path):
    if not bug["tests"]:
        pytest.skip("no test is about it")
    syllabus = sorted((ROOT / "tests").glob("test_0*.py"))
    source = read_script(find_step(bug["version"]))
    file = tmp_path / "mine.py"
    for text, status in ((source, 0), (source.replace(*bug["edit"]), 1)):
        file.write_text(text, encoding="utf-8")
        for name in bug["tests"]:
            argv = [f"--mine=v{bug['version']}={file}", "-k", name, "-q"]
            argv += ["-p", "no:cacheprovider", "-o", "addopts=", *syllabus]
            done = subprocess.run([sys.executable, "-m", "pytest", *argv], cwd=ROOT)
            assert done.returncode == status, name


# --- as practice shows and checks them


@pytest.fixture(params=LANGUAGES)
def language(request, monkeypatch):
    monkeypatch.setattr(say, "language", request.param, raising=False)
    return request.param


def started(bug, capsys):
    """Return the task, the text of the file that practice writes, and what it says."""
    task = read_task(f"bug {bug['number']}")
    practice.write_start(task)
    return task, task["file"].read_text(encoding="utf-8"), capsys.readouterr().out


def checked(number, text, capsys):
    """Return whether this text is bug 5 mended, and what was said."""
    task = read_task(f"bug {number}")
    task["file"].write_text(text, encoding="utf-8")
    return practice.check(task, task["file"], limit=60), capsys.readouterr().out


@by_bug
def test_practice_writes_the_script_with_the_wrong_line_and_does_not_say_which(
    bug, language, capsys
):
    task, text, said = started(bug, capsys)
    wrong = read_script(find_step(bug["version"])).replace(*bug["edit"])
    assert task["file"].name == f"bug_{bug['number']}.py"
    assert practice.body(text) == practice.body(wrong)
    symptom = bug[language]["symptom"].strip()
    assert symptom in said and symptom in ast.get_docstring(ast.parse(text), clean=False)
    above = text[: -len(practice.body(text))]
    assert f"bug {bug['number']} bug_{bug['number']}.py" in above  # how to check it
    told = [*bug[language]["hints"], bug[language]["mended"], *bug["edit"], "BabyGPT v"]
    assert not any(secret.strip() in above + said for secret in told if secret.strip())
    with pytest.raises(SystemExit, match=task["file"].name):
        practice.write_start(task)


def run_of(run, version, losses, poem, **more):
    lines = [f"step {step:5d}: train loss {x:.4f}, val loss {x:.4f}" for step, x in losses]
    head = ["text: 9 characters, 7 distinct", *lines]
    output = "\n".join(head) + f"\n\n{poem}"
    record = {"run": run, "version": version, "seed": 1337, "output": output}
    return json.dumps({**record, **({"samples": [poem]} if poem else {}), **more})


def test_beside_the_symptom_stands_what_the_recorded_runs_printed(
    language, capsys, monkeypatch, tmp_path
):
    monkeypatch.setattr(tasks, "RECORDS", tmp_path / "records")
    (tmp_path / "records").mkdir()
    lines = [run_of("bug_5", 4, [(0, 533.5), (400, 5.75)], "春江水")]
    lines += [run_of("bug_3", 3, [], "", stopped="error: loss not finite")]
    lines += [run_of("ladder", v, [(0, 8.5), (400, 5.25)], "春江月") for v in (3, 4)]
    for count in (0, 1, 4):  # nothing is recorded, the bug alone, all of it
        recorded = "\n".join(lines[:count])
        (tmp_path / "records" / "runs.jsonl").write_text(recorded, encoding="utf-8")
        _, text, said = started(BUGS[4], capsys)
        assert ("step" in said) is (count == 4)
        Path("bug_5.py").unlink()
    for step, *losses in (("  0", "533.5000", "8.5000"), ("400", "5.7500", "5.2500")):
        ours, theirs = (f"step   {step}: train loss {x}, val loss {x}" for x in losses)
        assert all(re.search(f"^{ours}   +{theirs}$", shown, re.M) for shown in (text, said))
    for shown in (text, said):
        assert "\nbug 5:\n春江水\n" in shown and "\nv4:\n春江月\n" in shown
        assert "1337" in shown
    assert ast.parse(text)
    said = started(BUGS[2], capsys)[2]
    assert re.search("^error: loss not finite +step +0: train", said, re.M)


def test_hints_and_diff_of_a_bug(language, capsys):
    task, _, _ = started(BUGS[4], capsys)
    practice.hint(task, 2)
    assert BUGS[4][language]["hints"][1] in capsys.readouterr().out
    practice.diff(task, task["file"])
    said = capsys.readouterr().out
    assert "-        self.heads = nn.ModuleList([Head(config, head_size)] * config.n_head)" in said
    assert '"""BabyGPT' not in said


def test_the_list_has_the_bugs_and_says_which_are_mended(language, capsys):
    practice.list_tasks()
    said = capsys.readouterr().out
    assert all(re.search(rf"^· bug {n} +v\d", said, re.M) for n in range(1, 13))
    started(BUGS[4], capsys)
    practice.list_tasks()
    assert re.search(r"^○ bug 5 .*\(bug_5.py\)$", capsys.readouterr().out, re.M)


# Mended, but not as the script has it
OTHERWISE = {
    5: [
        "self.heads = nn.ModuleList([Head(config, head_size) for _ in range(config.n_head)])",
        "self.heads = nn.ModuleList()\n        for _ in range(config.n_head):\n"
        "            self.heads.append(Head(config, head_size))",
    ],
    2: ["            schedule.step()\n", "            schedule.step(), None\n"],
    9: [
        "        x = self.ln_final(self.blocks(x))",
        "        for block in self.blocks:\n            x = block(x)\n        x = self.ln_final(x)",
    ],
}


def test_a_bug_that_is_still_there_is_told_by_the_test_that_fails(capsys, monkeypatch):
    monkeypatch.setattr(say, "language", "en", raising=False)
    bug = BUGS[4]
    passed, said = checked(5, started(bug, capsys)[1], capsys)
    assert not passed and said.count("✗") == 1 and bug["en"]["mended"] not in said
    assert "docs/en/debugging.md" in said and bug["en"]["hints"][0] not in said


def test_mended_in_another_way_it_is_whole_and_then_all_is_explained(capsys, monkeypatch):
    monkeypatch.setattr(say, "language", "zh-CN", raising=False)
    passed, said = checked(5, edited(read_task("bug 5")["reference"], [OTHERWISE[5]]), capsys)
    assert passed and "✗" not in said and BUGS[4]["zh-CN"]["mended"] in said
    practice.list_tasks()
    assert re.search(r"^✓ bug 5 .*\(bug_5.py\)$", capsys.readouterr().out, re.M)


@pytest.mark.slow
@by_bug
def test_every_bug_is_seen_until_it_is_mended(bug, capsys, monkeypatch):
    monkeypatch.setattr(say, "language", "en", raising=False)
    number, right = bug["number"], read_script(find_step(bug["version"]))
    passed, said = checked(number, right.replace(*bug["edit"]), capsys)
    assert not passed and said.count("✗") == 1
    for text in (right, edited(right, [OTHERWISE.get(number, bug["edit"][:1] * 2)])):
        passed, said = checked(number, text, capsys)
        assert passed and bug["en"]["mended"] in said, said


# --- the page


PAGE = (ROOT / "docs" / "en" / "debugging.md").read_text(encoding="utf-8")
CHECKS = {
    part.split("\n")[0]: re.search(r"^```py\n(.*?)^```$", part, re.M | re.S)[1]
    for part in re.split(r"^##+ ", PAGE, flags=re.M)
    if "```py" in part
}
FIRST = CHECKS.pop("The checks")


def look(script, *titles):
    """Run these checks of the page on a script, small and on a part of the text. Return what the
    last one prints."""
    text = (ROOT / "data" / "ci.txt").read_text(encoding="utf-8")[:40_000]
    names = {**vars(script), "Config": lambda **_: small(script, n_embed=32, prompts=())}
    names["load_data"] = lambda config: (script.Tokenizer(text), data_of(script, config, text))
    names["right"] = SimpleNamespace(BabyGPT=script.BabyGPT)
    code = [FIRST, *(CHECKS[title] for title in titles)]
    for snippet in code:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(re.sub(r"^(from|import) babygpt_v9.*\n", "", snippet, flags=re.M), names)
    return out.getvalue()


def test_every_check_runs_one_after_the_other_and_finds_the_right_script_right():
    script, titles = scripts(BUGS[8])[0], [*CHECKS]
    assert look(script, *titles) == "0.0\n"  # the last one: compared with the reference
    assert look(script, *titles[: titles.index("Twice") + 1]) == "True\nTrue True\n"


TOLD = {  # bug: the check, and what the right script's output has that the wrong one's lacks
    1: ("A batch", lambda out: out.split("\n")[0] != out.split("\n")[1]),
    3: ("Step 0", lambda out: "nan" not in out),
    5: ("Parameters", lambda out: "heads.1" in out),
    7: ("Short windows", lambda out: out == "True\n"),
    8: (
        "Future and past",
        lambda out: re.findall(r"True|False", out) == ["False"] * 4 + ["True"] * 4,
    ),
    9: ("Gradients", lambda out: "None" not in out),
    11: ("Two parts", lambda out: out.startswith("40000\n")),
}


@pytest.mark.parametrize("number", TOLD)
def test_the_check_that_the_page_names_tells_the_bug_from_the_right_script(number):
    title, is_right = TOLD[number]
    right, wrong = (look(script, title) for script in scripts(BUGS[number - 1]))
    assert is_right(right) and not is_right(wrong)


def test_a_batch_learned_by_heart_is_written_again_but_from_the_wrong_position():
    def kept(out):
        lines = out.splitlines()
        return sum(a == b for a, b in zip(lines[::2], lines[1::2], strict=True))

    right, wrong = (kept(look(s, "One batch", "The next character")) for s in scripts(BUGS[5]))
    assert right >= 4 and wrong <= 1
