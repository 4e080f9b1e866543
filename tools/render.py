"""Render what tools/measure.py recorded: tables and numbers in the pages, docstrings, charts.

    python tools/render.py           # write them
    python tools/render.py --check   # fail if a page, a chart or a script is not as its record says

A page holds a block between <!-- name --> and <!-- end of name -->, and a number within a sentence
between <!-- loss v6 --> and <!-- -->. A loss anywhere else is written by hand, and not allowed.
"""

import argparse
import html
import json
import math
import re
import statistics
import sys

from measure import FOLDER, RUNS, code_hash, disturbed
from rules import ROOT, STEPS, count_changes, read_script, split_docstring, unified_diff

COLUMNS = ["", "the one idea", "val loss", "perplexity", "changed lines", "parameters", "time"]
COLUMNS_ZH = ["", "这一步的想法", "验证集损失", "困惑度", "改动行数", "参数量", "用时"]
TEXTS = {  # English, Chinese
    "readme": ("README.md", "README.zh-CN.md"),
    "steps": ("docs/steps", "docs/steps/zh-CN"),
    "chart": ("docs/ladder.svg", "docs/ladder.zh-CN.svg"),
    "idea": ("idea", "idea_zh"),
    "columns": (COLUMNS, COLUMNS_ZH),
    "val": ("val loss (range over seeds)", "验证集损失（各种子的范围）"),
    "train": ("train loss", "训练集损失"),
    "apart": ("the ranges over the seeds do not overlap", "各种子的范围互不重叠"),
    "together": ("the ranges over the seeds overlap", "各种子的范围有重叠，可能只是偶然"),
    "change": ("Change of the mean: {}; {}.", "均值变化：{}；{}。"),
    "laptop": ("With the laptop flags, unlike v10.", "用笔记本电脑配置测得，不能与 v10 比较。"),
    "as_v11": ("as v11", "同 v11"),
    "title": (
        "Val loss after {} steps, {} seeds",
        "训练 {} 步后的验证集损失，{} 个种子的均值和范围",
    ),
    "seconds": ("{} s", "{} 秒"),
}
WORDS = {name: {k: v[i] for k, v in TEXTS.items()} for i, name in enumerate(("en", "zh-CN"))}


class Records:
    """The committed records, by run and version; each list is in the order of the seeds."""

    def __init__(self):
        self.by_run = {}
        for file in sorted(FOLDER.glob("*.json")):
            record = json.loads(file.read_text(encoding="utf-8"))
            self.by_run.setdefault((record["run"], record["version"]), []).append(record)

    def of(self, version):
        """Return the records that stand for a version: v12 computes what v11 does."""
        return self.by_run["ladder" if version <= 10 else "laptop", min(version, 11)]

    def spread(self, version, key="val_loss"):
        """Return (smallest, mean, largest) of the last evaluations."""
        values = [record["curve"][-1][key] for record in self.of(version)]
        return min(values), statistics.mean(values), max(values)

    def value(self, what, version):
        """Return the text of a number that a sentence asks for by what and version."""
        if what == "change":
            change = self.spread(version)[1] - self.spread(version - 1)[1]
            return f"{change:+.3f}".replace("-", "−")
        if what == "guess":
            return f"{math.log(self.of(version)[0]['vocabulary']):.2f}"
        if what == "first":
            first = statistics.mean(record["curve"][0]["val_loss"] for record in self.of(version))
            return f"{first:.2f}"
        loss = self.spread(version, "train_loss" if what == "train" else "val_loss")[1]
        return f"{math.exp(loss):.0f}" if what == "ppl" else f"{loss:.2f}"


def loss_text(spread, digits=2, to="–"):
    low, mean, high = (f"{value:.{digits}f}" for value in spread)
    return f"{mean} ({low}{to}{high})"


def time_text(records, words):
    """Return the median and the spread of the times that nobody disturbed, or nothing."""
    if any(map(disturbed, records)):
        return ""
    seconds = [record["seconds"] for record in records]
    low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
    return words["seconds"].format(f"{middle:.0f} ({low:.0f}–{high:.0f})")


def bodies(version):
    """Return what stands below the docstring in the version before and in this one."""
    return [split_docstring(read_script(STEPS[max(v, 1) - 1]))[1] for v in (version - 1, version)]


def ladder_table(records, words):
    """Return the table of the twelve, in Markdown."""
    rows = [f"| {' | '.join(words['columns'])} |", "|---|---|" + "---:|" * 5]
    for step in STEPS:
        version, star = step.version, "" if step.version <= 10 else " \\*"
        loss, perplexity, parameters, time = words["as_v11"], "", "", ""
        if version <= 11:
            loss, perplexity = loss_text(records.spread(version)), records.value("ppl", version)
            parameters = f"{records.of(version)[0]['parameters']:,}"
            time = time_text(records.of(version), words)
        diff = "[+{} −{}]({}/v{:02}.md)" if version > 1 else ""
        diff = diff.format(*count_changes(*bodies(version)), words["steps"], version)
        cells = [getattr(step, words["idea"]), loss, perplexity, diff, parameters, time]
        rows.append(f"| [v{version}]({step.file}){star} | {' | '.join(cells)} |")
    return "\n".join(rows)


def block(text, kind="text"):
    return f"```{kind}\n{text.rstrip()}\n```"


def poems(records, words):
    """Return what some versions make of the first prompt, in Markdown."""
    parts = []
    for version in (1, 4, 6, 9):
        sample = records.of(version)[0]["output"].partition("\n\n")[2].partition("\n\n往事")[0]
        parts.append(
            f"**v{version}** {getattr(STEPS[version - 1], words['idea'])}\n\n{block(sample)}"
        )
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
    shown = [v for v in (version - 1, version) if 1 <= v <= 10] if version <= 10 else [11]
    rows = [f"| | {words['val']} | {words['train']} | {words['columns'][5]} |"]
    rows += ["|---|---:|---:|---:|"]
    for v in shown:
        train = loss_text(records.spread(v, "train_loss"), 3)
        parameters = f"{records.of(v)[0]['parameters']:,}"
        rows.append(f"| v{v} | {loss_text(records.spread(v), 3)} | {train} | {parameters} |")
    if version > 10:
        rows += ["", words["laptop"]]
    elif version > 1:
        before, after = records.spread(version - 1), records.spread(version)
        apart = after[0] > before[2] or after[2] < before[0]
        verdict = words["apart" if apart else "together"]
        rows += ["", words["change"].format(records.value("change", version), verdict)]
    return "\n".join(rows)


def fill(text, blocks, records):
    """Return a page with its blocks and the numbers in its sentences filled in."""
    for name, content in blocks.items():
        start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        (head, _), (_, tail) = text.split(start), text.split(end)
        text = f"{head}{start}{content}\n{end}{tail}"

    def number(match):
        return f"<!-- {match[1]} v{match[2]} -->{records.value(match[1], int(match[2]))}<!-- -->"

    return re.sub(r"<!-- (\w+) v(\d+) -->[^<]*<!-- -->", number, text)


STYLE = """
text { font: 12px system-ui, "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", sans-serif }
text { fill: #1f2328 } .middle { text-anchor: middle } .page { fill: #fff }
path { fill: none; stroke-width: 2; stroke: #b3400f } .grid { stroke: #d0d7de }
circle { fill: #b3400f }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .page { fill: #0d1117 }
  path { stroke: #f0883e } .grid { stroke: #30363d } circle { fill: #f0883e }
}
"""


def svg_text(x, y, text, kind=""):
    return f'<text x="{x:.0f}" y="{y:.0f}" class="{kind}">{html.escape(text)}</text>'


def draw_ladder(records, words):
    """Return the chart of the last losses; one far above the others stands at the upper edge."""
    spreads = {version: records.spread(version) for version in range(1, 11)}
    top = statistics.median(mean for _, mean, _ in spreads.values()) + 0.5
    inside = [spread for spread in spreads.values() if spread[2] < top]
    low, high = min(spread[0] for spread in inside), max(spread[2] for spread in inside)
    elements, line = [], []
    for version, spread in spreads.items():
        x = 24 + 39 * (version - 1)
        low_y, y, high_y = (240 - 165 * (value - low) / (high - low) for value in spread)
        if spread[2] >= top:
            y, high_y = 62, 68
            elements.append(f'<path d="M{x - 5} 46 l5 -8 l5 8"/>')
        else:
            elements.append(f'<path d="M{x} {low_y + 1:.1f} V{high_y - 1:.1f}" stroke-width="5"/>')
            elements.append(f'<circle cx="{x}" cy="{y:.1f}" r="4"/>')
        elements.append(svg_text(x, high_y - 8, f"{spread[1]:.2f}", "middle"))
        elements.append(svg_text(x, 270, f"v{version}", "middle"))
        line.append(f"{x} {y:.1f}")
    title = words["title"].format(records.of(1)[0]["curve"][-1]["step"], len(records.of(1)))
    head = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 280" width="400" height="280" '
        f'role="img">\n<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n'
        '<rect width="400" height="280" class="page"/>'
    )
    path = f'<path d="M{" L".join(line)}" class="grid"/>'
    return "\n".join([head, svg_text(8, 18, title), path, *elements, "</svg>\n"])


def rendered(records):
    """Return {path: text} of each page, chart and script, with what was measured filled in."""
    pages, texts = {}, {}
    for words in WORDS.values():
        texts[ROOT / words["chart"]] = draw_ladder(records, words)
        pages[ROOT / words["readme"]] = {
            "a run": block(records.of(9)[0]["output"]),
            "ladder table": ladder_table(records, words),
            "poems": poems(records, words),
            "laptop poem": block(records.of(11)[0]["output"].partition("\n\n")[2]),
        }
        for step in STEPS:
            blocks = {"new lines": new_lines(step.version)}
            blocks["measured"] = measured(step.version, records, words)
            pages[ROOT / words["steps"] / f"v{step.version:02}.md"] = blocks
    for path, blocks in pages.items():
        texts[path] = fill(path.read_text(encoding="utf-8"), blocks, records)
    for step in STEPS:
        found = records.of(step.version)
        steps, seeds = found[0]["curve"][-1]["step"], [record["seed"] for record in found]
        loss = loss_text(records.spread(step.version), to=" to ")
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
        step, flags = STEPS[version - 1], RUNS.get(run, (None, None))[1]
        for record in found:
            if (record["flags"], record["code"]) != (flags, code_hash(step)):
                wrong.append(f"{run} v{version}: {step.file} or its flags have changed since")
    for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]):
        text = path.read_text(encoding="utf-8")
        text = re.sub(r"<!-- (.+) -->\n.*?<!-- end of \1 -->", "", text, flags=re.S)
        text = re.sub(r"<!-- \w+ v\d+ -->[^<]*<!-- -->|Python [\d.]+( \w+ [\d.]+)?", "", text)
        for number in re.findall(r"(?<![\d.])[3-9]\.\d{2,4}(?!\d|\.\d)", text):
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
