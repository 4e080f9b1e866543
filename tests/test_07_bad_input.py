"""What bad input gets: a message that names it, no traceback, nothing trained, nothing written."""

import os
import re
from pathlib import Path

import pytest
import torch
from conftest import (
    MINE,
    SMALL,
    TEXT,
    VOCAB,
    changed,
    flags,
    found,
    new_model,
    says,
    versions,
)
from pydantic import ValidationError
from runs import files_below, finish, samples_of, start


def squashed(text):
    """Leave out the blanks, line breaks and frames that a terminal's width puts into a message."""
    return re.sub(r"[\s│─╭╮╰╯|+-]", "", str(text))


@pytest.fixture
def refused(tmp_path, corpus, capsys, monkeypatch):
    """Return refused(gpt, *names, **settings): main() refuses them and names the names."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)

    def used(*args):
        pytest.fail(found("not refused: the training began", "没有报错，训练已经开始"))

    def refused(gpt, *names, more=(), **changes):
        monkeypatch.setattr(gpt.BabyGPT, "forward", used)
        before = files_below(tmp_path)
        with pytest.raises(SystemExit) as end:
            gpt.main([*flags(gpt, **{"data_path": corpus, **changes}), *more])
        message = capsys.readouterr().err
        if isinstance(end.value.code, str):  # Python prints it, and ends with status 1
            message += end.value.code
        assert end.value.code and "Traceback" not in message
        for name in names:  # of a learner's message the name will do, without the value
            name = str(name).split()[0] if MINE else name
            told = found(f"the message lacks {name!r}", f"报错信息里没有 {name!r}")
            assert squashed(name) in squashed(message), told
        assert files_below(tmp_path) == before
        return message

    return refused


# --- the text


TEXTS = {
    "missing": lambda path: None,
    "a folder": Path.mkdir,
    "not UTF-8": lambda path: path.write_bytes("春江花月夜".encode("gb18030") * 100),
    "empty": Path.touch,
    "nothing but a mark": lambda path: path.write_bytes(b"\xef\xbb\xbf"),
}


@pytest.mark.parametrize("make", TEXTS.values(), ids=TEXTS)
@changed("load_data")
def test_a_text_that_cannot_be_read_is_refused(gpt, refused, tmp_path, make):
    path = tmp_path / "poems.txt"
    make(path)
    refused(gpt, path, data_path=path, prompts=[])


@pytest.mark.parametrize("train_ratio", [0.9, 0.1, 0.8, 1, 1.5, 1e-9])
@changed("load_data")
def test_a_text_too_short_for_block_size_is_refused(gpt, refused, tmp_path, train_ratio):
    """40 characters are parted into 36 + 4, 4 + 36, 32 + 8; or one part is empty."""
    path = tmp_path / "poems.txt"
    path.write_text(TEXT[:40], encoding="utf-8")
    refused(gpt, path, "train_ratio", "block_size", data_path=path, train_ratio=train_ratio)


@changed("load_data")
def test_the_shortest_text_that_suffices_is_accepted(gpt, tmp_path, run):
    path = tmp_path / "poems.txt"
    path.write_text(TEXT[:45], encoding="utf-8")  # 36 and 9: one window of 8, and its target
    assert "step" in run(gpt, data_path=path, train_ratio=0.8, max_iters=1)


@changed("load_data")
def test_a_byte_order_mark_is_skipped(gpt, tmp_path, run):
    path = tmp_path / "poems.txt"
    path.write_text(TEXT, encoding="utf-8-sig")
    assert f"{VOCAB} distinct" in run(gpt, data_path=path, max_iters=0)


# --- the prompts


@changed("load_data")
def test_a_prompt_with_unknown_characters_is_refused(gpt, refused):
    message = refused(gpt, "prompts", "'x'", "'ß'", prompts=["天地", "天x地ß"])
    assert "天" not in message


@changed("load_data")
def test_an_empty_prompt_is_refused(gpt, refused):
    refused(gpt, "prompts", prompts=["天地", ""])


# --- numbers, names, devices

NOT_FINITE = [float("nan"), float("inf")]
BAD_VALUES = {
    "train_ratio": [0, -0.1, *NOT_FINITE],
    "max_new_tokens": [-1],
    "temperature": [-0.1, *NOT_FINITE],
    "top_k": [-1],
    "seed": [-1],
    "max_iters": [-1],
    "eval_interval": [0, -5],
    "eval_iters": [0],
    "batch_size": [0],
    "accumulate": [0],
    "learning_rate": [0, -0.001, *NOT_FINITE],
    "block_size": [0, -8],
    "n_embed": [0, -2],
    "n_head": [0, -2],
    "n_layer": [0],
    "dropout": NOT_FINITE,
    "dtype": ["float16"],
    "device": ["gpu", "cuda:99", "meta", ""],
}


@changed("Config")
def test_a_value_out_of_range_is_refused(gpt, refused):
    """Each of them where the Config is made, and the last on the command line as well."""
    known = vars(gpt.Config())
    numbers = {name for name, value in known.items() if type(value) in (int, float)}
    assert numbers <= BAD_VALUES.keys()  # no field is forgotten
    for name in BAD_VALUES.keys() & known.keys():
        for value in BAD_VALUES[name]:
            with pytest.raises(ValidationError, match=name):
                gpt.Config(**{name: value})
        refused(gpt, name, more=[f"--{name}={BAD_VALUES[name][-1]}"])


@says(
    "a --dropout outside 0 to below 1 is refused by name",
    "--dropout 不在 [0, 1) 时报错并指出这个参数",
)
@pytest.mark.parametrize("dropout", [-0.1, 1, 1.5])
@versions(10)
def test_to_drop_everything_or_less_than_nothing_is_refused(gpt, refused, dropout):
    refused(gpt, f"dropout {dropout}", dropout=dropout)


@pytest.mark.parametrize("argv", [["--max_iters", "1.5"], ["--knob", "1"]], ids=" ".join)
@versions(1)
def test_a_command_line_that_makes_no_sense_is_refused(gpt, refused, argv):
    refused(gpt, argv[0], more=argv)


@says(
    "an --n_embed that the heads cannot share is refused, and the message names both flags",
    "--n_embed 不能平分给各头时报错，信息里有 n_embed 和 n_head",
)
@pytest.mark.parametrize("n_embed, n_head", [(16, 3), (4, 8)])
@versions(4, 14)
def test_an_n_embed_that_the_heads_cannot_share_is_refused(gpt, refused, n_embed, n_head):
    names = f"n_embed {n_embed}", f"n_head {n_head}"
    refused(gpt, *names, n_embed=n_embed, n_head=n_head)


ABSENT = [name for name in ("cuda", "mps") if not getattr(torch, name).is_available()]


@pytest.mark.parametrize("device", ABSENT)
@changed("main")
def test_a_device_that_is_not_there_is_refused(gpt, refused, device):
    refused(gpt, f"device {device}", device=device)


@changed("train")
def test_a_training_that_leaves_the_numbers_stops_and_names_the_learning_rate(gpt, run, capsys):
    """At the first evaluation that shows it, not hours later, when nothing can be sampled."""
    with pytest.raises(SystemExit, match="--learning_rate 1e[+]30"):
        run(gpt, learning_rate=1e30, max_iters=1000)
    shown = capsys.readouterr().out
    assert "step    20" not in shown and not samples_of(shown)


# --- v12: tracking and checkpoints

SAVING = "save_checkpoint", "load_checkpoint"


@changed(*SAVING)
def test_a_checkpoint_path_that_cannot_be_written_is_refused(gpt, refused, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    below_a_file = tmp_path / "file" / "model.pt"
    for path in ("no/such/folder/model.pt", below_a_file, tmp_path / "folder", ""):
        refused(gpt, f"checkpoint_path {path}", checkpoint_path=path)


@pytest.mark.parametrize("max_iters", [0, 5])
@changed(*SAVING)
def test_a_file_that_exists_is_not_overwritten(gpt, refused, max_iters):
    """Not even a worse run of no steps at all can cost the model of another run."""
    path = Path("good.pt")
    path.write_bytes(b"a good model")
    refused(gpt, f"checkpoint_path {path}", checkpoint_path=path, max_iters=max_iters)
    assert path.read_bytes() == b"a good model"


def whole(gpt):
    shape = {"block_size": 8, "n_embed": 16, "n_head": 2, "n_layer": 2}
    weights = new_model(gpt).state_dict()
    return {"shape": shape, "chars": sorted(set(TEXT)), "model": weights, "val_loss": 1.0}


class MakesAFolder:
    """A pickle may run anything: weights_only=True refuses it."""

    def __reduce__(self):
        return os.mkdir, ("made-by-the-checkpoint",)


def cut_off(path, gpt):
    torch.save(whole(gpt), path)
    path.write_bytes(path.read_bytes()[:-1000])


def saved_with(part, **changes):
    """Return what saves a checkpoint whose part (None: the checkpoint itself) is changed."""

    def save(path, gpt):
        saved = whole(gpt)
        changed = saved[part] if part else saved
        changed.update(changes)
        torch.save({k: v for k, v in saved.items() if v is not None}, path)

    return save


SPOILERS = {
    "missing": lambda path, gpt: None,
    "a folder": lambda path, gpt: path.mkdir(),
    "empty": lambda path, gpt: path.touch(),
    "a text": lambda path, gpt: path.write_text("no model", encoding="utf-8"),
    "cut off": cut_off,
    "another object": lambda path, gpt: torch.save([1, 2, 3], path),
    "without its shape": saved_with(None, shape=None),
    "without a vocabulary": saved_with(None, chars=None),
    "of another shape": saved_with("shape", n_embed=32),
    "with a weight too many": saved_with("model", more=torch.zeros(1)),
    "with code": saved_with(None, more=MakesAFolder()),
}


@pytest.mark.parametrize("spoil", SPOILERS.values(), ids=SPOILERS)
@changed(*SAVING)
def test_a_checkpoint_that_cannot_be_used_is_refused(gpt, refused, tmp_path, spoil):
    path = tmp_path / "saved.pt"
    spoil(path, gpt)
    refused(gpt, path, sample=path)


@changed(*SAVING)
def test_a_prompt_that_the_checkpoint_does_not_know_is_refused(gpt, refused, tmp_path):
    """Whatever the text has: the vocabulary is the checkpoint's."""
    saved, poems = tmp_path / "saved.pt", tmp_path / "poems.txt"
    torch.save(whole(gpt), saved)
    poems.write_text(TEXT + "ß", encoding="utf-8")
    refused(gpt, "prompts", "'ß'", saved, sample=saved, data_path=poems, prompts=["天ß"])


ERRORS = {  # what wandb may raise: its own errors, and those of the disk or the network
    "CommError": lambda wandb: wandb.errors.CommError("no route to host"),
    "UsageError": lambda wandb: wandb.errors.UsageError("no route to host"),
    "OSError": lambda wandb: OSError("no route to host"),
}


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize("call, mode", [("login", "online"), ("init", "offline")])
@changed("train", first=12)
def test_a_tracking_that_does_not_start_is_refused(gpt, refused, monkeypatch, call, mode, error):
    """As a fault of tracking, not of the checkpoint's file; and that leaves no file behind."""

    def fail(**kwargs):
        raise error(gpt.wandb)

    monkeypatch.setattr(gpt.wandb, call, fail)
    message = refused(gpt, f"wandb_mode {mode}", "no route to host", wandb_mode=mode)
    assert "checkpoint_path" not in message


@versions(12)
def test_an_unknown_mode_in_the_environment_is_refused(gpt, refused, fresh, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "bogus")
    monkeypatch.delitem(SMALL, "wandb_mode")
    refused(fresh(gpt), "WANDB_MODE", "bogus")


# --- the same from outside, where a traceback would show


@pytest.mark.parametrize(
    "gpt, argv, names",
    [
        (12, ["--data_path", "missing.txt"], ["data_path", "missing.txt"]),
        (12, ["--wandb_mode", "online"], ["wandb_mode online", "login"]),
    ],
    indirect=["gpt"],
)
def test_from_outside_there_is_no_traceback_and_no_file(gpt, argv, names, corpus, tmp_path):
    process = start(gpt.__name__, [*flags(gpt, data_path=corpus), *argv], tmp_path)
    out, err, status = finish(process)
    assert status not in (0, None) and "Traceback" not in err and "step" not in out
    assert all(squashed(name) in squashed(err) for name in names)
    assert files_below(tmp_path) == []
