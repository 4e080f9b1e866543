"""Numbers of the figures that show records: curves, losses, poems."""

import json
import math
import re
import statistics
from pathlib import Path

from committed import marks_of, saved
from experiments import SWEEP, SWEPT
from poems import AUTHOR
from quantities import last
from records import Records, read_lines

HERE = Path(__file__).resolve().parent
MORE_DROPOUT = "exercise_more_dropout.v10"


def depth():
    """v6 and v7: spread and gradient after the embedding and each block, of every seed."""
    runs = []
    for version in 6, 7:
        for number, record in enumerate(Records().of(f"v{version}")):
            for when, rows in record["depth"].items():
                run = {"version": version, "seed": record["seed"], "when": when}
                run |= {"first": number == 0, "spread": [row[1] for row in rows]}
                runs.append(run | {"gradient": [row[2] for row in rows]})
    found = {}
    for what in "spread", "gradient":
        powers = [math.log10(v) for run in runs for v in run[what] if v > 0]
        low, high = math.floor(min(powers)), math.ceil(max(powers))
        found[what] = [10.0**low, 10.0**high]
        found[f"{what}_ticks"] = [10.0**power for power in range(low, high + 1)]
    return {"runs": runs, "range": found}


def rates():
    """v9: the last val loss by learning rate and seed; None is a run that was stopped."""
    records = Records()
    by_rate = {float(rate): run for rate, run in SWEEP.items()}
    versions = {name: [] for name in SWEPT}
    for _, run in sorted(by_rate.items()):
        for name, found in versions.items():
            losses = [last(record) for record in records.find(f"{run}.{name}")]
            found.append([round(loss, 4) if loss < math.inf else None for loss in losses])
    guess = math.log(records.of("v9")[0]["vocabulary"])
    losses = [v for found in versions.values() for seeds in found for v in seeds if v and v < guess]
    measured = [i for i in range(len(by_rate)) if any(found[i] for found in versions.values())]
    return {
        "rates": [sorted(by_rate)[i] for i in measured],
        "versions": {name: [found[i] for i in measured] for name, found in versions.items()},
        "guess": round(guess, 4),
        "range": [math.floor(10 * min(losses)) / 10, min(6, math.ceil(10 * max(losses) + 2) / 10)],
    }


def overfitting():
    """v10: the two losses with little text, means over the seeds, by dropout."""
    runs, records = [], Records()
    for dropout, name in ((0, "little_text.v9"), (0.1, "little_text.v10"), (0.4, MORE_DROPOUT)):
        found = records.find(name)
        if not found:
            continue
        curves = list(zip(*(record["curve"] for record in found), strict=True))
        run = {"dropout": dropout, "seeds": len(found), "steps": [p[0]["step"] for p in curves]}
        for kind in "train", "val":
            run[kind] = [round(statistics.mean(p[f"{kind}_loss"] for p in ps), 4) for ps in curves]
        runs.append(run)
    return {"runs": runs, "range": [0, 9]}


def context():
    """v11: poems of the evening's model by how much it sees, of context_poems.py; its losses."""
    written = json.loads((HERE / "context_poems.json").read_text(encoding="utf-8"))
    (record,) = Records().of("evening")
    return {**written, "losses": record["form"]["contexts"]}


def cache():
    """v15: a poem of the evening's model, and how many heads it has in all."""
    (record,) = Records().of("evening")
    poem = next(poem for poem in record["form"]["poems"] if poem["whole"])
    prompt, (_, _, shape) = f"{poem['tune']} {AUTHOR}\n", saved("evening")
    sizes = {name: shape[name] for name in ("n_head", "n_layer")}
    return {"prompt": prompt, "poem": prompt + poem["body"], **sizes}


def reward():
    """v19: what each run printed at its evaluations: numbers, and a poem; None without a record."""
    runs = {}
    for record in read_lines("rhyme"):
        parts = re.split(r"^step +(\d+): (?=reward)(.+)$", record.get("output", ""), flags=re.M)[1:]
        steps, lines, texts = parts[::3], parts[1::3], parts[2::3]
        if steps and record["run"] not in runs:  # of several seeds, the first
            points = [dict(pair.split(" ") for pair in line.split(", ")) for line in lines]
            curves = {name: [float(point[name]) for point in points] for name in points[0]}
            run = {"name": record["run"], "seed": record["seed"], "steps": [*map(int, steps)]}
            runs[record["run"]] = {**run, "curves": curves, "poems": [*map(poem_of, texts)]}
    return {"runs": [*runs.values()]} if runs else None


def poem_of(text):
    """Return the poem that a printed text begins with, up to a blank line, and its marks."""
    title, _, body = text.strip().partition("\n\n")[0].partition("\n")
    return {"title": title, "body": body, "marks": marks_of(title.split(" ")[0], body)}
