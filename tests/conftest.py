"""What the tests share: the scripts, a small text and Config, ways to run a script.

The files are to be read in the order of their numbers. Whatever a step does not change is the same
to the last byte as in the version before (test_10_diffs.py), so a test runs only on the versions
that changed what it is about: @changed("train") are v1 and each version with another train().
"""

import functools
import itertools
import os
import re
import shutil
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from runs import WANDB_PLACES, WANDB_SILENCE
from steps import ROOT, STEPS, UnknownVersion, find_step, import_file, import_script

sys.dont_write_bytecode = True  # loading a script leaves no __pycache__ beside it
torch.set_num_threads(1)  # as the scripts that the tests start

LAST = 12  # of the course; beyond/ goes on
TEXTUAL = 18  # the last that learns from any text; v19 needs poems, and has test_19_reward.py
MODEL = ("rotate", "Cache", "Head", "MultiHeadAttention", "FeedForward", "Block", "BabyGPT")

# The first 32 characters of the Thousand Character Classic, all distinct, over and over: each
# tells the next one, so that every version can learn this text by heart
ALPHABET = "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏闰余成岁律吕调阳"
TEXT = ALPHABET * 20
VOCAB = len(ALPHABET)

SMALL = {
    "device": "cpu",
    "prompts": ("天地", "日"),
    "max_new_tokens": 12,
    "max_iters": 20,
    "eval_interval": 10,
    "eval_iters": 2,
    "batch_size": 8,
    "learning_rate": 1e-2,
    "block_size": 8,
    "n_embed": 16,
    "n_head": 2,
    "n_layer": 2,
    "dropout": 0.1,
    "wandb_mode": "disabled",
}

# Equal up to rounding: a GPU may add up in another order than its own next kernel
assert_close = functools.partial(torch.testing.assert_close, rtol=1e-4, atol=1e-4)

has_history = pytest.mark.skipif(
    not (shutil.which("git") and (ROOT / ".git").exists()), reason="a download without its history"
)


MINE = {}  # {"v7": a learner's file}: what --mine puts in the place of a version


def pytest_addoption(parser):
    text = "test this file as that version, by the tests that are about it (see tools/practice.py)"
    parser.addoption("--mine", metavar="v7=FILE", help=text)


def pytest_configure(config):
    if given := config.getoption("--mine"):
        name, _, file = given.partition("=")
        MINE[name] = Path(file).resolve()
        if not MINE[name].is_file():
            raise pytest.UsageError(f"--mine {given}: no such file: expected v7=FILE")
        try:
            if "." not in name:  # v3.1 is no version, but a step on the way to v3
                find_step(name).path = MINE[name]
        except UnknownVersion as error:
            raise pytest.UsageError(f"--mine {given}: {error}") from None


def pytest_collection_modifyitems(config, items):
    """With --mine, keep the tests that run on that version."""
    if MINE:
        kept = [item for item in items if is_about(item, *MINE)]
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept


def is_about(item, name):
    version = getattr(item, "callspec", None) and item.callspec.params.get("gpt")
    by_name = rf"test_{name.replace('.', '_')}_(?!\d)"
    return f"v{version}" == name or bool(re.match(by_name, item.name))


def says(en, zh):
    """State what a test proves, for tools/practice.py, which shows it to who writes a version."""
    return pytest.mark.says(en=en, zh=zh)


def found(en, zh):
    """Return the message of an assert that practice shows, in the reader's language."""
    return f"{en} | {zh}"


def loaded(version):
    return import_script(find_step(version))


def solution(name):
    """Return a step on the way to v3, as a module: v3.1 to v3.3."""
    return import_file(MINE.get(name, ROOT / "tools" / "tasks" / f"{name.replace('.', '_')}.py"))


def versions(*numbers):
    """Run a test with gpt being each of these versions."""
    return pytest.mark.parametrize("gpt", numbers, indirect=True, ids=lambda n: f"v{n}")


def versions_with(*names, first=1, last=TEXTUAL):
    """Return the versions in which one of these sections is new or changed.

    A learner's file may differ anywhere: with --mine it is that version, once it has the sections.
    """
    new = {name for step in STEPS for name in step.may_change if name[0] == "+"}
    chosen = {STEPS[0].version} if any(f"+{name}" not in new for name in names) else set()
    wanted = {*names, *(f"+{name}" for name in names)}
    chosen |= {step.version for step in STEPS if wanted.intersection(step.may_change)}
    mine = {int(name[1:]) for name in MINE if "." not in name}
    chosen |= {version for version in mine if any(v < version for v in chosen)}
    return sorted(version for version in chosen if first <= version <= last)


def changed(*names, **limits):
    """Run a test with gpt being each version in which one of these sections is new or changed."""
    return versions(*versions_with(*names, **limits))


@pytest.fixture
def gpt(request):
    """The script that is tested."""
    return loaded(request.param)


@pytest.fixture
def fresh(monkeypatch):
    """Return fresh(gpt): the script imported once more, as in a new process."""

    def fresh(gpt):
        monkeypatch.delitem(sys.modules, gpt.__name__, raising=False)
        return import_script(find_step(gpt.__name__))

    return fresh


@pytest.fixture(params=["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"])
def device(request):
    return request.param


@pytest.fixture(autouse=True, scope="session")
def no_wandb_settings(tmp_path_factory):
    """What the user has set for wandb does not count here, and wandb writes nothing at home."""
    places = dict.fromkeys(WANDB_PLACES, str(tmp_path_factory.mktemp("wandb-home")))
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            patch.delenv(name)
        for name, value in {**places, **WANDB_SILENCE}.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(autouse=True)
def fresh_start(tmp_path, monkeypatch):
    """Each test starts in an empty folder and with the same random numbers."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


def known_to(gpt, changes):
    names = {f.name for f in fields(gpt.Config)}
    return {k: v for k, v in {**SMALL, **changes}.items() if k in names}


def small(gpt, **changes):
    """Return the small Config, with those of the settings that this version has."""
    return gpt.Config(**known_to(gpt, changes))


def flags(gpt, **changes):
    """Return the same as a command line."""
    argv = []
    for name, value in known_to(gpt, changes).items():
        if isinstance(value, bool):
            argv.append(f"--{name}" if value else f"--no_{name}")
        else:
            argv += [f"--{name}", *map(str, value if isinstance(value, (tuple, list)) else [value])]
    return argv


def new_model(gpt, device="cpu", vocab_size=VOCAB, **changes):
    return gpt.BabyGPT(small(gpt, **changes), vocab_size).to(device)


def random_ids(*shape, device="cpu", vocab_size=VOCAB):
    return torch.randint(vocab_size, shape).to(device)


def data_of(gpt, config, text=TEXT):
    path = Path("text-for-load_data.txt").resolve()
    path.write_text(text, encoding="utf-8")
    _, data = gpt.load_data(replace(config, data_path=path, prompts=()))
    path.unlink()
    return data


def train(gpt, model, data, config):
    """Call train(), which takes the tokenizer too where it saves the model."""
    more = [gpt.Tokenizer(TEXT)] if hasattr(gpt, "save_checkpoint") else []
    gpt.train(model, data, config, *more)


def interrupt(gpt, monkeypatch, step):
    """Let Ctrl-C be pressed at this training step (evaluation, without gradients, not counted)."""
    get_batch, count = gpt.get_batch, itertools.count()

    def interrupted(*args):
        if torch.is_grad_enabled() and next(count) == step:
            raise KeyboardInterrupt
        return get_batch(*args)

    monkeypatch.setattr(gpt, "get_batch", interrupted)


@pytest.fixture
def run(corpus, capsys, monkeypatch, tmp_path):
    """Return run(gpt, **settings): call main() in a new folder, return what it printed."""
    count = itertools.count(1)

    def run(gpt, **changes):
        folder = tmp_path / f"run-{next(count)}"
        folder.mkdir()
        monkeypatch.chdir(folder)
        try:
            run.result = gpt.main(flags(gpt, **{"data_path": corpus, **changes}))
        except KeyboardInterrupt:
            pytest.fail("Ctrl-C ended the script")
        return capsys.readouterr().out

    return run
