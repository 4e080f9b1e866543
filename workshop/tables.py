"""The tables of the pages: a function each, made of records and words alone.

Each takes the records, the words of one language (texts.toml), and the step where it is of one.
Links begin at the root of the project, as /README.md; render.py makes them those of a page.
"""

import statistics

from records import NUMBERS, OWN, RUNS, disturbed
from rules import count_changes, split_docstring
from steps import STEPS, base_of, read_script

COURSE = [step for step in STEPS if "/" not in step.file]
BEYOND = [step for step in STEPS if "/" in step.file]
PRESETS = [name for name, run in RUNS.items() if run.preset]


def table(head, rows, texts=1):
    """Return a table in Markdown; the first columns are texts, the others numbers."""
    rule = "|" + "---|" * texts + "---:|" * (len(head) - texts)
    return "\n".join([f"| {' | '.join(head)} |", rule, *(f"| {' | '.join(r)} |" for r in rows)])


def time_text(records, words):
    """Return the median and the spread of the times that nobody disturbed, or nothing."""
    if any(map(disturbed, records)):
        return ""
    seconds = [record["seconds"] for record in records]
    if min(seconds) > 600:
        return words["minutes"].format(f"{statistics.median(seconds) / 60:.0f}")
    low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
    spread = f" ({low:.0f}–{high:.0f})" if len(seconds) > 1 else ""
    return words["seconds"].format(f"{middle:.0f}{spread}")


def page_of(step, words):
    return f"/{words['folder']}/v{step.version:02}.md"


def bodies(step):
    """Return what stands below the docstring in a step's base and in the step itself."""
    return [split_docstring(read_script(s))[1] for s in (base_of(step), step)]


def changes(step, words):
    """Return how many lines a step changes, as a link to its page."""
    if base_of(step) is None:
        return ""
    return "[+{} −{}]({})".format(*count_changes(*bodies(step)), page_of(step, words))


def ladder_table(records, words, step=None):
    names = ("the idea", "loss", "ppl", "ends", "changes", "parameters", "time")
    rows = []
    for step in COURSE:
        found = records.of(step.name)
        star = " \\*" if found[0]["flags"] else ""
        measured = [records.text(step.name, "loss", low_to_high=True)]
        measured += [records.text(step.name, what) for what in ("ppl", "ends")]
        rest = [f"{found[0]['parameters']:,}", time_text(found, words)]
        if found[0]["version"] != step.version:
            measured = [words["as other"].format(f"v{found[0]['version']}"), "", ""]
            rest = ["", ""]
        first = [f"[{step.name}](/{step.file}){star}", getattr(step, words["idea"])]
        rows.append([*first, *measured, changes(step, words), *rest])
    return table(["", *(words[name] for name in names)], rows, texts=2)


def beyond_table(records, words, step=None):
    rows = [
        [f"[{step.name}](/{step.file})", getattr(step, words["idea"]), changes(step, words)]
        for step in BEYOND
    ]
    return table(["", words["the idea"], words["changes"]], rows, texts=2)


def presets_table(records, words, step=None, names=()):
    """Return the table of these sets of runs."""
    whats = ("loss", "train", "ppl", "ends", "whole", "verbatim")
    rows = []
    for name in names:
        cells = [records.text(name, what, low_to_high=what == "loss") for what in whats]
        rows += [[words[name], *cells, time_text(records.of(name), words)]]
    return table(["", *(words[name] for name in (*whats, "time"))], rows)


def form_table(records, words, step=None):
    """Return the table of what some versions know of the form of a ci."""
    whats = ("ends", "whole", "pairs", "verbatim")
    ladder = [f"v{version}" for version in RUNS["ladder"].versions]
    rows = [
        [words.get(name, name), *(records.text(name, what) for what in whats)]
        for name in (*ladder, *PRESETS)
    ]
    return table(["", *(words[what] for what in whats)], rows)


def tunes_table(records, words, step=None, name=""):
    """Return the table of whole poems by tune, of one run."""
    report = records.of(name)[0]["form"]
    rows = [[tune, f"{kept} / {report['poems_to_each']}"] for tune, kept in report["whole"].items()]
    return table(["", words["whole"]], rows)


def context_table(records, words, step=None):
    """Return the table of models with other context windows; the laptop's is one of them."""
    names = [name for name in RUNS if name.startswith("context_")] + ["laptop"]
    rows = []
    for name in names:
        record = records.of(name)[0]
        cells = [f"{NUMBERS[what][0](record):.3f}" for what in ("loss", "train", "ends")]
        rows.append([record["flags"][record["flags"].index("--block_size") + 1], *cells])
    heads = [words[what] for what in ("loss", "train", "ends")]
    return table([words["context"], *heads], sorted(rows, key=lambda row: int(row[0])))


def compared(records, words, label, names, whats):
    """Return a table of runs: {what stands in the first column: name of the run}."""
    rows = [
        [first, *(records.text(name, what, 3, True) for what in whats)]
        for first, name in names.items()
    ]
    return table([label, *(words[what] for what in whats)], rows)


def magnitude(value):
    """Return a number with its first two digits, a tiny one with its first and the power of ten."""
    if 0 < value < 0.001:
        return f"{value:.0e}".replace("e-0", "e-")
    return f"{value:.0f}" if value >= 100 else f"{value:.2g}"


def depth_table(words, columns):
    """Return the table of spread and gradient by depth; columns: {heading: depths of some runs}."""
    heads = [words[what].format(name) for name in columns for what in ("spread", "gradient")]
    rows = []
    for i in range(max(len(levels) for depths in columns.values() for levels in depths)):
        cells = []
        for depths in columns.values():
            for part in (1, 2):
                values = [levels[i][part] for levels in depths if i < len(levels)]
                cells.append(magnitude(statistics.mean(values)) if values else "")
        rows.append([words["block"].format(i) if i else words["embedding"], *cells])
    return table([words["after"], *heads], rows)


def untrained_depth(records, words, step=None):
    names = ("v5", "v6", "v7")
    depths = {name: [r["depth"]["untrained"] for r in records.of(name)] for name in names}
    return depth_table(words, depths)


def trained_depth(records, words, step=None):
    depths = {str(r["seed"]): [r["depth"]["trained"]] for r in records.of("v6")}
    return depth_table(words, depths)


def seen_table(records, words, step=None):
    """Return the table of what one model reaches by how much it may see."""
    rows = [
        [str(row["context"]), f"{row['loss']:.3f}", f"{row['line_ends']:.3f}"]
        for row in records.of("hour_dropout_0")[0]["form"]["contexts"]
    ]
    return table([words["seen"], words["held out loss"], words["ends"]], rows)


def measured(records, words, step):
    """Return a table of this version and, where it was run alike, of its base."""
    found, base = records.of(step.name), base_of(step)
    before = records.of(base.name) if base and base.version in OWN else found
    alike = before is not found and before[0]["flags"] == found[0]["flags"]
    shown = [base.name, step.name] if alike else [step.name]
    head = ["", words["range"].format(words["loss"]), words["train"], words["ends"]]
    rows = []
    for name in shown:
        cells = [records.text(name, what, 3, True) for what in ("loss", "train", "ends")]
        record = records.of(name)[0]
        rows.append([f"v{record['version']}", *cells, f"{record['parameters']:,}"])
    parts = [table([*head, words["parameters"]], rows)]
    if alike:
        old, new = map(records.spread, shown)
        apart = new[0] > old[2] or new[2] < old[0]
        verdict = words["apart" if apart else "together"]
        parts += [words["change"].format(records.text(step.name, "change"), verdict)]
    elif found[0]["flags"]:
        parts += [words["laptop flags"]]
    return "\n\n".join(parts)


def speed_table(records, words, step):
    """Return the table of a version's times: the first of a row, then others and their ratio."""
    rows, columns = [], {}
    for record in records.speed_of(step):
        columns = record["seconds"]
        times = [1000 * statistics.median(found) for found in columns.values()]
        shown = [words["ms"].format(f"{time:.0f}") for time in times]
        ratios = ["", *(f" ({time / times[0]:.2f})" for time in times[1:])]
        cells = [time + ratio for time, ratio in zip(shown, ratios, strict=True)]
        rows.append([f"`{' '.join(record['flags'])}`", *cells])
    return table([words["flags"], *(f"`{name}`" for name in columns)], rows) if rows else ""
