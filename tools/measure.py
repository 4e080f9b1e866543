"""Measure: run the committed scripts as a reader would, judge what they learned, keep the record.

    python tools/measure.py                 # all sets of runs, see RUNS
    python tools/measure.py ladder          # one of them: v1 to v10 at their defaults
    python tools/measure.py laptop --seeds 1

Each run is a process of its own and ends as docs/measurements/*.json, which tools/render.py shows.
A run whose record is there, made by the same code with the same flags, is not repeated. A run that
other processes disturbed is repeated, at most twice: leave the machine alone meanwhile.
"""

import argparse
import contextlib
import hashlib
import io
import json
import multiprocessing
import os
import platform
import re
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime, timezone
from types import SimpleNamespace

from rules import ROOT, STEPS, code_lines, read_script, split_docstring
from tqdm import tqdm

FOLDER = ROOT / "docs" / "measurements"
FIRST_SEED = 1337
EVALUATION = re.compile(r"^step +(\d+): train loss ([\d.]+), val loss ([\d.]+)$", re.M)
HEADER = re.compile(r"([\d,]+) distinct\nmodel: ([\d,]+) parameters, on (\w+)")
TOO_BUSY = 0.05  # share of the cores that other processes may take during a run


def runs(versions, flags="", seeds=3, poems=20, keep="", edit=None):
    """A set of runs: versions, flags, seeds at most, poems to each tune for tools/form.py.

    keep: a file for the model. edit: a text of the script and what it is replaced by
    """
    flags = flags.split()
    return SimpleNamespace(
        versions=versions, flags=flags, seeds=seeds, poems=poems, keep=keep, edit=edit
    )


MINUTES = "--n_embed 128 --n_head 4 --n_layer 4 --learning_rate 6e-3 --dropout 0 --max_iters {}"
LAPTOP = f"--block_size 64 --batch_size 32 {MINUTES}"
HOUR = "--block_size 128 --n_embed 192 --n_head 6 --n_layer 4 --batch_size 16 --max_iters {}"
HOUR += " --eval_interval 500 --learning_rate 2e-3 --dropout {}"
EVENING = "data/babygpt_evening.pt"
RUNS = {
    "ladder": runs(range(1, 11)),
    "laptop": runs([11], LAPTOP.format(1000), poems=100),
    "hour": runs([12], HOUR.format(10000, 0.1), seeds=1, poems=100),
    "hour_dropout_0": runs([12], HOUR.format(12000, 0), seeds=1, poems=100),
    "fused": runs([13], LAPTOP.format(1000), poems=100),
    "rotary": runs([14], LAPTOP.format(950), poems=100),  # as many minutes
    "evening": runs([15], HOUR.format(10000, 0.1), seeds=1, poems=100, keep=EVENING),
    # Settings in which a step shows what it does not at the defaults
    "rate_1e-3": runs([6], "--learning_rate 1e-3"),
    "rate_3e-4": runs([6], "--learning_rate 3e-4"),
    "little_text": runs([9, 10], "--train_ratio 0.02"),
}
for size in (8, 16, 32, 128):  # beside the laptop's 64, with as many characters a step
    flags = f"--block_size {size} --batch_size {2048 // size} {MINUTES.format(1000)}"
    RUNS[f"context_{size}"] = runs([11], flags, seeds=1)
MASK = '        scores = scores.masked_fill(self.tril[:T, :T] == 0, float("-inf"))  # (B, T, T)\n'
EXERCISES = {  # of the pages: versions, flags, and what is edited
    "n_embed_16": ([1], "--n_embed 16"),
    "n_embed_512": ([1], "--n_embed 512"),
    "block_1": ([1, 2], "--block_size 1"),
    "no_mask": ([3], "", (MASK, "")),
    "n_head_1": ([4], "--n_head 1"),
    "n_head_32": ([4], "--n_head 32"),
    "no_relu": ([5], "", ("            nn.ReLU(),\n", "")),
    "n_layer_1": ([6], "--n_layer 1"),
    "n_layer_2": ([6], "--n_layer 2"),
    "residual_sa": ([7], "", ("x = x + self.ffwd(x)", "x = self.ffwd(x)")),
    "residual_ffwd": ([7], "", ("    x = x + self.sa(x)", "    x = self.sa(x)")),
    "wider_v7": ([7], "--n_embed 136"),
    "rate_1e-2": ([8, 9], "--learning_rate 1e-2"),
    "more_dropout": ([10], "--train_ratio 0.02 --dropout 0.4"),
}
for name, (versions, flags, *edit) in EXERCISES.items():
    edit = edit[0] if edit else None
    RUNS[f"exercise_{name}"] = runs(versions, flags, seeds=1, poems=1, edit=edit)


def code_hash(step):
    """Return a short hash of a script's code: docstrings and comments do not count."""
    code = "\n".join(code_lines(split_docstring(read_script(step))[1].splitlines(keepends=True)))
    return hashlib.sha256(code.encode()).hexdigest()[:12]


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None


def seconds_of_others():
    """Return the seconds that all cores have worked for other processes; None without /proc."""
    if not os.path.exists("/proc/stat"):
        return None
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _, _, *more = map(int, file.readline().split()[1:9])
    all_of_them = (user + nice + system + sum(more)) / os.sysconf("SC_CLK_TCK")
    return all_of_them - sum(os.times()[:4])  # without this process and its children


def machine(device):
    """Return on what a run was made; threads as torch takes them by default."""
    import torch

    cpu = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            cpu = re.search(r"model name\s*: (.*)", file.read())[1]
    found = {"device": device, "cpu": cpu, "cores": os.cpu_count(), "system": platform.system()}
    if device == "cuda":
        found["gpu"] = torch.cuda.get_device_name()
    found["threads"] = torch.get_num_threads()
    return found | {"python": platform.python_version(), "torch": torch.__version__}


def measure(step, seed, run):
    """Run one script to its end; return the record of the run, or exit with its error."""
    commit = git("rev-parse", "--short=12", "HEAD")
    argv = ["--seed", str(seed), *run.flags]
    command = " ".join(["python", step.file, *argv])
    spawn = multiprocessing.get_context("spawn")  # a fresh Python, as a reader starts one
    try:
        with ProcessPoolExecutor(1, mp_context=spawn) as pool:
            record = pool.submit(run_and_judge, step, argv, run, time.time()).result()
    except SystemExit as error:  # of the script: it has said why
        sys.exit(f"error: {command} failed: {error}")
    return {"command": command, "code": code_hash(step), "commit": commit, **record}


def keep_half(script, model, tokenizer, config, data, file):
    """Write a model in half precision, as a checkpoint of v12; the model itself is rounded too."""
    import torch

    model.half().float()
    names = ("block_size", "n_embed", "n_head", "n_layer")
    saved = {"shape": {name: getattr(config, name) for name in names if hasattr(config, name)}}
    saved["chars"] = tokenizer.chars
    saved["model"] = {name: value.half() for name, value in model.state_dict().items()}
    saved["val_loss"] = script.estimate_loss(model, data, config)["val"]
    torch.save(saved, ROOT / file)
    return {"file": file, "sha256": sha256(ROOT / file)}


def run_and_judge(step, argv, run, start):
    """Run one script in this process, then judge its model. start is when Python was started."""
    import resource

    import form  # and with it torch, within the time that is measured
    import torch
    import xray

    date = datetime.now(timezone.utc).isoformat(timespec="seconds")
    load, others, printed = os.getloadavg()[0], seconds_of_others(), io.StringIO()
    os.chdir(ROOT)
    with contextlib.redirect_stdout(printed):
        script, model, tokenizer, config = form.run(step, argv, run.edit)
    seconds = time.time() - start
    others = None if others is None else round(max(0, seconds_of_others() - others), 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    output = printed.getvalue()
    _, data = script.load_data(config)
    torch.manual_seed(config.seed)
    untrained = script.BabyGPT(config, len(tokenizer.chars)).to(config.device)
    more = {"edit": run.edit} if run.edit else {}
    if run.keep:
        more["kept"] = keep_half(script, model, tokenizer, config, data, run.keep)
    vocabulary, parameters, device = HEADER.search(output).groups()
    return {
        "date": date,
        "vocabulary": int(vocabulary.replace(",", "")),
        "parameters": int(parameters.replace(",", "")),
        "curve": [
            {"step": int(step), "train_loss": float(train), "val_loss": float(val)}
            for step, train, val in EVALUATION.findall(output)
        ],
        "output": output.rstrip("\n"),
        "seconds": round(seconds, 1),
        "seconds_of_others": others,
        "load_before": round(load, 2),
        "peak_megabytes": round(peak / (1024 if platform.system() != "Darwin" else 1024**2)),
        "machine": machine(device),
        "depth": {
            "untrained": xray.depth(script, untrained, config, data["train"]),
            "trained": xray.depth(script, model, config, data["train"]),
        },
        **more,
        "form": form.judge(script, model, tokenizer, config, run.poems),
    }


def git(*arguments):
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, check=True, encoding="utf-8"
    ).stdout.strip()


def disturbed(record):
    """Return whether other processes took so much of the machine that the time says little."""
    others = record["seconds_of_others"]
    return others is not None and others > TOO_BUSY * record["seconds"] * os.cpu_count()


def measure_all(name, seeds):
    """Measure what has no record yet of a set of runs, seed by seed; write a file for each."""
    if git("status", "--porcelain", "--", *(step.file for step in STEPS), "data"):
        sys.exit("error: the scripts or data/ have changes that are not committed")
    wanted_runs, todo = RUNS[name], []
    for seed in range(FIRST_SEED, FIRST_SEED + min(seeds, wanted_runs.seeds)):
        for step in (STEPS[version - 1] for version in wanted_runs.versions):
            file = FOLDER / f"{name}_v{step.version:02}_seed{seed}.json"
            wanted = {"run": name, "version": step.version, "seed": seed}
            wanted["flags"] = wanted_runs.flags
            done = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
            if not (wanted | {"code": code_hash(step)}).items() <= done.items():
                todo.append((file, wanted, step))
    FOLDER.mkdir(parents=True, exist_ok=True)
    for file, wanted, step in tqdm(todo, unit="run"):
        tries = []
        while not tries or (disturbed(tries[-1]) and len(tries) < 3):
            tries.append(measure(step, wanted["seed"], wanted_runs))
        record = wanted | min(tries, key=lambda record: record["seconds_of_others"] or 0)
        text = json.dumps(record | {"tries": len(tries)}, ensure_ascii=False, indent=1)
        file.write_text(text + "\n", encoding="utf-8")
        loss, seconds = record["curve"][-1]["val_loss"], record["seconds"]
        tqdm.write(f"{file.stem}: val loss {loss:.4f}, {seconds:.0f} s, {len(tries)} tries")


def main(argv=None):
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument(
        "runs", nargs="*", metavar="RUN", help=f"of {', '.join(RUNS)} (default: all)"
    )
    parser.add_argument("--seeds", type=int, default=3, help="of each, at most (default: 3)")
    args = parser.parse_args(argv)
    if unknown := set(args.runs) - set(RUNS):
        parser.error(f"no such set of runs: {', '.join(unknown)}; see --help")
    for name in args.runs or RUNS:
        measure_all(name, args.seeds)


if __name__ == "__main__":
    main()
