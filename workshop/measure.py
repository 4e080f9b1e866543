"""Measure: run the committed scripts as a reader would, judge what they learned, keep the record.

    python workshop/measure.py                 # all sets of runs, see runs.toml
    python workshop/measure.py ladder          # one of them: v1 to v10 at their defaults
    python workshop/measure.py laptop --seeds 1

Each run is a process of its own and ends as a line of docs/records, which render.py shows.
A run whose record is there, made by the same code, flags and text, is not repeated. A run that
other processes disturbed is repeated, at most twice: leave the machine alone meanwhile.
"""

import contextlib
import io
import multiprocessing
import os
import platform
import re
import sys
import time
from argparse import ArgumentParser
from argparse import RawDescriptionHelpFormatter as Raw
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime, timezone

import records
from carry import git
from records import RUNS, code_of, disturbed, sha256
from steps import ROOT, STEPS, find_step, import_script, trained
from tqdm import tqdm

FIRST_SEED = 1337
TEXT = ROOT / "data" / "ci.txt"
EVALUATION = re.compile(r"^step +(\d+): train loss ([\d.]+), val loss ([\d.]+)$", re.M)


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
            names = re.search(r"model name\s*: (.*)", file.read())  # ARM has none
        cpu = names[1] if names else cpu
    found = {"device": device, "cpu": cpu, "cores": os.cpu_count(), "system": platform.system()}
    if device == "cuda":
        found["gpu"] = torch.cuda.get_device_name()
    found["threads"] = torch.get_num_threads()
    return found | {"python": platform.python_version(), "torch": torch.__version__}


def now():
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def keep_half(script, model, tokenizer, config, data, file):
    """Save a model of any version in half precision, as v12 would; the model is rounded too."""
    import torch

    model.half().float()
    _, val_loss = script.estimate_loss(model, data, config)
    names = ("block_size", "n_embed", "n_head", "n_layer")
    shape = {name: getattr(config, name) for name in names if hasattr(config, name)}
    halves = {name: value.half() for name, value in model.state_dict().items()}
    saved = {"shape": shape, "chars": tokenizer.chars, "model": halves, "val_loss": val_loss}
    torch.save(saved, ROOT / file)
    return {"file": file, "sha256": sha256(ROOT / file)}


def split_samples(output, config):
    """Return what a run made of each prompt: so many characters, after a blank line each."""
    rest, samples = output.partition("\n\n")[2], []
    for prompt in config.prompts:
        length = len(prompt) + config.max_new_tokens
        samples.append(rest[:length])
        rest = rest[length + 2 :]
    return samples


def run_and_judge(step, argv, run, start):
    """Run one script in this process, then judge its model. start is when Python was started."""
    import resource

    import form  # and with it torch, within the time that is measured
    import torch
    import xray

    date, load, others = now(), os.getloadavg()[0], seconds_of_others()
    os.chdir(ROOT)
    script, printed = import_script(step, run.edit), io.StringIO()
    with contextlib.redirect_stdout(printed):
        model, tokenizer, config = trained(script, argv)
    seconds = time.time() - start
    others = None if others is None else round(max(0, seconds_of_others() - others), 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    output, (_, data) = printed.getvalue(), script.load_data(config)
    torch.manual_seed(config.seed)
    untrained = script.BabyGPT(config, len(tokenizer.chars)).to(config.device)
    more = {"edit": run.edit} if run.edit else {}
    if config.seed == FIRST_SEED and step.version in run.keep_versions:
        file = run.keep.format(step.version)
        more["kept"] = keep_half(script, model, tokenizer, config, data, file)
    return {
        "date": date,
        "vocabulary": len(tokenizer.chars),
        "parameters": sum(p.numel() for p in model.parameters()),
        "curve": [
            {"step": int(step), "train_loss": float(train), "val_loss": float(val)}
            for step, train, val in EVALUATION.findall(output)
        ],
        "output": output.rstrip("\n"),
        "samples": split_samples(output, config),
        "seconds": round(seconds, 1),
        "seconds_of_others": others,
        "load_before": round(load, 2),
        "peak_megabytes": round(peak / (1024 if platform.system() != "Darwin" else 1024**2)),
        "machine": machine(config.device),
        "depth": {
            "untrained": xray.depth(script, untrained, config, data["train"]),
            "trained": xray.depth(script, model, config, data["train"]),
        },
        **more,
        "form": form.judge(script, model, tokenizer, config, run.poems),
    }


def measure(step, seed, run):
    """Run one script to its end; return the record of the run, or exit with its error."""
    argv = ["--seed", str(seed), *run.flags]
    command = " ".join(["python", step.file, *argv])
    spawn = multiprocessing.get_context("spawn")  # a fresh Python, as a reader starts one
    try:
        with ProcessPoolExecutor(1, mp_context=spawn) as pool:
            return {
                "command": command,
                "commit": git("rev-parse", "--short=12", "HEAD").strip(),
                **pool.submit(run_and_judge, step, argv, run, time.time()).result(),
            }
    except SystemExit as error:  # of the script: it has said why
        sys.exit(f"error: {command} failed: {error}")


def measure_all(name, seeds):
    """Measure what has no record yet of a set of runs, seed by seed; write each at its end."""
    if git("status", "--porcelain", "--", *(step.file for step in STEPS), "data"):
        sys.exit("error: the scripts or data/ have changes that are not committed")
    run, todo, done = RUNS[name], [], records.read_lines(RUNS[name].file)
    for seed in range(FIRST_SEED, FIRST_SEED + min(seeds, run.seeds)):
        for version in run.versions:
            wanted = {"run": name, "version": version, "seed": seed, "flags": run.flags}
            wanted |= {"code": code_of(version), "data": sha256(TEXT)[:12]}
            alike = [r for r in done if wanted.items() <= r.items() and r.get("edit") == run.edit]
            todo += [] if alike else [wanted]
    for wanted in tqdm(todo, unit="run"):
        tries = []
        while not tries or (disturbed(tries[-1]) and len(tries) < 3):
            tries.append(measure(find_step(wanted["version"]), wanted["seed"], run))
        record = wanted | min(tries, key=lambda record: record["seconds_of_others"] or 0)
        record["tries"] = len(tries)
        records.write(run.file, record, ["run", "version", "seed"])
        loss, seconds = record["curve"][-1]["val_loss"], record["seconds"]
        said = f"val loss {loss:.4f}, {seconds:.0f} s, {len(tries)} tries"
        tqdm.write(f"{name} v{record['version']} seed {record['seed']}: {said}")


def main(argv=None):
    parser = ArgumentParser(description=__doc__, formatter_class=Raw)
    names = ", ".join(RUNS)
    parser.add_argument("runs", nargs="*", metavar="RUN", help=f"of {names} (default: all)")
    parser.add_argument("--seeds", type=int, default=3, help="of each, at most (default: 3)")
    args = parser.parse_args(argv)
    if unknown := set(args.runs) - set(RUNS):
        parser.error(f"no such set of runs: {', '.join(unknown)}; see --help")
    for name in args.runs or RUNS:
        measure_all(name, args.seeds)


if __name__ == "__main__":
    main()
