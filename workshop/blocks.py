"""The blocks of the pages by name: tables, and what is no table: poems, diffs, links.

A page has a block where it says <!-- name -->; on which page is not known here.
"""

import re
from functools import partial

import tables
from poems import AUTHOR, form
from rules import split_docstring, unified_diff
from steps import STEPS, base_of, find_step, read_script
from tables import COURSE, bodies, page_of


def block(text, kind="text"):
    """Return a text as a block of code in Markdown."""
    return f"```{kind}\n{text.rstrip()}\n```"


def a_run(records, words, step=None):
    return block(records.of("v9")[0]["output"])


def command(records, words, step=None, name=""):
    return block(records.of(name)[0]["command"], "sh")


def poems(records, words, step=None):
    """Return what some versions make of the first prompt, each with a seed of its own."""
    parts = []
    for seed, name in enumerate(("v1", "v4", "v9")):
        idea = getattr(find_step(name), words["idea"])
        parts.append(f"**{name}** {idea}\n\n{block(records.of(name)[seed]['samples'][0])}")
    return "\n\n".join(parts)


def first_whole_poem(records, words, step=None):
    """Return the first poem of the evening's model that kept its form, with its line lengths."""
    poem = next(p for p in records.of("evening")[0]["form"]["poems"] if p["whole"])
    lines = [(line, "+".join(map(str, form(line)))) for line in poem["body"].split("\n")]
    width = 1 + max(len(line) for line, _ in lines)
    lines = [line.ljust(width, "\u3000") + numbers for line, numbers in lines]  # as wide as a 字
    return block("\n".join([f"{poem['tune']} {AUTHOR}", *lines]))


def first_poems(records, words, step=None, name="", number=0):
    """Return the first poems of a run, unpicked, each with whether it kept its form."""
    parts = []
    for poem in records.of(name)[0]["form"]["poems"][:number]:
        verdict = words["kept" if poem["whole"] else "broke"]
        parts.append(f"**{poem['tune']}** ({verdict})\n\n{block(poem['body'])}")
    return "\n\n".join(parts)


def links(records, words, step):
    """Return the line of links under the title of a step's page: the table knows the neighbours."""
    i = STEPS.index(step)
    readme = words["course" if step in COURSE else "beyond"]
    parts = [f"[← {s.name}]({page_of(s, words)})" for s in STEPS[max(0, i - 1) : i]]
    parts += [f"[{words['all versions']}](/{readme})"]
    parts += [f"[{s.name} →]({page_of(s, words)})" for s in STEPS[i + 1 : i + 2]]
    parts += [f"[{words['glossary']}](/{words['folder']}/glossary.md)"]
    other = page_of(step, {"folder": words["other folder"]})
    return " · ".join([*parts, f"[{words['other language']}]({other})"])


def new_lines(records, words, step):
    """Return what is new in a version, as Markdown: its diff, or the model of v1."""
    base = base_of(step)
    if base is None:
        body = split_docstring(read_script(step))[1]
        return block(body[body.index("class BabyGPT") : body.index("    @torch.no_grad")], "python")
    diff = unified_diff(*bodies(step), base.file, step.file)
    return block(re.sub(r"^@@.*@@$", "@@", diff, flags=re.M), "diff")


RATES = {"3e-3": "v6", "1e-3": "rate_1e-3", "3e-4": "rate_3e-4"}
LITTLE = {"v9": "little_text.v9", "v10": "little_text.v10"}
HOURS = {"0.1": "hour", "0": "hour_dropout_0"}
ROTARY = {"v13": "fused", "v14": "rotary"}


def comparison(label, names, *whats):
    """Return the block that compares these runs; label: a word, or nothing."""
    return lambda records, words, step=None: tables.compared(
        records, words, words.get(label, ""), names, whats
    )


BLOCKS = {  # name: function of the records, the words and the step whose page it is
    "a run": a_run,
    "poems": poems,
    "hour poems": partial(first_poems, name="hour", number=3),
    "evening poem": first_whole_poem,
    "evening poems": partial(first_poems, name="evening", number=10),
    "evening command": partial(command, name="evening"),
    "ladder table": tables.ladder_table,
    "beyond table": tables.beyond_table,
    "presets": partial(tables.presets_table, names=tables.PRESETS),
    "evening": partial(tables.presets_table, names=["evening"]),
    "form": tables.form_table,
    "tunes": partial(tables.tunes_table, name="hour"),
    "evening tunes": partial(tables.tunes_table, name="evening"),
    "links": links,
    "new lines": new_lines,
    "measured": tables.measured,
    "speed": tables.speed_table,
    "depth": tables.untrained_depth,
    "trained depth": tables.trained_depth,
    "rates": comparison("rate", RATES, "loss", "train", "ends"),
    "little text": comparison("", LITTLE, "train", "best", "loss"),
    "hour": comparison("dropout", HOURS, "loss", "train", "ends", "whole"),
    "rotary": comparison("", ROTARY, "loss", "train", "ends", "whole"),
    "context": tables.context_table,
    "context seen": tables.seen_table,
}
