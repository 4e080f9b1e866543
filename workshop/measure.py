"""Measure: run the committed scripts as a reader would, judge what they learned, keep the record.

    python workshop/measure.py                 # all sets of runs for a CPU, see runs.toml
    python workshop/measure.py ladder          # one of them: v1 to v10 at their defaults
    python workshop/measure.py counting        # what tools/count.py says, without a model
    python workshop/measure.py laptop --seeds 1

Each run is a process of its own and ends as a line of docs/records, which render.py shows.
A run whose record is there, made by the same code, flags and text, is not repeated. A run that
other processes disturbed is repeated, at most twice: leave the machine alone meanwhile. A run that
stops since its loss is not finite is recorded as that.
"""

import contextlib
import functools
import io
import json
import math
import multiprocessing
import os
import re
import subprocess
import sys
import time
from argparse import ArgumentParser
from argparse import RawDescriptionHelpFormatter as Raw
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime, timezone

import records
import torch
from carry import git
from machine import machine, seconds_of_others
from poems import split_poems
from records import RUNS, code_of, disturbed, model_of, sha256
from steps import ROOT, STEPS, find_step, import_script, loaded, trained
from tqdm import tqdm

FIRST_SEED = 1337
TEXT = ROOT / "data" / "ci.txt"
EVALUATION = re.compile(r"^step +(\d+): (.+)$", re.M)
NUMBER = re.compile(r"([a-z_ ]+) (-?[\d.]+)(?:, |$)")  # train loss 4.9612, or reward 1.109


def now():
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def keep_half(script, model, tokenizer, config, data, file):
    """Save a model of any version in half precision, as v12 would; the model is rounded too."""
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


def curve_of(output):
    """Return the evaluations that a run printed, [{"step": 0, "val_loss": 8.36, …}]."""
    curve = []
    for step, text in EVALUATION.findall(output):
        numbers = {name.replace(" ", "_"): float(value) for name, value in NUMBER.findall(text)}
        curve += [{"step": int(step), **numbers}] if numbers else []  # none where they are nan
    return curve


def run_and_judge(step, argv, run, start):
    """Run one script in this process, then judge its model. start is when Python was started."""
    import depth
    import form

    date, others = now(), seconds_of_others()
    os.chdir(ROOT)
    script, printed, stopped = import_script(step, run.edit), io.StringIO(), None
    with contextlib.redirect_stdout(printed):
        try:
            model, tokenizer, config = trained(script, argv)
        except SystemExit as error:
            stopped = str(error)
            if "not finite" not in stopped:
                raise
    seconds = time.time() - start
    others = None if others is None else round(max(0, seconds_of_others() - others), 1)
    output = printed.getvalue().replace(f"{ROOT}{os.sep}", "")  # no machine's path in a record
    more = {"edit": run.edit} if run.edit else {}
    record = {
        "date": date,
        **more,
        "curve": curve_of(output),
        "output": output.rstrip("\n"),
        "seconds": round(seconds, 1),
        "seconds_of_others": others,
        "machine": machine("cuda" if "cuda" in argv else "cpu"),
    }
    if stopped:
        return {**record, "stopped": stopped}
    _, data = script.load_data(config)
    torch.manual_seed(config.seed)
    untrained = script.BabyGPT(config, len(tokenizer.chars)).to(config.device)
    if config.seed == FIRST_SEED and step.version in run.keep_versions:
        file = run.keep.format(step.version)
        record["kept"] = keep_half(script, model, tokenizer, config, data, file)
    for name, look in (("depth", depth.signal), ("dead", depth.dead)):
        record[name] = {
            kind: look(script, found, config, data["train"])
            for kind, found in (("untrained", untrained), ("trained", model))
        }
    return {
        **record,
        "vocabulary": len(tokenizer.chars),
        "parameters": sum(p.numel() for p in model.parameters()),
        "samples": split_samples(output, config),
        "form": form.judge(script, model, tokenizer, config, run.poems),
    }


def sample_and_judge(step, argv, run, start):
    """Let a saved model write in this process, then judge its poems: nothing is trained."""
    import form

    date, others = now(), seconds_of_others()
    os.chdir(ROOT)
    script, printed = import_script(step, run.edit), io.StringIO()
    with contextlib.redirect_stdout(printed):
        model, tokenizer, config = loaded(script, argv[argv.index("--sample") + 1], argv)
    by, data, _, val = form.judge_of(script, tokenizer, config)
    _, val_loss = script.estimate_loss(model, data, config)
    model.eval()
    torch.manual_seed(config.seed)
    report = form.judge_poems(by, model, tokenizer, config, run.poems, split_poems(val))
    report["perplexity"] = round(math.exp(val_loss), 1)
    others = None if others is None else round(max(0, seconds_of_others() - others), 1)
    return {
        "date": date,
        **({"edit": run.edit} if run.edit else {}),
        "output": printed.getvalue().rstrip("\n"),
        "seconds": round(time.time() - start, 1),
        "seconds_of_others": others,
        "machine": machine("cuda" if "cuda" in argv else "cpu"),
        "form": report,
    }


def commit():
    return git("rev-parse", "--short=12", "HEAD").strip()


@functools.cache
def counted():
    """Return {name: record} of the tables of tools/count.py, alike in form to those of runs."""
    command = ["python", "tools/count.py", "--json"]
    done = subprocess.run([sys.executable, *command[1:]], cwd=ROOT, check=True, capture_output=True)
    made = {"command": " ".join(command), "commit": commit(), "date": now()}
    made |= {"machine": machine("cpu"), "seconds_of_others": None}
    records = {}
    for row in json.loads(done.stdout)["tables"]:
        losses = {name: row.pop(name) for name in ("train_loss", "val_loss")}
        name = f"counted_{row.pop('table')}"
        records[name] = {**made, **row, "curve": [{"step": 0, **losses}]}
    return records


def measure(step, seed, run):
    """Run one script to its end; return the record of the run, or exit with its error."""
    if run.file == "counting":
        return counted()[step]
    argv = ["--seed", str(seed), *run.flags]
    command = " ".join(["python", step.file, *argv])
    work = sample_and_judge if "--sample" in argv else run_and_judge
    spawn = multiprocessing.get_context("spawn")  # a fresh Python, as a reader starts one
    try:
        with ProcessPoolExecutor(1, mp_context=spawn) as pool:
            return {
                "command": command,
                "commit": commit(),
                **pool.submit(work, step, argv, run, time.time()).result(),
            }
    except SystemExit as error:  # of the script: it has said why
        sys.exit(f"error: {command} failed: {error}")


def measure_all(name, seeds, most_tries=3):
    """Measure what has no record yet of a set of runs, seed by seed; write each at its end."""
    files = [step.file for step in STEPS] + ["data", "tools/count.py"]
    if git("status", "--porcelain", "--", *files):
        sys.exit(f"error: changes that are not committed, in one of {' '.join(files)}")
    run, todo, done = RUNS[name], [], records.read_lines(RUNS[name].file)
    for seed in range(FIRST_SEED, FIRST_SEED + min(seeds, run.seeds)):
        for version in run.versions:
            wanted = {"run": name, "version": version, "seed": seed, "flags": run.flags}
            wanted |= {"code": code_of(version), "data": sha256(TEXT)[:12]}
            wanted |= {"model": model_of(run.flags)} if "--sample" in run.flags else {}
            alike = [r for r in done if wanted.items() <= r.items() and r.get("edit") == run.edit]
            todo += [] if alike else [wanted]
    for wanted in tqdm(todo, unit="run"):
        tries = []
        while not tries or (disturbed(tries[-1]) and len(tries) < most_tries):
            version = wanted["version"]  # or the name of a table of counts
            step = find_step(version) if isinstance(version, int) else version
            tries.append(measure(step, wanted["seed"], run))
        record = wanted | min(tries, key=lambda record: record["seconds_of_others"] or 0)
        record["tries"] = len(tries)
        records.write(run.file, record, ["run", "version", "seed"])
        loss = record["curve"][-1]["val_loss"] if "curve" in record else math.nan
        said = record.get("stopped") or f"val loss {loss:.4f}"
        said += f", {record['seconds']:.0f} s, {len(tries)} tries"
        tqdm.write(f"{name} {record['version']} seed {record['seed']}: {said}")


def main(argv=None):
    parser = ArgumentParser(description=__doc__, formatter_class=Raw)
    names = ", ".join(RUNS)
    parser.add_argument("runs", nargs="*", metavar="RUN", help=f"of {names} (default: all)")
    parser.add_argument("--seeds", type=int, default=3, help="of each, at most (default: 3)")
    parser.add_argument("--tries", type=int, default=3, help="1: only the losses matter, not times")
    args = parser.parse_args(argv)
    if unknown := set(args.runs) - set(RUNS):
        parser.error(f"no such set of runs: {', '.join(unknown)}; see --help")
    for name in args.runs or [name for name in RUNS if "cuda" not in RUNS[name].flags]:
        measure_all(name, args.seeds, args.tries)


if __name__ == "__main__":
    main()
