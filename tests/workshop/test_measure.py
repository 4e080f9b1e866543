"""workshop/measure.py: what is recorded of a run, and which runs are made."""

import json
import math
import os
import subprocess
import sys
from types import SimpleNamespace

import measure
import pytest
import records
import torch
from conftest import ROOT, TEXT, data_of, new_model, small
from records import RUNS, USUAL, read_lines
from steps import find_step, import_script, loaded

TINY = "--device cpu --max_iters 4 --eval_interval 2 --eval_iters 1 --batch_size 2 --n_embed 8"
TINY += " --max_new_tokens 5"


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Return tiny(versions, …): name a set of tiny runs; records go to an empty folder."""
    monkeypatch.setattr(records, "FOLDER", tmp_path / "records")
    monkeypatch.setattr(measure, "git", lambda *args: "" if args[0] == "status" else "abc\n")
    monkeypatch.setattr(records, "TOO_BUSY", 99)

    def tiny(versions, flags=TINY, **settings):
        row = {**USUAL, "versions": versions, "file": "tiny", **settings, "flags": flags.split()}
        monkeypatch.setitem(RUNS, "tiny", SimpleNamespace(**row))

    return tiny


def test_a_run_is_recorded_as_printed_and_its_model_kept_and_judged_as_it_is_kept(
    tiny, tmp_path, monkeypatch
):
    """One real run: with prompts of different lengths, a line replaced, the model in a file."""
    text, kept = tmp_path / "poems.txt", tmp_path / "kept.pt"
    text.write_text("浣溪沙 苏轼\n春江花月，往事明月。\n\n" * 200, encoding="utf-8")
    edit = ["next_id = torch.multinomial(probs, num_samples=1)", "next_id = ids[:, :1]"]
    flags = f"{TINY} --block_size 8 --n_head 2 --n_layer 1 --wandb_mode disabled"
    flags += f" --checkpoint_path {tmp_path / 'model.pt'} --data_path {text} --prompts 春江 明 往事"
    tiny([15], flags, seeds=1, keep=str(kept), keep_versions=[15], edit=edit)
    measure.main(["tiny"])
    (record,) = read_lines("tiny")
    assert [point["step"] for point in record["curve"]] == [0, 2, 4]
    assert record["curve"][0]["val_loss"] > record["curve"][2]["val_loss"] > 0
    assert record["samples"] == ["春江春春春春春", "明明明明明明", "往事往往往往往"]
    assert record["output"].endswith("\n\n".join(record["samples"])) and record["edit"] == edit
    vocabulary = f"{record['vocabulary']} distinct\nmodel: {record['parameters']:,} parameters"
    assert vocabulary in record["output"]
    assert record["seconds"] > 1
    assert record["command"].startswith(
        "python beyond/babygpt_v15_kv_cache.py --seed 1337 --device"
    )
    assert record["machine"]["cores"] == os.cpu_count() and record["commit"] == "abc"
    assert [level[0] for level in record["depth"]["untrained"]] == ["embedding", "block 1"]
    assert [len(record["dead"][when]) for when in ("untrained", "trained")] == [1, 1]
    assert record["form"]["beside"]["real"]["whole"] == 1
    assert record["data"] == records.sha256(measure.TEXT)[:12] and not records.stale(record)
    assert record["kept"]["sha256"] == records.sha256(kept)
    saved = torch.load(kept, weights_only=True)
    assert {value.dtype for value in saved["model"].values()} == {torch.float16}
    assert round(math.exp(saved["val_loss"]), 1) == record["form"]["perplexity"]
    model, *_ = loaded(import_script(find_step("v15")), kept, ["--device", "cpu"])
    assert all(value.dtype == torch.float32 for value in model.state_dict().values())


def test_a_run_that_samples_from_a_saved_model_trains_nothing_and_is_of_that_model(tiny, tmp_path):
    text, file = tmp_path / "poems.txt", tmp_path / "saved.pt"
    text.write_text("浣溪沙 苏轼\n春江花月，往事明月。\n\n" * 200, encoding="utf-8")
    script = import_script(find_step("v18"))
    tokenizer = script.Tokenizer(text.read_text(encoding="utf-8"))
    config = small(script, data_path=text, checkpoint_path=str(file))
    model = new_model(script, vocab_size=len(tokenizer.chars))
    script.save_checkpoint(model, tokenizer, config, 1.0)
    tiny([18], f"--sample {file} --data_path {text} --device cpu --temperature 0", poems=2, seeds=1)
    for _ in range(2):
        measure.main(["tiny"])
        (record,) = read_lines("tiny")
    assert "curve" not in record and record["form"]["poems_to_each"] == 2
    first, second = (poem["body"] for poem in record["form"]["poems"])
    assert first == second  # each is the likeliest
    assert record["model"] == records.sha256(file)[:12] and not records.stale(record)
    file.write_bytes(b"another model")
    assert records.stale(record)


def test_the_curve_has_what_a_version_prints_at_its_evaluations():
    lines = (
        "step     0: train loss 4.9612, val loss 5.1\nstep     5: train loss nan, val loss nan\n"
    )
    assert measure.curve_of(lines) == [{"step": 0, "train_loss": 4.9612, "val_loss": 5.1}]
    (point,) = measure.curve_of("step    50: reward -1.109, whole 0.938, val_loss 3.742\n春风\n")
    assert point == {"step": 50, "reward": -1.109, "whole": 0.938, "val_loss": 3.742}


@pytest.mark.parametrize("version", ["v4", "v15"])
def test_the_model_that_is_judged_is_the_one_in_half_precision(version, tmp_path):
    script = import_script(find_step(version))
    model, config, file = new_model(script), small(script), tmp_path / "kept.pt"
    before = {name: value.clone() for name, value in model.state_dict().items()}
    tokenizer, data = script.Tokenizer(TEXT), data_of(script, config)
    measure.keep_half(script, model, tokenizer, config, data, file)
    after = torch.load(file, weights_only=True)["model"]
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name].half().float())
        assert torch.equal(value, after[name].float())


@pytest.fixture
def made(tiny, monkeypatch):
    """Put stand-ins in place of real runs; return the list of (version, seed) that were run."""
    made = []

    def stand_in(step, seed, run):
        made.append((step.version, seed))
        times = {"seconds": 10.0, "seconds_of_others": len(made), "machine": {"cores": 1}}
        return {"curve": [{"val_loss": 5.0}], **times}

    monkeypatch.setattr(measure, "measure", stand_in)
    tiny([1, 2])
    return made


def test_a_run_is_not_repeated_unless_code_flags_or_text_have_changed(made, tiny, monkeypatch):
    for _ in range(2):
        measure.main(["tiny", "--seeds", "2"])
        assert made == [(1, 1337), (2, 1337), (1, 1338), (2, 1338)]
    monkeypatch.setattr(measure, "code_of", lambda version: f"other {version == 1}")
    measure.main(["tiny", "--seeds", "1"])
    assert made[4:] == [(1, 1337), (2, 1337)]
    monkeypatch.setattr(measure, "sha256", lambda path: "another text")
    measure.main(["tiny", "--seeds", "1"])
    tiny([1, 2], f"{TINY} --seed 3")
    measure.main(["tiny", "--seeds", "1"])
    assert made[6:] == [(1, 1337), (2, 1337)] * 2
    assert len(read_lines("tiny")) == 4


def test_a_disturbed_run_is_repeated_and_the_least_disturbed_is_kept(made, monkeypatch):
    monkeypatch.setattr(records, "TOO_BUSY", 0)
    measure.main(["tiny", "--seeds", "1"])
    assert made == [(1, 1337)] * 3 + [(2, 1337)] * 3
    record = read_lines("tiny")[0]
    assert (record["seconds_of_others"], record["tries"]) == (1, 3)


def test_nothing_is_measured_in_a_tree_with_changes(made, monkeypatch):
    monkeypatch.setattr(measure, "git", lambda *args: " M babygpt_v1.py")
    with pytest.raises(SystemExit, match="not committed"):
        measure.main(["tiny"])
    assert made == []


@pytest.mark.parametrize("name", ["measure", "speed"])
def test_each_tool_of_the_workshop_starts_as_a_command(name):
    """Where pytest's own path to tools/ does not help; CI and test_carry.py start the others."""
    command = [sys.executable, str(ROOT / "workshop" / f"{name}.py"), "--help"]
    assert "usage" in subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_an_unknown_set_is_named(capsys):
    with pytest.raises(SystemExit):
        measure.main(["nothing"])
    assert "nothing" in capsys.readouterr().err


def test_a_failing_script_leaves_no_record(tiny):
    tiny([4], "--device cpu --n_embed 5")
    with pytest.raises(SystemExit, match=r"v4.*--n_embed"):
        measure.main(["tiny"])
    assert read_lines("tiny") == []


def test_a_run_that_diverges_is_recorded_as_that(tiny, corpus):
    known = f"--data_path {corpus} --prompts 天"
    tiny([7], f"{TINY} --n_head 2 --learning_rate 1e30 {known}", seeds=1)
    measure.main(["tiny"])
    (record,) = read_lines("tiny")
    assert "not finite" in record["stopped"] and "form" not in record
    assert [point["step"] for point in record["curve"]] == [0]
    measure.main(["tiny"])  # and not repeated
    assert read_lines("tiny") == [record]


def test_counting_is_run_once_and_recorded_a_line_a_table(monkeypatch, tmp_path):
    monkeypatch.setattr(records, "FOLDER", tmp_path)
    monkeypatch.setattr(measure, "git", lambda *args: "" if args[0] == "status" else "abc\n")
    tables = [
        {"table": name, "seconds": 0.1, "train_loss": 5.0, "val_loss": loss, "all_of_val": 6.0}
        for name, loss in (("characters", 6.1), ("pairs", 4.6), ("triples", 4.4))
    ]
    ran = []

    def run(command, **more):
        ran.append(command[1:])
        return SimpleNamespace(stdout=json.dumps({"tables": tables}))

    monkeypatch.setattr(measure, "subprocess", SimpleNamespace(run=run))
    measure.counted.cache_clear()
    for _ in range(2):
        measure.main(["counting"])
    assert ran == [["tools/count.py", "--json"]]
    found = records.Records()
    shown = [found.text(f"counted_{row['table']}", "loss") for row in tables]
    assert shown == ["6.10", "4.60", "4.40"] and not found.used_stale_ones()
    record = found.of("counted_pairs")[0]
    assert record["data"] == records.sha256(measure.TEXT)[:12] and record["commit"] == "abc"
    assert record["all_of_val"] == 6.0 and record["date"]
    measure.counted.cache_clear()


def test_what_needs_a_gpu_is_measured_only_where_it_is_named(made, monkeypatch):
    measured = []
    monkeypatch.setattr(measure, "measure_all", lambda name, seeds, tries: measured.append(name))
    measure.main([])
    assert "ladder_long" in measured and "counting" in measured and "scale" not in measured
    measure.main(["scale"])
    assert measured[-1] == "scale"


def test_every_edit_of_the_exercises_is_of_a_text_that_stands_in_its_script_once():
    for run in RUNS.values():
        for version in run.versions if run.edit else []:
            import_script(find_step(version), run.edit)  # or it raises
