"""Practice: a right version passes, the version before is told what it lacks, and each wrong turn
that tools/tasks/ knows is called by its name; whatever file it is given, the answer is clear."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import check
import conftest
import practice
import pytest
import test_02_step_by_step as step_by_step
from check import judged, slips
from compare import names, parts, wrong_turns
from practice import LANGUAGES, say
from steps import ROOT, import_text
from task import TASKS, edited, read_task, syllabus, task_names

TASK_NAMES = task_names()
by_task = pytest.mark.parametrize("task", [*map(read_task, TASK_NAMES)], ids=TASK_NAMES)


@pytest.fixture(params=LANGUAGES)
def language(request, monkeypatch):
    monkeypatch.setattr(say, "language", request.param, raising=False)
    return request.param


def text_of(task, number):
    """Return the script with this wrong turn."""
    return edited(task["reference"], task["wrong"][number]["edits"])


def checked(capsys, task, text, name=None):
    """Write a text to a file and check it. Return whether it passed, and what was said."""
    file = Path(name or task["file"])
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    passed = practice.check(task, file, limit=60)
    return passed, capsys.readouterr().out


# --- the tasks


@by_task
def test_a_task_has_all_that_practice_shows_in_both_languages(task, language):
    zh = "zh" if language == "zh-CN" else "en"
    assert task[language]["task"].strip() and len(task[language]["hints"]) == 3
    for hint in task[language]["hints"]:  # what is code stands in marks: pages show it so
        bare = re.sub(r"`[^`]+`", "", hint).replace("exp(", "")
        assert not re.search(r"`|_|\w\(|=|\b(self|nn|F|ids)\b", bare), hint
    assert len(task["wrong"]) >= 4 and task["wrong"][0].get("base")
    assert all(turn[zh].strip() for turn in task["wrong"])
    assert all(len(line) <= 100 for line in task[language]["task"].splitlines())
    files = syllabus()
    for name in task["properties"]:
        assert name == "names" or "@says(" in files[name].read_text(encoding="utf-8")
    assert (ROOT / "docs" / language / task["page"]).is_file()


def test_the_tasks_are_those_of_the_steps_that_can_be_written_in_an_hour():
    versions = [*range(1, 11), 13, 14, 15]
    wanted = {f"v{n}" for n in versions} | {"v3.1", "v3.2", "v3.3"}
    assert set(TASK_NAMES) == wanted and TASK_NAMES[:6] == [
        "v1",
        "v2",
        "v3.1",
        "v3.2",
        "v3.3",
        "v3",
    ]


@by_task
def test_the_start_is_the_version_before_with_the_task_on_top_and_never_overwrites(
    task, language, capsys
):
    practice.write_start(task)
    file = task["file"]
    text, said = file.read_text(encoding="utf-8"), capsys.readouterr().out
    assert practice.body(text) == practice.body(task["base"])
    assert task[language]["task"].strip() in ast.get_docstring(ast.parse(text), clean=False)
    assert task[language]["task"].strip() in said and f"{task['name']} {file}" in said
    file.write_text("mine")
    with pytest.raises(SystemExit, match=re.escape(str(file))):
        practice.write_start(task)
    assert file.read_text() == "mine"


# --- what is right, what is missing, and wrong turns


@by_task
def test_a_right_version_is_like_none_of_the_wrong_turns(task):
    module = import_text(task["reference"], "right")
    assert names(task, module) == []
    assert wrong_turns(task, module, most=1) == []


@by_task
def test_each_wrong_turn_is_told_from_all_others(task):
    for number in range(len(task["wrong"])):
        module = import_text(text_of(task, number), "wrong")
        assert wrong_turns(task, module) == [number], task["wrong"][number]["en"]


def test_two_wrong_turns_at_once_are_both_named():
    task = read_task("v9")
    post_norm, forgotten = 1, 4
    text = edited(text_of(task, post_norm), task["wrong"][forgotten]["edits"])
    assert wrong_turns(task, import_text(text, "wrong")) == [post_norm, forgotten]


def test_three_wrong_turns_at_once_are_named_where_one_of_them_shows_in_the_sizes():
    task = read_task("v3")
    words = ("wrong dimension", "not scaled", "have a bias")
    numbers = [n for w in words for n, turn in enumerate(task["wrong"]) if w in turn["en"]]
    text = edited(task["reference"], [e for n in numbers for e in task["wrong"][n]["edits"]])
    assert wrong_turns(task, import_text(text, "wrong")) == sorted(numbers)


IN_ANOTHER_ORDER = {  # version: what __init__ makes in another order; a wrong turn
    "v8": (["        self.heads = nn", "        self.proj = nn"], "proj is made, but forward"),
    "v9": (["        self.sa = Multi", "        self.ln2 = nn"], "after the sum (post-norm"),
}


@pytest.mark.parametrize("name", IN_ANOTHER_ORDER)
def test_a_wrong_turn_is_named_in_whatever_order_init_makes_the_parts(name):
    task, (parts_of_it, words) = read_task(name), IN_ANOTHER_ORDER[name]
    number = next(n for n, turn in enumerate(task["wrong"]) if words in turn["en"])
    text = text_of(task, number)
    assert wrong_turns(task, import_text(text, "as expected")) == [number]
    first, second = (
        next(li for li in text.splitlines(True) if li.startswith(p)) for p in parts_of_it
    )
    other = edited(text, [[first + second, second + first]])
    assert wrong_turns(task, import_text(other, "otherwise")) == [number]


def test_other_names_are_told_beside_those_that_are_expected():
    task = read_task("v2")
    text = task["reference"].replace("position_embedding_table", "positions_table")
    lacks = names(task, import_text(text, "renamed"))
    assert lacks == [("renamed", "positions_table.weight → position_embedding_table.weight")]


def test_names_are_paired_by_their_sizes_even_where_something_else_is_missing():
    task = read_task("v3")
    text = task["reference"].replace(", persistent=False", "")
    for letter, name in zip("qkv", ("query", "key", "value"), strict=True):
        text = text.replace(f"self.{name}", f"self.{letter}")
    kinds = dict(reversed(lack) for lack in names(task, import_text(text, "renamed")))
    assert kinds.pop("sa.tril (block_size, block_size)") == "extra"
    assert {*kinds} == {f"sa.{n[0]}.weight → sa.{n}.weight" for n in ("query", "key", "value")}


def test_a_class_that_is_made_otherwise_is_told_how_it_is_called():
    """As Head(config), where MultiHeadAttention needs to say how wide its heads are."""
    task = read_task("v3")
    text = edited(
        task["reference"],
        [
            ["def __init__(self, config, head_size):\n", "def __init__(self, config):\n"],
            ["        self.key = nn", "        head_size = config.n_embed\n        self.key = nn"],
            ["Head(config, config.n_embed)", "Head(config)"],
        ],
    )
    lacks = names(task, import_text(text, "other"))
    assert lacks == [("called", "Head(config) → Head(config, head_size)")]


def test_blocks_may_as_well_be_a_module_list_and_a_loop():
    task = read_task("v6")
    text = edited(
        task["reference"],
        [
            ["nn.Sequential(*[Block(config) for", "nn.ModuleList([Block(config) for"],
            ["x = self.blocks(x)", "for block in self.blocks:\n            x = block(x)"],
        ],
    )
    module = import_text(text, "other")
    assert names(task, module) == [] and wrong_turns(task, module, most=1) == []
    step_by_step.test_the_blocks_follow_one_another_and_share_no_weights(module, "cpu")


def test_behaviour_is_the_same_however_it_is_written():
    """Definitions in another order draw other first weights: the learner's are copied over."""
    task = read_task("v3")
    text = edited(
        task["reference"],
        [
            ["query @ key.transpose(-2, -1) *", 'torch.einsum("btc,bsc->bts", query, key) *'],
            ["        self.key = nn.Linear(config.n_embed, head_size, bias=False)\n", ""],
            [
                "        # The mask,",
                "        self.key = nn.Linear(config.n_embed, head_size, bias=False)\n"
                "        # The mask,",
            ],
        ],
    )
    module = import_text(text, "other")
    assert parts(module) == parts(import_text(task["reference"], "reference"))
    assert names(task, module) == [] and wrong_turns(task, module, most=1) == []


# --- the whole check, as the reader sees it


def test_a_right_version_passes_and_is_remembered_until_it_changes(capsys, monkeypatch):
    monkeypatch.setattr(say, "language", "en", raising=False)
    task = read_task("v2")
    text = task["reference"].replace("logits = self.lm_head(", "logits = (self.lm_head)(")
    assert text != task["reference"]
    passed, said = checked(capsys, task, task["reference"])
    assert passed and "✗" not in said and said.count("✓") == 1 + len(task["properties"])
    practice.list_tasks()
    assert "✓ v2" in capsys.readouterr().out
    task["file"].write_text(text + "\n", encoding="utf-8")
    practice.list_tasks()
    assert "○ v2" in capsys.readouterr().out


def test_what_fails_is_said_with_the_wrong_turn_and_the_page(capsys, monkeypatch):
    monkeypatch.setattr(say, "language", "zh-CN", raising=False)
    task = read_task("v9")
    passed, said = checked(capsys, task, text_of(task, 1))
    assert not passed and task["wrong"][1]["zh"] in said
    assert "docs/zh-CN/v09.md" in said and said.count("✗") == 1 and "·" in said


@pytest.mark.slow
@by_task
def test_the_reference_passes_and_every_wrong_turn_fails_and_is_named(task, capsys, monkeypatch):
    monkeypatch.setattr(say, "language", "en", raising=False)
    assert checked(capsys, task, task["reference"])[0]
    for number, turn in enumerate(task["wrong"]):
        passed, said = checked(capsys, task, text_of(task, number))
        assert not passed and turn["en"] in said


BAD = {
    "a syntax error": ("def forward(self:\n    pass\n", r"line 1"),
    "training, for its model": ("def main():\n    pass\n\nm = main()\n", "line 4 runs as soon"),
    "not a text": (b"\xff\xfe\x00", "Python cannot read it"),
    "an empty file": ("", "the file is empty"),
    "training on import": ("def main():\n    pass\n\nmain()\n", "line 4 runs as soon"),
    "an import misspelt": pytest.param(
        "import torhc\n", "No module named 'torhc'\n    line 1: import", marks=pytest.mark.slow
    ),
}


@pytest.mark.parametrize("text, words", BAD.values(), ids=BAD)
def test_a_file_that_is_no_script_gets_an_answer_and_no_traceback(text, words, capsys, monkeypatch):
    monkeypatch.setattr(say, "language", "en", raising=False)
    passed, said = checked(capsys, read_task("v5"), text)
    assert not passed and "Traceback" not in said and re.search(words, said), said


SLIPS = {
    "return self.net(x)": ("self.net(x)", "FeedForward.forward returns nothing"),
    "        super().__init__()\n        self.net": (
        "        self.net",
        "FeedForward.__init__ has",
    ),
    "nn.Sequential(*[": ("nn.Sequential([", "a star before the list"),
}


@pytest.mark.parametrize("right", SLIPS, ids=["no return", "no super", "no star"])
def test_a_slip_of_any_version_is_named(right, monkeypatch):
    monkeypatch.setattr(say, "language", "en", raising=False)
    task, (wrong, words) = read_task("v6"), SLIPS[right]
    for text, told in (
        (task["reference"], ""),
        (edited(task["reference"], [[right, wrong]]), words),
    ):
        task["file"].write_text(text, encoding="utf-8")
        assert told in (said := "".join(say(slip, **v) for slip, v in slips(task["file"], 6)))
        assert bool(told) is bool(said)


AT_ONCE = """class MultiHeadAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.n_head = config.n_head
        self.qkv = nn.Linear(config.n_embed, 3 * config.n_embed, bias=False)

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = self.qkv(x).view(B, T, 3, self.n_head, -1).permute(2, 0, 3, 1, 4)
        x = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return x.transpose(1, 2).reshape(B, T, C)


"""
OF_V4 = read_task("v4")["reference"]
HEAD = OF_V4[OF_V4.index("class Head") : OF_V4.index("class Multi")]
MULTI = OF_V4[OF_V4.index("class Multi") : OF_V4.index("class BabyGPT")]
ADDED = "x = x + self.position_embedding_table(positions)"
BESIDE = "x = torch.cat([x, self.position_embedding_table(positions).expand_as(x)], dim=-1)"
WIDER = ["nn.Linear(config.n_embed, vocab_size)", "nn.Linear(2 * config.n_embed, vocab_size)"]
DROPS = {
    "a module": ["        x = self.sa(x)", "        x = nn.Dropout(0.1)(self.sa(x))"],
    "a function": [
        "        x = self.sa(x)",
        "        x = F.dropout(self.sa(x), 0.1, self.training)",
    ],
}
IN_BLOCK = ["self.ffwd(self.ln2(x))", "F.dropout(self.ffwd(self.ln2(x)), 0.1)"]
LATER = {  # what is the idea of another version: what is written, and the word for it
    "all heads at once, Head unused": ("v4", [[MULTI, AT_ONCE]], "at once"),
    "all heads at once, no Head": ("v4", [[HEAD, ""], [MULTI, AT_ONCE]], "at once"),
    "dropout in v4, a module": ("v4", [DROPS["a module"]], "dropout"),
    "dropout in v5, a function": ("v5", [DROPS["a function"]], "dropout"),
    "dropout in v9": ("v9", [IN_BLOCK], "dropout"),
    "positions put beside": ("v2", [[ADDED, BESIDE], WIDER], "side by side"),
    "positions put beside, lm_head as before": ("v2", [[ADDED, BESIDE]], "side by side"),
}


def later(name):
    version, edits, word = LATER[name]
    task = read_task(version)
    return task, edited(task["reference"], edits), word


@pytest.mark.parametrize("name", LATER)
def test_the_idea_of_another_version_is_called_by_its_name(name):
    task, text, word = later(name)
    task["file"].write_text(text, encoding="utf-8")
    found = dict(slips(task["file"], task["version"]))
    line = text.splitlines()[found[word]["line"] - 1]
    assert [*found] == [word] and re.search(r"\.view|ropout|cat\(", line)


@by_task
def test_a_right_version_has_no_slip_nor_has_one_that_flattens_with_view(task):
    viewed = task["reference"].replace("logits.flatten(0, 1)", "logits.view(-1, logits.shape[-1])")
    for text in (task["reference"], viewed, viewed.replace("Head", "OneHead")):
        task["file"].write_text(text, encoding="utf-8")
        assert not [*slips(task["file"], task["version"])]


def test_views_beside_a_head_are_not_all_heads_at_once():
    text = OF_V4.replace(
        "for head in self.heads], dim=-1)", "for head in self.heads], dim=-1).view(x.shape)"
    )
    Path("my_v4.py").write_text(text, encoding="utf-8")
    assert text != OF_V4 and not [*slips(Path("my_v4.py"), 4)]


def test_all_heads_at_once_is_said_to_be_v13(capsys, monkeypatch):
    monkeypatch.setattr(say, "language", "en", raising=False)
    task, text, _ = later("all heads at once, Head unused")
    passed, said = checked(capsys, task, text)
    assert not passed and "that is v13. For v4, a Head each" in said and "sa.qkv.weight" in said


@pytest.mark.slow
@pytest.mark.parametrize("name", LATER)
def test_a_file_with_the_idea_of_another_version_fails_and_is_told(name, capsys, monkeypatch):
    monkeypatch.setattr(say, "language", "en", raising=False)
    task, text, word = later(name)
    passed, said = checked(capsys, task, text)
    ends = {"at once": "that is v13.", "dropout": "that is v10.", "side by side": "Add the two"}
    assert not passed and ends[word] in said


@pytest.mark.slow
def test_a_crash_in_forward_is_shown_by_its_line_in_the_readers_file(capsys, monkeypatch):
    monkeypatch.setattr(say, "language", "en", raising=False)
    task = read_task("v7")
    text = task["reference"].replace("x = x + self.ffwd(x)", "x = x + self.feed(x)")
    passed, said = checked(capsys, task, text)
    line = 1 + text[: text.index("self.feed")].count("\n")
    assert not passed and f"line {line}: x = x + self.feed(x)" in said
    assert "'Block' object has no attribute 'feed'" in said and "Traceback" not in said


def test_a_loop_without_an_end_is_stopped(capsys, monkeypatch):
    monkeypatch.setattr(say, "language", "en", raising=False)
    task = read_task("v3.1")
    Path("my.py").write_text("def average(x):\n    while True:\n        pass\n")
    lines = judged(task, Path("my.py"), limit=2)
    failed = next(line for line in lines if "failed" in line)
    assert failed["error"] == "limit" and "2 seconds" in check.finding(failed)


# --- the command


def test_as_a_command_it_answers_by_its_exit_status(tmp_path):
    def run(*argv):
        argv = [sys.executable, str(ROOT / "tools" / "practice.py"), *argv, "--lang", "en"]
        done = subprocess.run(argv, cwd=tmp_path, capture_output=True, encoding="utf-8")
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout + done.stderr

    status, said = run("v3.1")
    assert status == 0 and (tmp_path / "my_v3_1.py").is_file()
    assert run("v3.1")[0] == 1
    (tmp_path / "my_v3_1.py").write_text((TASKS / "v3_1.py").read_text())
    assert run("v3.1", "my_v3_1.py")[0] == 0
    status, said = run("v9.9")
    assert status == 1 and "v3.1" in said
    status, said = run("v5", "nowhere.py")
    assert status == 1 and "nowhere.py: no such file" in said


@pytest.mark.parametrize("words", (["v99"], ["bug", "13"], ["bug13"], ["bug"], ["7"]), ids=" ".join)
def test_a_task_that_there_is_not_is_answered_with_those_that_there_are(words, language):
    with pytest.raises(SystemExit) as error:
        practice.main([*words, "--lang", language])
    told = {"en": "there is no such task", "zh-CN": "这个练习"}
    assert told[language] in str(error.value) and "v3.1 v3.2 v3.3 v3 v4" in str(error.value)
    assert "bug 12" in str(error.value) and not list(Path().iterdir())


@pytest.mark.parametrize("words", (["bug9"], ["bug_9"], ["BUG", "9"], ["bug 9"]), ids=" ".join)
def test_a_bug_is_found_with_or_without_the_space(words):
    practice.main([*words, "--lang", "en"])
    assert Path("bug_9.py").is_file()


def test_hints_and_diff_are_shown_in_the_readers_language(language, capsys):
    task = read_task("v7")
    for number in (1, 2, 3):
        practice.hint(task, number)
        assert task[language]["hints"][number - 1].strip() in capsys.readouterr().out
    file = task["file"]
    file.write_text(text_of(task, 0), encoding="utf-8")
    practice.diff(task, file)
    said = capsys.readouterr().out
    assert "+        x = x + self.sa(x)" in said and '"""BabyGPT' not in said


def test_a_learners_file_is_tested_on_all_that_its_version_has(monkeypatch):
    """train() is v1's up to v11: theirs may be another all the same."""
    wanted = {"train": True, "Head": True, "Block": False}
    assert not any(4 in conftest.versions_with(name, last=4) for name in wanted)
    monkeypatch.setattr(conftest, "MINE", {"v4": Path("my_v4.py")})
    for name, tested in wanted.items():
        assert (4 in conftest.versions_with(name)) is tested
    assert 4 not in conftest.versions_with("train", last=3)


@pytest.mark.slow
def test_mine_runs_the_tests_of_that_version_on_the_readers_file(tmp_path):
    """As pytest --mine v7=FILE, for whoever wants to see the tests themselves."""
    file = tmp_path / "mine.py"
    file.write_text(text_of(read_task("v7"), 2), encoding="utf-8")
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--mine=v7={file}"]
    tests = str(ROOT / "tests" / "test_02_step_by_step.py")
    done = subprocess.run([*argv, "-n", "0", tests], cwd=ROOT, capture_output=True, text=True)
    assert "FAILED tests/test_02_step_by_step.py::test_v7_adds_what" in done.stdout
    assert re.search(r"2 failed, 2 passed, \d\d deselected", done.stdout), done.stdout


def test_trained_it_is_compared_with_the_recorded_runs(monkeypatch, capsys):
    monkeypatch.setattr(say, "language", "en", raising=False)
    file, task = Path("quick.py"), read_task("v7")
    for loss, word in ((4.75, "As it should be"), (5.6, "learns less"), (1.2, "Too good")):
        file.write_text(f"print('step  1600: train loss 4.7, val loss {loss:.4f}')")
        assert practice.train(task, file) is (word == "As it should be")
        said = capsys.readouterr().out
        assert word in said and f"yours {loss:.3f}" in said


def test_the_records_to_compare_with_are_those_of_the_version():
    assert {r["version"] for r in practice.records_of(9)} == {9}
    assert {r["version"] for r in practice.records_of(15)} == {14}  # it trains as v14 does
