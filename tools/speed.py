"""Speed: two versions side by side in one process, by turns, so that both have the same machine.

    python tools/speed.py train v12 v13 --block_size 64 --n_head 4    # training steps
    python tools/speed.py sample v14 v15 --block_size 256             # characters sampled

Flags of the scripts work too. The ratio of the medians is what counts: seconds are of this machine.
"""

import argparse
import json
import statistics
import time
from datetime import datetime, timezone

import torch
import tyro
from measure import FOLDER, code_hash, git, machine
from rules import find_step, import_script
from tqdm import trange

VOCAB_SIZE = 4295  # of data/ci.txt


def train_step(script, config):
    """Return a function that takes one training step on random ids, and its number of tokens."""
    model = script.BabyGPT(config, VOCAB_SIZE).to(config.device)
    optimizer = torch.optim.AdamW(model.parameters())
    ids = torch.randint(VOCAB_SIZE, (100_000,), device=config.device)
    starts = torch.arange(config.batch_size, device=config.device) * 97

    def step():
        _, loss = model(*script.get_batch(ids, starts, config))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step, config.batch_size * config.block_size


def sampling(script, config):
    """Return a function that fills one window, and the number of characters that it samples."""
    model = script.BabyGPT(config, VOCAB_SIZE).to(config.device).eval()
    idx = torch.zeros(1, 1, dtype=torch.long, device=config.device)
    return lambda: model.generate(idx, config.block_size - 1), config.block_size - 1


def compare(make, steps, flags, rounds):
    """Return {version: seconds of each round}, one round of each version after the other."""
    runs = {}
    for step in steps:
        script = import_script(step)
        config = tyro.cli(script.Config, args=flags, use_underscores=True)
        torch.manual_seed(config.seed)
        runs[step.version], amount = make(script, config)
        runs[step.version]()  # the first one also pays for what is done once
    seconds = {version: [] for version in runs}
    for _ in trange(rounds, leave=False, disable=None):
        for version, run in runs.items():
            start = time.perf_counter()
            run()
            if config.device == "cuda":
                torch.cuda.synchronize()
            seconds[version].append(time.perf_counter() - start)
    return seconds, amount, config.device


def main(argv=None):
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw, allow_abbrev=False)
    parser.add_argument("what", choices=["train", "sample"])
    parser.add_argument("versions", nargs=2, type=find_step)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--record", metavar="NAME", help="keep it as docs/measurements/speed/NAME")
    args, flags = parser.parse_known_args(argv)
    make = {"train": train_step, "sample": sampling}[args.what]
    seconds, amount, device = compare(make, args.versions, flags, args.rounds)
    old, new = map(statistics.median, seconds.values())
    for step, median in zip(args.versions, (old, new), strict=True):
        print(f"v{step.version}: {1000 * median:.1f} ms, {amount / median:,.0f} tokens a second")
    print(f"v{args.versions[1].version} takes {new / old:.2f} of the time")
    if args.record:
        record = {
            "command": " ".join(["python tools/speed.py", args.what, *(f"v{v}" for v in seconds)]),
            "flags": flags,
            "code": {f"v{step.version}": code_hash(step) for step in args.versions},
            "commit": git("rev-parse", "--short=12", "HEAD"),
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "machine": machine(device),
            "tokens": amount,
            "seconds": {f"v{v}": [round(s, 5) for s in found] for v, found in seconds.items()},
        }
        folder = FOLDER / "speed"
        folder.mkdir(exist_ok=True)
        text = json.dumps(record, ensure_ascii=False, indent=1)
        (folder / f"{args.record}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
