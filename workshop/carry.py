"""Carry an edit of one version through all that are copies of it: many files, one maintainer.

    python workshop/carry.py v3             # the edit of v3 against HEAD, into all later ones
    python workshop/carry.py v3 --until v6  # into v4 to v6 only
    python workshop/carry.py --check        # does every step keep to its row of tools/steps.toml?

The edit is what VERSION has below its docstring that it has not in HEAD. All is merged before
anything is written. Where that conflicts, carry the edit --until the version before, make it by
hand in the one that conflicts, and carry that one on.
"""

import json
import re
import subprocess
import sys
import tempfile
from argparse import ArgumentParser
from argparse import RawDescriptionHelpFormatter as Raw
from pathlib import Path

from rules import check_all, count_changes, split_docstring
from steps import ROOT, STEPS, base_of, find_step, read_script


def git(*arguments, most=0):
    """Return what a git command prints; exit with what it says if its status is above most."""
    command = ["git", "-C", str(ROOT), *arguments]
    result = subprocess.run(command, capture_output=True, encoding="utf-8")
    if not 0 <= result.returncode <= most:
        sys.exit(f"error: git {arguments[0]}: {result.stderr.strip()}")
    return result.stdout


def committed(step):
    """Return what HEAD has below a script's docstring."""
    return split_docstring(git("show", f"HEAD:{step.file}"))[1]


def merge(ours, base, theirs, name):
    """Return ours with the change from base to theirs; exit where that conflicts.

    Lines are merged; where these conflict, as on neighbouring lines, words are.
    """
    for parts in (r".*\n", r"\w+|\s+|."):
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder, label) for label in ("ours", "before", "edit")]
            for path, text in zip(paths, (ours, base, theirs), strict=True):
                lines = map(json.dumps, re.findall(parts, text))  # one part a line
                path.write_text("\n".join([*lines, ""]), encoding="utf-8", newline="\n")
            # The exit status is the number of conflicts, at most 127
            merged = git("merge-file", "-p", "--diff3", *map(str, paths), most=127)
        if "<<<<<<< " not in merged:
            return "".join(map(json.loads, merged.splitlines()))
    sys.exit(f"error: {name}: the edit conflicts with its step, no file was written")


def carry(first, last):
    """Return [(step, source)] for each later version that the edit of first changes."""
    edits = {first.version: (committed(first), split_docstring(read_script(first))[1])}
    if len(set(edits[first.version])) == 1:
        sys.exit(f"error: {first.file}: no edit below its docstring against HEAD")
    changed = []
    for step in STEPS:
        base = base_of(step)
        if step.version > last.version or base is None or base.version not in edits:
            continue
        before = committed(step)
        edit = merge(before, *edits[base.version], step.file)
        edits[step.version] = before, edit
        top, body = split_docstring(read_script(step))
        if body not in (before, edit):
            sys.exit(f"error: {step.file}: has other changes; commit them first, or carry them")
        if body != edit:
            changed.append((step, top + edit))
    return changed


def main(argv=None):
    parser = ArgumentParser(description=__doc__, formatter_class=Raw)
    parser.add_argument("version", nargs="?", type=find_step, help="v1 on, or a file name")
    parser.add_argument("--until", type=find_step, default=STEPS[-1], help="the last to change")
    parser.add_argument("--check", action="store_true", help="check all versions instead")
    args = parser.parse_args(argv)
    if args.check:
        sys.exit("\n".join(check_all()) or None)
    if args.version is None:
        parser.error("which version? See --help")
    changed = carry(args.version, args.until)
    for step, source in changed:
        added, removed = count_changes(read_script(step), source)
        step.path.write_text(source, encoding="utf-8", newline="\n")
        print(f"{step.file:34} +{added} -{removed}")
    print(f"{len(changed)} files changed")


if __name__ == "__main__":
    main()
