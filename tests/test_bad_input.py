"""What bad input gets: one line on stderr that names it, exit status 2, nothing written."""

import os

import pytest
import torch
from conftest import (
    LAST,
    TEXT,
    VOCAB,
    files_below,
    finish,
    flags,
    load,
    new_model,
    small,
    start,
    versions,
)


@pytest.fixture
def refused(tmp_path, corpus, capsys, monkeypatch):
    """Return refused(gpt, **settings): the line with which main() refuses them."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)

    def refused(gpt, *more, **changes):
        monkeypatch.setattr(gpt, "train", lambda *args: pytest.fail("training began"))
        before = files_below(tmp_path)
        with pytest.raises(SystemExit) as end:
            gpt.main([*flags(gpt, **{"data_path": corpus, **changes}), *more])
        out, err = capsys.readouterr()
        assert end.value.code == 2
        assert out == ""
        assert err.startswith("error: ") and err.count("\n") == 1 and err.endswith("\n")
        assert files_below(tmp_path) == before
        return err

    return refused


# --- the text


def missing(path):
    pass


def folder(path):
    path.mkdir()


def unreadable(path):
    path.symlink_to(path)  # goes round in a circle, which stops root too


def not_utf8(path):
    path.write_bytes("春江花月夜".encode("gb18030") * 100)


def empty(path):
    path.write_bytes(b"")


def nothing_but_a_mark(path):
    path.write_bytes(b"\xef\xbb\xbf")


@pytest.mark.parametrize(
    "make, reason",
    [
        (missing, "No such file"),
        (folder, "directory"),
        (unreadable, "symbolic links"),
        (not_utf8, "UTF-8"),
        (empty, "0 characters"),
        (nothing_but_a_mark, "0 characters"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
@versions()
def test_a_text_that_cannot_be_read_is_refused(gpt, refused, tmp_path, make, reason):
    path = tmp_path / "poems.txt"
    make(path)
    line = refused(gpt, data_path=path)
    assert f"--data_path {path}: " in line and reason in line


@pytest.mark.parametrize("train_ratio, lengths", [(0.9, (36, 4)), (0.1, (4, 36)), (0.8, (32, 8))])
@versions()
def test_a_text_too_short_for_block_size_is_refused(gpt, refused, tmp_path, train_ratio, lengths):
    path = tmp_path / "poems.txt"
    path.write_text(TEXT[:40], encoding="utf-8")
    line = refused(gpt, data_path=path, train_ratio=train_ratio)
    for part in (str(path), f"{lengths[0]} char", f"{lengths[1]} to", "--block_size 8"):
        assert part in line


@versions()
def test_the_shortest_text_that_suffices_is_accepted(gpt, tmp_path, run):
    path = tmp_path / "poems.txt"
    path.write_text(TEXT[:45], encoding="utf-8")  # 36 and 9: one window of 8, and its target
    assert "step" in run(gpt, data_path=path, train_ratio=0.8, max_iters=1)


@versions()
def test_a_byte_order_mark_is_skipped(gpt, tmp_path, run):
    path = tmp_path / "poems.txt"
    path.write_text(TEXT, encoding="utf-8-sig")
    assert f"{VOCAB} distinct" in run(gpt, data_path=path, max_iters=0)


# --- the prompts


@versions()
def test_a_prompt_with_unknown_characters_is_refused(gpt, refused):
    line = refused(gpt, prompts=["天地", "天x地ß"])
    assert "--prompts" in line and "'x' 'ß'" in line and "天" not in line.split(";")[0]


@pytest.mark.parametrize("prompts", [[""], ["天地", ""]])
@versions()
def test_an_empty_prompt_is_refused(gpt, refused, prompts):
    line = refused(gpt, prompts=prompts)
    assert "--prompts" in line and "empty" in line


# --- numbers, names, devices

BAD_VALUES = {
    "train_ratio": {
        "0": "above 0",
        "-0.1": "above 0",
        "nan": "above 0",
        "1": "below 1",
        "1.5": "below 1",
    },
    "max_new_tokens": {"-1": "at least 0"},
    "seed": {"-1": "at least 0", str(2**32): f"below {2**32}"},
    "matmul_precision": {"low": "one of ('highest', 'high', 'medium')"},
    "max_iters": {"-1": "at least 0"},
    "eval_interval": {"0": "at least 1", "-5": "at least 1"},
    "eval_iters": {"0": "at least 1"},
    "batch_size": {"0": "at least 1"},
    "learning_rate": {
        "0": "above 0",
        "-0.001": "above 0",
        "nan": "above 0",
        "inf": "below inf",
    },
    "block_size": {"0": "at least 1", "-8": "at least 1"},
    "n_embed": {"0": "at least 1", "-2": "at least 1"},
    "n_head": {"0": "at least 1", "-2": "at least 1"},
    "n_layer": {"0": "at least 1"},
    "dropout": {"1": "below 1", "1.5": "below 1", "-0.1": "at least 0", "nan": "at least 0"},
    "wandb_mode": dict.fromkeys(["of", "dryrun", ""], "one of ('offline', 'online', 'disabled')"),
}
SINCE = {"n_head": 4, "n_layer": 6, "dropout": 10, "wandb_mode": 12}


@pytest.mark.parametrize(
    "gpt, name, value, bound",
    [
        pytest.param(version, name, value, bound, id=f"v{version}-{name}={value}")
        for name, values in BAD_VALUES.items()
        for value, bound in values.items()
        for version in range(SINCE.get(name, 1), LAST + 1)
    ],
    indirect=["gpt"],
)
def test_a_value_out_of_range_is_refused(gpt, refused, name, value, bound):
    line = refused(gpt, **{name: value})
    assert line.startswith(f"error: --{name} ") and line.endswith(f": must be {bound}\n")


@versions()
def test_every_number_has_a_range(gpt):
    """So that no knob is forgotten in the list above."""
    numbers = {name for name, v in vars(gpt.Config()).items() if isinstance(v, (int, float))}
    assert numbers <= BAD_VALUES.keys()


@pytest.mark.parametrize(
    "argv, part",
    [
        (["--max_iters", "many"], "many"),
        (["--max_iters", "1.5"], "1.5"),
        (["--learning_rate", "fast"], "fast"),
        (["--no_such_knob", "1"], "--no_such_knob"),
        (["--prompts"], "--prompts"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@versions()
def test_a_command_line_that_makes_no_sense_is_refused(gpt, refused, argv, part):
    assert part in refused(gpt, *argv)


@pytest.mark.parametrize("n_embed, n_head", [(16, 3), (4, 8)])
@versions(4)
def test_a_width_that_the_heads_cannot_share_is_refused(gpt, refused, n_embed, n_head):
    line = refused(gpt, n_embed=n_embed, n_head=n_head)
    assert f"--n_embed {n_embed}" in line and f"--n_head {n_head}" in line


ABSENT = [name for name in ("cuda", "mps") if not getattr(torch, name).is_available()]


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta", *ABSENT])
@versions()
def test_a_device_that_is_not_there_is_refused(gpt, refused, device):
    line = refused(gpt, device=device)
    assert f"--device {device}:" in line and "use cpu" in line
    assert not any(name in line.split("use")[1] for name in ABSENT)


# --- v12: outputs and checkpoints


@versions(12)
def test_a_checkpoint_path_that_cannot_be_written_is_refused(gpt, refused, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    below_a_file = tmp_path / "file" / "model.pt"
    for path in ("no/such/folder/model.pt", below_a_file, tmp_path / "folder", os.devnull, ""):
        assert f"--checkpoint_path {path}: " in refused(gpt, checkpoint_path=path)


def whole(gpt):
    config = small(gpt)
    return {
        "model": new_model(gpt).state_dict(),
        "config": dict(vars(config)),
        "chars": sorted(set(TEXT)),
        "step": 1,
        "val_loss": 1.0,
    }


def without_config(gpt, path):
    saved = whole(gpt)
    del saved["config"]
    torch.save(saved, path)


def cut_off(gpt, path):
    torch.save(whole(gpt), path)
    path.write_bytes(path.read_bytes()[:-1000])


def text_file(gpt, path):
    path.write_text("no model")


def other_weights(gpt, path):
    saved = whole(gpt)
    del saved["model"]["lm_head.bias"]
    torch.save(saved, path)


def not_there(gpt, path):
    pass


def a_folder(gpt, path):
    path.mkdir()


class MakesAFolder:
    def __reduce__(self):
        return os.mkdir, ("made-by-the-checkpoint",)


def with_code(gpt, path):
    """A pickle may run anything: weights_only=True refuses it."""
    torch.save({**whole(gpt), "more": MakesAFolder()}, path)


SPOILERS = [not_there, a_folder, text_file, cut_off, without_config, other_weights, with_code]


@pytest.mark.parametrize("spoil", SPOILERS, ids=lambda f: f.__name__)
@versions(12)
def test_a_checkpoint_that_cannot_be_used_is_refused(gpt, refused, tmp_path, spoil):
    path = tmp_path / "saved.pt"
    spoil(gpt, path)
    for max_iters in (0, 5):
        assert f"--init_from {path}: " in refused(gpt, init_from=path, max_iters=max_iters)


@pytest.mark.parametrize(
    "name, value", [("block_size", 4), ("n_embed", 32), ("n_head", 4), ("n_layer", 3)]
)
@versions(12)
def test_a_checkpoint_of_another_shape_is_refused(gpt, refused, tmp_path, name, value):
    path = tmp_path / "saved.pt"
    torch.save(whole(gpt), path)
    line = refused(gpt, init_from=path, **{name: value})
    assert f"{name} is {whole(gpt)['config'][name]}, not {value}" in line


@versions(12)
def test_a_text_with_characters_that_the_checkpoint_lacks_is_refused(gpt, refused, tmp_path):
    saved, poems = tmp_path / "saved.pt", tmp_path / "poems.txt"
    torch.save(whole(gpt), saved)
    poems.write_text(TEXT + "ß", encoding="utf-8")
    line = refused(gpt, init_from=saved, data_path=poems)
    assert f"--data_path {poems}" in line and "'ß'" in line and str(saved) in line


@versions(12)
def test_a_project_that_wandb_refuses_is_one_line(gpt, run, capsys, tmp_path):
    with pytest.raises(SystemExit) as end:
        run(gpt, wandb_project="no/slashes", wandb_mode="offline")
    err = capsys.readouterr().err
    assert end.value.code == 2 and err.count("\n") == 1
    assert err.startswith("error: --wandb_project no/slashes: ")
    assert files_below(tmp_path) == []


@versions(12)
def test_a_login_that_fails_is_one_line(gpt, refused, monkeypatch):
    def no_network(**kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(gpt.wandb, "login", no_network)
    line = refused(gpt, wandb_mode="online")
    assert "--wandb_mode online: no route to host" in line and "offline" in line


@pytest.mark.parametrize("mode", ["bogus", "dryrun"])
def test_an_unknown_mode_in_the_environment_is_refused(refused, monkeypatch, corpus, mode):
    monkeypatch.setenv("WANDB_MODE", mode)
    gpt = load(LAST)
    argv = flags(gpt, data_path=corpus)
    at = argv.index("--wandb_mode")
    with pytest.raises(SystemExit) as end:
        gpt.parse_args(argv[:at] + argv[at + 2 :])
    assert end.value.code == 2


# --- the same from outside, where a traceback would show


def test_online_without_a_login_is_refused_in_one_line(tmp_path):
    argv = ["--wandb_mode", "online", "--device", "cpu", "--max_iters", "1"]
    out, err, status = finish(start(LAST, argv, tmp_path))
    assert (out, status) == ("", 2)
    assert err.startswith("error: --wandb_mode online") and err.count("\n") == 1
    assert "wandb login" in err and "--wandb_mode offline" in err
    assert files_below(tmp_path) == []


def test_the_first_script_refuses_bad_input_without_a_traceback(tmp_path):
    out, err, status = finish(start(1, ["--data_path", "missing.txt"], tmp_path))
    assert (out, status, files_below(tmp_path)) == ("", 2, [])
    assert err.startswith("error: --data_path missing.txt: ") and err.count("\n") == 1
