"""Render the records: tables and numbers in the pages, "Expect" in the docstrings, charts.

    python workshop/render.py           # write them
    python workshop/render.py --check   # fail where something is not as the records say

A page holds a block between <!-- name --> and <!-- end of name -->, see blocks.py, and a number
within a sentence between <!-- loss v6 --> and <!-- -->. A block that shows what was measured with
other code than today's says so.
"""

import os
import re
import sys
from argparse import ArgumentParser
from argparse import RawDescriptionHelpFormatter as Raw
from pathlib import Path

import charts
from blocks import BLOCKS
from records import Records, sha256, stale
from steps import ROOT, STEPS, read_script, tomllib

TEXTS = tomllib.loads(Path(__file__).with_name("texts.toml").read_text(encoding="utf-8"))
LANGUAGES = ("en", "zh-CN")
WORDS = {name: {k: v[i] for k, v in TEXTS.items()} for i, name in enumerate(LANGUAGES)}
PAGES = ("*.md", "beyond/*.md", "data/*.md", "docs/*/*.md")
NEEDED = ("links", "new lines")  # on the page of a step
MARK = re.compile(r"^<!-- (end of )?([a-z ]+) -->\n", re.M)


def fill(page, text, records, root=ROOT):
    """Return a page's text with its blocks and the numbers in its sentences filled in."""
    words = WORDS["zh-CN" if "zh-CN" in str(page) else "en"]
    step = next((s for s in STEPS if page.stem == f"v{s.version:02}"), None)
    marks = [(bool(end), name) for end, name in MARK.findall(f"{text}\n")]
    names = [name for end, name in marks if not end]
    if marks != [(end, name) for name in names for end in (False, True)]:
        raise ValueError(f"{page}: a block that does not end, or ends and does not begin: {marks}")
    unknown = [name for name in names if name not in BLOCKS]
    missing = [name for name in NEEDED if step and name not in names]
    if unknown or missing or len(set(names)) < len(names):
        raise ValueError(f"{page}: blocks {names}; unknown {unknown}, missing {missing}")

    def block(match):
        records.used_stale_ones()
        content = BLOCKS[match[1]](records, words, step).rstrip("\n")
        content = re.sub(r"\]\(/([^)]+)\)", lambda link: f"]({relative(link[1])})", content)
        note = f"\n\n{words['stale']}" if records.used_stale_ones() and content else ""
        return f"<!-- {match[1]} -->\n{content}{note}\n<!-- end of {match[1]} -->"

    def relative(target):
        return Path(os.path.relpath(target, page.parent)).as_posix()

    def number(match):
        if not (shown := records.text(match[2], match[1])):
            raise KeyError(f"no record has {match[1]} {match[2]}")
        return f"<!-- {match[1]} {match[2]} -->{shown}<!-- -->"

    try:
        text = re.sub(
            r"^<!-- ([a-z ]+) -->\n.*?^<!-- end of \1 -->", block, text, flags=re.M | re.S
        )
        return re.sub(r"<!-- (\w+) ([\w.-]+) -->[^<\n]*<!-- -->", number, text)
    except (KeyError, ValueError) as error:
        raise ValueError(f"{page}: {error}") from None


def expectation(step, records):
    """Return a script's text with the line of its docstring that says what to expect."""
    source = read_script(step)
    if "\nExpect: " not in source:
        return source
    found = records.of(step.name)
    loss = records.text(step.name, "loss", low_to_high=True).replace("–", " to ")
    line = f"Expect: val loss {loss} after {found[0]['curve'][-1]['step']} steps, "
    line += f"seeds {found[0]['seed']} to {found[-1]['seed']}"
    line += " (laptop)" if found[0]["flags"] else ""
    return re.sub(r"^Expect: .*$", line, source, count=1, flags=re.M)


def rendered(records, root=ROOT):
    """Return {path: text} of each page, chart and script, with what was measured filled in."""
    texts = {}
    for words in WORDS.values():
        for name, picture in charts.charts(records, words).items():
            texts[root / "docs" / "images" / f"{name}{words['svg']}"] = picture
    for path in sorted(path for pattern in PAGES for path in root.glob(pattern)):
        page = path.relative_to(root)
        texts[path] = fill(page, path.read_text(encoding="utf-8"), records)
    for step in STEPS:
        texts[root / step.file] = expectation(step, records)
    return texts


def check(records, root=ROOT):
    """Return what is wrong, a line each."""
    wrong = []
    for path, text in rendered(records, root).items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            wrong.append(f"{path.relative_to(root)}: not as workshop/render.py writes it")
    for record in (record for found in records.by_run.values() for record in found):
        kept = record.get("kept")
        if kept and not stale(record) and sha256(root / kept["file"]) != kept["sha256"]:
            wrong.append(f"{kept['file']}: not the file of its record")
    return wrong


def main(argv=None):
    parser = ArgumentParser(description=__doc__, formatter_class=Raw)
    parser.add_argument("--check", action="store_true", help="write nothing, fail where it differs")
    args = parser.parse_args(argv)
    try:
        if args.check:
            sys.exit("\n".join(check(Records())) or None)
        for path, text in rendered(Records()).items():
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                path.write_text(text, encoding="utf-8", newline="\n")
    except (KeyError, ValueError) as error:
        sys.exit(f"error: {error.args[0]}")


if __name__ == "__main__":
    main()
