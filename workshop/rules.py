"""The rules of the steps: what each may change, and how long a script may be. See steps.toml.

A script is its docstring, which every version has for itself, and below it its sections: each is
one top-level definition with the lines above it; "imports", the first, and "guard", the last, too.
Source text is all that is read, so nothing here needs PyTorch.
"""

import ast
import difflib
import functools
import hashlib
import re
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "tools"))  # for all of workshop/

from steps import STEPS, base_of, read_script  # noqa: E402

PLUMBING = ("imports", "Config", "main", "guard")
AT_MOST_PLUMBING = 0.4  # of v1's lines of code
# What cannot change a weight: sections, and of Config these lines; of BabyGPT it is generate()
WEIGHTLESS = ("imports", "sample", "guard", "save_checkpoint", "load_checkpoint")
WEIGHTLESS_FIELD = r"    (prompts|max_new_tokens|data_path|wandb_mode|checkpoint_path|sample): "
GENERATE = r"(    @.*\n)?    def generate\(.*(\n {5,}.*)*"


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


@functools.cache
def code_hash(source, only=()):
    """Return a short hash of what can change a weight: equal hashes, equal training.

    Of these sections only, if any are named.
    """
    kept = []
    for name, lines in sections(source).items():
        if name in only or not only and name not in WEIGHTLESS:
            code = [line for line in code_lines(lines) if not re.match(WEIGHTLESS_FIELD, line)]
            kept.append(re.sub(GENERATE, "", "\n".join(code)))
    return hashlib.sha256("\n".join(kept).encode()).hexdigest()[:12]


def unified_diff(before, after, *names):
    """Return the unified diff of two texts as one text."""
    return "".join(difflib.unified_diff(before.splitlines(True), after.splitlines(True), *names))


def count_changes(before, after):
    """Return how many lines were added and removed from one text to the other."""
    changes = [line[:2] for line in difflib.ndiff(before.splitlines(), after.splitlines())]
    return changes.count("+ "), changes.count("- ")


def check_script(step, source):
    """Return what is wrong with one script by itself: its length, and its share of plumbing."""
    problems, length = [], len(source.splitlines())
    if length > step.lines:
        problems.append(f"{step.file}: {length} lines, {step.lines} are what a reader reads\n")
    counts = {name: len(code_lines(lines)) for name, lines in sections(source).items()}
    plumbing = sum(counts.get(name, 0) for name in PLUMBING)
    if base_of(step) is None and plumbing > AT_MOST_PLUMBING * sum(counts.values()):
        problems.append(f"{step.file}: too much plumbing, {plumbing} lines of code: {counts}\n")
    return problems


def check_step(step, before, after):
    """Return what a script changes against its base, before, and its step does not allow."""
    names = base_of(step).file, step.file
    old, new = sections(before), sections(after)
    problems = []

    def report(what, texts):
        problems.append(f"{step.file}: {what}\n{unified_diff(*texts, *names)}")

    for name in dict.fromkeys([*old, *new]):
        texts = ["".join(side.get(name, [])) for side in (old, new)]
        kind = "is new" if name not in old else "is gone" if name not in new else "differs"
        allowed = {"is new": f"+{name}", "is gone": f"-{name}", "differs": name}[kind]
        if texts[0] == texts[1] and name in step.may_change:
            report(f"{name} is as before, but its step is to change it", texts)
        if texts[0] != texts[1] and allowed not in step.may_change:
            report(f"{name} {kind}, but its step may change only {step.may_change}", texts)
    orders = [[f"{name}\n" for name in side if name in old and name in new] for side in (old, new)]
    if orders[0] != orders[1]:
        report("its definitions are in another order", map("".join, orders))
    if step.only_defaults:
        bare = [re.sub(r" = \S+(?=  #)", " = ...", "".join(s["Config"])) for s in (old, new)]
        if bare[0] != bare[1]:
            report("Config differs in more than default values (shown as ...)", bare)
    bodies = split_docstring(before)[1], split_docstring(after)[1]
    for kind, count in zip(("added", "removed"), count_changes(*bodies), strict=True):
        if count > getattr(step, kind):
            report(f"{count} lines {kind}, at most {getattr(step, kind)} expected", bodies)
    return problems


def check_all():
    """Return the problems of all scripts and of all steps between them."""
    problems = []
    for step in STEPS:
        problems += check_script(step, read_script(step))
        if base := base_of(step):
            problems += check_step(step, read_script(base), read_script(step))
    return problems
