"""The tables of the pages: a function each, made of records and words alone.

Each takes the records, the words of one language (texts.toml), and the step where it is of one.
Links begin at the root of the project, as /README.md; render.py makes them those of a page.
"""

import statistics

from records import OWN, RUNS, disturbed
from rules import count_changes, split_docstring
from steps import STEPS, base_of, read_script

COURSE = [step for step in STEPS if "/" not in step.file]
BEYOND = [step for step in STEPS if "/" in step.file]
LONG, COUNTED = "ladder_long", RUNS["counting"].versions


def table(head, rows, texts=1):
    """Return a table in Markdown, without the columns of which no row has anything.

    The first columns are texts, the others numbers. Without rows it is no table at all.
    """
    kept = [i for i in range(len(head)) if i < texts or any(row[i] for row in rows)]
    rule = "|" + "---|" * texts + "---:|" * (len(kept) - texts)
    lines = [f"| {' | '.join(row[i] for i in kept)} |" for row in (head, *rows)]
    return "\n".join([lines[0], rule, *lines[1:]]) if rows else ""


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


def cell(records, words, name, what, digits=None, low_to_high=False):
    """Return what a table shows of a run; nothing where there is no record of it."""
    if not records.find(name):
        return ""
    if what == "time":
        return time_text(records.of(name), words)
    return records.text(name, what, digits, low_to_high)


RANGED = ("loss", "given", "rhymed")  # what is shown with its range over the seeds everywhere


def compared(records, words, names, whats, label="", precise=True):
    """Return a table of runs, {what stands in the first column: name}, of those with a record.

    Precise are three digits, and the range over the seeds of everything.
    """
    rows = []
    for first, name in names.items():
        how = {what: (3, True) if precise else (None, what in RANGED) for what in whats}
        cells = [cell(records, words, name, what, *how[what]) for what in whats]
        rows += [[words.get(first, first), *cells]] if records.find(name) else []
    return table([words.get(label, ""), *(words[what] for what in whats)], rows)


def ladder_table(records, words, step=None):
    """Return the table of the course, at both budgets, and below it what counting has."""
    whats, rest, rows = ("loss", "ends"), ("parameters", "time"), []
    head = ["", words["the idea"]]
    head += [text.format(words[what]) for what in whats for text in ("{}", words["longer"])]
    head += [words[what] for what in ("changes", *rest)]
    for step in COURSE:
        found = records.of(step.name)
        other = found[0]["version"] != step.version  # which computes the same
        names = ["", ""] if other else [step.name, f"{LONG}.{step.name}"]
        cells = [
            cell(records, words, name, what, None, what == "loss") if name else ""
            for what in whats
            for name in names
        ]
        if other:
            cells[0] = words["as other"].format(f"v{found[0]['version']}")
        cells += [changes(step, words)]
        cells += ["" if other else cell(records, words, step.name, what) for what in rest]
        star = " \\*" if found[0]["flags"] else ""
        rows.append([f"[{step.name}](/{step.file}){star}", getattr(step, words["idea"]), *cells])
    for name in filter(records.find, COUNTED):
        loss, time = (cell(records, words, name, what) for what in ("loss", "time"))
        longer = loss if records.find(f"{LONG}.v1") else ""
        rows.append(["", words[name], loss, longer, "", "", "", "", time])
    return table(head, rows, texts=2)


def beyond_table(records, words, step=None):
    rows = [
        [f"[{step.name}](/{step.file})", getattr(step, words["idea"]), changes(step, words)]
        for step in BEYOND
    ]
    return table(["", words["the idea"], words["changes"]], rows, texts=2)


def measured(records, words, step):
    """Return a table of this version and, where it was run alike, of its base."""
    found, base = records.of(step.name), base_of(step)
    before = records.of(base.name) if base and base.version in OWN else found
    alike = before is not found and before[0]["flags"] == found[0]["flags"]
    shown = [base.name, step.name] if alike else [step.name]
    names = {f"v{records.of(name)[0]['version']}": name for name in shown}
    label = words["range"].format(words["loss"])
    parts = [
        compared(records, {**words, "loss": label}, names, ("loss", "train", "ends", "parameters"))
    ]
    if alike:
        old, new = ([round(loss, 3) for loss in records.spread(name)] for name in shown)  # as shown
        gap = max(new[0] - old[2], old[0] - new[2])
        sentence = words["apart" if gap > 0 else "together"].format(f"{gap:.3f}")
        if not any(map(records.wide, shown)):
            sentence += words["change"].format(records.text(step.name, "change"))
        parts += [sentence]
    elif found[0]["flags"]:
        parts += [words["laptop flags"]]
    return "\n\n".join(parts)
