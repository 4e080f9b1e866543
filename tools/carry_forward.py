"""Carry an edit of one version through all later ones: twelve copies, one maintainer.

    python tools/carry_forward.py v3             # the edit of v3 against HEAD, into v4 to v12
    python tools/carry_forward.py v3 --dry-run   # only say what it would do; -v shows the lines
    python tools/carry_forward.py --check        # do neighbours still obey tools/steps.json?

The edit is what VERSION has in the working tree, below its docstring, that it has not in HEAD; the
docstrings are each version's own and never carried. It goes from version to version by three-way
merge (git merge-file) of the committed scripts, so that nothing but the edit travels, and from each
into the working file, which keeps its own uncommitted changes. Where the edit is already, nothing
changes: it is safe to run twice. Edits of two versions: carry the earlier one first.

All is merged before anything is written, so a conflict leaves every file as it was. To get past it:
carry up to the version before (--until), make the edit by hand where it conflicts, carry on from
there. To change an edit again that is carried but not committed: `git add` the scripts first, and
carry the change with --staged.
"""

import argparse
import ast
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import steps

LAST = f"v{steps.STEPS[-1].version}"


def fail(message, status=2):
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(status)


def git(*arguments, allowed=(0,)):
    """Return what a git command prints, or fail with what it says."""
    command = ["git", "-C", str(steps.ROOT), *arguments]
    try:
        result = subprocess.run(command, capture_output=True)
    except FileNotFoundError:
        fail("git is not installed, or not in PATH")
    if result.returncode not in allowed:
        fail(result.stderr.decode(errors="replace").strip().splitlines()[-1])
    return result.stdout.decode("utf-8")


def cut(source, name):
    """Return the docstring and the text below it, with \\n at the ends of the lines."""
    source = source.replace("\r\n", "\n")
    ast.parse(source, name)  # a SyntaxError names the file
    return ["".join(lines) for lines in steps.split_docstring(source)]


def merge(base, ours, theirs, ours_name):
    """Return ours with the change from base to theirs, and the conflicts in it if there are any.

    A conflict is a list of lines from <<<<<<< to >>>>>>>, with the lines of the result before it.
    """
    if base == theirs:
        return ours, []
    with tempfile.TemporaryDirectory() as folder:
        arguments = []
        for name, text in ((ours_name, ours), ("before the edit", base), ("the edit", theirs)):
            path = Path(folder, str(len(arguments)))
            path.write_bytes(text.encode())
            arguments.append((name, str(path)))
        labels = [item for name, _ in arguments for item in ("-L", name)]
        paths = [path for _, path in arguments]
        # The exit status is the number of conflicts, at most 127
        merged = git("merge-file", "-p", "--diff3", *labels, *paths, allowed=range(128))
    lines = merged.split("\n")
    starts = [i for i, line in enumerate(lines) if line.startswith("<<<<<<< ")]
    ends = [i for i, line in enumerate(lines) if line.startswith(">>>>>>> ")]
    return merged, [(lines[a : b + 1], a) for a, b in zip(starts, ends, strict=True)]


def report_conflict(step, first, conflict, working):
    """Fail with the place of a conflict in a script's working file, and what to do about it."""
    hunk, near = conflict
    ours = hunk[1 : next(i for i, line in enumerate(hunk) if line.startswith("||||||| "))]
    docstring, body = working
    lines = body.split("\n")
    # Lines that the merge added above shift the place: take the nearest that reads the same
    same = [i for i in range(len(lines)) if lines[i : i + len(ours)] == ours]
    place = min(same, key=lambda i: abs(i - near), default=near)
    line = docstring.count("\n") + place + 1
    before = steps.STEPS[step.version - 2]
    until = f"carry it with --until v{before.version}, " if before != first else ""
    fail(
        f"{step.file}:{line}: conflict; no file was written\n"
        + "".join(f"    {text}\n" for text in hunk)
        + f"To go on: {until}make the edit in {step.file} by hand, then carry v{step.version}",
        status=1,
    )


def carry(first, last, revision):
    """Return the edit, (text before, text after), and what it does to the versions after first.

    That is a list of (step, old source, new source, note). Fails at the first conflict.
    """
    committed, working, sources = {}, {}, {}
    for step in steps.STEPS[first.version - 1 : last.version]:
        name = f"{revision}:./{step.file}"
        committed[step.version] = cut(git("show", name), name)[1]
        sources[step.version] = steps.read_script(step)
        working[step.version] = cut(sources[step.version], step.file)
    results = []
    edit = base, edited = committed[first.version], working[first.version][1]
    for step in steps.STEPS[first.version : last.version]:
        docstring, body = working[step.version]
        # The edit among the committed scripts, then that into the working file
        edited, conflicts = merge(base, committed[step.version], edited, step.file)
        base = committed[step.version]
        if not conflicts:
            merged, conflicts = merge(base, body, edited, step.file)
        if conflicts:
            report_conflict(step, first, conflicts[0], working[step.version])
        ast.parse(docstring + merged, f"{step.file} as merged")
        old, new = sources[step.version], docstring + merged
        if "\r\n" in old:
            new = new.replace("\n", "\r\n")
        note = "has it already" if merged == body else ""
        if merged != edited:
            note += ", " * bool(note) + "keeps its own uncommitted changes"
        results.append((step, old, new, note))
    return edit, results


def write(results):
    """Write all the new files beside the old ones, then rename them."""
    changed = [(steps.ROOT / step.file, new) for step, old, new, _ in results if old != new]
    paths = [(path, path.with_name(f"{path.name}.tmp")) for path, _ in changed]
    try:
        for (path, temporary), (_, new) in zip(paths, changed, strict=True):
            temporary.write_bytes(new.encode())
            shutil.copymode(path, temporary)
        for path, temporary in paths:
            os.replace(temporary, path)
    finally:
        for _, temporary in paths:
            temporary.unlink(missing_ok=True)
    return len(changed)


def changed_lines(old, new):
    """Return "+3 -1" for two texts."""
    added, removed = steps.count_changes(old.splitlines(), new.splitlines())
    return f"+{added} -{removed}"


def main(argv=None):
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.error = fail
    parser.add_argument("version", nargs="?", help="the edited script: v3, 3 or its file name")
    parser.add_argument("--until", default=LAST, help=f"last version to change (default: {LAST})")
    parser.add_argument("--staged", action="store_true", help="against `git add`, not HEAD")
    parser.add_argument("--dry-run", action="store_true", help="write nothing")
    parser.add_argument("-v", "--verbose", action="store_true", help="show the changed lines")
    parser.add_argument("--check", action="store_true", help="check the steps, carry nothing")
    args = parser.parse_args(argv)
    if args.check == (args.version is not None):
        fail("expected a version, such as v3, or --check")
    try:
        if args.check:
            check()
        else:
            run(args)
    except (OSError, SyntaxError, UnicodeDecodeError, ValueError) as error:
        fail(error)


def check():
    problems = steps.check_all()
    for problem in problems:
        print(problem)
    if problems:
        raise SystemExit(1)
    print("every step changes what tools/steps.json says, and nothing else")


def run(args):
    first, last = steps.find_step(args.version), steps.find_step(args.until)
    if last.version <= first.version:
        fail(f"v{first.version}: no later version up to v{last.version} to carry an edit to")
    edit, results = carry(first, last, "" if args.staged else "HEAD")
    if edit[0] == edit[1]:
        print(f"v{first.version}: no uncommitted edit below the docstring, nothing to carry")
        return
    print(f"the edit of {first.file}: {changed_lines(*edit)}")
    for step, old, new, note in results:
        print(f"v{step.version:<3} {step.file:36} {changed_lines(old, new):8} {note}".rstrip())
        if args.verbose:
            old_lines, new_lines = old.splitlines(), new.splitlines()
            print(steps.unified_diff(old_lines, new_lines, step.file, step.file), end="")
    if args.dry_run:
        print("dry run: nothing was written")
    else:
        print(
            f"files written: {write(results)}; now run ruff and the tests: a merge knows no Python"
        )


if __name__ == "__main__":
    main()
