"""Speed: versions side by side, by turns, so that they have the same machine. Ratios count.

    python tools/speed.py train v12 v13 --block_size 64 --n_head 4     # training steps
    python tools/speed.py train v16 "v16 --compile" --n_embed 128      # with flags of their own
    python tools/speed.py sample v14 v15 --block_size 256              # characters sampled
    python tools/speed.py processes "v17 1" "v17 2" --n_embed 128      # one process, then two

Flags of the scripts work too. Processes have one thread each; they train, so they need the text.
"""

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path

import torch
import tyro
from measure import FOLDER, code_hash, git, machine
from rules import ROOT, find_step, import_script
from tqdm import trange

VOCAB_SIZE = 4295  # of data/ci.txt
STEPS_OF_A_ROUND = 30  # where processes are started for it


def train_step(script, config):
    """Return a function that takes one training step on random ids, and its number of tokens."""
    model = script.BabyGPT(config, VOCAB_SIZE).to(config.device)
    optimizer = torch.optim.AdamW(model.parameters())
    fast = torch.compile(model) if getattr(config, "compile", False) else model
    bfloat16 = getattr(config, "dtype", "") == "bfloat16"
    autocast = torch.autocast(config.device, torch.bfloat16, enabled=bfloat16)
    ids = torch.randint(VOCAB_SIZE, (100_000,), device=config.device)
    starts = torch.arange(config.batch_size, device=config.device) * 97

    def step():
        with autocast:
            _, loss = fast(*script.get_batch(ids, starts, config))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step, config.batch_size * config.block_size


def sampling(script, config):
    """Return a function that fills one window, and the number of characters that it samples."""
    model = script.BabyGPT(config, VOCAB_SIZE).to(config.device).eval()
    idx = torch.zeros(1, 1, dtype=torch.long, device=config.device)
    return lambda: model.generate(idx, config.block_size - 1), config.block_size - 1


def torchrun(step, processes, flags, steps):
    """Train with some processes; return the seconds of a token, as the script tracks them."""
    with tempfile.TemporaryDirectory() as folder:
        launcher = f"-m torch.distributed.run --standalone --nproc_per_node {processes}".split()
        flags = [*flags, "--max_iters", str(steps), "--eval_interval", str(steps)]
        flags += ["--eval_iters", "1", "--checkpoint_path", f"{folder}/model.pt"]
        env = {**os.environ, "WANDB_DIR": folder, "WANDB_MODE": "offline", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, *launcher, step.file, *flags]
        subprocess.run(command, cwd=ROOT, env=env, check=True, stdout=subprocess.DEVNULL)
        (file,) = Path(folder).glob("wandb/offline-run-*/*.wandb")
        command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
        lines = subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout
    records = [json.loads(line) for line in lines.splitlines()]
    (*_, last) = (r["history"]["item"] for r in records if r["type"] == "history")
    return 1 / last["tokens_per_sec"]


def one_round(what, name, flags):
    """Return a function that measures seconds, the tokens that it takes them for, and the device.

    name: a version, maybe with flags of its own; for processes, their number with it
    """
    version, *own = name.split()
    step = find_step(version)
    script = import_script(step)
    if what == "processes":
        config = tyro.cli(script.Config, args=flags, use_underscores=True)
        tokens = config.batch_size * config.block_size
        return lambda: tokens * torchrun(step, own[0], flags, STEPS_OF_A_ROUND), tokens, "cpu"
    config = tyro.cli(script.Config, args=[*flags, *own], use_underscores=True)
    torch.manual_seed(config.seed)
    run, tokens = {"train": train_step, "sample": sampling}[what](script, config)

    def timed():
        start = time.perf_counter()
        run()
        if config.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    return timed, tokens, config.device


def compare(runs, rounds):
    """Return {name: seconds of each round}, a round of each after the other; runs: {name: run}."""
    seconds = {name: [] for name in runs}
    for number in trange(rounds + 1, leave=False, disable=None):
        for name, run in runs.items():
            found = run()
            if number > 0:  # the first round also pays for what is done once
                seconds[name].append(found)
    return seconds


def main(argv=None):
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw, allow_abbrev=False)
    parser.add_argument("what", choices=["train", "sample", "processes"])
    parser.add_argument("versions", nargs="+", help='"v16 --compile"; for processes "v17 2"')
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--record", metavar="NAME", help="keep it as docs/measurements/speed/NAME")
    args, flags = parser.parse_known_args(argv)
    runs, tokens, devices = zip(
        *(one_round(args.what, name, flags) for name in args.versions), strict=True
    )
    seconds = compare(dict(zip(args.versions, runs, strict=True)), args.rounds)
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    first = medians[args.versions[0]]
    for name, median in medians.items():
        speed = f"{tokens[0] / median:,.0f} tokens a second"
        print(f"{name}: {1000 * median:.1f} ms, {speed}, {median / first:.2f} of the first")
    if args.record:
        steps = [find_step(name.split()[0]) for name in args.versions]
        record = {
            "command": shlex.join(["python", "tools/speed.py", args.what, *args.versions]),
            "flags": flags,
            "code": {f"v{step.version}": code_hash(step) for step in steps},
            "commit": git("rev-parse", "--short=12", "HEAD"),
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "machine": machine(devices[0]) | ({"threads": 1} if args.what == "processes" else {}),
            "tokens": tokens[0],
            "seconds": {name: [round(s, 5) for s in found] for name, found in seconds.items()},
        }
        folder = FOLDER / "speed"
        folder.mkdir(exist_ok=True)
        text = json.dumps(record, ensure_ascii=False, indent=1)
        (folder / f"{args.record}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
