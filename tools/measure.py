"""Measure: run the committed scripts as a reader would, and keep what came out.

    python tools/measure.py ladder            # v1 to v10 at their defaults, three seeds each
    python tools/measure.py laptop --seeds 1  # another set of runs, see RUNS; fewer seeds

Each run is a process of its own and ends as docs/measurements/*.json, which tools/render.py shows.
A run whose record is there, made by the same code with the same flags, is not repeated. A run that
other processes disturbed is repeated, at most twice: leave the machine alone meanwhile.
"""

import argparse
import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import time
from datetime import datetime, timezone

from rules import ROOT, STEPS, code_lines, read_script, split_docstring
from tqdm import tqdm

FOLDER = ROOT / "docs" / "measurements"
FIRST_SEED = 1337
LAPTOP = "--block_size 64 --n_embed 128 --n_head 4 --n_layer 4 --batch_size 32 --max_iters 1000"
LAPTOP += " --learning_rate 3e-3 --dropout 0"
HOUR = "--block_size 128 --n_embed 192 --n_head 6 --n_layer 4 --batch_size 16 --max_iters 10000"
HOUR += " --eval_interval 500 --learning_rate 2e-3 --dropout 0.1"
RUNS = {  # versions, flags
    "ladder": (range(1, 11), []),
    "laptop": ([11], LAPTOP.split()),
    "hour": ([12], HOUR.split()),
}
EVALUATION = re.compile(r"^step +(\d+): train loss ([\d.]+), val loss ([\d.]+)$", re.M)
HEADER = re.compile(r"([\d,]+) distinct\nmodel: ([\d,]+) parameters, on (\w+)")
TOO_BUSY = 0.05  # share of the cores that other processes may take during a run


def code_hash(step):
    """Return a short hash of a script's code: docstrings and comments do not count."""
    code = "\n".join(code_lines(split_docstring(read_script(step))[1].splitlines(keepends=True)))
    return hashlib.sha256(code.encode()).hexdigest()[:12]


def busy_seconds():
    """Return the seconds that all cores together have worked, or None where there is no /proc."""
    if not os.path.exists("/proc/stat"):
        return None
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _, _, *more = map(int, file.readline().split()[1:9])
    return (user + nice + system + sum(more)) / os.sysconf("SC_CLK_TCK")


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


def measure(step, seed, flags):
    """Run one script to its end; return the record of the run, or exit with its error."""
    command = [step.file, "--seed", str(seed), *flags]
    env = os.environ | {"PYTHONUTF8": "1"}
    load, busy, start = os.getloadavg()[0], busy_seconds(), time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, env=env, encoding="utf-8", stdout=subprocess.PIPE
    )
    output = process.stdout.read()
    _, process.returncode, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if process.returncode:
        sys.exit(f"error: {' '.join(command)} failed")
    others = None
    if busy is not None:
        others = max(0, busy_seconds() - busy - usage.ru_utime - usage.ru_stime)
    vocabulary, parameters, device = HEADER.search(output).groups()
    kilobytes = usage.ru_maxrss / (1024 if platform.system() == "Darwin" else 1)
    return {
        "command": "python " + " ".join(command),
        "code": code_hash(step),
        "commit": git("rev-parse", "--short=12", "HEAD"),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "vocabulary": int(vocabulary.replace(",", "")),
        "parameters": int(parameters.replace(",", "")),
        "curve": [
            {"step": int(step), "train_loss": float(train), "val_loss": float(val)}
            for step, train, val in EVALUATION.findall(output)
        ],
        "output": output.rstrip("\n"),
        "seconds": round(seconds, 1),
        "seconds_of_others": others if others is None else round(others, 1),
        "load_before": round(load, 2),
        "peak_megabytes": round(kilobytes / 1024),
        "machine": machine(device),
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
    versions, flags = RUNS[name]
    todo = []
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        for step in (STEPS[version - 1] for version in versions):
            file = FOLDER / f"{name}_v{step.version:02}_seed{seed}.json"
            wanted = {"run": name, "version": step.version, "seed": seed, "flags": flags}
            done = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
            if not (wanted | {"code": code_hash(step)}).items() <= done.items():
                todo.append((file, wanted, step))
    FOLDER.mkdir(parents=True, exist_ok=True)
    for file, wanted, step in tqdm(todo, unit="run"):
        tries = [measure(step, wanted["seed"], flags)]
        while disturbed(tries[-1]) and len(tries) < 3:
            tries.append(measure(step, wanted["seed"], flags))
        record = wanted | min(tries, key=lambda record: record["seconds_of_others"] or 0)
        text = json.dumps(record | {"tries": len(tries)}, ensure_ascii=False, indent=1)
        file.write_text(text + "\n", encoding="utf-8")
        loss, seconds = record["curve"][-1]["val_loss"], record["seconds"]
        tqdm.write(f"{file.stem}: val loss {loss:.4f}, {seconds:.0f} s, {len(tries)} tries")


def main(argv=None):
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("runs", nargs="+", choices=RUNS)
    parser.add_argument("--seeds", type=int, default=3, help="of each (default: %(default)s)")
    args = parser.parse_args(argv)
    for name in args.runs:
        measure_all(name, args.seeds)


if __name__ == "__main__":
    main()
