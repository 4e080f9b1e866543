"""tools/ladder.py and tools/bench.py: what is measured, kept, drawn and checked."""

import json
import shutil
import sys

import pytest
from conftest import ROOT, loaded

sys.path.insert(0, str(ROOT / "tools"))
import ladder
from steps import STEPS

TINY = "--device cpu --max_iters 4 --eval_interval 2 --eval_iters 1 --batch_size 2 --n_embed 8"


@pytest.fixture
def runs_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(ladder, "RUNS", tmp_path / "runs")
    return tmp_path / "runs"


def test_a_run_is_recorded_as_the_script_printed_it(runs_folder):
    flags = [*TINY.split(), "--max_new_tokens", "5"]
    ladder.measure_all([1], seeds=1, label="tiny", flags=flags)
    (file,) = runs_folder.iterdir()
    record = json.loads(file.read_text(encoding="utf-8"))
    assert [e["step"] for e in record["curve"]] == [0, 2, 4]
    assert record["val_loss"] == record["curve"][-1]["val_loss"] < record["curve"][0]["val_loss"]
    assert record["sample"].startswith("春江") and len(record["sample"]) == 7
    assert record["text"] == [1623091, 4295]
    assert record["parameters"] == 4295 * 8 + 8 * 4295 + 4295
    assert record["seconds"] > 0 and 50 < record["peak_megabytes"] < 2000
    assert record["machine"]["device"] == "cpu" and record["flags"] == flags


def test_a_measured_run_is_not_repeated_unless_the_script_changed(runs_folder, monkeypatch):
    measured = []

    def measure(step, seed, flags, identity):
        measured.append((step.version, seed))
        return {**identity, "val_loss": 5.0, "seconds": 1.0, "peak_megabytes": 1}

    monkeypatch.setattr(ladder, "measure", measure)
    ladder.measure_all([1, 2], seeds=2, label="x", flags=[])
    assert measured == [(1, 1337), (2, 1337), (1, 1338), (2, 1338)]
    ladder.measure_all([1, 2], seeds=2, label="x", flags=[])
    assert len(measured) == 4
    monkeypatch.setattr(ladder, "code_id", lambda script: "changed")
    ladder.measure_all([1], seeds=1, label="x", flags=[])
    assert measured[4:] == [(1, 1337)]


def test_a_failing_script_ends_the_ladder_with_its_own_words(runs_folder):
    with pytest.raises(RuntimeError, match="babygpt_v1.py failed: error: --batch_size 0"):
        ladder.measure_all([1], seeds=1, label="x", flags=["--batch_size", "0"])
    assert list(runs_folder.iterdir()) == []


def test_comments_do_not_make_a_measurement_stale_but_code_does(tmp_path):
    script = tmp_path / "script.py"
    script.write_text('"""One."""\n\nx = 1  # a comment\n')
    before = ladder.code_id(script)
    script.write_text('"""Two."""\n\nx = 1\n')
    assert ladder.code_id(script) == before
    script.write_text('"""Two."""\n\nx = 2\n')
    assert ladder.code_id(script) != before


def test_every_version_is_measured_over_three_seeds():
    runs = ladder.load_runs()
    for step in STEPS:
        records = ladder.records_of(step.version, runs)
        assert [record["seed"] for record in records] == [1337, 1338, 1339]
        assert len({json.dumps(record["flags"]) for record in records}) == 1


def test_a_measured_default_run_is_the_scripts_default_run():
    for step in STEPS[:10]:
        config = loaded(step.version).Config()
        for record in ladder.records_of(step.version, ladder.load_runs()):
            assert record["flags"] == [] and record["curve"][-1]["step"] == config.max_iters


def test_a_change_within_the_spread_over_seeds_is_called_so():
    words = ladder.WORDS[""]

    def runs(*losses):
        seeds = [{"val_loss": loss, "parameters": 1, "seconds": 1} for loss in losses]
        return {(1, "default"): seeds[:2], (2, "default"): seeds[2:]}

    assert "−0.100, more than" in ladder.measured(2, runs(5.02, 5.00, 4.92, 4.90), words)
    assert "−0.010, within" in ladder.measured(2, runs(5.02, 5.00, 5.01, 4.99), words)


def test_the_charts_can_be_drawn_from_the_files_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(ladder, "ROOT", tmp_path)
    (tmp_path / "docs").mkdir()
    ladder.draw(ladder.load_runs())
    for name in ("ladder.svg", "curves.svg"):
        assert (tmp_path / "docs" / name).read_text(encoding="utf-8").startswith("<?xml")


def test_rendering_twice_changes_nothing(tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / "docs", copy / "docs")
    for name in ("README.md", "README.zh-CN.md", *(step.file for step in STEPS)):
        shutil.copy(ROOT / name, copy)
    monkeypatch.setattr(ladder, "ROOT", copy)
    first = ladder.rendered_texts(ladder.load_runs())
    for path, text in first.items():
        path.write_text(text, encoding="utf-8")
    assert ladder.rendered_texts(ladder.load_runs()) == first


def test_the_benchmark_on_file_keeps_the_promises():
    """Measured once by tools/bench.py: a test must not depend on how busy a machine is."""
    bench = json.loads((ROOT / "docs" / "bench.json").read_text(encoding="utf-8"))
    assert max(bench["evaluation_share"].values()) <= 0.15
    assert bench["data_ready_seconds"] < 1
    small, large = bench["text_50_MB"], bench["text_100_MB"]
    assert large["seconds"] < 3 * small["seconds"] and large["peak_megabytes"] < 3000
    for version in range(1, 11):
        records = ladder.records_of(version, ladder.load_runs())
        assert max(record["peak_megabytes"] for record in records) < 700
