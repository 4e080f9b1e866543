"""Measure what the scripts promise about speed and memory; write docs/bench.json.

    python tools/bench.py

Speeds are ratios within one run, taken in turns, since machines are noisy. The 100 MB text takes a
process of its own, so that its peak memory is its own (read from /proc: Linux only).
"""

import argparse
import importlib
import json
import math
import multiprocessing
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import torch
from ladder import ROOT, STEPS, machine

sys.path.insert(0, str(ROOT))


def prepare(file, **knobs):
    """Return the module, config, data and a fresh model of one script."""
    module = importlib.import_module(Path(file).stem)
    config = module.Config(device="cpu", **knobs)
    text = module.load_text(config)
    tokenizer = module.Tokenizer(text)
    data = module.split_text(text, tokenizer, config)
    torch.manual_seed(config.seed)
    return module, config, data, module.BabyGPT(config, tokenizer.vocab_size)


def stepper(module, config, data, model):
    """Return a function that takes one training step, as train() of the scripts does."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, fused=True)

    def step():
        torch.set_float32_matmul_precision(config.matmul_precision)
        _, loss = model(*module.get_batch(data["train"], config))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def seconds(function, times=1):
    """Return the mean seconds of one call."""
    start = time.perf_counter()
    for _ in range(times):
        function()
    return (time.perf_counter() - start) / times


def data_ready(file):
    """Return the seconds from the imports to the data on the device."""
    module = importlib.import_module(Path(file).stem)
    config = module.Config(device="cpu")

    def load():
        text = module.load_text(config)
        module.split_text(text, module.Tokenizer(text), config)

    return seconds(load)


def evaluation_share(file):
    """Return the part of a default run's training and evaluation that evaluation takes."""
    module, config, data, model = prepare(file)
    step = stepper(module, config, data, model)
    step()
    evaluate = train = math.inf
    for _ in range(3):  # the fastest of three: the others were disturbed
        evaluate = min(evaluate, seconds(lambda: module.estimate_loss(model, data, config)))
        train = min(train, seconds(step, times=10))
    evaluations = -(-config.max_iters // config.eval_interval) + 1
    evaluate, train = evaluate * evaluations, train * config.max_iters
    return evaluate / (evaluate + train)


def precision_gain(file, batch_size, rounds):
    """Return how many times faster a step is at "medium" than at "highest"."""
    steps = {}
    for precision in ("highest", "medium"):
        steps[precision] = stepper(
            *prepare(file, matmul_precision=precision, batch_size=batch_size)
        )
        steps[precision]()
    took = dict.fromkeys(steps, 0.0)
    for _ in range(rounds):
        for precision, step in steps.items():
            took[precision] += seconds(step)
    return took["highest"] / took["medium"]


def load_large(file, megabytes, queue):
    """Put (seconds, peak megabytes) of making a text of this size ready into queue."""
    module = importlib.import_module(Path(file).stem)
    poems = Path(module.Config().data_path).read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.txt"
        with path.open("wb") as out:
            for _ in range(round(megabytes * 1e6 / len(poems))):
                out.write(poems)
        config = module.Config(device="cpu", data_path=str(path))
        start = time.perf_counter()
        text = module.load_text(config)
        module.split_text(text, module.Tokenizer(text), config)
        took = time.perf_counter() - start
    # Not getrusage: the peak that it tells begins with that of the process that started this one
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    queue.put((took, int(peak[1]) / 1024))


def large_text(file, megabytes):
    """Return {"seconds", "peak_megabytes"} of loading so large a text in a fresh process."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=load_large, args=(file, megabytes, queue))
    process.start()
    took, peak = queue.get()
    process.join()
    return {"seconds": round(took, 2), "peak_megabytes": round(peak)}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", default=str(ROOT / "docs" / "bench.json"), help="(%(default)s)")
    args = parser.parse_args(argv)
    files = [step.file for step in STEPS]
    result = {
        "data_ready_seconds": round(data_ready(files[0]), 3),
        "evaluation_share": {file: round(evaluation_share(file), 3) for file in files[:10]},
        "medium_over_highest": {
            "v10, default size": round(precision_gain(files[9], batch_size=128, rounds=20), 2),
            "v11, batch 16": round(precision_gain(files[10], batch_size=16, rounds=3), 2),
        },
        "text_50_MB": large_text(files[0], 50),
        "text_100_MB": large_text(files[0], 100),
        "machine": machine("cpu"),
        "load_average": round(os.getloadavg()[0], 1),
    }
    Path(args.out).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
