"""v12: what is recorded, what is saved, and that a killed run loses neither."""

import errno
import itertools
import json
import math
import os
import re
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from conftest import (
    LAST,
    SMALL,
    TEXT,
    changed,
    flags,
    interrupt,
    loaded,
    new_model,
    random_ids,
    small,
)
from runs import PROGRESS, files_below, finish, losses_of, samples_of, start, wait_for

trains_anew = changed("train", first=LAST)


@pytest.fixture
def gpt(request):
    """v12, but for the tests that name versions: each that has another train()."""
    return loaded(getattr(request, "param", LAST))


def read(path):
    return torch.load(path, weights_only=True)


def kept(path):
    """Return the val loss of a saved model, as it is printed."""
    return f"{read(path)['val_loss']:.4f}"


def the_checkpoint(folder="."):
    (path,) = Path(folder).glob("*.pt")
    return path


# --- tracking


# Two runs in one process, as in a notebook
TWICE = """
import importlib, sys
from pathlib import Path
path = Path(sys.argv[1])
sys.path.insert(0, str(path.parent))
main = importlib.import_module(path.stem).main
for seed in ("1", "2"):
    main([*sys.argv[2:], "--seed", seed, "--checkpoint_path", f"{seed}.pt"])
"""


@pytest.fixture(scope="module")
def offline(tmp_path_factory):
    """Two runs with the mode left open: (stdout, folder, settings, what is on disk of each)."""
    folder = tmp_path_factory.mktemp("offline")
    text = folder.with_suffix(".txt")
    text.write_text(TEXT + TEXT[:80:-1], encoding="utf-8")  # train and val loss differ
    settings = {"data_path": text, "max_iters": 25}
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(SMALL, "wandb_mode")
        argv = flags(loaded(LAST), **settings)
        out, err, status = finish(start(LAST, argv, folder, ["-c", TWICE]))
    assert status == 0, err
    records = sorted(folder.glob("wandb/offline-run-*/run-*.wandb"), key=os.path.getmtime)
    return out, folder, settings, [on_disk(path) for path in records]


def on_disk(record):
    """Return what wandb has recorded of a run, as a list of dicts."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(record)]
    env = {**os.environ, "HOME": str(record.parent), "PYTHONUTF8": "1"}
    result = subprocess.run(
        command, capture_output=True, check=True, encoding="utf-8", env=env, timeout=120
    )
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_each_run_is_recorded_as_it_was_printed(offline):
    out, _, _, runs = offline
    history = [line["history"]["item"] for run in runs for line in run if line["type"] == "history"]
    printed = PROGRESS.findall(out)
    assert [int(step) for step, *_ in printed] == [0, 10, 20, 25] * 2
    assert len(runs) == 2 and all(train != val for _, train, val in printed)
    for recorded, (step, train, val) in zip(history, printed, strict=True):
        assert recorded["_step"] == int(step)
        assert f"{recorded['train_loss']:.4f}" == train
        assert f"{recorded['val_loss']:.4f}" == val
        assert ("tokens_per_sec" in recorded) is (step != "0")


def test_the_whole_config_is_recorded(offline):
    _, folder, settings, runs = offline
    assert sorted(path.name for path in folder.iterdir()) == ["1.pt", "2.pt", "wandb"]
    (run,) = (line["run"] for line in runs[0] if line["type"] == "run")
    assert run["project"] == "babygpt"
    own = {"seed": 1, "checkpoint_path": "1.pt", "wandb_mode": "offline", **settings}
    wanted = asdict(small(loaded(LAST), **own))
    wanted |= {"prompts": list(wanted["prompts"]), "data_path": str(wanted["data_path"])}
    assert {name: run["config"]["update"].get(name) for name in wanted} == wanted


@pytest.mark.parametrize("value, mode", [(None, "offline"), ("", "offline"), ("online", "online")])
def test_the_mode_in_the_environment_is_the_default(gpt, fresh, monkeypatch, value, mode):
    if value is not None:
        monkeypatch.setenv("WANDB_MODE", value)
    assert fresh(gpt).Config().wandb_mode == mode


class Recorder:
    """Stands for wandb and for its run: keeps what init and log are given, in order."""

    def __init__(self, dies_at=None):
        self.calls, self.dies_at = [], dies_at

    def init(self, **settings):
        self.calls.append(("init", settings["mode"], settings["project"]))
        return self

    def log(self, metrics, step):
        if self.dies_at is not None and step >= self.dies_at:
            raise BrokenPipeError("the tracker is dead")
        self.calls.append(("log", step, metrics))

    def finish(self):
        self.calls.append(("finish",))

    @property
    def logged(self):
        return {call[1]: call[2] for call in self.calls if call[0] == "log"}


@pytest.fixture
def record(monkeypatch):
    """Return record(gpt): the Recorder that gpt has for wandb from here on."""

    def record(gpt, **settings):
        recorder = Recorder(**settings)
        monkeypatch.setattr(gpt.wandb, "init", recorder.init)
        return recorder

    return record


@trains_anew
def test_tokens_per_sec_is_the_speed_of_training_alone(gpt, run, record, monkeypatch):
    """8 windows of 8 characters a step, each of which takes a second here; an evaluation: 1000."""
    tracked, clock, ticks = record(gpt), [0], itertools.count()
    get_batch, estimate_loss = gpt.get_batch, gpt.estimate_loss

    def a_second(*args):
        clock[0] += torch.is_grad_enabled()
        return get_batch(*args)

    def slow(*args):
        clock[0] += 1000
        return estimate_loss(*args)

    monkeypatch.setattr(gpt, "get_batch", a_second)
    monkeypatch.setattr(gpt, "estimate_loss", slow)
    monkeypatch.setattr(gpt.time, "perf_counter", lambda: clock[0] + 1e-9 * next(ticks))
    run(gpt, max_iters=20)
    speeds = {step: metrics.get("tokens_per_sec") for step, metrics in tracked.logged.items()}
    assert speeds == {0: None, 10: pytest.approx(64), 20: pytest.approx(64)}


@trains_anew
def test_the_losses_that_ctrl_c_leaves_are_printed_and_recorded(gpt, run, record, monkeypatch):
    tracked = record(gpt)
    interrupt(gpt, monkeypatch, step=14)
    out = run(gpt, max_iters=1000)
    *_, (step, train, val) = losses_of(out)
    assert step == max(tracked.logged) > 10
    assert tracked.logged[step]["train_loss"] == pytest.approx(train, abs=1e-4)
    assert tracked.logged[step]["val_loss"] == pytest.approx(val, abs=1e-4)


@trains_anew
def test_a_tracker_that_dies_costs_neither_the_model_nor_the_training(gpt, run, record):
    """It is said; what the dead tracker did not take was saved before."""
    record(gpt, dies_at=10)
    out = run(gpt, max_iters=30)
    assert [step for step, *_ in losses_of(out)] == [0, 10, 20, 30]
    assert "the tracker is dead" in out
    assert kept(the_checkpoint()) == min(val for *_, val in PROGRESS.findall(out))


# --- the checkpoint


SHAPE = {"block_size": 6, "n_embed": 24, "n_head": 3, "n_layer": 1}


@pytest.fixture
def trained(gpt, run):
    """(checkpoint file, what the run printed) of a small run with a shape of its own."""
    out = run(gpt, **SHAPE)
    return the_checkpoint().resolve(), out


@pytest.fixture
def sample_from(gpt, capsys, monkeypatch, tmp_path):
    """Return sample_from(path): what --sample prints, in a folder without a text."""

    def sample_from(path, *more):
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        monkeypatch.chdir(elsewhere)
        capsys.readouterr()
        argv = ["--sample", path, "--prompts", "天地", "日", "--max_new_tokens", "12"]
        argv += ["--data_path", "not/there.txt", "--device", "cpu", *more]
        gpt.main(list(map(str, argv)))
        assert files_below(elsewhere) == []
        return capsys.readouterr().out

    return sample_from


def test_the_checkpoint_holds_plain_values_and_weights_only(gpt, trained):
    """And every weight, but not the mask, which is no weight and would be a seventh of a file."""
    path, out = trained
    saved = read(path)
    parameters = [name for name, _ in new_model(gpt, **SHAPE).named_parameters()]
    assert list(saved["model"]) == parameters
    assert saved.keys() == {"shape", "chars", "model", "val_loss"}
    assert saved["shape"] == SHAPE and saved["chars"] == sorted(set(TEXT))
    assert f"{saved['val_loss']:.4f}" == min(val for _, _, val in PROGRESS.findall(out))


def test_a_loaded_model_gives_the_same_logits(gpt, device):
    model, config = new_model(gpt, device, **SHAPE), small(gpt, device=device, **SHAPE)
    tokenizer = gpt.Tokenizer(TEXT)
    gpt.save_checkpoint(model, tokenizer, config, 1.0)
    fresh = small(gpt, device=device)  # of another shape
    again, its_tokenizer = gpt.load_checkpoint(config.checkpoint_path, fresh)
    ids = random_ids(4, 6, device=device)
    assert torch.equal(again.eval()(ids)[0], model.eval()(ids)[0])
    assert its_tokenizer.chars == tokenizer.chars
    assert files_below(".") == [config.checkpoint_path]


def test_a_loaded_model_gives_the_same_sample_without_a_text_and_writes_nothing(
    trained, sample_from
):
    path, out = trained
    before = path.read_bytes()
    alone = sample_from(path)
    assert samples_of(alone) == samples_of(out)
    assert "step" not in alone and path.read_bytes() == before


def test_a_checkpoint_of_the_scripts_former_form_is_refused_by_name(gpt, trained, capsys):
    """It had the mask in it."""
    path, _ = trained
    saved = read(path)
    saved["model"]["blocks.0.sa.heads.0.tril"] = torch.ones(6, 6)
    torch.save(saved, path)
    with pytest.raises(SystemExit, match=f"model {re.escape(str(path))}.*tril"):
        gpt.main(["--sample", str(path), "--device", "cpu"])


def test_what_the_environment_says_of_tracking_does_not_matter_to_sampling(
    gpt, fresh, trained, capsys, monkeypatch
):
    path, out = trained
    monkeypatch.setenv("WANDB_MODE", "bogus")
    argv = ["--sample", str(path), "--prompts", "天地", "日", "--max_new_tokens", "12"]
    fresh(gpt).main([*argv, "--device", "cpu"])
    assert samples_of(capsys.readouterr().out) == samples_of(out)


def test_a_shape_flag_with_sample_is_not_silently_believed(trained, sample_from):
    """The shape is the file's, and it is printed."""
    path, out = trained
    header, _, samples = sample_from(path, "--n_embed", "32", "--n_head", "4").partition("\n\n")
    assert samples == samples_of(out) and str(path) in header
    for name, value in SHAPE.items():
        assert re.search(rf"{name}\W+{value}\b", header)


@pytest.fixture
def losses_as_told(gpt, monkeypatch):
    """Let estimate_loss return given losses; keep a copy of the weights at each evaluation."""
    weights = []

    def tell(*vals):
        told = iter(vals)

        def estimate_loss(model, data, config):
            weights.append({k: v.clone() for k, v in model.state_dict().items()})
            return [1.0, next(told)]

        monkeypatch.setattr(gpt, "estimate_loss", estimate_loss)
        return weights

    return tell


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@trains_anew
@pytest.mark.parametrize("vals, best", [((4, 3, 2, 2.5, 2), 2), ((2, 3, 4, 5, 6), 0)])
def test_the_best_model_is_saved_and_sampled_not_the_last(
    gpt, run, losses_as_told, monkeypatch, vals, best
):
    """And an equal one later on is no better; the model of step 0 counts too."""
    weights, sampled, generate = losses_as_told(*map(float, vals)), [], gpt.BabyGPT.generate

    def spy(model, *args):
        sampled.append(model.state_dict())
        return generate(model, *args)

    monkeypatch.setattr(gpt.BabyGPT, "generate", spy)
    run(gpt, max_iters=40)
    saved = read(the_checkpoint())
    assert saved["val_loss"] == vals[best]
    assert same(saved["model"], weights[best]) and not same(weights[best], weights[4])
    assert len(sampled) == 2 and all(same(state, weights[best]) for state in sampled)


@trains_anew
@pytest.mark.parametrize("last, kept", [(1.0, 2), (3.5, 1)], ids=["better", "worse"])
def test_ctrl_c_keeps_what_was_trained_since_the_last_evaluation_if_it_is_better(
    gpt, run, losses_as_told, monkeypatch, last, kept
):
    weights = losses_as_told(4.0, 3.0, last)
    interrupt(gpt, monkeypatch, step=14)
    run(gpt, max_iters=1000)
    saved = read(the_checkpoint())
    assert saved["val_loss"] == (4.0, 3.0, last)[kept]
    assert same(saved["model"], weights[kept]) and not same(weights[1], weights[2])


def test_ctrl_c_while_the_model_is_saved_does_not_lose_it(gpt, run, losses_as_told, monkeypatch):
    weights, save, pressed = losses_as_told(4.0, 4.0), torch.save, []

    def interrupted(saved, path):
        if not pressed and saved["val_loss"] < math.inf:  # not the trial before the training
            pressed.append(True)
            raise KeyboardInterrupt
        save(saved, path)

    monkeypatch.setattr(torch, "save", interrupted)
    run(gpt)
    assert same(read(the_checkpoint())["model"], weights[0])


def test_runs_of_different_seconds_have_files_of_their_own(gpt, fresh, corpus, monkeypatch):
    """The default name has the script's name and the time in it."""
    scripts, strftime = [], time.strftime
    for seconds in (0, 61):
        with monkeypatch.context() as patch:
            patch.setattr(time, "strftime", lambda f, s=seconds: strftime(f, time.gmtime(s)))
            scripts.append(fresh(gpt))
    for script, n_embed in zip(scripts, (16, 24), strict=True):
        script.main(flags(script, data_path=corpus, max_iters=1, n_embed=n_embed, n_head=1))
    first, second = sorted(Path().iterdir())
    assert [read(path)["shape"]["n_embed"] for path in (first, second)] == [16, 24]
    assert first.name.startswith(f"{gpt.__name__}_")


def test_of_two_runs_at_once_with_one_name_the_second_is_refused(gpt, corpus, tmp_path):
    """However they take turns: one has the file for itself, to its end."""
    argv = flags(gpt, data_path=corpus, max_iters=60, eval_interval=1, checkpoint_path="model.pt")
    folder = tmp_path / "work"
    folder.mkdir()
    runs = [start(LAST, argv, folder) for _ in range(2)]
    (_, said, refused), (out, err, ended_well) = sorted(map(finish, runs), key=lambda run: -run[2])
    assert (refused, ended_well) == (1, 0), (said, err)
    assert said == f"error: --checkpoint_path model.pt: {os.strerror(errno.EEXIST)}\n"
    assert f"{read(folder / 'model.pt')['val_loss']:.4f}" == min(
        v for *_, v in PROGRESS.findall(out)
    )
    assert files_below(folder) == ["model.pt"]


@trains_anew
def test_the_name_is_taken_before_anything_is_trained(gpt, run, monkeypatch):
    seen, estimate_loss = [], gpt.estimate_loss

    def spy(*args):
        seen.append(files_below("."))
        return estimate_loss(*args)

    monkeypatch.setattr(gpt, "estimate_loss", spy)
    run(gpt, checkpoint_path="model.pt")
    assert seen[0] == ["model.pt"]


def test_a_full_disk_is_named_and_costs_nothing_that_was_saved(gpt, run, monkeypatch, capsys):
    save, count = torch.save, itertools.count()

    def on_a_full_disk(saved, path):
        if saved["val_loss"] == math.inf or next(count) == 0:  # the first evaluation's still fits
            return save(saved, path)
        Path(path).write_bytes(b"the beginning")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", on_a_full_disk)
    with pytest.raises(SystemExit, match="--checkpoint_path model.pt.*No space left"):
        run(gpt, checkpoint_path="model.pt")
    assert kept("model.pt") == PROGRESS.search(capsys.readouterr().out)[3]
    assert files_below(".") == ["model.pt"]


def test_a_disk_that_is_full_from_the_start_is_named_before_the_training(gpt, run, monkeypatch):
    def on_a_full_disk(saved, path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", on_a_full_disk)
    monkeypatch.setattr(gpt, "estimate_loss", lambda *args: pytest.fail("it was trained"))
    with pytest.raises(SystemExit, match="--checkpoint_path .*No space left"):
        run(gpt)


def test_kill_9_in_mid_training_leaves_a_checkpoint_that_samples(
    gpt, corpus, tmp_path, sample_from
):
    folder = tmp_path / "work"
    folder.mkdir()
    long = {"data_path": corpus, "max_iters": 10**6, "eval_interval": 5, "learning_rate": 1e-3}
    process = start(LAST, flags(gpt, **long), folder)
    wait_for(process, "step    50")
    process.kill()
    assert finish(process)[2] != 0
    path = the_checkpoint(folder)
    assert samples_of(sample_from(path)).startswith("天地")
