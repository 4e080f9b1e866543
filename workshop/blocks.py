"""The blocks of the pages by name: tables, and what is no table: poems, diffs, links.

A page has a block where it says <!-- name -->; on which page is not known here.
"""

import functools
import re
from functools import partial

import experiments
import tables
from poems import AUTHOR, by_tune, form, read_rhymes, rhymed, rhyming_pairs, split_poems
from records import RUNS
from rules import split_docstring, unified_diff
from steps import ROOT, STEPS, base_of, find_step, read_script
from tables import COURSE, bodies, page_of
from task import read_task


def block(text, kind="text"):
    """Return a text as a block of code in Markdown."""
    return f"```{kind}\n{text.rstrip()}\n```"


def a_run(records, words, step=None):
    return block(records.of("v1")[0]["output"])


def command(records, words, step=None, name=""):
    return block(records.of(name)[0]["command"], "sh")


def poems(records, words, step=None):
    """Return what some versions make of the first prompt, each with a seed of its own."""
    parts = []
    for seed, name in enumerate(("v1", "v4", "v9")):
        idea = getattr(find_step(name), words["idea"])
        parts.append(f"**{name}** {idea}\n\n{block(records.of(name)[seed]['samples'][0])}")
    return "\n\n".join(parts)


def writes(records, words, step):
    """Return the first lines that a version writes after 春江; neighbours draw by other seeds."""
    record = records.of(step.name)[step.version % 3]
    lines = record["samples"][0].split("\n")[:4]
    return words["writes"].format(step.name, record["seed"]) + "\n\n" + block("\n".join(lines))


def with_marks(poem, mark):
    """Return a poem, after each row the lengths of its lines; mark(i) is what follows a length."""
    lines, i = [], 0
    for row in poem["body"].rstrip("\n").split("\n"):
        lengths = form(row)
        numbers = [f"{length}{mark(i + k)}" for k, length in enumerate(lengths)]
        lines, i = [*lines, (row, "+".join(numbers))], i + len(lengths)
    width = 1 + max(len(row) for row, _ in lines)
    lines = [row.ljust(width, "\u3000") + numbers for row, numbers in lines]  # as wide as a 字
    return block("\n".join([f"{poem['tune']} {AUTHOR}", *lines]))


@functools.cache
def tunes():
    """Return {tune: bodies} of the text, and {character: its groups} of the table of rhymes."""
    text, rhymes = ((ROOT / f"data/{name}.txt").read_text("utf-8") for name in ("ci", "rhymes"))
    return by_tune(split_poems(f"\n\n{text}")), read_rhymes(rhymes)


@functools.cache
def pairs_of(tune):
    """Return the pairs of lines that rhyme in a tune."""
    bodies, groups = tunes()
    return rhyming_pairs(bodies[tune], groups)


def rhymes_of(poem):
    """Return of each line of a poem: does it rhyme with an earlier one that it should rhyme with?

    A sign for yes or no, or nothing where there is none.
    """
    signs, (_, groups) = [], tunes()
    for i in range(len(form(poem["body"]))):
        due = [pair for pair in pairs_of(poem["tune"]) if pair[1] == i]
        signs.append("韵" if rhymed(poem["body"], due, groups) else "✗" * bool(due))
    return signs


def rhyming_poems(records, words, step=None, name="", shown=range(3)):
    """Return some poems of a run, one after the other, with each line's length, and its rhyme."""
    poems = records.of(name)[0]["form"]["poems"]
    return "\n\n".join(with_marks(poems[i], rhymes_of(poems[i]).__getitem__) for i in shown)


def first_right_poem(record):
    """Return the first poem of a record that kept its form, each line in rhyme with another."""
    poems = record["form"]["poems"]
    return next(poem for poem in poems if poem["whole"] and "✗" not in rhymes_of(poem))


def rhyme_poem(records, words, step=None):
    poem = first_right_poem(records.of("rhyme")[0])
    return with_marks(poem, rhymes_of(poem).__getitem__)


def first_poems(records, words, step=None, name="", number=0):
    """Return the first poems of a run, unpicked, each with whether it kept its form."""
    parts = []
    for poem in records.of(name)[0]["form"]["poems"][:number]:
        verdict = words["kept" if poem["whole"] else "broke"]
        parts.append(f"**{poem['tune']}** ({verdict})\n\n{block(poem['body'])}")
    return "\n\n".join(parts)


def sampled_poems(records, words, step=None):
    """Return the first poem to the first tune, as each of these ways to choose wrote it."""
    parts = []
    for label, name in WAYS.items():
        if not records.find(name):
            continue
        (poem, *_) = records.of(name)[0]["form"]["poems"]
        parts.append(f"**{words.get(label, label)}** {poem['tune']}\n\n{block(poem['body'])}")
    return "\n\n".join(parts)


def learned_poems(records, words, step=None, name="", shown=5):
    """Return the poem that a run of v19 printed at some of its evaluations, to one beginning."""
    output = records.of(name)[0]["output"]
    found = re.findall(r"^step +(\d+): .+\n((?:.+\n)+)", output, flags=re.M)
    chosen = [found[i * (len(found) - 1) // (shown - 1)] for i in range(shown)]
    head = words["at step"]
    return "\n\n".join(f"**{head.format(step)}**\n\n{block(poem)}" for step, poem in chosen)


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


# In the text of a task, what is code: calls, flags, names with a dot or an underscore, classes
CODE = r"""(?x) (?<![\w.])[A-Za-z_][\w.]*\([^()\n]*\) | --\w+ | \b\w+=-?[\w.]+ |
    \([\w ,*/]*_[\w ,*/]*\) | \b(?:self|sys|nn|F|torch|net)\.[\w.]*\w | \b[A-Z]\w+\.\w+ |
    (?:\b\d\ \*\ )?\b\w*_\w+(?:\ (?://|\*\*)\ -?[\w.]*\w)? |
    \b(?:BabyGPT|Head|MultiHeadAttention|FeedForward|Block|Config|Cache|main)\b"""
BETWEEN_CHINESE = r"(?<=[。，；：、）])\n(?=\S)|(?<=[\u4e00-\u9fff])\n(?=[\u4e00-\u9fff])"


def practice(records, words, step):
    """Return the task of a version, how to start and check it, and hints that unfold."""
    task = read_task(step.name)
    texts, file = task["zh-CN" if "zh" in words["idea"] else "en"], f"my_{step.name}.py"
    text = re.sub(BETWEEN_CHINESE, "", texts["task"].strip())
    text = re.sub(r"(?<=\S)\n(?=\S)", " ", text)
    text = re.sub(CODE, lambda code: f"`{code[0]}`", text)
    tool = f"python tools/practice.py {step.name}"
    hints = "\n".join(f"{i}. {hint.strip()}" for i, hint in enumerate(texts["hints"], 1))
    unfold = f"<details><summary>{words['hints']}</summary>\n\n{hints}\n\n</details>"
    commands = block(f"{tool}\n{tool} {file}", "sh")
    return "\n\n".join([words["write it"] + text, commands, unfold])


LADDER = [f"v{version}" for version in RUNS["ladder"].versions]
PRESETS = [name for name, run in RUNS.items() if run.preset]
PRESET = "loss train ppl ends whole rhyme verbatim time"
HOUR = "loss train ends whole rhyme"
RATES = {"3e-3": "v6", "1e-3": "rate_1e-3", "3e-4": "rate_3e-4"}
INITIAL = {"v6": "v6", "kaiming": "kaiming_3e-3", "v5": "v5", "v7": "v7"}
INITIAL |= {"v6, 1e-3": "rate_1e-3", "kaiming, 1e-3": "kaiming_1e-3"}
INITIAL |= {"one kaiming, 1e-3": "one_block_kaiming", "v5, 1e-3": "one_block"}
INITIAL |= {"v7, 1e-3": "sweep_1e-3.v7"}
QUARTER = {"v7": "v7", "own_quarter": "own_quarter", "v8": "v8"}
POST_NORM = {"v9": "v9", "post_norm": "post_norm_3e-3"}
POST_NORM |= {"v9, 1e-2": "exercise_rate_1e-2.v9", "post_norm, 1e-2": "post_norm_1e-2"}
LITTLE = {"v9": "little_text.v9", "v10": "little_text.v10"}
TEMPERATURES = {"0": "likeliest"}
TEMPERATURES |= {run.split("_")[1]: run for run in RUNS if run.startswith("temperature_")}
TOPS = {run.split("_")[1]: run for run in RUNS if run.startswith("top_")} | {
    "all": "temperature_1.0"
}
NUCLEUS = {"temperature 1": "temperature_1.0", "nucleus": "nucleus", "top 50": "top_50"}
NUCLEUS |= {"temperature 0.8": "temperature_0.8", "temperature 0.9": "temperature_0.9"}
WAYS = {"temperature 0": "likeliest", "temperature 0.8": "temperature_0.8"}
WAYS |= {"temperature 1": "temperature_1.0", "temperature 1.2": "temperature_1.2"}
SAMPLED = "whole pairs distinct verbatim rhyme"
CHANCE = {"chance": "chance", "placed": "placed"}
LEARNED = {"evening": "temperature_1.0", "v19": "rhyme", "own_ends": "own_ends"}
LEARNED |= {"real": "real", **CHANCE}
CHEATS = {"evening": "temperature_1.0", "repeats": "repeats", "readings": "readings"}
CHEATS |= {"titles": "titles", "short": "short"}
EARNED = "whole rhyme given groups rhymed distinct"
VERSES = "ends whole rhyme rhymed distinct pairs verbatim"
VARIANTS = {"v15, on a GPU": "evening_gpu", "tied": "evening_tied", "decay": "evening_decay"}
VARIANTS |= {"dropout 0.2": "evening_dropout_0.2"}
BESIDE = ("rule", "forms", "real", *CHANCE)  # what stands beside what models know of form
SCALE = {"v12, on a GPU": "scale.v12", "v16, on a GPU": "scale.v16"}
GUESSED = {"v10": "v10", "laptop": "laptop", "rotary": "rotary", "evening": "temperature_1.0"}
GUESSED |= {**SCALE, "real": "real", **CHANCE}


def comparison(names, whats, label="", **more):
    """Return the block that compares these runs, {what stands in the first column: name}."""
    names = names if isinstance(names, dict) else {name: name for name in names}
    more |= {"names": names, "whats": whats.split(), "label": label}
    return lambda records, words, step=None: tables.compared(records, words, **more)


BLOCKS = {  # name: function of the records, the words and the step whose page it is
    "a run": a_run,
    "poems": poems,
    "writes": writes,
    "hour poems": partial(first_poems, name="hour", number=3),
    "rhyme poem": rhyme_poem,
    "rhyme command": partial(command, name="rhyme"),
    "evening poems": partial(first_poems, name="evening", number=10),
    "evening command": partial(command, name="evening"),
    "ladder table": tables.ladder_table,
    "beyond table": tables.beyond_table,
    "presets": comparison(PRESETS, PRESET, precise=False),
    "evening": comparison(["evening"], PRESET, precise=False),
    "evening variants": comparison(VARIANTS, "loss train ends whole rhyme"),
    "form": comparison([*LADDER, *PRESETS, *BESIDE], VERSES, precise=False),
    "rhyme": comparison(GUESSED, "whole rhyme rhymed", precise=False),
    "tunes": partial(experiments.tunes_table, name="hour"),
    "evening tunes": partial(experiments.tunes_table, name="evening"),
    "links": links,
    "practice": practice,
    "new lines": new_lines,
    "measured": tables.measured,
    "speed": experiments.speed_table,
    "speed gpu": partial(experiments.speed_table, of="gpu"),
    "counting": experiments.counting_table,
    "depth": partial(experiments.depth_of, names=("v5", "v6", "v7"), when="untrained"),
    "trained depth": experiments.trained_depth,
    "stream": partial(experiments.depth_of, names=("v8", "v9"), when="trained"),
    "dead units": experiments.dead_table,
    "rates": comparison(RATES, "loss train ends", "rate"),
    "initial weights": comparison(INITIAL, "loss train ends"),
    "own quarter": comparison(QUARTER, "loss train parameters"),
    "rate sweep": experiments.sweep_table,
    "post norm": comparison(POST_NORM, "loss train ends"),
    "little text": comparison(LITTLE, "train best step loss"),
    "hour": comparison({"0.1": "hour", "0": "hour_dropout_0"}, HOUR, "dropout"),
    "rotary": comparison({"v13": "fused", "v14": "rotary"}, HOUR),
    "rotary seen": comparison({"v13": "fused", "v14": "rotary"}, "held held_8 ends ends_8"),
    "context": experiments.context_table,
    "context seen": experiments.seen_table,
    "temperatures": comparison(
        {**TEMPERATURES, "real": "real", **CHANCE}, SAMPLED, "temperature", precise=False
    ),
    "top k": comparison({**TOPS, "real": "real"}, SAMPLED, "top k", precise=False),
    "nucleus": comparison(NUCLEUS, SAMPLED, precise=False),
    "sampled poems": sampled_poems,
    "learned": comparison(LEARNED, f"{EARNED} judged", precise=False),
    "cheats": comparison(CHEATS, f"{EARNED} judged", precise=False),
    "learned poems": partial(learned_poems, name="rhyme"),
    "repeats poems": partial(rhyming_poems, name="repeats", shown=(9, 18)),
    "readings poems": partial(rhyming_poems, name="readings", shown=(6, 10, 12)),
    "titles poems": partial(rhyming_poems, name="titles"),
    "sorrow poems": partial(rhyming_poems, name="sorrow", shown=range(2)),
    "rhyme poems": partial(rhyming_poems, name="rhyme", shown=range(10)),
    "scale": comparison(SCALE, "loss train ends whole"),
}
