"""Render what tools/measure.py recorded: tables and numbers in the pages, docstrings, charts.

    python tools/render.py           # write them
    python tools/render.py --check   # fail if a page, a chart or a script is not as its record says

A page holds a block between <!-- name --> and <!-- end of name -->, and a number within a sentence
between <!-- loss v6 --> and <!-- -->. A loss anywhere else is written by hand, and not allowed.
"""

import argparse
import json
import math
import re
import statistics
import sys

from charts import panel, svg
from form import AUTHOR, form
from measure import FOLDER, RUNS, code_hash, disturbed, sha256
from rules import ROOT, STEPS, count_changes, read_script, split_docstring, unified_diff
from shapes import draw

TEXTS = {  # English, Chinese
    "page": ("README.md", "README.zh-CN.md"),
    "steps": ("docs/steps", "docs/steps/zh-CN"),
    "svg": (".svg", ".zh-CN.svg"),
    "idea": ("idea", "idea_zh"),
    "the idea": ("the one idea", "这一步的想法"),
    "loss": ("val loss", "验证集损失"),
    "train": ("train loss", "训练集损失"),
    "best": ("lowest val loss", "最低验证集损失"),
    "ppl": ("perplexity", "困惑度"),
    "ends": ("line ends", "断句"),
    "whole": ("whole poems", "整首合谱"),
    "verbatim": ("verbatim", "照抄"),
    "pairs": ("known pairs", "常见字对"),
    "changes": ("changed lines", "改动行数"),
    "parameters": ("parameters", "参数量"),
    "time": ("time", "用时"),
    "range": ("{} (range over seeds)", "{}（各种子的范围）"),
    "rate": ("v6, learning rate", "v6，学习率"),
    "context": ("context window", "上下文窗口"),
    "after": ("after", "位置"),
    "spread": ("{}: spread", "{}：差异"),
    "gradient": ("{}: gradient", "{}：梯度"),
    "embedding": ("embedding", "嵌入"),
    "block": ("block {}", "第 {} 个 Block"),
    "laptop": ("v12, minutes", "v12，几分钟"),
    "fused": ("v13, minutes", "v13，几分钟"),
    "rotary": ("v14, minutes", "v14，几分钟"),
    "hour": ("v12, an hour", "v12，一小时"),
    "evening": ("v15, an hour", "v15，一小时"),
    "dropout": ("dropout", "dropout"),
    "apart": ("the ranges over the seeds do not overlap", "各种子的范围互不重叠"),
    "together": ("the ranges over the seeds overlap", "各种子的范围有重叠，可能只是偶然"),
    "change": ("Change of the mean: {}; {}.", "均值变化：{}；{}。"),
    "laptop flags": (
        "With the laptop flags, unlike v10.",
        "用笔记本电脑配置测得，不能与 v10 比较。",
    ),
    "as v11": ("as v11", "同 v11"),
    "loss title": (
        "Val loss after {} steps, {} seeds",
        "训练 {} 步后的验证集损失，{} 个种子的均值和范围",
    ),
    "ends title": (
        "Line ends (F1) of the same runs",
        "同一批训练的断句（F1）",
    ),
    "context loss": (
        "Loss of one model, by how many characters it may see",
        "同一个模型能看到多少个字符，与损失",
    ),
    "context line_ends": (
        "Its line ends (F1) on the same held-out poems",
        "在同一批留出的词上的断句（F1）",
    ),
    "seen": ("characters it may see", "能看到的字符数"),
    "held out loss": ("loss on held-out poems", "在留出的词上的损失"),
    "little text": (
        "Little text: loss of v9 and v10, step by step",
        "语料很少时 v9 和 v10 的损失（横轴：步数）",
    ),
    "hour title": (
        "An hour on a laptop: loss of v12, step by step",
        "笔记本上的一小时：v12 的损失（横轴：步数）",
    ),
    "shapes": (
        "v{}: the tensors of a forward pass, from top to bottom",
        "v{}：一次前向传播中的张量，从上到下",
    ),
    "train name": ("{} train", "{} 训练集"),
    "val name": ("{} val", "{} 验证集"),
    "seconds": ("{} s", "{} 秒"),
    "minutes": ("{} min", "{} 分钟"),
    "ms": ("{} ms", "{} 毫秒"),
    "flags": ("flags", "命令行参数"),
    "kept": ("kept its form", "合乎词谱"),
    "broke": ("did not keep its form", "不合词谱"),
}
LAST = 12  # of the course; beyond/ goes on
PRESETS = ("laptop", "fused", "rotary", "hour", "evening")
WORDS = {name: {k: v[i] for k, v in TEXTS.items()} for i, name in enumerate(("en", "zh-CN"))}
MINUS = str.maketrans("-", "−")


def share_of_whole(record):
    report = record["form"]
    return sum(report["whole"].values()) / (report["poems_to_each"] * len(report["whole"]))


NUMBERS = {  # what a record says, and how a sentence or a table shows it
    "loss": (lambda record: record["curve"][-1]["val_loss"], "{:.2f}"),
    "train": (lambda record: record["curve"][-1]["train_loss"], "{:.2f}"),
    "first": (lambda record: record["curve"][0]["val_loss"], "{:.2f}"),
    "best": (lambda record: min(point["val_loss"] for point in record["curve"]), "{:.2f}"),
    "guess": (lambda record: math.log(record["vocabulary"]), "{:.2f}"),
    "ends": (lambda record: record["form"]["line_ends"], "{:.2f}"),
    "whole": (share_of_whole, "{:.0%}"),
    "verbatim": (lambda record: record["form"]["verbatim"], "{:.1%}"),
    "pairs": (lambda record: record["form"]["pairs"], "{:.0%}"),
    "minutes": (lambda record: record["seconds"] / 60, "{:.0f}"),
}


class Records:
    """The committed records, by run and version; each list is in the order of the seeds."""

    def __init__(self):
        self.by_run = {}
        for file in sorted(FOLDER.glob("*.json")):
            record = json.loads(file.read_text(encoding="utf-8"))
            self.by_run.setdefault((record["run"], record["version"]), []).append(record)

    def of(self, name):
        """Return the records of "v6", of the run "hour", or of "little_text.v9".

        v12 computes what v11 does; for both it is the laptop's run.
        """
        run, _, version = name.rpartition(".")
        if run:
            return self.by_run[run, int(version[1:])]
        if re.fullmatch(r"v\d+", name):
            number = min(int(name[1:]), 11)
            return self.by_run["ladder" if number <= 10 else "laptop", number]
        (found,) = (records for (run, _), records in self.by_run.items() if run == name)
        return found

    def spread(self, name, what="loss"):
        """Return (smallest, mean, largest) over the seeds."""
        values = [NUMBERS[what][0](record) for record in self.of(name)]
        return min(values), statistics.mean(values), max(values)

    def text(self, name, what, digits=None, low_to_high=False):
        """Return a number as a sentence or a table shows it, maybe with its range."""
        if what == "change":
            before = f"v{int(name[1:]) - 1}"
            return f"{self.spread(name)[1] - self.spread(before)[1]:+.3f}".translate(MINUS)
        if what in ("low", "high"):
            return f"{self.spread(name)[0 if what == 'low' else 2]:.2f}"
        if what == "ppl":
            return f"{math.exp(self.spread(name)[1]):.0f}"
        shown = f"{{:.{digits}f}}" if digits and "%" not in NUMBERS[what][1] else NUMBERS[what][1]
        low, mean, high = map(shown.format, self.spread(name, what))
        return f"{mean} ({low}–{high})" if low_to_high and len(self.of(name)) > 1 else mean


def time_text(records, words):
    """Return the median and the spread of the times that nobody disturbed, or nothing."""
    if any(map(disturbed, records)):
        return ""
    seconds = [record["seconds"] for record in records]
    if min(seconds) > 600:
        return words["minutes"].format(f"{statistics.median(seconds) / 60:.0f}")
    low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
    middle = f"{middle:.0f} ({low:.0f}–{high:.0f})" if len(seconds) > 1 else f"{middle:.0f}"
    return words["seconds"].format(middle)


def bodies(version):
    """Return what stands below the docstring in the version before and in this one."""
    return [split_docstring(read_script(STEPS[max(v, 1) - 1]))[1] for v in (version - 1, version)]


def table(head, rows, texts=1):
    """Return a table in Markdown; the first columns are texts, the others numbers."""
    rule = "|" + "---|" * texts + "---:|" * (len(head) - texts)
    return "\n".join([f"| {' | '.join(head)} |", rule, *(f"| {' | '.join(r)} |" for r in rows)])


def ladder_table(records, words):
    """Return the table of the twelve."""
    names = ("the idea", "loss", "ppl", "ends", "changes", "parameters", "time")
    rows = []
    for step in STEPS[:LAST]:
        name, star = f"v{step.version}", "" if step.version <= 10 else " \\*"
        measured = [words["as v11"], "", ""]
        if step.version <= 11:
            measured = [records.text(name, "loss", low_to_high=True)]
            measured += [records.text(name, what) for what in ("ppl", "ends")]
        diff = "[+{} −{}]({}/v{:02}.md)" if step.version > 1 else ""
        diff = diff.format(*count_changes(*bodies(step.version)), words["steps"], step.version)
        rest = ["", ""]
        if step.version <= 11:
            rest = [f"{records.of(name)[0]['parameters']:,}", time_text(records.of(name), words)]
        link = f"[{name}]({step.file}){star}"
        rows.append([link, getattr(step, words["idea"]), *measured, diff, *rest])
    return table(["", *(words[name] for name in names)], rows, texts=2)


def beyond_table(words):
    """Return the table of the steps after the twelve."""
    rows = []
    for step in STEPS[LAST:]:
        diff = "[+{} −{}]({}/v{:02}.md)"
        diff = diff.format(*count_changes(*bodies(step.version)), words["steps"], step.version)
        rows.append([f"[v{step.version}]({step.file})", getattr(step, words["idea"]), diff])
    return table(["", words["the idea"], words["changes"]], rows, texts=2)


def presets_table(records, words):
    """Return the table of the two presets for a laptop."""
    whats = ("loss", "train", "ppl", "ends", "whole", "verbatim")
    rows = []
    for name in PRESETS:
        cells = [records.text(name, what, low_to_high=what == "loss") for what in whats]
        rows.append([words[name], *cells, time_text(records.of(name), words)])
    return table(["", *(words[name] for name in (*whats, "time"))], rows)


def form_table(records, words):
    """Return the table of what some versions know of the form of a ci."""
    whats = ("ends", "whole", "pairs", "verbatim")
    rows = [
        [words.get(name, name), *(records.text(name, what) for what in whats)]
        for name in (*(f"v{n}" for n in range(1, 11)), *PRESETS)
    ]
    return table(["", *(words[what] for what in whats)], rows)


def tunes_table(records, words, name):
    """Return the table of whole poems by tune, of one run."""
    report = records.of(name)[0]["form"]
    rows = [[tune, f"{kept} / {report['poems_to_each']}"] for tune, kept in report["whole"].items()]
    return table(["", words["whole"]], rows)


def evening_table(records, words):
    """Return the table of what the evening's model reaches, from its record."""
    whats = ("loss", "train", "ppl", "ends", "whole", "verbatim")
    cells = [records.text("evening", what) for what in whats]
    head = [words[what] for what in (*whats, "time")]
    return table(head, [[*cells, time_text(records.of("evening"), words)]], texts=0)


def block(text, kind="text"):
    return f"```{kind}\n{text.rstrip()}\n```"


def poems(records, words):
    """Return what some versions make of the first prompt, each with a seed of its own."""
    parts = []
    for seed, version in enumerate((1, 4, 9)):
        sample = records.of(f"v{version}")[seed]["output"].partition("\n\n")[2]
        idea = getattr(STEPS[version - 1], words["idea"])
        parts.append(f"**v{version}** {idea}\n\n{block(sample.partition(chr(10) * 2 + '往事')[0])}")
    return "\n\n".join(parts)


def poem_and_pattern(poem):
    """Return a poem under its tune, each line with the numbers of characters between its marks."""
    lines = [(line, "+".join(map(str, form(line)))) for line in poem["body"].split("\n")]
    width = 1 + max(len(line) for line, _ in lines)
    lines = [line.ljust(width, "\u3000") + numbers for line, numbers in lines]  # as wide as a 字
    return block("\n".join([f"{poem['tune']} {AUTHOR}", *lines]))


def first_whole_poem(records):
    """Return the first poem of the evening's model that kept its form."""
    poems = records.of("evening")[0]["form"]["poems"]
    return poem_and_pattern(next(poem for poem in poems if poem["whole"]))


def first_poems(records, words, name, number):
    """Return the first poems of a run, unpicked, each with whether it kept its form."""
    parts = []
    for poem in records.of(name)[0]["form"]["poems"][:number]:
        verdict = words["kept" if poem["whole"] else "broke"]
        parts.append(f"**{poem['tune']}** ({verdict})\n\n{block(poem['body'])}")
    return "\n\n".join(parts)


def new_lines(version):
    """Return what is new in a version, as Markdown: its diff, or the model of v1."""
    if version == 1:
        body = split_docstring(read_script(STEPS[0]))[1]
        return block(body[body.index("class BabyGPT") : body.index("    @torch.no_grad")], "python")
    names = [STEPS[version - 2].file, STEPS[version - 1].file]
    diff = re.sub(r"^@@.*@@$", "@@", unified_diff(*bodies(version), *names), flags=re.M)
    return block(diff, "diff")


def measured(version, records, words):
    """Return a table of this version and the one before, and whether they are apart."""
    shown = [f"v{v}" for v in (version - 1, version) if v >= 1] if version <= 10 else ["v11"]
    head = ["", words["range"].format(words["loss"]), words["train"], words["ends"]]
    rows = []
    for name in shown:
        cells = [records.text(name, what, 3, True) for what in ("loss", "train", "ends")]
        rows.append([name, *cells, f"{records.of(name)[0]['parameters']:,}"])
    parts = [table([*head, words["parameters"]], rows)]
    if version > 10:
        parts += [words["laptop flags"]]
    elif version > 1:
        before, after = map(records.spread, shown)
        apart = after[0] > before[2] or after[2] < before[0]
        verdict = words["apart" if apart else "together"]
        parts += [words["change"].format(records.text(shown[1], "change"), verdict)]
    return "\n\n".join(parts)


def compared(records, words, label, names, whats, digits=3):
    """Return a table of runs: {what stands in the first column: name of the run}."""
    rows = [
        [first, *(records.text(name, what, digits, True) for what in whats)]
        for first, name in names.items()
    ]
    return table([label, *(words[what] for what in whats)], rows)


def magnitude(value):
    """Return a number with its first two digits, a tiny one with its first and the power of ten."""
    if 0 < value < 0.001:
        return f"{value:.0e}".replace("e-0", "e-")
    return f"{value:.0f}" if value >= 100 else f"{value:.2g}"


def depth_table(columns, words):
    """Return the table of spread and gradient by depth; columns: {heading: depths of some runs}."""
    heads = [words[what].format(name) for name in columns for what in ("spread", "gradient")]
    rows = []
    for i in range(4):
        cells = []
        for depths in columns.values():
            for part in (1, 2):
                values = [levels[i][part] for levels in depths if i < len(levels)]
                cells.append(magnitude(statistics.mean(values)) if values else "")
        rows.append([words["block"].format(i) if i else words["embedding"], *cells])
    return table([words["after"], *heads], rows)


CONTEXTS = {n: "laptop" if n == 64 else f"context_{n}" for n in (8, 16, 32, 64, 128)}


def extra_blocks(records, words):
    """Return {version: {name: block}} of what was measured in other settings."""
    rates = {"3e-3": "v6", "1e-3": "rate_1e-3", "3e-4": "rate_3e-4"}
    little = {name: f"little_text.{name}" for name in ("v9", "v10")}
    whats = ("loss", "train", "ends")
    context = [
        [str(n), *(f"{NUMBERS[what][0](records.of(name)[0]):.3f}" for what in whats)]
        for n, name in CONTEXTS.items()
    ]
    seen = [
        [str(row["context"]), f"{row['loss']:.3f}", f"{row['line_ends']:.3f}"]
        for row in records.of("hour_dropout_0")[0]["form"]["contexts"]
    ]
    hours = {"0.1": "hour", "0": "hour_dropout_0"}
    rotary = {"v13": "fused", "v14": "rotary"}
    untrained = {
        name: [record["depth"]["untrained"] for record in records.of(name)]
        for name in ("v5", "v6", "v7")
    }
    trained = {str(record["seed"]): [record["depth"]["trained"]] for record in records.of("v6")}
    return {
        6: {
            "rates": compared(records, words, words["rate"], rates, whats),
            "depth": depth_table(untrained, words),
            "trained depth": depth_table(trained, words),
        },
        10: {
            "little text": compared(records, words, "", little, ("train", "best", "loss")),
            "hour": compared(records, words, words["dropout"], hours, (*whats, "whole")),
        },
        11: {
            "context": table([words["context"], *(words[what] for what in whats)], context),
            "context seen": table([words["seen"], words["held out loss"], words["ends"]], seen),
        },
        14: {"rotary": compared(records, words, "", rotary, ("loss", "train", "ends", "whole"))},
    }


def speed_records():
    """Return the records of tools/speed.py by name."""
    files = sorted((FOLDER / "speed").glob("*.json"))
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files}


def speed_table(version, words):
    """Return the table of this version's times: the first of a row, then others and their ratio."""
    rows, columns = [], {}
    for name, record in speed_records().items():
        if name.split("_")[1] == f"v{version}":
            columns = record["seconds"]
            times = [1000 * statistics.median(found) for found in columns.values()]
            shown = [words["ms"].format(f"{time:.0f}") for time in times]
            ratios = ["", *(f" ({time / times[0]:.2f})" for time in times[1:])]
            cells = [time + ratio for time, ratio in zip(shown, ratios, strict=True)]
            rows.append([f"`{' '.join(record['flags'])}`", *cells])
    return table([words["flags"], *(f"`{name}`" for name in columns)], rows)


def fill(text, blocks, records):
    """Return a page with its blocks and the numbers in its sentences filled in."""
    for name, content in blocks.items():
        start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        (head, _), (_, tail) = text.split(start), text.split(end)
        text = f"{head}{start}{content}\n{end}{tail}"

    def number(match):
        return f"<!-- {match[1]} {match[2]} -->{records.text(match[2], match[1])}<!-- -->"

    return re.sub(r"<!-- (\w+) ([\w.-]+) -->[^<\n]*<!-- -->", number, text)


def curves(records, words, name, label):
    """Return the series of a run's train and val loss at each evaluation, over the seeds."""
    lines = {}
    for kind in ("train", "val"):
        found = [[point[f"{kind}_loss"] for point in r["curve"][1:]] for r in records.of(name)]
        spreads = [
            (min(values), statistics.mean(values), max(values))
            for values in zip(*found, strict=True)
        ]
        lines[words[f"{kind} name"].format(label).strip()] = spreads
    return lines


def steps_of(records, name):
    """Return the steps of a run's evaluations but the first, as labels, few enough to be read."""
    steps = [point["step"] for point in records.of(name)[0]["curve"][1:]]
    every = math.ceil(len(steps) / 6)
    return [str(s) if (i + 1) % every == 0 else "" for i, s in enumerate(steps)]


def charts(records, words):
    """Return {name: picture}."""
    ladder = [f"v{n}" for n in range(1, 11)]
    losses = [records.spread(name) for name in ladder]
    clip = statistics.median(mean for _, mean, _ in losses) + 0.5
    steps, seeds = records.of("v1")[0]["curve"][-1]["step"], len(records.of("v1"))
    title = words["loss title"].format(steps, seeds)
    ends = [records.spread(name, "ends") for name in ladder]
    seen = records.of("hour_dropout_0")[0]["form"]["contexts"]
    labels = [str(row["context"]) for row in seen]
    context = [
        panel(words[f"context {what}"], labels, {"": [[row[what]] * 3 for row in seen]}, 255 * i)
        for i, what in enumerate(("loss", "line_ends"))
    ]
    little = curves(records, words, "little_text.v9", "v9")
    little |= curves(records, words, "little_text.v10", "v10")
    size = records.of("v1")[0]["vocabulary"]
    shapes = {f"shapes_v{v:02}": draw(words["shapes"].format(v), v, size) for v in (3, 4, 5, 8)}
    return shapes | {
        "ladder": svg(
            title,
            panel(title, ladder, {"": losses}, clip=clip),
            panel(words["ends title"], ladder, {"": ends}, 255),
        ),
        "context": svg(words["context loss"], *context),
        "little_text": svg(
            words["little text"],
            panel(words["little text"], steps_of(records, "little_text.v9"), little),
        ),
        "hour": svg(
            words["hour title"],
            panel(
                words["hour title"],
                steps_of(records, "hour"),
                curves(records, words, "hour", ""),
            ),
        ),
    }


def rendered(records):
    """Return {path: text} of each page, chart and script, with what was measured filled in."""
    pages, texts = {}, {}
    for words in WORDS.values():
        for name, picture in charts(records, words).items():
            texts[ROOT / "docs" / f"{name}{words['svg']}"] = picture
        pages[ROOT / words["page"]] = {
            "a run": block(records.of("v9")[0]["output"]),
            "ladder table": ladder_table(records, words),
            "poems": poems(records, words),
            "presets": presets_table(records, words),
            "beyond table": beyond_table(words),
            "form": form_table(records, words),
            "tunes": tunes_table(records, words, "hour"),
            "hour poems": first_poems(records, words, "hour", 3),
            "evening poem": first_whole_poem(records),
        }
        command = block(records.of("evening")[0]["command"], "sh")
        card = {"evening": evening_table(records, words), "evening command": command}
        pages[ROOT / "data" / words["page"]] = card
        pages[ROOT / "beyond" / words["page"]] = {
            "evening": evening_table(records, words),
            "tunes": tunes_table(records, words, "evening"),
            "evening poems": first_poems(records, words, "evening", 10),
        }
        extra = extra_blocks(records, words)
        for step in STEPS:
            blocks = {"new lines": new_lines(step.version)}
            if step.version <= LAST:
                blocks["measured"] = measured(step.version, records, words)
            else:
                blocks["speed"] = speed_table(step.version, words)
            blocks |= extra.get(step.version, {})
            pages[ROOT / words["steps"] / f"v{step.version:02}.md"] = blocks
    for path, blocks in pages.items():
        texts[path] = fill(path.read_text(encoding="utf-8"), blocks, records)
    for step in STEPS[:LAST]:
        name = f"v{step.version}"
        steps = records.of(name)[0]["curve"][-1]["step"]
        seeds = [record["seed"] for record in records.of(name)]
        loss = records.text(name, "loss", low_to_high=True).replace("–", " to ")
        line = f"Expect: val loss {loss} after {steps} steps, seeds {seeds[0]} to {seeds[-1]}"
        line += "" if step.version <= 10 else " (laptop)"
        source = re.sub(r"^Expect: .*$", line, read_script(step), count=1, flags=re.M)
        texts[ROOT / step.file] = source
    return texts


def check(records):
    """Return what is wrong, a line each."""
    wrong = []
    for path, text in rendered(records).items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            wrong.append(f"{path.relative_to(ROOT)}: not as tools/render.py writes it")
    for (run, version), found in records.by_run.items():
        step, wanted = STEPS[version - 1], RUNS.get(run, RUNS["ladder"])
        edit = list(wanted.edit) if wanted.edit else None
        for record in found:
            made = record["flags"], record["code"], record.get("edit")
            if run not in RUNS or made != (wanted.flags, code_hash(step), edit):
                wrong.append(f"{run} v{version}: {step.file} or its flags have changed since")
            kept = record.get("kept")
            if kept and sha256(ROOT / kept["file"]) != kept["sha256"]:
                wrong.append(f"{kept['file']}: not the file of its record")
    for name, record in speed_records().items():
        for version, code in record["code"].items():
            if code != code_hash(STEPS[int(version[1:]) - 1]):
                wrong.append(f"speed of {name}: {version} has changed since")
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("beyond/*.md")]
    for path in sorted([*pages, *ROOT.glob("data/*.md")]):
        text = path.read_text(encoding="utf-8")
        text = re.sub(r"<!-- (.+) -->\n.*?<!-- end of \1 -->", "", text, flags=re.S)
        # What stands beside a │ is the axis of a screen that is shown
        text = re.sub(r"<!-- \w+ [\w.-]+ -->[^<\n]*<!-- -->|Python [\d.]+( \w+ [\d.]+)?", "", text)
        for number in re.findall(r"(?<![\d.│])(?:[3-9]\.\d{2,4}|0\.\d{3})(?!\d|\.\d)", text):
            wrong.append(f"{path.relative_to(ROOT)}: {number} is written by hand")
    return wrong


def main(argv=None):
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--check", action="store_true", help="write nothing, fail where it differs")
    args = parser.parse_args(argv)
    records = Records()
    if args.check:
        sys.exit("\n".join(check(records)) or None)
    for path, text in rendered(records).items():
        path.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
