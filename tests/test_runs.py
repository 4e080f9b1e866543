"""Real runs: each script as a user starts it, from another folder, on a text of its own."""

import io
import os
import re
import runpy
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import (
    FILES,
    LAST,
    PROGRESS,
    files_below,
    finish,
    flags,
    interrupt,
    loaded,
    samples_of,
    start,
    versions,
    wait_for,
    without_checkpoint,
)

# An alphabet that has nothing in common with data/ci.txt: upper and lower case Greek
GREEK = "".join(chr(code) for code in [*range(0x391, 0x3A2), *range(0x3B1, 0x3C2)]) + " \n"
PROMPTS = ("ΑΒ", "γ", "αβγδεζηθικλμ")
SETTINGS = {"prompts": PROMPTS, "max_iters": 12, "eval_interval": 5, "dropout": 0.2}


@pytest.fixture(scope="module")
def greek(tmp_path_factory):
    path = tmp_path_factory.mktemp("texts") / "greek.txt"
    path.write_text(GREEK * 15, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def results(tmp_path_factory, greek):
    """Return {version: (stdout, stderr, exit status, folder)} of all twelve, two at a time."""

    def result(version):
        folder = tmp_path_factory.mktemp(f"v{version}-")
        argv = flags(loaded(version), data_path=greek, **SETTINGS)
        return *finish(start(version, argv, folder, PYTHONHASHSEED=str(version))), folder

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(FILES, pool.map(result, FILES), strict=True))


each = pytest.mark.parametrize("version", FILES, ids=lambda n: f"v{n}")


@each
def test_a_run_from_another_folder_ends_well_and_leaves_nothing_but_v12s_model(results, version):
    """And quietly: no progress bar where the output is no terminal, and no warnings."""
    _, err, status, folder = results[version]
    assert (err, status) == ("", 0)
    left = files_below(folder)
    assert len(left) == (version >= LAST) and all(name.endswith(".pt") for name in left)
    assert files_below(folder.parent / f"{folder.name}-home") == []


@each
def test_a_run_prints_header_progress_and_a_sample_for_each_prompt(results, version):
    header, _, rest = results[version][0].partition("\n\n")
    assert header.splitlines()[0] == f"text: {36 * 15} characters, {len(GREEK)} distinct"
    assert [int(step) for step, *_ in PROGRESS.findall(header)] == [0, 5, 10, 12]
    for prompt in PROMPTS:
        assert rest.startswith(prompt)
        assert set(rest[: len(prompt) + 12]) <= set(GREEK)
        rest = rest[len(prompt) + 12 + len("\n\n") :]
    assert rest == ""


@each
def test_a_second_run_in_another_process_prints_the_same(results, run, greek, version):
    """Losses and samples to the last digit; the first process hashed its strings otherwise."""
    out = run(loaded(version), data_path=greek, **SETTINGS)
    assert without_checkpoint(out) == without_checkpoint(results[version][0])


def test_v12_without_tracking_prints_what_v11_prints(results):
    assert without_checkpoint(results[12][0]) == results[11][0]


def test_every_step_up_to_dropout_changes_the_losses(results):
    losses = [PROGRESS.findall(results[v][0]) for v in range(1, 11)]
    assert all(a != b for i, a in enumerate(losses) for b in losses[:i])


@versions()
def test_ctrl_c_ends_the_training_but_not_the_script(gpt, run, monkeypatch):
    interrupt(gpt, monkeypatch, step=7)
    out = run(gpt, max_iters=1000, eval_interval=5)
    assert [int(step) for step, *_ in PROGRESS.findall(out)] == [0, 5]
    assert re.search(r"^stopped.*\b7\b", out, re.M)
    assert samples_of(out).startswith("天地")


@pytest.mark.skipif(os.name == "nt", reason="needs process groups, to press Ctrl-C for one alone")
@pytest.mark.parametrize("version", [1, LAST], ids=lambda n: f"v{n}")
def test_a_real_ctrl_c_in_mid_training_still_samples(tmp_path, greek, version):
    """As a terminal sends it: to the script and to all that it has started."""
    long = {"data_path": greek, "max_iters": 10**6, "eval_interval": 20, "prompts": ["ΑΒ"]}
    long |= {"wandb_mode": "offline"}
    folder = tmp_path / "work"
    folder.mkdir()
    process = start(version, flags(loaded(version), **long), folder)
    wait_for(process, "step    40")
    os.killpg(process.pid, signal.SIGINT)
    out, err, status = finish(process)
    assert status == 0 and "Traceback" not in err
    assert "\nstopped" in "\n" + out and samples_of(out).startswith("ΑΒ")
    if version == LAST:
        assert {name.rpartition(".")[2] for name in files_below(folder)} >= {"pt", "wandb"}


@versions()
def test_a_console_that_lacks_a_character_shows_a_question_mark(gpt, corpus, monkeypatch):
    argv = flags(gpt, data_path=corpus, max_iters=0, prompts=["天地"], max_new_tokens=3)
    console = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "argv", [gpt.__file__, *argv])
    monkeypatch.setattr(sys, "stdout", console)
    runpy.run_path(gpt.__file__, run_name="__main__")
    console.flush()
    assert console.buffer.getvalue().decode("ascii").rstrip().endswith("?????")


@versions()
def test_on_a_terminal_a_bar_shows_the_steps_and_the_time_left(gpt, run, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    run(gpt)
    assert re.search(r"\d+/\d+ \[00:00<", sys.stderr.getvalue())


@versions()
def test_no_new_characters_no_steps_and_no_prompts_are_possible(gpt, run):
    out = run(gpt, max_iters=0, max_new_tokens=0)
    assert samples_of(out) == "天地\n\n日\n" and len(PROGRESS.findall(out)) == 1
    assert samples_of(run(gpt, max_iters=0, prompts=[])) == ""
