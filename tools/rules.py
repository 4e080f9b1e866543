"""What each of the scripts may change, and how long it may be: read from steps.json.

A script is its docstring, which every version has for itself, and below it its sections: each is
one top-level definition with the lines above it; "imports", the first, and "guard", the last, too.
Source text is all that is read; only import_script() imports one.
"""

import ast
import difflib
import functools
import importlib
import json
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

ROOT = Path(__file__).resolve().parent.parent
TABLE = Path(__file__).with_name("steps.json").read_text(encoding="utf-8")
STEPS = [SimpleNamespace(**row) for row in json.loads(TABLE)]
# The reader's budget: lines in all, for each version up to the one named
AT_MOST_LINES = {1: 185, 10: 280, 11: 285, 12: 340, 15: 350, 16: 360, 17: 400}
AT_MOST_PLUMBING = 0.4  # of v1's lines of code
# What a line of code is for, by the definition that it stands in; top to bottom in a script
KINDS = {
    **dict.fromkeys(["imports", "Config"], "plumbing"),
    **dict.fromkeys(["Tokenizer", "load_data", "get_batch"], "data"),
    **dict.fromkeys(["rotate", "Head", "MultiHeadAttention"], "model"),
    **dict.fromkeys(["FeedForward", "Block", "BabyGPT"], "model"),
    "estimate_loss": "training",
    **dict.fromkeys(["save_checkpoint", "load_checkpoint"], "checkpoint"),
    "train": "training",
    "sample": "sampling",
    **dict.fromkeys(["main", "guard"], "plumbing"),
}
DEFAULTS_ONLY = 11  # this version changes nothing but default values of Config


def find_step(name):
    """Return the step that "3", "v3" or a script's file name means, or raise ValueError."""
    for step in STEPS:
        file = Path(step.file)
        names = (str(step.version), f"v{step.version}", file.name, file.stem)
        if Path(name.lower()).name in names:
            return step
    raise ValueError(f"{name!r} is no version: expected v1 to v{STEPS[-1].version}, or a file name")


def import_script(step, edit=None):
    """Return a script as a module, maybe with a text of it replaced: edit is (old, new)."""
    if edit:
        old, new = edit
        before, after = read_script(step).split(old)  # it stands there once
        module = sys.modules[f"{Path(step.file).stem}_edited"] = ModuleType(step.file)
        module.__file__ = str(ROOT / step.file)
        exec(compile(before + new + after, step.file, "exec"), module.__dict__)
        return module
    folder = str((ROOT / step.file).parent)
    if folder not in sys.path:
        sys.path.append(folder)
    return importlib.import_module(Path(step.file).stem)


def read_script(step, root=ROOT):
    """Return a script's text."""
    return (root / step.file).read_text(encoding="utf-8")


@functools.cache
def split_docstring(source):
    """Return the text up to the end of the module docstring, and the text below it."""
    lines = source.splitlines(keepends=True)
    end = ast.parse(source).body[0].end_lineno
    return "".join(lines[:end]), "".join(lines[end:])


def sections(source):
    """Return {name: lines} of all that is below the docstring; every line is in one of them."""
    body = split_docstring(source)[1]
    lines, result, begin = body.splitlines(keepends=True), {}, 0
    for node in ast.parse(body).body:
        is_import = isinstance(node, (ast.Import, ast.ImportFrom))
        name = "imports" if is_import else getattr(node, "name", "guard")
        result[name] = result.get(name, []) + lines[begin : node.end_lineno]
        begin = node.end_lineno
    result[name] += lines[begin:]
    return result


def code_lines(lines):
    """Return the lines without comments, docstrings and blank lines."""
    text = re.sub(r'^ +""".*?"""\n', "", "".join(lines), flags=re.M | re.S)
    bare = [re.sub(r"(^ *|  )# .*$", "", line).rstrip() for line in text.splitlines()]
    return [line for line in bare if line]


def code_by_kind(source):
    """Return {kind: number of lines of code} of a script, see KINDS."""
    counts = dict.fromkeys(KINDS.values(), 0)
    for name, lines in sections(source).items():
        counts[KINDS[name]] += len(code_lines(lines))
    return counts


def unified_diff(before, after, *names):
    """Return the unified diff of two texts as one text."""
    return "".join(difflib.unified_diff(before.splitlines(True), after.splitlines(True), *names))


def count_changes(before, after):
    """Return how many lines were added and removed from one text to the other."""
    changes = [line[:2] for line in difflib.ndiff(before.splitlines(), after.splitlines())]
    return changes.count("+ "), changes.count("- ")


def check_script(step, source):
    """Return what is wrong with one script by itself: its order and its length."""
    names, length = list(sections(source)), len(source.splitlines())
    known = [name for name in KINDS if name in names]
    if names != known:
        return [f"{step.file}: defines {names}, expected {known}, in this order\n"]
    problems, counts = [], code_by_kind(source)
    limit = next(n for version, n in AT_MOST_LINES.items() if step.version <= version)
    if length > limit:
        problems.append(f"{step.file}: {length} lines, at most {limit} are what a reader reads\n")
    if step.version == 1 and counts["plumbing"] > AT_MOST_PLUMBING * sum(counts.values()):
        problems.append(f"{step.file}: too much plumbing, lines of code: {counts}\n")
    return problems


def check_step(step, before, after):
    """Return what the script after changes against the one before that its step does not allow."""
    names = STEPS[step.version - 2].file, step.file
    old, new = sections(before), sections(after)
    problems = []

    def report(what, texts):
        problems.append(f"{step.file}: {what}\n{unified_diff(*texts, *names)}")

    for name in dict.fromkeys([*old, *new]):
        texts = ["".join(side.get(name, [])) for side in (old, new)]
        if texts[0] == texts[1] and name in step.may_change:
            report(f"{name} is as before, but its step is to change it", texts)
        kind = "is new" if name not in old else "is gone" if name not in new else "differs"
        allowed = {"is new": f"+{name}", "is gone": f"-{name}", "differs": name}[kind]
        if texts[0] != texts[1] and allowed not in step.may_change:
            report(f"{name} {kind}, but its step may change only {step.may_change}", texts)
    if step.version == DEFAULTS_ONLY:
        bare = [re.sub(r" = \S+(?=  #)", " = ...", "".join(s["Config"])) for s in (old, new)]
        if bare[0] != bare[1]:
            report("Config differs in more than default values (shown as ...)", bare)
    bodies = split_docstring(before)[1], split_docstring(after)[1]
    for kind, count in zip(("added", "removed"), count_changes(*bodies), strict=True):
        if count > step.at_most_lines[kind]:
            report(f"{count} lines {kind}, at most {step.at_most_lines[kind]} expected", bodies)
    return problems


def check_all(root=ROOT):
    """Return the problems of all scripts and of all steps between them."""
    sources = [read_script(step, root) for step in STEPS]
    problems = [
        p for step, source in zip(STEPS, sources, strict=True) for p in check_script(step, source)
    ]
    for step, before, after in zip(STEPS[1:], sources, sources[1:], strict=False):
        problems += check_step(step, before, after)
    return problems
