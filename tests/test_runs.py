"""Real runs: each script as a user starts it, from another folder, on a text of its own."""

import io
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from conftest import (
    FILES,
    LAST,
    PROGRESS,
    files_below,
    finish,
    flags,
    loaded,
    start,
    versions,
    without_speed,
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
    """Return {version: (stdout, stderr, exit status, files left)} of all twelve, two at a time."""

    def result(version):
        folder = tmp_path_factory.mktemp(f"v{version}-")
        argv = flags(loaded(version), data_path=greek, **SETTINGS)
        return *finish(start(version, argv, folder, PYTHONHASHSEED=str(version))), folder

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(FILES, pool.map(result, FILES), strict=True))


each = pytest.mark.parametrize("version", FILES, ids=lambda n: f"v{n}")


@each
def test_a_run_from_another_folder_ends_well_and_quietly(results, version):
    """No progress bar where the output is no terminal, and no warnings."""
    _, err, status, _ = results[version]
    assert (err, status) == ("", 0)


@each
def test_a_run_leaves_nothing_behind_but_v12s_checkpoint(results, version):
    folder = results[version][-1]
    assert files_below(folder) == (["babygpt_v12.pt"] if version == LAST else [])
    home = folder.parent / f"{folder.name}-home"
    assert files_below(home) == []


@each
def test_a_run_prints_header_progress_and_a_sample_for_each_prompt(results, version):
    out = results[version][0]
    header, *samples = out.split("\n\n", 1)
    assert header.splitlines()[0] == f"text: {36 * 15} characters, {len(GREEK)} distinct"
    assert [int(step) for step, *_ in PROGRESS.findall(header)] == [0, 5, 10, 12]
    rest = samples[0]
    for prompt in PROMPTS:
        assert rest.startswith(prompt)
        assert set(rest[: len(prompt) + 12]) <= set(GREEK)
        rest = rest[len(prompt) + 12 + len("\n\n") :]
    assert rest == ""


@each
def test_a_second_run_in_another_process_prints_the_same(results, greek, version, capsys):
    """Losses and samples to the last digit; the first process hashed its strings otherwise."""
    gpt = loaded(version)
    gpt.main(flags(gpt, data_path=greek, **SETTINGS))
    assert without_speed(capsys.readouterr().out) == without_speed(results[version][0])


def test_v12_without_tracking_prints_what_v11_prints(results):
    assert without_speed(results[12][0]) == without_speed(results[11][0])


def test_every_step_up_to_dropout_changes_the_losses(results):
    losses = [[line[:3] for line in PROGRESS.findall(results[v][0])] for v in range(1, 11)]
    assert all(a != b for i, a in enumerate(losses) for b in losses[:i])


@versions()
def test_ctrl_c_ends_the_training_but_not_the_script(gpt, run, monkeypatch):
    calls, get_batch = [], gpt.get_batch

    def interrupted(split, config, starts=None):
        calls.append(starts is None)  # True: a batch to train on
        if starts is None and calls.count(True) == 8:
            raise KeyboardInterrupt
        return get_batch(split, config, starts)

    monkeypatch.setattr(gpt, "get_batch", interrupted)
    try:
        out = run(gpt, max_iters=1000, eval_interval=5)
    except KeyboardInterrupt:
        pytest.fail("it ended the script")
    assert [int(step) for step, *_ in PROGRESS.findall(out)] == [0, 5, 7]
    assert "stopped after 7 steps" in out
    assert out.split("\n\n")[1].startswith("天地")


@pytest.mark.parametrize("version", [1, LAST], ids=lambda n: f"v{n}")
def test_a_real_ctrl_c_in_mid_training_still_samples(tmp_path, greek, version):
    """As a terminal sends it: to the script and to all that it has started."""
    long = {"data_path": greek, "max_iters": 10**6, "eval_interval": 20, "prompts": ["ΑΒ"]}
    long |= {"wandb_mode": "offline"}
    folder = tmp_path / "work"
    folder.mkdir()
    process = start(version, flags(loaded(version), **long), folder)
    for line in process.stdout:
        if line.startswith("step    40"):
            break
    os.killpg(process.pid, signal.SIGINT)
    out, err, status = finish(process)
    assert status == 0 and "Traceback" not in err
    assert "stopped after" in out
    assert out.split("\n\n")[1].startswith("ΑΒ")
    if version == LAST:
        left = files_below(folder)
        assert "babygpt_v12.pt" in left and any(name.endswith(".wandb") for name in left)


def test_a_second_ctrl_c_ends_the_script_without_a_traceback(tmp_path, greek):
    slow = {"data_path": greek, "prompts": ["ΑΒ"], "eval_iters": 3000}
    slow |= {"max_iters": 10**6, "eval_interval": 10**6}
    process = start(1, flags(loaded(1), **slow), tmp_path)
    for line in process.stdout:
        if line.startswith("step     0"):
            break
    os.killpg(process.pid, signal.SIGINT)
    for line in process.stdout:
        if line.startswith("stopped after"):
            break
    os.killpg(process.pid, signal.SIGINT)
    out, err, status = finish(process)
    assert (status, err, "ΑΒ" in out) == (130, "", False)


@versions()
def test_a_console_that_lacks_a_character_shows_a_question_mark(gpt, corpus, monkeypatch):
    console = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", console)
    gpt.main(flags(gpt, data_path=corpus, max_iters=0, prompts=["天地"], max_new_tokens=3))
    console.flush()
    assert console.buffer.getvalue().decode("ascii").rstrip().endswith("\n\n?????")


@versions()
def test_on_a_terminal_a_bar_shows_the_steps_and_the_time_left(gpt, run, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    run(gpt)
    assert "0/20 [00:00<" in sys.stderr.getvalue()


@versions()
def test_no_new_characters_and_no_steps_are_possible(gpt, run):
    out = run(gpt, max_iters=0, max_new_tokens=0)
    assert out.endswith("\n\n天地\n\n日\n") and len(PROGRESS.findall(out)) == 1


@versions()
def test_the_samples_depend_on_the_model_not_on_how_it_was_reached(gpt, run, monkeypatch):
    """The seed is set again before sampling, so that evaluating more often changes nothing."""
    monkeypatch.setattr(gpt, "train", lambda *args: None)
    first = run(gpt).split("\n\n", 1)[1]
    monkeypatch.setattr(gpt, "train", lambda *args: torch.rand(3))
    assert run(gpt).split("\n\n", 1)[1] == first


@versions()
def test_the_matmul_precision_asked_for_is_set(gpt, run):
    for precision in ("medium", "highest"):
        run(gpt, max_iters=0, matmul_precision=precision)
        assert torch.get_float32_matmul_precision() == precision
