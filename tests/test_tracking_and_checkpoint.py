"""v12: what is recorded, what is saved, and that a killed run loses neither."""

import itertools
import json
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
    PROGRESS,
    SMALL,
    TEXT,
    files_below,
    finish,
    flags,
    interrupt,
    load,
    loaded,
    new_model,
    random_ids,
    samples_of,
    small,
    start,
    wait_for,
)


@pytest.fixture
def gpt():
    return loaded(LAST)


def read(path):
    return torch.load(path, weights_only=True)


def the_checkpoint(folder="."):
    (path,) = Path(folder).glob("*.pt")
    return path


# --- tracking


@pytest.fixture(scope="module")
def offline(tmp_path_factory):
    """A run with the mode left open: (stdout, folder, settings, records as read from disk)."""
    folder = tmp_path_factory.mktemp("offline")
    text = folder.with_suffix(".txt")
    text.write_text(TEXT + TEXT[:80:-1], encoding="utf-8")  # train and val loss differ
    settings = {"data_path": str(text), "max_iters": 25, "checkpoint_path": "some.pt"}
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(SMALL, "wandb_mode")
        out, err, status = finish(start(LAST, flags(loaded(LAST), **settings), folder))
    assert status == 0, err
    (record,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(record)]
    env = {**os.environ, "HOME": str(folder), "PYTHONUTF8": "1"}
    result = subprocess.run(
        command, capture_output=True, check=True, encoding="utf-8", env=env, timeout=120
    )
    return out, folder, settings, [json.loads(line) for line in result.stdout.splitlines()]


def test_the_recorded_history_is_what_was_printed(offline):
    out, _, _, records = offline
    history = [record["history"]["item"] for record in records if record["type"] == "history"]
    printed = PROGRESS.findall(out)
    assert [int(step) for step, *_ in printed] == [0, 10, 20, 25]
    assert len(history) == len(printed) and all(train != val for _, train, val in printed)
    for recorded, (step, train, val) in zip(history, printed, strict=True):
        assert recorded["_step"] == int(step)
        assert f"{recorded['train_loss']:.4f}" == train
        assert f"{recorded['val_loss']:.4f}" == val
        assert (recorded["tokens_per_sec"] > 0) is (step != "0")


def test_the_recorded_config_is_the_whole_config(offline):
    _, folder, settings, records = offline
    assert sorted(path.name for path in folder.iterdir()) == ["some.pt", "wandb"]
    (run,) = (record["run"] for record in records if record["type"] == "run")
    assert run["project"] == "babygpt"
    wanted = asdict(small(loaded(LAST), wandb_mode="offline", **settings))
    wanted["prompts"] = list(wanted["prompts"])
    assert {name: run["config"]["update"].get(name) for name in wanted} == wanted


@pytest.mark.parametrize("value, mode", [(None, "offline"), ("", "offline"), ("online", "online")])
def test_the_mode_in_the_environment_is_the_default(monkeypatch, value, mode):
    if value is not None:
        monkeypatch.setenv("WANDB_MODE", value)
    assert load(LAST).Config().wandb_mode == mode


class Recorder:
    """Stands for wandb: keeps what init and log are given, in order."""

    def __init__(self):
        self.calls = []

    def init(self, **settings):
        self.calls.append(("init", settings["mode"], settings["project"]))
        return self

    def log(self, metrics, step):
        self.calls.append(("log", step, metrics["tokens_per_sec"]))

    def finish(self):
        self.calls.append(("finish",))


def test_tokens_per_sec_is_the_speed_of_training_alone_and_a_stopped_run_is_finished(
    gpt, run, monkeypatch
):
    """8 windows of 8 characters a step, each of which takes a second here; an evaluation: 1000."""
    wandb, clock, ticks = Recorder(), [0], itertools.count()
    get_batch, estimate_loss = gpt.get_batch, gpt.estimate_loss

    def a_second(*args):
        clock[0] += torch.is_grad_enabled()
        return get_batch(*args)

    def slow(*args):
        clock[0] += 1000
        return estimate_loss(*args)

    monkeypatch.setattr(gpt, "wandb", wandb)
    monkeypatch.setattr(gpt, "get_batch", a_second)
    monkeypatch.setattr(gpt, "estimate_loss", slow)
    monkeypatch.setattr(gpt.time, "perf_counter", lambda: clock[0] + 1e-9 * next(ticks))
    interrupt(gpt, monkeypatch, step=24)
    run(gpt, max_iters=1000)
    assert [call[:2] for call in wandb.calls[1:-1]] == [("log", 0), ("log", 10), ("log", 20)]
    assert [call[2] for call in wandb.calls[1:-1]] == pytest.approx([0, 64, 64])
    assert (wandb.calls[0], wandb.calls[-1]) == (("init", "disabled", "babygpt"), ("finish",))


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


def test_the_checkpoint_holds_plain_values_only(trained):
    path, out = trained
    saved = read(path)
    assert saved.keys() == {"shape", "chars", "model", "val_loss"}
    assert saved["shape"] == SHAPE and saved["chars"] == sorted(set(TEXT))
    assert f"{saved['val_loss']:.4f}" == min(val for _, _, val in PROGRESS.findall(out))


def test_a_loaded_model_gives_the_same_logits(gpt, device):
    model, config = new_model(gpt, device, **SHAPE), small(gpt, device=device, **SHAPE)
    tokenizer = gpt.Tokenizer(TEXT)
    gpt.save_checkpoint(model, tokenizer, config, 1.0)
    fresh = small(gpt, device=device)  # of another shape
    again, its_tokenizer = gpt.load_checkpoint(config.checkpoint_path, fresh)
    idx = random_ids(4, 6, device=device)
    assert torch.equal(again.eval()(idx)[0], model.eval()(idx)[0])
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
            return {"train": 1.0, "val": next(told)}

        monkeypatch.setattr(gpt, "estimate_loss", estimate_loss)
        return weights

    return tell


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


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
        if not pressed:
            pressed.append(True)
            raise KeyboardInterrupt
        save(saved, path)

    monkeypatch.setattr(torch, "save", interrupted)
    run(gpt)
    assert same(read(the_checkpoint())["model"], weights[0])


def test_two_runs_leave_two_files(corpus, monkeypatch):
    """The default name has the time in it."""
    scripts, strftime = [], time.strftime
    for seconds in (0, 61):
        with monkeypatch.context() as patch:
            patch.setattr(time, "strftime", lambda f, s=seconds: strftime(f, time.gmtime(s)))
            scripts.append(load(LAST))
    for gpt, n_embed in zip(scripts, (16, 24), strict=True):
        gpt.main(flags(gpt, data_path=corpus, max_iters=1, n_embed=n_embed, n_head=1))
    first, second = sorted(Path().iterdir())
    assert [read(path)["shape"]["n_embed"] for path in (first, second)] == [16, 24]


def test_a_write_that_fails_halfway_leaves_the_model_saved_before(
    gpt, run, monkeypatch, sample_from
):
    save, count = torch.save, []

    def half(saved, path):
        save(saved, path)
        count.append(path)
        if len(count) == 2:
            Path(path).write_bytes(Path(path).read_bytes()[:1000])
            raise RuntimeError("the power is cut")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(RuntimeError):
        run(gpt)
    path = the_checkpoint().resolve()
    assert read(path)["val_loss"] > 3  # of step 0
    assert samples_of(sample_from(path)).startswith("天地")


def test_a_run_killed_before_its_first_evaluation_leaves_no_model(gpt, run, monkeypatch, capsys):
    """So no other run's model can be taken for its own."""

    def killed(*args):
        raise MemoryError

    monkeypatch.setattr(gpt, "estimate_loss", killed)
    with pytest.raises(MemoryError):
        run(gpt)
    for path in Path().glob("*.pt"):
        with pytest.raises(SystemExit) as end:
            gpt.main(["--sample", str(path), "--device", "cpu"])
        assert path.name in str(end.value.code)


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
