"""workshop/speed.py: versions by turns, on tiny models."""

import time
from contextlib import nullcontext

import measure
import pytest
import records
import speed
import torch
from steps import find_step, import_script

TINY = "--device cpu --n_embed 8 --n_head 2 --n_layer 1 --block_size 6 --batch_size 3".split()


@pytest.fixture
def tiny(corpus):
    return [*TINY, "--data_path", str(corpus), "--prompts", "天"]


@pytest.mark.parametrize("what", ["train", "sample"])
@pytest.mark.parametrize("version", ["v10", "v15"])
def test_a_round_of_each_kind_is_timed_and_leaves_nothing(what, version, tiny, capsys, tmp_path):
    assert 0 < speed.one_round(what, version, tiny)() < 5
    assert capsys.readouterr().out == "" and list(tmp_path.iterdir()) == []


def test_a_step_is_timed_in_the_scripts_own_loop(tiny, monkeypatch):
    """Each backward() takes 50 ms more; the first one and evaluations far more: not counted."""
    script, backward, calls = import_script(find_step("v6")), torch.Tensor.backward, []

    def slow_backward(loss):
        calls.append(loss)
        time.sleep(0.05 if len(calls) > 1 else 1)
        backward(loss)

    def slow_estimate(*args, estimate=script.estimate_loss):
        time.sleep(0.5)
        return estimate(*args)

    monkeypatch.setattr(torch.Tensor, "backward", slow_backward)
    monkeypatch.setattr(script, "estimate_loss", slow_estimate)
    assert 0.05 < speed.one_round("train", "v6", tiny)() < 0.4
    assert script.get_batch.__module__ == script.__name__


def test_each_version_runs_once_a_round_after_a_first_time():
    order = []
    runs = {name: lambda name=name: order.append(name) or len(order) for name in ("v12", "v13")}
    assert speed.compare(runs, 3) == {"v12": [3, 5, 7], "v13": [4, 6, 8]}
    assert order == ["v12", "v13"] * 4


def test_flags_of_one_version_alone_are_taken(monkeypatch, tiny):
    modes, compiled = [], []
    monkeypatch.setattr(torch, "compile", lambda model: compiled.append(modes[:]) or model)
    monkeypatch.setattr(
        torch, "autocast", lambda *args, enabled: modes.append(enabled) or nullcontext()
    )
    for name in ("v16", "v16 --dtype bfloat16", "v16 --compile"):
        speed.one_round("train", name, tiny)()
    assert modes == [False, True, False]
    assert compiled and all(len(before) >= 2 for before in compiled)  # in the last run alone


@pytest.mark.slow
def test_processes_are_timed_as_they_track_themselves(tiny):
    assert 0 < speed.one_round("processes", "v17 2", [*tiny, "--batch_size", "4"])() < 10


def test_a_record_holds_what_was_printed(tmp_path, monkeypatch, capsys, tiny):
    monkeypatch.setattr(records, "FOLDER", tmp_path)
    monkeypatch.setattr(measure, "git", lambda *arguments: "abc\n")
    seconds = {"v14": [0.5, 0.1, 0.2], "v15": [0.04, 0.2, 0.08]}
    monkeypatch.setattr(speed, "compare", lambda runs, rounds: seconds)
    speed.main(["sample", "v14", "v15", "--record", "sample_v15_tiny", *tiny])
    (record,) = records.Records().speed_of("v15")
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].endswith("1.00 of the first") and printed[1].endswith("0.40 of the first")
    assert (record["seconds"], record["flags"]) == (seconds, tiny)
    assert record["code"] == {name: records.code_of(name) for name in ("v14", "v15")}
    assert not records.stale(record)


def test_an_unknown_version_is_refused(capsys):
    with pytest.raises(SystemExit):
        speed.main(["train", "v99"])
    assert "v99" in capsys.readouterr().err
