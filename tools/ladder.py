"""Measure the ladder: train every version over several seeds, draw and check what came out.

    python tools/ladder.py                         measure v1 to v10, three seeds each
    python tools/ladder.py --versions 11 --label laptop --block_size 64 --max_iters 1000
                                                   flags it does not know go to the scripts
    python tools/ladder.py --render                write charts, tables and docstring lines
    python tools/ladder.py --check                 fail where a text disagrees with the files

Each run is a process of its own, one at a time, and ends as one file docs/ladder/*.json. A run
whose file is there, made by the same code with the same flags, is not repeated: stop and start as
you like.
"""

import argparse
import ast
import datetime
import hashlib
import json
import math
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

from steps import ROOT, STEPS, count_changes, read_script, split_docstring, unified_diff
from tqdm import tqdm

RUNS = ROOT / "docs" / "ladder"
FIRST_SEED = 1337
PROMPT = "春江"
EVALUATION = re.compile(r"step +(\d+): train loss ([\d.]+), val loss ([\d.]+), ([\d,]+) tokens/s")


def code_id(script):
    """Return a short hash of what a script does: comments, docstring and layout do not count."""
    tree = ast.parse(script.read_text(encoding="utf-8"))
    return hashlib.sha256(ast.dump(ast.Module(tree.body[1:], [])).encode()).hexdigest()[:12]


def machine(device):
    """Return a dict that says on what a run was made."""
    import torch

    cpu = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        names = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
        cpu = names[0] if names else cpu
    found = {"device": device, "cpu": cpu, "cores": os.cpu_count(), "system": platform.system()}
    if device.startswith("cuda"):
        found["gpu"] = torch.cuda.get_device_name(device)
    found["threads"] = torch.get_num_threads()
    return found | {"python": platform.python_version(), "torch": torch.__version__}


def peak_megabytes(usage):
    """Return the peak resident memory of a finished process; macOS counts in bytes."""
    return round(usage.ru_maxrss / (1024**2 if platform.system() == "Darwin" else 1024))


def measure(step, seed, flags, identity):
    """Run one script to its end and return the record of the run, or raise RuntimeError."""
    script = ROOT / step.file
    command = [sys.executable, str(script), "--seed", str(seed), "--prompts", PROMPT, *flags]
    start = time.perf_counter()
    environment = os.environ | {"PYTHONIOENCODING": "utf-8", "WANDB_MODE": "disabled"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, encoding="utf-8"
    )
    output, errors = process.stdout.read(), process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise RuntimeError(f"{step.file} failed: {errors.strip() or output.strip()}")
    curve = [
        dict(zip(("step", "train_loss", "val_loss", "tokens_per_sec"), row, strict=True))
        for row in (
            (int(s), float(t), float(v), int(speed.replace(",", "")))
            for s, t, v, speed in EVALUATION.findall(output)
        )
    ]
    text = re.search(r"text: ([\d,]+) characters, ([\d,]+) distinct", output).groups()
    parameters, device = re.search(r"model: ([\d,]+) parameters, on (\S+)", output).groups()
    return {
        **identity,
        "train_loss": curve[-1]["train_loss"],
        "val_loss": curve[-1]["val_loss"],
        "seconds": round(seconds, 1),
        "tokens_per_sec": curve[-1]["tokens_per_sec"],
        "peak_megabytes": peak_megabytes(usage),
        "parameters": int(parameters.replace(",", "")),
        "text": [int(n.replace(",", "")) for n in text],
        "changed_lines": list(count_changes(*bodies(step.version))) if step.version > 1 else [0, 0],
        "lines": len(script.read_text(encoding="utf-8").splitlines()),
        "sample": output[output.index(f"\n\n{PROMPT}") + 2 :].rstrip("\n"),
        "curve": curve,
        "machine": machine(device),
        "date": datetime.date.today().isoformat(),
        "commit": subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
        ).stdout.strip(),
    }


def measure_all(versions, seeds, label, flags):
    """Run what has no up-to-date file yet, seed by seed, and write a file for each run."""
    RUNS.mkdir(parents=True, exist_ok=True)
    todo = []
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        for step in STEPS:
            if step.version in versions:
                file = RUNS / f"v{step.version:02}_{label}_seed{seed}.json"
                identity = {
                    "version": step.version,
                    "label": label,
                    "seed": seed,
                    "flags": flags,
                    "code": code_id(ROOT / step.file),
                }
                done = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
                if not identity.items() <= done.items():
                    todo.append((step, seed, identity, file))
    for step, seed, identity, file in tqdm(todo, unit="run"):
        record = measure(step, seed, flags, identity)
        partial = file.with_suffix(".tmp")
        partial.write_text(
            json.dumps(record, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
        )
        partial.replace(file)
        tqdm.write(
            f"v{step.version} seed {seed}: val loss {record['val_loss']:.4f}, "
            f"{record['seconds']:.0f} s, {record['peak_megabytes']} MB"
        )


def load_runs():
    """Return {(version, label): [record, ...]}, the records of each ordered by seed."""
    runs = {}
    for file in sorted(RUNS.glob("*.json")):
        record = json.loads(file.read_text(encoding="utf-8"))
        runs.setdefault((record["version"], record["label"]), []).append(record)
    return runs


def spread(records, key="val_loss"):
    """Return (smallest, mean, largest) of one number over the records."""
    values = [record[key] for record in records]
    return min(values), sum(values) / len(values), max(values)


def fastest(records):
    """Return the time of the fastest run as a reader would say it: the others were disturbed."""
    seconds = min(record["seconds"] for record in records)
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def loss_text(records, to=" to "):
    """Return "mean (smallest to largest)" of the final validation loss."""
    low, middle, high = spread(records)
    return f"{middle:.2f} ({low:.2f}{to}{high:.2f})"


def docstring_line(version, runs):
    """Return what the docstring of a version tells its reader to expect, in two lines."""
    records = records_of(version, runs)
    steps = records[0]["curve"][-1]["step"]
    seeds = f"seeds {records[0]['seed']} to {records[-1]['seed']}"
    where = f"on {records[0]['machine']['cores']} {records[0]['machine']['device'].upper()} cores"
    text = (
        f"Expect: val loss {loss_text(records)} after {steps} steps, {seeds},"
        f"\n        in {fastest(records)} {where}"
    )
    if version <= 10:
        return f"{text}\n"
    hours = 5000 * 64 * 256 / max(r["tokens_per_sec"] for r in runs[11, "short"]) / 3600
    return f"{text} with the laptop flags; without, about {hours:.0f} hours (extrapolated)\n"


def bodies(version):
    """Return the lines below the docstring of the version before and of this one."""
    return [split_docstring(read_script(STEPS[v - 1]))[1] for v in (version - 1, version)]


def records_of(version, runs):
    """Return the records that stand for a version: v12 computes what v11 does."""
    return runs[min(version, 11), "default" if version <= 10 else "laptop"]


def new_lines(version):
    """Return what is new in a version, as Markdown: its diff, or the model of v1."""
    if version == 1:
        _, lines = split_docstring(read_script(STEPS[0]))
        source = "".join(lines)
        model = source[source.index("class BabyGPT") : source.index("    @torch.no_grad")]
        return f"```python\n{model.rstrip()}\n```"
    names = [STEPS[version - 2].file, STEPS[version - 1].file]
    diff = unified_diff(*bodies(version), *names)
    text = f"```diff\n{re.sub(r'^@@.*@@$', '@@', diff, flags=re.MULTILINE).rstrip()}\n```"
    return text if version < 12 else f"<details><summary>diff</summary>\n\n{text}\n\n</details>"


def measured(version, runs, words):
    """Return a small table of this version and the one before, and what to make of it."""
    shown = [v for v in (version - 1, version) if v in range(1, 11)] or [version]
    if version == 11:
        shown = [11]
    rows = [f"| | {' | '.join(words['measured'])} |", "|---|---:|---:|---:|"]
    for v in shown:
        records = records_of(v, runs)
        low, middle, high = spread(records)
        numbers = f"{middle:.4f} ({low:.4f}–{high:.4f})"
        parameters = f"{records[0]['parameters']:,}"
        rows.append(f"| v{v} | {numbers} | {parameters} | {fastest(records)} |")
    text = "\n".join(rows)
    if version > 10:
        return f"{text}\n\n{words['laptop']}"
    if version == 1:
        return text
    before, after = (spread(records_of(v, runs)) for v in shown)
    apart = after[0] > before[2] or after[2] < before[0]
    verdict = words["apart"] if apart else words["together"]
    return f"{text}\n\n{verdict.format(change=f'{after[1] - before[1]:+.3f}'.replace('-', '−'))}"


def a_run(runs):
    """Return the output of a run of v9 as its record holds it, in Markdown."""
    record = runs[9, "default"][0]
    lines = [
        "text: {:,} characters, {:,} distinct".format(*record["text"]),
        f"model: {record['parameters']:,} parameters, on {record['machine']['device']}",
        f"guessing: loss ln({record['text'][1]}) = {math.log(record['text'][1]):.4f}",
    ]
    for e in record["curve"]:
        lines.append(
            f"step {e['step']:5d}: train loss {e['train_loss']:.4f}, "
            f"val loss {e['val_loss']:.4f}, {e['tokens_per_sec']:,} tokens/s"
        )
    return "```text\n" + "\n".join([*lines, "", record["sample"]]) + "\n```"


def laptop(runs, words):
    """Return what v12 does with the laptop flags: loss, time and a sample, in Markdown."""
    records = runs[11, "laptop"]
    hours = 5000 * 64 * 256 / max(r["tokens_per_sec"] for r in runs[11, "short"]) / 3600
    text = words["laptop_line"].format(
        loss=loss_text(records, "–"), time=fastest(records), seeds=len(records), hours=round(hours)
    )
    return f"{text}\n\n```text\n{records[0]['sample']}\n```"


def table(runs, words):
    """Return the table of the twelve, in Markdown."""
    rows = [f"| {' | '.join(words['columns'])} |", "|---|---|---:|---:|---:|---:|"]
    for step in STEPS:
        version = step.version
        records = records_of(version, runs)
        changed = ""
        if version > 1:
            added, removed = count_changes(*bodies(version))
            changed = f"[+{added} −{removed}]({words['steps']}/v{version:02}.md)"
        note = "" if version <= 10 else " \\*"
        rows.append(
            f"| [v{version}]({step.file}){note} | {getattr(step, words['idea'])} "
            f"| {loss_text(records, '–')} | {changed} "
            f"| {records[0]['parameters']:,} | {fastest(records)} |"
        )
    return "\n".join(rows)


def poems(runs, words):
    """Return what each version makes of the prompt, all with the same seed, in Markdown."""
    parts = []
    for step in STEPS[:11]:
        sample = records_of(step.version, runs)[0]["sample"]
        title = f"**v{step.version}** {getattr(step, words['idea'])}"
        parts.append(f"{title}\n\n```text\n{sample}\n```")
    return "\n\n".join(parts)


WORDS = {
    "": {
        "columns": ["", "the one idea", "val loss", "changed lines", "parameters", "time"],
        "idea": "idea",
        "steps": "docs/steps",
        "measured": ["val loss (range over seeds)", "parameters", "time"],
        "apart": "Change of the mean: {change}, more than the spread over seeds.",
        "together": "Change of the mean: {change}, within the spread over seeds.",
        "laptop": "With the laptop flags, so not to be compared with v10's numbers; "
        "for v12 they are v11's, since it computes the same.",
        "laptop_line": (
            "On two CPU cores: val loss {loss} over {seeds} seeds, in {time}; without these flags, "
            "about {hours} hours, extrapolated from a short run. It begins to write:"
        ),
    },
    "zh-CN": {
        "columns": ["", "这一步的想法", "验证集损失", "改动行数", "参数量", "用时"],
        "idea": "idea_zh",
        "steps": "docs/steps/zh-CN",
        "measured": ["验证集损失（各种子的范围）", "参数量", "用时"],
        "apart": "均值变化：{change}，大于种子之间的波动。",
        "together": "均值变化：{change}，在种子之间的波动以内。",
        "laptop": "用笔记本参数测得，不要与 v10 的数字直接比较；"
        "v12 与 v11 的计算相同，用的是 v11 的数字。",
        "laptop_line": (
            "在两个 CPU 核上：{seeds} 个种子的验证集损失为 {loss}，用时 {time}；"
            "不加这些参数，按一次短跑推算约要 {hours} 小时。写出来的第一首是："
        ),
    },
}


def between(text, name, content):
    """Return text with content between the markers of that name; raise ValueError without them."""
    start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    head, rest = text.split(start)
    return f"{head}{start}{content}\n{end}{rest.split(end)[1]}"


def rendered_texts(runs):
    """Return {path: text} for each page and script, with what was measured filled in."""
    texts = {}
    for language, words in WORDS.items():
        path = ROOT / ("README.zh-CN.md" if language else "README.md")
        text = path.read_text(encoding="utf-8")
        text = between(text, "a run", a_run(runs))
        text = between(text, "ladder table", table(runs, words))
        text = between(text, "twelve poems", poems(runs, words))
        texts[path] = between(text, "laptop", laptop(runs, words))
        for step in STEPS:
            path = ROOT / "docs" / "steps" / language / f"v{step.version:02}.md"
            text = between(path.read_text(encoding="utf-8"), "new lines", new_lines(step.version))
            texts[path] = between(text, "measured", measured(step.version, runs, words))
    for step in STEPS:
        line = docstring_line(step.version, runs)
        text = re.sub(r"^Expect: .*\n(?: .*\n)*", line, read_script(step), count=1, flags=re.M)
        texts[ROOT / step.file] = text
    return texts


def draw(runs):
    """Write the charts docs/ladder.svg and docs/curves.svg, legible without colour."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"svg.hashsalt": "babygpt", "font.size": 11, "axes.spines.top": False})
    plt.rcParams.update({"axes.spines.right": False, "savefig.facecolor": "white"})
    steps = STEPS[:10]
    by_version = {step.version: runs[step.version, "default"] for step in steps}

    figure, axes = plt.subplots(figsize=(9, 4.6), layout="constrained")
    for version, records in by_version.items():
        low, middle, high = spread(records)
        axes.plot([version, version], [low, high], color="#9a3412", linewidth=5, alpha=0.5)
        axes.plot(version, middle, "o", color="#9a3412", markersize=7)
        beside = [spread(by_version[v])[1] for v in (version - 1, version + 1) if v in by_version]
        below = max(beside) > middle + 0.3  # the line to a much higher neighbour needs the room
        axes.annotate(
            f"{middle:.2f}",
            (version, low if below else high),
            (0, -18 if below else 8),
            textcoords="offset points",
            ha="center",
        )
    middles = [spread(records)[1] for records in by_version.values()]
    axes.plot(list(by_version), middles, color="#9a3412", linewidth=1, zorder=0)
    names = [Path(step.file).stem.split("_", 2)[-1].replace("_", "\n") for step in steps]
    names[0] = "bigram"
    labels = [f"v{v}\n{name}" for v, name in zip(by_version, names, strict=True)]
    axes.set_xticks(list(by_version), labels, fontsize=9)
    axes.set_ylabel("validation loss")
    first = by_version[1][0]
    seeds = len(by_version[1])
    axes.set_title(
        f"One step a version: loss after {first['curve'][-1]['step']} training steps, "
        f"mean and range over {seeds} seeds",
        fontsize=11,
    )
    axes.margins(y=0.15)
    figure.savefig(ROOT / "docs" / "ladder.svg", metadata={"Date": None})

    figure, grid = plt.subplots(
        2, 5, figsize=(11, 5), sharex=True, sharey=True, layout="constrained"
    )
    for panel, (version, records) in zip(grid.flat, by_version.items(), strict=True):
        if version > 1:
            before = by_version[version - 1][0]["curve"][1:]
            xs, ys = [e["step"] for e in before], [e["val_loss"] for e in before]
            panel.plot(xs, ys, "--", color="#666666", label=f"v{version - 1}, val")
        curve = records[0]["curve"][1:]
        xs = [e["step"] for e in curve]
        panel.plot(xs, [e["val_loss"] for e in curve], "o-", color="#9a3412", label="val")
        panel.plot(xs, [e["train_loss"] for e in curve], ":", color="#1d4ed8", label="train")
        panel.set_title(f"v{version}")
        panel.legend(fontsize=8, frameon=False)
    figure.suptitle("Seed 1337, from step 200 on; dashed: the version before", fontsize=11)
    figure.supxlabel("training step")
    figure.supylabel("loss")
    figure.savefig(ROOT / "docs" / "curves.svg", metadata={"Date": None})
    plt.close("all")


def unfounded_numbers(runs):
    """Return "file: number" for each loss in a text that no committed measurement holds."""
    known = set()
    for records in runs.values():
        values = list(spread(records))
        for record in records:
            values += [record["val_loss"], record["train_loss"], math.log(record["text"][1])]
            values += [e[key] for e in record["curve"] for key in ("val_loss", "train_loss")]
        for value in values:
            known |= {f"{value:.{digits}f}" for digits in (2, 3, 4)}
    texts = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("babygpt_v*.py")])
    found = []
    for path in texts:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".py":
            text = ast.get_docstring(ast.parse(text))
        text = re.sub(r"Python [\d.]+( \w+ [\d.]+)?", "", text)  # a version is no loss
        for number in re.findall(r"(?<![\d.])[3-8]\.\d{2,4}(?!\d|\.\d)", text):
            if number not in known:
                found.append(f"{path.relative_to(ROOT)}: {number}")
    return found


def render():
    """Write charts, tables and docstring lines from the committed measurements."""
    runs = load_runs()
    for path, text in rendered_texts(runs).items():
        path.write_text(text, encoding="utf-8")
    draw(runs)


def check():
    """Return what is wrong, one line each: texts that --render would change, unfounded numbers."""
    runs = load_runs()
    wrong = [
        f"{path.relative_to(ROOT)}: not as `tools/ladder.py --render` writes it"
        for path, text in rendered_texts(runs).items()
        if text != path.read_text(encoding="utf-8")
    ]
    return wrong + [f"{where} is in no committed measurement" for where in unfounded_numbers(runs)]


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--versions", nargs="+", type=int, default=list(range(1, 11)))
    parser.add_argument("--seeds", type=int, default=3, help="runs of each (default: %(default)s)")
    parser.add_argument("--label", default="default", help="what the file names say of the flags")
    parser.add_argument("--render", action="store_true", help="write charts, tables, docstrings")
    parser.add_argument("--check", action="store_true", help="compare the texts with the files")
    args, flags = parser.parse_known_args(argv)
    if args.render:
        render()
    elif args.check:
        wrong = check()
        print("\n".join(wrong) or "every number in the texts comes from a committed measurement")
        return 1 if wrong else 0
    else:
        measure_all(args.versions, args.seeds, args.label, flags)


if __name__ == "__main__":
    sys.exit(main())
