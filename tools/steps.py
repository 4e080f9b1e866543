"""The step table (steps.json), and whether the twelve scripts keep to it.

Shared by tests/test_diffs.py and carry_forward.py --check. It reads source text alone: no script is
imported, so it needs no torch.

A script is its docstring, which every version has to itself, and below it a row of sections: each
is one top-level definition with the comments and blank lines above it. All imports in a row are one
section, "imports"; a statement other than a definition is named by what it assigns or by its first
line.
"""

import ast
import difflib
import io
import json
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parent.parent
TABLE = Path(__file__).with_name("steps.json").read_text(encoding="utf-8")
STEPS = [SimpleNamespace(**row) for row in json.loads(TABLE)]
MAX_COLUMNS = 100
GUARD = "if __name__ == '__main__':"
# Top to bottom; a section not named here is a helper
ORDER = [
    *("imports", "helpers", "Config", "parse_args", "Tokenizer", "load_text", "split_text"),
    *("get_batch", "Head", "MultiHeadAttention", "FeedForward", "Block", "BabyGPT"),
    *("estimate_loss", "save_checkpoint", "load_checkpoint", "check_outputs", "train", "main"),
    GUARD,
]
DEFAULTS_ONLY = 11  # this version changes nothing but default values of Config


def find_step(name):
    """Return the step that "3", "v3" or a script's file name means, or raise ValueError."""
    for step in STEPS:
        names = (str(step.version), f"v{step.version}", step.file, Path(step.file).stem)
        if Path(name.lower()).name in names:
            return step
    raise ValueError(f"{name!r} is no version: expected v1 to v{STEPS[-1].version}, or a file name")


def read_script(step, root=ROOT):
    """Return a script's text with the line endings that it has on disk."""
    return (root / step.file).read_bytes().decode("utf-8")


def split_docstring(source):
    """Return the lines up to the end of the module docstring, and the lines below it."""
    lines = io.StringIO(source).readlines()  # splitlines() would also split at a form feed
    tree = ast.parse(source)
    end = tree.body[0].end_lineno if ast.get_docstring(tree, clean=False) is not None else 0
    return lines[:end], lines[end:]


def section_name(node):
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return "imports"
    if isinstance(node, ast.Assign):
        return ", ".join(map(ast.unparse, node.targets))
    return getattr(node, "name", ast.unparse(node).splitlines()[0])


def sections(source):
    """Return [(name, lines)] of all that is below the docstring; every line is in one of them."""
    _, lines = split_docstring(source)
    result, begin = [], 0
    for node in ast.parse("".join(lines)).body:
        name, part = section_name(node), lines[begin : node.end_lineno]
        if result and result[-1][0] == name == "imports":
            result[-1][1].extend(part)
        else:
            while name in dict(result):  # defined twice
                name += " again"
            result.append((name, part))
        begin = node.end_lineno
    if begin < len(lines):
        result.append(("end of file", lines[begin:]))
    return result


def unified_diff(before, after, before_name, after_name):
    """Return the unified diff of two lists of lines as one text."""
    diff = difflib.unified_diff(before, after, before_name, after_name)
    return "".join(line if line.endswith("\n") else line + "\n" for line in diff)


def count_changes(before, after):
    """Return how many lines were added and removed from one list of lines to the other."""
    added = removed = 0
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind != "equal":
            removed += b - a
            added += d - c
    return added, removed


def without_defaults(lines):
    """Return the source of Config with the default value of every knob blanked out."""
    tree = ast.parse("".join(lines))
    fields = [node for node in ast.walk(tree) if isinstance(node, ast.AnnAssign)]
    result = [line.encode() for line in lines]  # the tree counts columns in bytes
    for node in reversed(fields):
        default = node.value.args[0]
        first, last = default.lineno - 1, default.end_lineno - 1
        joined = (
            result[first][: default.col_offset] + b"..." + result[last][default.end_col_offset :]
        )
        result[first : last + 1] = [joined]
    return [line.decode() for line in result]


def check_script(step, source):
    """Return what is wrong with one script by itself: its order and the length of its lines."""
    ast.parse(source, step.file)  # a SyntaxError names the file
    problems = []
    for number, line in enumerate(source.splitlines(), start=1):
        if len(line) > MAX_COLUMNS:
            text = f"{step.file}:{number}: {len(line)} columns, more than {MAX_COLUMNS}\n{line}\n"
            problems.append(text)
    names = [name for name, _ in sections(source)]
    ranks = [ORDER.index(name if name in ORDER else "helpers") for name in names]
    for name, rank, before, rank_before in zip(names[1:], ranks[1:], names, ranks, strict=False):
        if rank < rank_before:
            problems.append(f"{step.file}: {name} stands below {before}, but belongs above it\n")
    return problems


def check_step(step, before, after):
    """Return what the script after changes against the one before that its step does not allow."""
    old_name, new_name = STEPS[step.version - 2].file, step.file
    old, new = dict(sections(before)), dict(sections(after))
    listed = {name.lstrip("+"): name for name in step.may_change}
    problems = []

    def diff(name):
        return unified_diff(old.get(name, []), new.get(name, []), old_name, new_name)

    for name in [*old, *(name for name in new if name not in old)]:
        if old.get(name) == new.get(name):
            if name in listed:
                problems.append(f"{new_name}: {name} is as before, but its step is to change it\n")
            continue
        kind = "is new" if name not in old else "is gone" if name not in new else "differs"
        allowed = {"is new": f"+{name}", "differs": name}.get(kind)
        if allowed is None or listed.get(name) != allowed:
            allows = ", ".join(step.may_change)
            text = f"{new_name}: {name} {kind}, but its step may change only: {allows}\n"
            problems.append(text + diff(name))
    for name in listed.keys() - old.keys() - new.keys():
        problems.append(f"{new_name}: {name} is missing\n")

    common = [[name for name in side if name in other] for side, other in ((old, new), (new, old))]
    if common[0] != common[1]:
        problems.append(f"{new_name}: its definitions are in another order than in {old_name}\n")

    if step.version == DEFAULTS_ONLY:
        bare = [without_defaults(side["Config"]) for side in (old, new)]
        if bare[0] != bare[1]:
            text = f"{new_name}: Config differs in more than default values (shown as ...)\n"
            problems.append(text + unified_diff(*bare, old_name, new_name))

    bodies = split_docstring(before)[1], split_docstring(after)[1]
    for kind, count in zip(("added", "removed"), count_changes(*bodies), strict=True):
        limit = step.at_most_lines[kind]
        if count > limit:
            text = f"{new_name}: {count} lines {kind}, at most {limit} expected\n"
            problems.append(text + unified_diff(*bodies, old_name, new_name))
    return problems


def check_all(root=ROOT):
    """Return the problems of all scripts and of all steps between them."""
    sources = [read_script(step, root) for step in STEPS]
    problems = []
    for step, source, before in zip(STEPS, sources, [None, *sources], strict=False):
        problems += check_script(step, source)
        if before is not None:
            problems += check_step(step, before, source)
    return problems
