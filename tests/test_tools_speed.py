"""tools/speed.py: two versions by turns, on tiny models."""

import json
import sys

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "tools"))
import render
import speed
from rules import STEPS

TINY = "--device cpu --n_embed 8 --n_head 2 --n_layer 1 --block_size 6 --batch_size 3".split()


@pytest.mark.parametrize("make, amount", [(speed.train_step, 18), (speed.sampling, 5)])
def test_each_version_runs_once_a_round_after_a_first_time(make, amount, monkeypatch):
    order = []

    def watched(script, config):
        run, tokens = make(script, config)
        return lambda: (order.append(script.__name__), run()), tokens

    seconds, tokens, device = speed.compare(watched, STEPS[11:13], TINY, 3)
    assert order == [order[0], order[1]] * 4 and len(set(order)) == 2
    assert [len(found) for found in seconds.values()] == [3, 3]
    assert list(seconds) == [12, 13] and tokens == amount and device == "cpu"


def test_a_record_holds_what_was_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(speed, "FOLDER", tmp_path)
    monkeypatch.setattr(speed, "git", lambda *arguments: "abc")
    speed.main(["sample", "v14", "v15", "--rounds", "3", "--record", "sample_v15_tiny", *TINY])
    record = json.loads((tmp_path / "speed" / "sample_v15_tiny.json").read_text(encoding="utf-8"))
    old, new = (sorted(found)[1] for found in record["seconds"].values())
    assert f"v15 takes {new / old:.2f}" in capsys.readouterr().out or old < 0.001
    assert record["flags"] == TINY and set(record["code"]) == {"v14", "v15"}


@pytest.mark.parametrize("words", render.WORDS.values(), ids=render.WORDS)
def test_the_table_shows_the_medians_of_the_records(words):
    shown = render.speed_table(15, words)
    assert shown.count("\n") == 3 and "--block_size 256" in shown
    seconds = render.speed_records()["sample_v15_256"]["seconds"]
    old, new = (sorted(found)[len(found) // 2] for found in seconds.values())
    assert f"| {new / old:.2f} |" in shown
