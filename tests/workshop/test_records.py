"""workshop/records.py: which records a name means, whether they are today's, and their numbers."""

import json
import re
import statistics
from pathlib import Path

import pytest
import records
from made_up import measured
from records import RUNS, Records
from rules import split_docstring
from steps import ROOT, STEPS, find_step, read_script


@pytest.fixture(scope="module")
def found():
    return Records()


def test_every_record_is_of_a_set_of_runs_and_stands_in_its_file(found):
    for file in {run.file for run in RUNS.values()}:
        for record in records.read_lines(file):
            run = RUNS[record["run"]]
            assert run.file == file and record["version"] in run.versions
            assert record["flags"] == run.flags or records.stale(record)
    for name, run in RUNS.items():
        for version in run.versions:
            assert len(found.by_run.get((name, version), [])) <= run.seeds


def test_a_set_with_each_is_one_for_each_of_them():
    assert RUNS["rate_1e-3"].flags == ["--learning_rate", "1e-3"]
    assert RUNS["rate_3e-4"].flags == ["--learning_rate", "3e-4"]
    assert "rate" not in RUNS and RUNS["window_256_1.5e-3"].flags[1] == "256"


@pytest.mark.parametrize(
    "name, run, version",
    [("v6", "ladder", 6), ("v11", "laptop", 11), ("v12", "laptop", 11), ("v13", "fused", 13)]
    + [("v14", "rotary", 14), ("hour", "hour", 12), ("little_text.v9", "little_text", 9)],
)
def test_a_name_means_a_versions_own_run_or_a_set(found, name, run, version):
    assert {(r["run"], r["version"]) for r in found.of(name)} == {(run, version)}
    seeds = [record["seed"] for record in found.of(name)]
    assert seeds == sorted(seeds) and len(seeds) == RUNS[run].seeds


@pytest.mark.parametrize("name", ["v15", "hour.v3", "little_text"])
def test_what_has_no_record_is_named(found, name):
    with pytest.raises(KeyError, match=name):
        found.of(name)


@pytest.mark.parametrize("name", [f"v{len(STEPS) + 1}", "nothing"])
def test_what_is_no_version_and_no_set_is_named(found, name):
    with pytest.raises(ValueError, match=name):
        found.text(name, "loss")


def record_of(name, **changes):
    """Return a record made by today's code."""
    step = find_step(name)
    record = {"run": "ladder", "version": step.version, "seed": 1, "flags": []}
    return {**record, "code": records.code_of(step.version), **changes}


def test_a_record_of_other_code_flags_or_edit_is_stale():
    assert not records.stale(record_of("v5"))
    for change in ({"code": "f00"}, {"flags": ["--seed", "1"]}, {"edit": ["a", "b"]}):
        assert records.stale(record_of("v5", **change))
    assert records.stale(record_of("v5", run="not in the table"))
    code = {f"v{version}": records.code_of(version) for version in (14, 15)}
    assert records.code_of("v14") == code["v14"] != code["v15"]
    assert not records.stale({"name": "sample_v15", "code": code})
    assert records.stale({"name": "sample_v15", "code": {**code, "v14": "f00"}})


def test_it_is_known_whether_a_stale_record_was_used(found, monkeypatch):
    monkeypatch.setattr(records, "stale", lambda record: record["run"] == "hour")
    found.used_stale_ones()
    found.text("v6", "loss")
    assert not found.used_stale_ones()
    found.text("hour", "loss")
    assert found.used_stale_ones() and not found.used_stale_ones()


def test_whether_a_time_counts_is_up_to_the_recorded_machine_and_not_to_this_one(monkeypatch):
    """Of 100 s on two cores, others took 8 core seconds: less than 5 %. On one core, more."""
    record = {"seconds": 100.0, "seconds_of_others": 8.0, "machine": {"cores": 2}}
    for cores in (1, 64):
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        assert not records.disturbed(record)
        assert records.disturbed({**record, "machine": {"cores": 1}})
        assert records.disturbed({**record, "seconds_of_others": 11.0})
        assert not records.disturbed({**record, "seconds_of_others": None})


def test_numbers_are_those_of_the_records(found):
    losses = [record["curve"][-1]["val_loss"] for record in found.of("v8")]
    mean = statistics.mean(losses)
    assert found.spread("v8") == (min(losses), mean, max(losses))
    assert found.text("v8", "loss") == f"{mean:.2f}"
    assert found.text("v8", "loss", 3, True) == f"{mean:.3f} ({min(losses):.3f}–{max(losses):.3f})"
    assert (found.text("v8", "low"), found.text("v8", "high")) == (
        f"{min(losses):.2f}",
        f"{max(losses):.2f}",
    )
    change = statistics.mean(r["curve"][-1]["val_loss"] for r in found.of("v9")) - mean
    assert found.text("v9", "change") == f"{change:+.3f}".replace("-", "−")
    report = found.of("evening")[0]["form"]
    kept = sum(report["whole"].values()) / (100 * len(report["whole"]))
    assert found.text("evening", "whole") == f"{kept:.0%}"


def test_a_change_is_against_the_base(found, monkeypatch):
    monkeypatch.setattr(find_step("v7"), "base", 5)
    change = found.spread("v7")[1] - found.spread("v5")[1]
    assert found.text("v7", "change") == f"{change:+.3f}".replace("-", "−")


def losses(records, *values):
    """Put these losses in the records of v8, a seed each."""
    for record, value in zip(records.by_run["ladder", 8], values, strict=True):
        record["curve"][-1]["val_loss"] = value
    return records


def test_seeds_further_apart_than_they_may_be_are_shown_singly_and_have_no_mean():
    near, far = losses(measured(), 5.0, 5.2, 5.28), losses(measured(), 5.0, 6.2, 5.31)
    assert near.text("v8", "loss") == "5.16" and near.text("v8", "change").startswith("+")
    assert far.text("v8", "loss") == far.text("v8", "loss", None, True) == "5.00 / 6.20 / 5.31"
    assert far.text("v8", "loss", 3) == "5.000 / 6.200 / 5.310"
    assert far.text("v8", "ppl") == "148 / 493 / 202"
    assert (far.text("v8", "low"), far.text("v8", "high")) == ("5.00", "6.20")
    for name in ("v8", "v9"):  # neither of it nor against it
        with pytest.raises(KeyError, match="no mean of"):
            far.text(name, "change")


def test_what_diverged_or_stopped_is_shown_without_all_its_digits():
    found = losses(measured(), 5.0, 35505755238.4, 1234.5)
    found.by_run["ladder", 8][0] |= {"stopped": "error: loss not finite"}
    assert found.text("v8", "loss") == "∞ / 3.6×10¹⁰ / 1.2×10³"
    assert found.text("v8", "train").startswith("∞") and found.wide("v8")
    del found.by_run["ladder", 8][1:]
    assert found.text("v8", "loss") == "∞"
    found.by_run["ladder", 8][0].pop("form")
    assert found.text("v8", "ends") == ""


def test_what_the_records_lack_is_shown_as_nothing():
    found = measured()
    assert found.text("v9", "rhyme") == "" == found.text("v9", "distinct", 3, True)
    assert found.find("ladder_long.v9") == [] == found.find("counted_pairs") == found.find("real")
    with pytest.raises(KeyError, match="counted_pairs"):
        found.of("counted_pairs")


def test_counting_and_what_stands_beside_are_asked_for_as_runs_are():
    found = measured("counting", "beside")
    assert found.text("counted_pairs", "loss") == "4.68"
    assert found.text("real", "rhyme") == "0.91" and found.text("rule", "ends") == "0.55"
    assert found.text("real", "whole") == "98%" and found.text("chance", "whole") == ""


def test_what_stands_beside_is_taken_from_the_ladder_and_as_stale_as_it(monkeypatch, tmp_path):
    monkeypatch.setattr(records, "FOLDER", tmp_path)
    record = record_of("v1") | {"form": {"beside": {"real": {"rhyme": 0.5}}}}
    records.write("ladder", record, ["seed"])
    found = Records()
    assert found.text("real", "rhyme") == "0.50" and not found.used_stale_ones()
    records.write("ladder", {**record, "code": "f00"}, ["seed"])
    found = Records()
    assert found.text("real", "rhyme") == "0.50" and found.used_stale_ones()


def test_a_record_of_counting_is_stale_where_count_or_what_it_takes_of_v1_has_changed(monkeypatch):
    record = {"run": "counting", "version": "counted_pairs", "flags": []}
    record["code"] = records.code_of("counted_pairs")
    assert not records.stale(record)
    v1, read = find_step("v1"), Path.read_text

    def edited(path, old, new):
        def read_text(self, **more):
            text = read(self, **more)
            assert self != path or text.count(old) == 1
            return text.replace(old, new) if self == path else text

        monkeypatch.setattr(Path, "read_text", read_text)
        return records.stale(record)

    assert edited(ROOT / "tools" / "count.py", "u * p", "p * u")
    assert edited(v1.path, "int(config.train_ratio * len(ids))", "int(0.9 * len(ids))")
    assert not edited(v1.path, "loss.backward()", "loss.backward(retain_graph=True)")


def test_a_record_takes_the_place_of_the_one_of_its_key(monkeypatch, tmp_path):
    monkeypatch.setattr(records, "FOLDER", tmp_path / "new")
    for seed, loss in ((1, 5), (2, 6), (1, 7)):
        records.write("some", {"seed": seed, "loss": loss, "tune": "浣溪沙"}, ["seed"])
    lines = (tmp_path / "new" / "some.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["loss"] for line in lines] == [7, 6] and "浣溪沙" in lines[0]


def test_the_flags_in_readmes_and_docstrings_are_the_measured_ones():
    def pairs(text):
        words = text.split()
        return dict(zip(words[::2], words[1::2], strict=True))

    for page in ("README.md", "README.zh-CN.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        lines = re.findall(r"^python babygpt_v12_wandb.py (--block_size .*)$", text, flags=re.M)
        for line, name in zip(lines, ("laptop", "hour"), strict=True):
            assert pairs(line) == pairs(" ".join(RUNS[name].flags))
    for step in STEPS:
        docstring = split_docstring(read_script(step))[0]
        for flags in re.findall(r"Laptop: add (--.*?)\n[\w\"]", docstring, flags=re.S):
            assert pairs(flags) == pairs(" ".join(RUNS["laptop"].flags))


def test_what_a_run_printed_names_no_folder_of_the_machine():
    for file in sorted((ROOT / "docs" / "records").glob("*.jsonl")):
        for record in records.read_lines(file.stem):
            found = re.findall(r"^model: (\S+\.pt)", record.get("output", ""), flags=re.M)
            assert not any(Path(name).is_absolute() for name in found), record["command"]
