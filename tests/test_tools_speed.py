"""tools/speed.py: versions by turns, on tiny models."""

import json
import sys
from contextlib import nullcontext

import pytest
import torch
from conftest import ROOT

sys.path.insert(0, str(ROOT / "tools"))
import render
import speed

TINY = "--device cpu --n_embed 8 --n_head 2 --n_layer 1 --block_size 6 --batch_size 3".split()


@pytest.mark.parametrize("what, amount", [("train", 18), ("sample", 5)])
def test_a_round_of_each_kind_takes_its_tokens(what, amount):
    run, tokens, device = speed.one_round(what, "v13", TINY)
    assert run() > 0 and tokens == amount and device == "cpu"


def test_each_version_runs_once_a_round_after_a_first_time():
    order = []
    runs = {name: lambda name=name: order.append(name) or len(order) for name in ("v12", "v13")}
    assert speed.compare(runs, 3) == {"v12": [3, 5, 7], "v13": [4, 6, 8]}
    assert order == ["v12", "v13"] * 4


def test_flags_of_one_version_alone_are_taken(monkeypatch):
    """With --dtype bfloat16 the loss is not that of float32; --compile is passed to PyTorch."""
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda model: compiled.append(model) or model)
    names = []
    monkeypatch.setattr(torch, "autocast", lambda *args, **kw: names.append(kw) or nullcontext())
    for name in ("v16", "v16 --dtype bfloat16", "v16 --compile"):
        speed.one_round("train", name, TINY)[0]()
    assert names == [{"enabled": False}, {"enabled": True}, {"enabled": False}]
    assert len(compiled) == 1


@pytest.mark.slow
def test_processes_are_timed_as_they_track_themselves():
    run, tokens, _ = speed.one_round("processes", "v17 2", [*TINY, "--batch_size", "4"])
    assert tokens == 24 and 0 < run() < 10


def test_a_record_holds_what_was_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(speed, "FOLDER", tmp_path)
    monkeypatch.setattr(speed, "git", lambda *arguments: "abc")
    seconds = {"v14": [0.5, 0.1, 0.2], "v15": [0.04, 0.2, 0.08]}
    monkeypatch.setattr(speed, "compare", lambda runs, rounds: seconds)
    speed.main(["sample", "v14", "v15", "--rounds", "3", "--record", "sample_v15_tiny", *TINY])
    record = json.loads((tmp_path / "speed" / "sample_v15_tiny.json").read_text(encoding="utf-8"))
    assert record["seconds"] == seconds
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].endswith("1.00 of the first") and printed[1].endswith("0.40 of the first")
    assert record["flags"] == TINY and set(record["code"]) == {"v14", "v15"}


@pytest.mark.parametrize("words", render.WORDS.values(), ids=render.WORDS)
def test_the_table_shows_the_medians_of_the_records(words):
    shown = render.speed_table(15, words)
    assert shown.count("\n") == 3 and "--block_size 256" in shown
    seconds = render.speed_records()["sample_v15_256"]["seconds"]
    old, new = (sorted(found)[len(found) // 2] for found in seconds.values())
    assert f" ({new / old:.2f}) |" in shown
