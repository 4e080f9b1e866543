"""v12: what is recorded, what is saved, and that a killed run loses neither."""

import json
import os
import resource
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from conftest import (
    LAST,
    PROGRESS,
    TEXT,
    data_of,
    files_below,
    finish,
    flags,
    load,
    loaded,
    new_model,
    random_ids,
    small,
    start,
)


@pytest.fixture
def gpt():
    return loaded(LAST)


# --- tracking


@pytest.fixture(scope="module")
def offline(tmp_path_factory):
    """An offline run in a folder of its own: (stdout, folder, its records as read from disk)."""
    folder = tmp_path_factory.mktemp("offline")
    text = folder.with_suffix(".txt")
    text.write_text(TEXT + TEXT[:80:-1], encoding="utf-8")  # train and val loss differ
    settings = {"data_path": text, "max_iters": 25, "wandb_project": "some-project"}
    argv = flags(loaded(LAST), **settings)
    at = argv.index("--wandb_mode")  # offline is the default
    process = start(LAST, argv[:at] + argv[at + 2 :], folder)
    out, err, status = finish(process)
    assert status == 0, err
    (record,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(record)]
    env = {**os.environ, "HOME": str(folder)}
    lines = subprocess.run(command, capture_output=True, check=True, text=True, env=env, timeout=60)
    return out, folder, [json.loads(line) for line in lines.stdout.splitlines()]


def test_the_recorded_history_is_what_was_printed(offline):
    out, _, records = offline
    history = [record["history"]["item"] for record in records if record["type"] == "history"]
    printed = PROGRESS.findall(out)
    assert [int(step) for step, *_ in printed] == [0, 10, 20, 25]
    assert len(history) == len(printed) and all(train != val for _, train, val, _ in printed)
    for recorded, (step, train, val, speed) in zip(history, printed, strict=True):
        assert recorded["_step"] == int(step)
        assert f"{recorded['train_loss']:.4f}" == train
        assert f"{recorded['val_loss']:.4f}" == val
        assert f"{recorded['tokens_per_sec']:,.0f}" == speed


def test_the_recorded_config_is_the_whole_config(offline):
    _, folder, records = offline
    (run,) = (record["run"] for record in records if record["type"] == "run")
    assert run["project"] == "some-project"
    recorded = run["config"]["update"]
    text = str(folder.with_suffix(".txt"))
    config = small(loaded(LAST), data_path=text, max_iters=25, wandb_mode="offline")
    config.wandb_project = "some-project"
    wanted = {**asdict(config), "prompts": list(config.prompts)}
    assert {name: recorded[name] for name in wanted} == wanted


def test_an_offline_run_leaves_its_record_and_the_checkpoint_alone(offline):
    _, folder, _ = offline
    assert sorted(path.name for path in folder.iterdir()) == ["babygpt_v12.pt", "wandb"]


def test_disabled_leaves_no_record(run, tmp_path, gpt):
    run(gpt, wandb_mode="disabled")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["babygpt_v12.pt"]


@pytest.mark.parametrize("value, mode", [(None, "offline"), ("", "offline"), ("online", "online")])
def test_the_mode_in_the_environment_is_the_default(monkeypatch, value, mode):
    if value is not None:
        monkeypatch.setenv("WANDB_MODE", value)
    assert load(LAST).parse_args(["--device", "cpu"]).wandb_mode == mode


class Recorder:
    """Stands for wandb: keeps what init and log are given, in order."""

    def __init__(self):
        self.calls = []

    def init(self, **settings):
        self.calls.append(("init", settings))
        return self

    def log(self, metrics, step):
        self.calls.append(("log", step))

    def finish(self, exit_code=None):
        self.calls.append(("finish", exit_code))


def test_a_stopped_run_is_logged_to_its_last_step_and_finished(gpt, run, monkeypatch):
    wandb, batches, get_batch = Recorder(), [], gpt.get_batch

    def interrupted(split, config, starts=None):
        batches.append(starts)
        if starts is None and batches.count(None) == 14:
            raise KeyboardInterrupt
        return get_batch(split, config, starts)

    monkeypatch.setattr(gpt, "wandb", wandb)
    monkeypatch.setattr(gpt, "get_batch", interrupted)
    run(gpt)
    steps = [("log", 0), ("log", 10), ("log", 13)]
    assert wandb.calls[1:] == [*steps, ("finish", None)]
    settings = wandb.calls[0][1]
    assert (settings["mode"], settings["project"]) == ("disabled", "babygpt")


# --- the checkpoint


SHAPE = {"block_size": 6, "n_embed": 24, "n_head": 3, "n_layer": 1}


@pytest.fixture
def trained(gpt, run, tmp_path):
    """(checkpoint file, what the run printed) of a small run with a shape of its own."""
    path = tmp_path / "saved.pt"
    return path, run(gpt, checkpoint_path=path, **SHAPE)


def sample_from(gpt, path, capsys, **more):
    """Return what main() prints when it only samples: it needs no corpus and writes nothing."""
    only = {"init_from": path, "max_iters": 0, "data_path": "not/there.txt", **more}
    only["checkpoint_path"] = "not/there/either.pt"
    argv = []
    for name, value in only.items():
        values = value if isinstance(value, tuple) else [value]
        argv += [f"--{name}", *map(str, values)]
    gpt.main([*argv, "--device", "cpu", "--matmul_precision", "highest"])
    return capsys.readouterr().out


def test_the_checkpoint_holds_plain_values_only(trained, gpt, corpus):
    path, out = trained
    saved = torch.load(path, weights_only=True)
    assert list(saved) == ["model", "config", "chars", "step", "val_loss"]
    config = small(gpt, data_path=str(corpus), checkpoint_path=str(path), **SHAPE)
    assert saved["config"] == {**asdict(config), "prompts": list(config.prompts)}
    assert saved["chars"] == sorted(set(TEXT))
    step, _, val, _ = PROGRESS.findall(out)[-1]
    assert (saved["step"], f"{saved['val_loss']:.4f}") == (int(step), val)


def test_a_loaded_model_gives_the_same_logits(gpt, device):
    model, config = new_model(gpt, device), small(gpt, device=device)
    gpt.train(model, data_of(gpt, config), config, sorted(set(TEXT)))
    fresh = small(gpt, device=device, init_from=config.checkpoint_path)
    again, tokenizer = gpt.load_checkpoint(fresh)
    idx = random_ids(4, 8, device=device)
    assert torch.equal(again.eval()(idx)[0], model.eval()(idx)[0])
    assert tokenizer.chars == sorted(set(TEXT))


def test_a_loaded_model_gives_the_same_sample_without_a_corpus(trained, gpt, capsys, tmp_path):
    path, out = trained
    before = files_below(tmp_path)
    alone = sample_from(gpt, path, capsys, prompts=("天地", "日"), max_new_tokens=12)
    assert alone == "\n" + out.split("\n\n", 1)[1]
    assert "step" not in alone and files_below(tmp_path) == before


def test_the_shape_is_taken_over_from_the_checkpoint(trained, gpt):
    config = gpt.Config(init_from=str(trained[0]), device="cpu")
    model, _ = gpt.load_checkpoint(config)
    assert {name: getattr(config, name) for name in SHAPE} == SHAPE
    assert model.position_embedding_table.weight.shape == (6, 24)
    assert (len(model.blocks), len(model.blocks[0].sa.heads)) == (1, 3)


def test_training_goes_on_from_the_checkpoint(trained, gpt, run, tmp_path):
    path, out = trained
    more = run(gpt, init_from=path, checkpoint_path=tmp_path / "more.pt", **SHAPE)
    first, last = PROGRESS.findall(out)[-1], PROGRESS.findall(more)
    assert last[0][1:3] == first[1:3]  # it starts where the other run ended
    assert float(last[-1][2]) < float(first[2])
    assert torch.load(tmp_path / "more.pt", weights_only=True)["step"] == 20


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


def test_the_best_model_is_saved_and_sampled_not_the_last(gpt, losses_as_told):
    weights = losses_as_told(4.0, 3.0, 2.0, 2.5, 2.0)
    config, model = small(gpt, max_iters=40), new_model(gpt)
    gpt.train(model, data_of(gpt, config), config, ["a"])
    saved = torch.load(config.checkpoint_path, weights_only=True)
    assert (saved["step"], saved["val_loss"]) == (20, 2.0)
    assert same(saved["model"], weights[2]) and not same(weights[2], weights[4])
    assert same(model.state_dict(), saved["model"])


def test_a_model_that_only_gets_worse_leaves_no_file(gpt, losses_as_told):
    weights = losses_as_told(2.0, 3.0, 4.0)
    config, model = small(gpt), new_model(gpt)
    gpt.train(model, data_of(gpt, config), config)
    assert files_below(".") == []
    assert same(model.state_dict(), weights[0])


@pytest.mark.parametrize(
    "disk_full_at, tried", [([], [10, 30, 40]), ([1], [10, 10, 30, 40]), ([2], [10, 30, 40])]
)
def test_every_better_model_is_saved_at_once_or_as_soon_as_possible(
    gpt, losses_as_told, monkeypatch, disk_full_at, tried
):
    """What could not be written is tried again at the next evaluation, if not overtaken by then."""
    losses_as_told(4.0, 3.0, 3.5, 2.0, 1.0)
    saves = []

    def save_checkpoint(best, path):
        saves.append(best["step"])
        return len(saves) not in disk_full_at

    monkeypatch.setattr(gpt, "save_checkpoint", save_checkpoint)
    config, model = small(gpt, max_iters=40), new_model(gpt)
    gpt.train(model, data_of(gpt, config), config)
    assert saves == tried


@pytest.mark.parametrize("broken", ["save", "replace"])
def test_a_failing_write_keeps_the_old_file_and_goes_on(gpt, corpus, monkeypatch, capsys, broken):
    """As on a full disk: half of the new file is written when it happens."""
    torch.save({"model": "old"}, "babygpt_v12.pt")

    def half(checkpoint, path):
        Path(path).write_text("half")
        raise OSError("No space left on device")

    def refuse(source, target):
        raise OSError("Permission denied")

    if broken == "save":
        monkeypatch.setattr(gpt.torch, "save", half)
    else:
        monkeypatch.setattr(gpt.os, "replace", refuse)
    gpt.main(flags(gpt, data_path=corpus))
    out, err = capsys.readouterr()
    assert [int(step) for step, *_ in PROGRESS.findall(out)] == [0, 10, 20]
    assert len(out.split("\n\n")) == 3
    lines = err.splitlines()
    assert len(lines) == 2  # one for each evaluation that found a better model
    assert all(line.startswith("warning: ") and "babygpt_v12.pt" in line for line in lines)
    assert torch.load("babygpt_v12.pt", weights_only=True) == {"model": "old"}
    assert files_below(".") == ["babygpt_v12.pt"]


def test_a_full_disk_costs_the_file_but_not_the_run(gpt, corpus, tmp_path):
    """For real: the system lets no file grow beyond 10,000 bytes."""
    folder = tmp_path / "work"
    folder.mkdir()

    def no_room():
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

    process = start(LAST, flags(gpt, data_path=corpus), folder, before=no_room)
    out, err, status = finish(process)
    assert status == 0 and len(out.split("\n\n")) == 3
    assert len(err.splitlines()) == err.count("warning: ") == err.count("babygpt_v12.pt") == 2
    assert files_below(folder) == []


def test_kill_9_in_mid_training_leaves_a_checkpoint_that_samples(gpt, corpus, tmp_path, capsys):
    folder = tmp_path / "work"
    folder.mkdir()
    long = {"data_path": corpus, "max_iters": 10**6, "eval_interval": 5, "learning_rate": 1e-4}
    process = start(LAST, flags(gpt, **long), folder)
    for line in process.stdout:
        if line.startswith("step    50"):
            break
    os.kill(process.pid, signal.SIGKILL)
    assert finish(process)[2] == -signal.SIGKILL
    saved = folder / "babygpt_v12.pt"
    assert torch.load(saved, weights_only=True)["step"] >= 45
    out = sample_from(gpt, saved, capsys, prompts=("天地",), max_new_tokens=5)
    assert out.startswith("\n天地") and len(out.strip()) == 7
