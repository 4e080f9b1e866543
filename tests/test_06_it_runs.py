"""Real runs: each script as a user starts it, from another folder, on a text of its own."""

import io
import itertools
import math
import os
import re
import runpy
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from conftest import (
    LAST,
    TEXT,
    VOCAB,
    changed,
    flags,
    interrupt,
    loaded,
    new_model,
    says,
    small,
    versions,
    versions_with,
)
from runs import files_below, finish, losses_of, samples_of, start, wait_for, without_checkpoint
from steps import STEPS

IMPORT_ALL = """
import os, sys, importlib.util
import torch, wandb
seen = []
sys.addaudithook(lambda event, args: seen.append(str(args[0])) if event == "open" else None)
state = torch.get_rng_state()
for path in sys.argv[1:]:
    spec = importlib.util.spec_from_file_location("script", path)
    sys.modules["script"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["script"])
assert torch.equal(state, torch.get_rng_state()), "random numbers drawn"
assert wandb.run is None
assert not [path for path in seen if path.endswith((".txt", ".pt"))], seen
"""


def test_importing_a_script_does_nothing(tmp_path):
    command = [sys.executable, "-B", "-c", IMPORT_ALL, *(str(step.path) for step in STEPS)]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (result.stdout, result.stderr, result.returncode) == ("", "", 0)
    assert files_below(tmp_path) == []


# --- the command line


@pytest.fixture
def config_from(monkeypatch):
    """Return config_from(gpt, argv): the Config that main() makes of a command line."""

    class Made(Exception):
        pass

    def stop(config, *args):
        raise Made(config)

    def config_from(gpt, argv):
        monkeypatch.setattr(gpt, "load_data", stop)
        with pytest.raises(Made) as made:
            gpt.main(argv)
        return made.value.args[0]

    return config_from


@changed("Config")
def test_every_field_of_config_is_a_flag_that_help_lists(gpt, config_from, capsys):
    changes = dict(train_ratio=0.7, seed=5, data_path="some.txt", dropout=0.3, n_layer=5)
    assert config_from(gpt, flags(gpt, **changes)) == small(gpt, **changes)
    assert config_from(gpt, []) == gpt.Config()
    with pytest.raises(SystemExit) as end:
        gpt.main(["--help"])
    shown = capsys.readouterr().out
    assert end.value.code == 0 and all(f"--{name}" in shown for name in vars(gpt.Config()))


@versions(1)
def test_the_default_device_is_cuda_where_there_is_one_and_never_mps(gpt, fresh, monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    for there, device in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert fresh(gpt).Config().device == device


@versions(1, 13)  # beside data/, and one folder further down
def test_the_poems_are_found_from_any_folder_but_a_text_of_that_name_here_comes_first(
    gpt, tmp_path, device
):
    config = gpt.Config(prompts=(), device=device)
    tokenizer, data = gpt.load_data(config)
    assert len(tokenizer.chars) > 4000 and sum(map(len, data.values())) > 10**6
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "ci.txt").write_text(TEXT * 5, encoding="utf-8")
    assert len(gpt.load_data(config)[0].chars) == VOCAB


# --- a whole run, in the versions with another train()

RUNS_ANEW = versions_with("train")
runs_anew = versions(*RUNS_ANEW)

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
    """Return {script: (stdout, stderr, exit status, folder)}, two processes at a time.

    As on Windows, where a file or a pipe has the country's code page: poems would be lost in it.
    """

    def result(gpt):
        folder = tmp_path_factory.mktemp(gpt.__name__)
        argv = flags(gpt, data_path=greek, **SETTINGS)
        country = {"PYTHONHASHSEED": "1", "PYTHONIOENCODING": "cp1252"}
        return *finish(start(gpt.__name__, argv, folder, **country)), folder

    scripts = [loaded(version) for version in RUNS_ANEW]
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(scripts, pool.map(result, scripts), strict=True))


@runs_anew
def test_a_run_from_another_folder_ends_well_and_leaves_nothing_but_v12s_model(results, gpt):
    """And quietly: no progress bar where the output is no terminal, and no warnings."""
    _, err, status, folder = results[gpt]
    assert (err, status) == ("", 0)
    left = files_below(folder)
    assert len(left) == hasattr(gpt, "save_checkpoint")
    assert all(name.startswith(gpt.__name__) and name.endswith(".pt") for name in left)
    assert files_below(folder.parent / f"{folder.name}-home") == []


@runs_anew
def test_a_run_prints_header_progress_and_a_sample_for_each_prompt(results, gpt):
    header, _, rest = results[gpt][0].partition("\n\n")
    parameters = sum(p.numel() for p in new_model(gpt, vocab_size=len(GREEK)).parameters())
    assert f"{36 * 15} characters, {len(GREEK)} distinct" in header
    assert f"{parameters:,} parameters, on cpu" in header
    assert f"{math.log(len(GREEK)):.4f}" in header
    assert [step for step, *_ in losses_of(header)] == [0, 5, 10, 12]
    for prompt in PROMPTS:
        assert rest.startswith(prompt)
        assert set(rest[: len(prompt) + 12]) <= set(GREEK)
        rest = rest[len(prompt) + 12 + len("\n\n") :]
    assert rest == ""


@runs_anew
def test_a_second_run_in_another_process_prints_the_same(results, run, greek, gpt):
    """Losses and samples to the last digit; the first process hashed its strings otherwise."""
    out = run(gpt, data_path=greek, **SETTINGS)
    assert without_checkpoint(out) == without_checkpoint(results[gpt][0])


@says(
    "the same seed gives the same run, another seed another one",
    "种子相同，运行就相同；换一个种子，运行就不同",
)
@runs_anew
def test_the_same_seed_gives_the_same_run_and_another_seed_another(gpt, device, run):
    first, again, other = (run(gpt, seed=seed, device=device) for seed in (1, 1, 2))
    assert without_checkpoint(again) == without_checkpoint(first)
    assert losses_of(other) != losses_of(first)
    assert samples_of(other) != samples_of(first)


@runs_anew
def test_main_returns_the_model_that_it_sampled_from_its_tokenizer_and_the_config(gpt, run):
    out = run(gpt, max_new_tokens=30)
    model, tokenizer, config = run.result
    assert config.max_new_tokens == 30
    torch.manual_seed(config.seed)
    ids = torch.tensor([tokenizer.encode("天地")])
    text = tokenizer.decode(model.eval().generate(ids, 30)[0].tolist())
    assert samples_of(out).startswith(text)


# --- Ctrl-C


@changed("train")
def test_ctrl_c_ends_the_training_with_one_more_evaluation_but_not_the_script(
    gpt, run, monkeypatch
):
    interrupt(gpt, monkeypatch, step=7)
    out = run(gpt, max_iters=1000, eval_interval=5)
    assert [step for step, *_ in losses_of(out)] == [0, 5, 8]
    assert samples_of(out).startswith("天地")


@changed("train")
def test_a_second_ctrl_c_skips_that_evaluation_too(gpt, run, monkeypatch):
    estimate_loss, count = gpt.estimate_loss, itertools.count()

    def interrupted(*args):
        if next(count) == 1:
            raise KeyboardInterrupt
        return estimate_loss(*args)

    interrupt(gpt, monkeypatch, step=7)
    monkeypatch.setattr(gpt, "estimate_loss", interrupted)
    out = run(gpt, max_iters=1000)
    assert [step for step, *_ in losses_of(out)] == [0] and samples_of(out).startswith("天地")


@pytest.mark.skipif(os.name == "nt", reason="needs process groups, to press Ctrl-C for one alone")
@versions(1, LAST)
def test_a_real_ctrl_c_in_mid_training_still_samples(tmp_path, greek, gpt):
    """As a terminal sends it: to the script and to all that it has started."""
    long = {"data_path": greek, "max_iters": 10**6, "eval_interval": 20, "prompts": ["ΑΒ"]}
    long |= {"wandb_mode": "offline"}
    folder = tmp_path / "work"
    folder.mkdir()
    process = start(gpt.__name__, flags(gpt, **long), folder)
    wait_for(process, "step    40")
    os.killpg(process.pid, signal.SIGINT)
    out, err, status = finish(process)
    assert status == 0 and "Traceback" not in err
    assert samples_of(out).startswith("ΑΒ")
    if hasattr(gpt, "save_checkpoint"):
        assert {name.rpartition(".")[2] for name in files_below(folder)} >= {"pt", "wandb"}


# --- where the output goes


@pytest.fixture
def run_as_main(corpus, monkeypatch):
    """Return run_as_main(gpt, stdout): run the script as a program, writing to stdout."""

    def run_as_main(gpt, stdout):
        argv = flags(gpt, data_path=corpus, max_iters=0, prompts=["天地"], max_new_tokens=3)
        monkeypatch.setattr(sys, "argv", [gpt.__file__, *argv])
        monkeypatch.setattr(sys, "stdout", stdout)
        runpy.run_path(gpt.__file__, run_name="__main__")
        stdout.flush()
        return stdout

    return run_as_main


@versions(1)
def test_an_output_that_cannot_be_reconfigured_will_do(gpt, run_as_main):
    """In IDLE, Spyder and Jupyter, sys.stdout is an object of their own."""
    assert "\n天地" in run_as_main(gpt, io.StringIO()).getvalue()


@runs_anew
def test_what_is_written_is_utf8_whatever_the_system_prefers(results, gpt):
    assert samples_of(results[gpt][0]).startswith("ΑΒ")


@versions(1)
def test_lines_come_out_at_once_in_a_pipe(gpt, tmp_path, greek):
    """Else whoever watches a log of hours sees nothing until the end."""
    argv = flags(gpt, data_path=greek, prompts=["ΑΒ"], max_iters=20_000, eval_interval=20_000)
    with start(gpt.__name__, argv, tmp_path) as process:
        wait_for(process, "step     0")
        process.kill()
        assert not losses_of(process.stdout.read())  # the last step was not there yet


@versions(1)
def test_on_a_terminal_a_bar_shows_the_steps_and_the_time_left(gpt, run, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    run(gpt)
    assert re.search(r"\d+/\d+ \[00:00<", sys.stderr.getvalue())
