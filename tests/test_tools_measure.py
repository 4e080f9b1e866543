"""tools/measure.py, tools/render.py, tools/charts.py: what is recorded, rendered and checked."""

import json
import math
import os
import re
import shutil
import sys
from xml.etree import ElementTree

import pytest
import torch
from conftest import ROOT, TEXT, data_of, loaded, new_model, small

sys.path.insert(0, str(ROOT / "tools"))
import charts
import measure
import render
import rules
from rules import STEPS, read_script, split_docstring

TINY = "--device cpu --max_iters 4 --eval_interval 2 --eval_iters 1 --batch_size 2 --n_embed 8"
TINY += " --max_new_tokens 5"

posix = pytest.mark.skipif(os.name == "nt", reason="measures memory by resource, which is POSIX's")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder for records, and a set of tiny runs; the tree counts as clean."""
    monkeypatch.setattr(measure, "FOLDER", tmp_path / "records")
    monkeypatch.setattr(measure, "RUNS", {"tiny": measure.runs([1, 2], TINY, poems=1)})
    monkeypatch.setattr(measure, "git", lambda *args: "" if args[0] == "status" else "abc")
    monkeypatch.setattr(measure, "TOO_BUSY", 99)
    return tmp_path / "records"


@posix
def test_a_run_is_recorded_as_the_script_printed_it(folder, monkeypatch):
    monkeypatch.setattr(measure, "RUNS", {"tiny": measure.runs([1], TINY, poems=1)})
    monkeypatch.setattr(measure, "FIRST_SEED", 7)
    measure.main(["tiny", "--seeds", "1"])
    record = json.loads((folder / "tiny_v01_seed7.json").read_text(encoding="utf-8"))
    assert [e["step"] for e in record["curve"]] == [0, 2, 4]
    assert record["curve"][0]["val_loss"] > record["curve"][2]["val_loss"] > 8
    header, *samples = record["output"].split("\n\n", 2)
    assert [len(sample) for sample in samples] == [7, 7] and "1,623,091 characters" in header
    assert record["vocabulary"] == 4295
    assert record["parameters"] == 4295 * 8 + 8 * 4295 + 4295
    assert record["seconds"] > 1 and 50 < record["peak_megabytes"] < 2000
    assert record["command"].startswith("python babygpt_v1.py --seed 7 --device cpu")
    assert record["machine"]["device"] == "cpu" and record["commit"] == "abc"
    assert record["form"]["held_out_poems"] == 200 and len(record["form"]["poems"]) == 8
    assert [level[0] for level in record["depth"]["untrained"]] == ["embedding"]


@posix
def test_a_model_is_kept_in_half_precision_and_judged_as_it_is_kept(folder, monkeypatch):
    """What --sample says of the file is what the record says of the model; with a line replaced."""
    flags = f"{TINY} --block_size 8 --n_head 2 --n_layer 1 --wandb_mode disabled"
    flags += f" --checkpoint_path {folder.parent / 'model.pt'}"
    kept = folder.parent / "kept.pt"
    edit = ("idx_next = torch.multinomial(probs, num_samples=1)", "idx_next = idx[:, :1]")
    run = measure.runs([15], flags, seeds=1, poems=1, keep=str(kept), edit=edit)
    monkeypatch.setattr(measure, "RUNS", {"tiny": run})
    measure.main(["tiny"])
    record = json.loads((folder / "tiny_v15_seed1337.json").read_text(encoding="utf-8"))
    assert record["output"].endswith("往事往往往往往") and record["edit"] == list(edit)
    assert record["kept"]["sha256"] == measure.sha256(kept)
    saved = torch.load(kept, weights_only=True)
    assert {value.dtype for value in saved["model"].values()} == {torch.float16}
    assert round(math.exp(saved["val_loss"]), 1) == record["form"]["perplexity"]
    v15 = loaded(15)
    model, _ = v15.load_checkpoint(kept, v15.Config(prompts=(), device="cpu"))
    assert all(value.dtype == torch.float32 for value in model.state_dict().values())


def test_the_model_that_is_judged_is_the_one_in_half_precision(tmp_path):
    v15 = loaded(15)
    model, config, file = new_model(v15), small(v15), tmp_path / "kept.pt"
    before = {name: value.clone() for name, value in model.state_dict().items()}
    measure.keep_half(v15, model, v15.Tokenizer(TEXT), config, data_of(v15, config), file)
    after = torch.load(file, weights_only=True)["model"]
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name].half().float())
        assert torch.equal(value, after[name].float())


def test_a_line_to_be_replaced_must_stand_there_once():
    with pytest.raises(ValueError, match="unpack"):
        rules.import_script(STEPS[0], ("self", "this"))


@pytest.fixture
def measured(folder, monkeypatch):
    """Put stand-ins in place of real runs; return the list of (version, seed) that were run."""
    runs = []

    def stand_in(step, seed, run):
        runs.append((step.version, seed))
        return {
            "code": measure.code_hash(step),
            "curve": [{"val_loss": 5.0}],
            "seconds": 10.0,
            "seconds_of_others": len(runs),
        }

    monkeypatch.setattr(measure, "measure", stand_in)
    return runs


def test_a_measured_run_is_not_repeated_unless_the_code_changed(measured, monkeypatch):
    for _ in range(2):
        measure.main(["tiny", "--seeds", "2"])
        assert measured == [(1, 1337), (2, 1337), (1, 1338), (2, 1338)]
    monkeypatch.setattr(measure, "code_hash", lambda step: f"other {step.version == 1}")
    measure.main(["tiny", "--seeds", "1"])
    assert measured[4:] == [(1, 1337), (2, 1337)]


def test_a_disturbed_run_is_repeated_and_the_least_disturbed_is_kept(measured, folder, monkeypatch):
    monkeypatch.setattr(measure, "TOO_BUSY", 0)
    measure.main(["tiny", "--seeds", "1"])
    assert measured == [(1, 1337)] * 3 + [(2, 1337)] * 3
    record = json.loads((folder / "tiny_v01_seed1337.json").read_text(encoding="utf-8"))
    assert (record["seconds_of_others"], record["tries"]) == (1, 3)


def test_nothing_is_measured_in_a_tree_with_changes(measured, monkeypatch):
    monkeypatch.setattr(measure, "git", lambda *args: " M babygpt_v1.py")
    with pytest.raises(SystemExit, match="not committed"):
        measure.main(["tiny"])
    assert measured == []


@posix
def test_a_failing_script_leaves_no_record(folder, monkeypatch):
    monkeypatch.setattr(measure, "RUNS", {"tiny": measure.runs([1], "--batch_size 0")})
    with pytest.raises(SystemExit, match="babygpt_v1.py"):
        measure.main(["tiny"])
    assert list(folder.iterdir()) == []


def test_comments_do_not_make_a_measurement_stale_but_code_does(monkeypatch):
    source = '"""One."""\n\nx = 1  # a comment\n'
    hashes = []
    for changed in (source, source.replace("One", "Two").replace("a com", "com"), "", "x = 2\n"):
        text = changed if changed.startswith('"""') else f'"""One."""\n\n{changed}y = 1\n'
        monkeypatch.setattr(measure, "read_script", lambda step, text=text: text)
        hashes.append(measure.code_hash(STEPS[0]))
    assert hashes[0] == hashes[1] and len(set(hashes)) == 3


# --- the committed records, and what is rendered from them


def test_every_version_is_measured_over_three_seeds_at_its_defaults():
    records = render.Records()
    for step in STEPS[:11]:
        found = records.of(f"v{step.version}")
        assert [record["seed"] for record in found] == [1337, 1338, 1339]
        run = measure.RUNS["ladder" if step.version <= 10 else "laptop"]
        assert [record["flags"] for record in found] == [run.flags] * 3


def test_every_set_of_runs_is_measured_and_nothing_else():
    wanted = {
        (name, version): runs.seeds
        for name, runs in measure.RUNS.items()
        for version in runs.versions
    }
    by_run = render.Records().by_run
    assert {key: len(found) for key, found in by_run.items()} == wanted


def test_the_flags_in_readmes_and_docstrings_are_the_measured_ones():
    def as_pairs(words):
        return dict(zip(words[::2], words[1::2], strict=True))

    for page in ("README.md", "README.zh-CN.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        lines = re.findall(r"^python babygpt_v12_wandb.py (--block_size .*)$", text, flags=re.M)
        for line, name in zip(lines, ("laptop", "hour"), strict=True):
            assert as_pairs(line.split()) == as_pairs(measure.RUNS[name].flags)
    for step in STEPS[10:]:
        docstring = split_docstring(read_script(step))[0]
        flags = re.search(r"Laptop: add (--.*?)\n[\w\"]", docstring, flags=re.S)[1].split()
        assert as_pairs(flags) == as_pairs(measure.RUNS["laptop"].flags)


def test_pages_docstrings_and_charts_are_as_the_records_say():
    assert render.check(render.Records()) == []


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of all that is rendered, which the tools take for the project."""
    for folder in ("docs", "beyond"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for path in [*ROOT.glob("*.md"), *ROOT.glob("babygpt_v*.py")]:
        shutil.copy(path, tmp_path)
    (tmp_path / "data").mkdir()
    for path in [*ROOT.glob("data/*.md"), *ROOT.glob("data/*.pt")]:
        shutil.copy(path, tmp_path / "data")
    monkeypatch.setattr(render, "ROOT", tmp_path)
    monkeypatch.setattr(render, "FOLDER", tmp_path / "docs" / "measurements")
    read = measure.read_script
    for module in (render, measure):
        monkeypatch.setattr(module, "read_script", lambda step: read(step, tmp_path))
    return tmp_path


def replace(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8", newline="\n")


def test_a_changed_digit_of_a_record_is_found(copy):
    file = copy / "docs" / "measurements" / "ladder_v04_seed1337.json"
    record = json.loads(file.read_text(encoding="utf-8"))
    record["curve"][-1]["val_loss"] += 0.1
    file.write_text(json.dumps(record), encoding="utf-8")
    assert any("README.md: not as" in line for line in render.check(render.Records()))


def test_a_changed_line_of_a_script_is_found(copy):
    replace(copy / "babygpt_v5_feedforward.py", "nn.ReLU()", "nn.GELU()")
    stale = [line for line in render.check(render.Records()) if "changed since" in line]
    assert len([line for line in stale if line.startswith("ladder v5: ")]) == 3
    assert all(line.split(":")[0].endswith(" v5") for line in stale)


def test_another_model_than_the_measured_one_is_found(copy):
    with (copy / measure.EVENING).open("ab") as file:
        file.write(b"x")
    assert render.check(render.Records()) == [f"{measure.EVENING}: not the file of its record"]


def test_a_changed_line_of_a_script_whose_speed_was_measured_is_found(copy):
    replace(copy / "beyond" / "babygpt_v15_kv_cache.py", "is_causal=T > 1", "is_causal=True")
    stale = [line for line in render.check(render.Records()) if "changed since" in line]
    assert {line.split(":")[0] for line in stale if line.startswith("speed")} == {
        "speed of sample_v15_64",
        "speed of sample_v15_256",
    }


@pytest.mark.parametrize("page", ["README.md", "docs/steps/v07.md", "docs/steps/zh-CN/v07.md"])
def test_a_number_written_by_hand_is_found(copy, page):
    with (copy / page).open("a", encoding="utf-8") as file:
        file.write("\nIt went down to 3.1416.\n")
    assert render.check(render.Records()) == [f"{page}: 3.1416 is written by hand"]


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md"])
def test_a_changed_digit_of_a_table_is_found(copy, page):
    table = (copy / page).read_text(encoding="utf-8").split("<!-- ladder table -->")[1]
    row = next(line for line in table.splitlines() if line.startswith("| [v1]"))
    replace(copy / page, row, row.replace("1,1", "1,2"))
    assert render.check(render.Records()) == [f"{page}: not as tools/render.py writes it"]


def test_rendering_restores_what_was_changed_and_nothing_else(copy):
    before = {p: p.read_bytes() for p in copy.rglob("*") if p.is_file()}
    replace(copy / "babygpt_v3_self_attention.py", "Expect: val loss 5", "Expect: val loss 4")
    render.main([])
    assert {p: p.read_bytes() for p in copy.rglob("*") if p.is_file()} == before


def stand_in_records(**losses):
    """Return records of these runs, such as v1=[5.0, 5.1]: a loss for each seed."""
    records = render.Records.__new__(render.Records)
    records.by_run = {
        ("ladder", int(name[1:])): [
            {
                "parameters": 1,
                "curve": [{"val_loss": loss, "train_loss": loss}],
                "form": {"line_ends": 0.5},
            }
            for loss in found
        ]
        for name, found in losses.items()
    }
    return records


def test_whether_ranges_overlap_is_said_as_it_is():
    def two(before, after):
        return render.measured(2, stand_in_records(v1=before, v2=after), render.WORDS["en"])

    assert "−0.100; the ranges over the seeds do not overlap" in two([5.02, 5.0], [4.92, 4.9])
    assert "+0.100; the ranges over the seeds do not overlap" in two([4.92, 4.9], [5.02, 5.0])
    assert "the ranges over the seeds overlap" in two([5.02, 5.0], [5.01, 4.9])


def test_a_time_is_given_only_where_nothing_else_ran():
    words = render.WORDS["en"]
    runs = [{"seconds": seconds, "seconds_of_others": 0.1} for seconds in (30, 20, 40)]
    assert render.time_text(runs, words) == "30 (20–40) s"
    assert render.time_text(runs[:1], words) == "30 s"
    assert render.time_text([{"seconds": 3300.0, "seconds_of_others": 0.1}], words) == "55 min"
    runs[1]["seconds_of_others"] = 20 * os.cpu_count() * measure.TOO_BUSY + 1
    assert render.time_text(runs, words) == ""


def test_numbers_in_sentences_are_filled_in():
    records = render.Records()
    text = render.fill(
        "v6: <!-- loss v6 -->?<!-- -->, v7 <!-- change v7 -->?<!-- -->, <!-- ends hour -->?<!-- -->"
        " and <!-- loss little_text.v9 -->?<!-- -->.",
        {},
        records,
    )
    low, mean, high = records.spread("v6")
    assert low < mean < high and f"-->{mean:.2f}<!--" in text
    assert f"-->−{mean - records.spread('v7')[1]:.3f}<!--" in text
    assert f"-->{records.of('hour')[0]['form']['line_ends']:.2f}<!--" in text
    assert f"-->{records.spread('little_text.v9')[1]:.2f}<!--" in text and "?" not in text


SVG = "{http://www.w3.org/2000/svg}"


def test_a_chart_of_one_line_bears_its_numbers_the_higher_the_further_up():
    means = [5.0, 4.5, 9.0, 4.75]
    line = [(mean - 0.125, mean, mean + 0.125) for mean in means]
    elements = charts.panel("a title", list("abcd"), {"": line}, clip=6)
    root = ElementTree.fromstring(charts.svg("a title", elements))
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert texts == ["a title", "5.00", "4.50", "9.00↑", "4.75", *"abcd"]
    heights = [float(circle.get("cy")) for circle in root.iter(f"{SVG}circle")]
    assert heights[2] < heights[0] < heights[3] < heights[1]
    assert heights[1] - heights[3] == pytest.approx(heights[3] - heights[0])  # to scale


def test_a_chart_of_several_lines_names_each_at_its_end():
    lines = {name: [(9, 9, 9), (end,) * 3] for name, end in (("x", 5), ("y", 5.01), ("z", 7))}
    root = ElementTree.fromstring(charts.svg("t", charts.panel("t", ["1", "2"], lines)))
    found = {t.text: float(t.get("y")) for t in root.iter(f"{SVG}text")}
    assert found["z 7.00"] < found["y 5.01"] <= found["x 5.00"] - 15
    assert len(list(root.iter(f"{SVG}path"))) == 3
    assert {"5.0", "7.0", "9.0"} <= set(found)


@pytest.mark.parametrize("words", render.WORDS.values(), ids=render.WORDS)
def test_the_charts_show_the_records(words):
    records = render.Records()
    drawn = render.charts(records, words)
    texts = {
        name: [text.text or "" for text in ElementTree.fromstring(picture).iter(f"{SVG}text")]
        for name, picture in drawn.items()
    }
    for what in ("loss", "ends"):
        for version in range(1, 11):
            shown = f"{records.spread(f'v{version}', what)[1]:.2f}"
            assert any(text.startswith(shown) for text in texts["ladder"])
    hour = records.of("hour")[0]["curve"][-1]
    assert any(text.endswith(f"{hour['val_loss']:.2f}") for text in texts["hour"])
    assert len(texts["context"]) == 2 * (1 + 5 + 5)
    heads = [text for text in texts["shapes_v04"] if text.startswith("sa.heads.*")]
    assert len(heads) == 5 and all("× 4" in text for text in heads)
    assert any("ffwd.net.0  (B, T, 512)" in text for text in texts["shapes_v05"])
    assert any("(B, T, 4295)" in text for text in texts["shapes_v08"])


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS[:10], ids=lambda step: f"v{step.version}")
def test_a_default_run_still_reaches_the_recorded_loss(step):
    """Another machine or PyTorch moves a loss by a few hundredths, as another seed does."""
    low, _, high = render.Records().spread(f"v{step.version}")
    record = measure.measure(step, measure.FIRST_SEED, measure.runs([step.version], poems=1))
    loss = record["curve"][-1]["val_loss"]
    assert low - 0.05 < loss < high + 0.05
