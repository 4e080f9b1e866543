"""Speed: versions side by side, by turns, so that they have the same machine. Ratios count.

    python workshop/speed.py train v12 v13 --block_size 64 --n_head 4     # training steps
    python workshop/speed.py train v16 "v16 --compile" --n_embed 128      # with flags of their own
    python workshop/speed.py sample v14 v15 --block_size 256              # characters sampled
    python workshop/speed.py processes "v17 1" "v17 2" --n_embed 128      # one process, then two

Flags of the scripts work too. A training step is one of the script's own loop, from one batch to
the next. Processes have one thread each.
"""

import contextlib
import io
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from argparse import RawDescriptionHelpFormatter as Raw
from functools import partial
from pathlib import Path
from unittest.mock import patch

import records
import torch
import tyro
import xray
from machine import machine
from measure import commit, now
from steps import ROOT, find_step, import_script
from tqdm import trange

STEPS_OF_A_ROUND = 10
BRIEF = "--eval_iters 1 --eval_interval 1000000".split()


def read(step, flags):
    script = import_script(step)
    return script, tyro.cli(script.Config, args=flags, use_underscores=True)


def train(step, flags):
    """Return the median seconds of a training step, from one batch to the next."""
    script, config = read(step, flags)
    times, get_batch = [], script.get_batch

    def noted(*args):
        if torch.is_grad_enabled():  # else it is for an evaluation
            if config.device == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter())
        return get_batch(*args)

    torch.set_float32_matmul_precision("highest")  # which v16 changes for the whole process
    flags = [*flags, *BRIEF, "--max_iters", str(STEPS_OF_A_ROUND + 3)]
    with patch.object(script, "get_batch", noted), contextlib.redirect_stdout(io.StringIO()):
        xray.train(script, flags)  # which leaves nothing
    steps = [after - before for before, after in zip(times, times[1:], strict=False)]
    return statistics.median(steps[2:])  # the first ones also pay for what is done once


def sample(step, flags):
    """Return the seconds in which a model fills one window, character by character."""
    script, config = read(step, flags)
    tokenizer, _ = script.load_data(config)
    model = script.BabyGPT(config, len(tokenizer.chars)).to(config.device).eval()
    ids, start = torch.zeros(1, 1, dtype=torch.long, device=config.device), time.perf_counter()
    model.generate(ids, config.block_size - 1).tolist()  # a list: waits for the GPU
    return time.perf_counter() - start


def processes(step, flags):
    """Return the seconds of a training step of several processes, as the script tracks itself."""
    *flags, number = flags
    _, config = read(step, flags)
    launcher = f"-m torch.distributed.run --standalone --nproc_per_node {number}".split()
    with tempfile.TemporaryDirectory() as folder:
        end = ["--max_iters", str(3 * STEPS_OF_A_ROUND), "--checkpoint_path", f"{folder}/model.pt"]
        env = {**os.environ, "WANDB_DIR": folder, "WANDB_MODE": "offline", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, *launcher, step.file, *flags, *BRIEF, *end]
        subprocess.run(command, cwd=ROOT, env=env, check=True, stdout=subprocess.DEVNULL)
        (file,) = Path(folder).glob("wandb/offline-run-*/*.wandb")
        command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
        lines = subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout
    items = [json.loads(line).get("history", {}).get("item", {}) for line in lines.splitlines()]
    (speed,) = (item["tokens_per_sec"] for item in items if "tokens_per_sec" in item)
    return config.batch_size * config.block_size / speed


def one_round(what, name, flags):
    """Return a function that measures seconds; name: a version and what is its own, "v17 2"."""
    version, *own = name.split()
    measure = {"train": train, "sample": sample, "processes": processes}[what]
    return partial(measure, find_step(version), [*flags, *own])


def compare(runs, rounds):
    """Return {name: seconds of each round}, a round of each after the other; runs: {name: run}."""
    seconds = {name: [] for name in runs}
    for number in trange(rounds + 1, leave=False, disable=None):
        for name, run in runs.items():
            found = run()
            seconds[name] += [round(found, 5)] if number else []  # the first also pays for imports
    return seconds


def main(argv=None):
    parser = ArgumentParser(description=__doc__, formatter_class=Raw, allow_abbrev=False)
    parser.add_argument("what", choices=["train", "sample", "processes"])
    parser.add_argument("versions", nargs="+", help='"v16 --compile"; for processes "v17 2"')
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--record", metavar="NAME", help="keep it, by a name as train_v13_small")
    args, flags = parser.parse_known_args(argv)
    try:
        runs = {name: one_round(args.what, name, flags) for name in args.versions}
    except ValueError as error:
        parser.error(error)
    seconds = compare(runs, args.rounds)
    medians = [statistics.median(found) for found in seconds.values()]
    for name, median in zip(seconds, medians, strict=True):
        print(f"{name}: {1000 * median:.1f} ms, {median / medians[0]:.2f} of the first")
    if args.record:
        steps = [find_step(name.split()[0]).name for name in args.versions]
        record = {"name": args.record, "flags": flags, "seconds": seconds}
        record["command"] = shlex.join(["python", "workshop/speed.py", args.what, *args.versions])
        record["code"] = {name: records.code_of(name) for name in steps}
        record |= {"commit": commit(), "date": now()}
        record["machine"] = machine("cuda" if torch.cuda.is_available() else "cpu")
        records.write("speed", record, ["name"])


if __name__ == "__main__":
    main()
