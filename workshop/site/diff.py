"""The code of a step for its page: its lines in colours, what changed marked, the rest folded."""

import difflib
import itertools
import re
import sys

import pygments
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer
from rules import split_docstring
from steps import base_of, read_script

PIECE = re.compile(r"<[^>]+>|&#?\w+;|\w+|\s+|.")  # a tag of HTML, or a word
CONTEXT, FEW = 3, 5  # lines around what changed; so few are not worth a fold


def diff(step, notes=()):
    """Return [{folded, names, rows}] of a version beside its base, in the order of a unified diff.

    A row is {tag, number, text, html, notes}: a span stayed, an ins is new, a del is gone; of v1,
    nothing is either. notes are [(code, HTML)], each for the first new line that has its code.
    """
    rows = list(rows_of(step))
    changed = [i for i, row in enumerate(rows) if row["tag"] != "span" or not base_of(step)]
    for code, html in notes:
        new = (rows[i] for i in changed if rows[i]["tag"] != "del" and code in rows[i]["text"])
        row = next(new, None) or sys.exit(f"error: page of {step.name}: no new line has {code!r}")
        row["notes"].append(html)
    near = {j for i in changed for j in range(i - CONTEXT, i + CONTEXT + 1)}
    parts = []
    for is_near, run in itertools.groupby(range(len(rows)), near.__contains__):
        part = [rows[i] for i in run]
        names = re.findall(r"^(?:class|def) (\w+)", "\n".join(r["text"] for r in part), re.M)
        parts.append({"folded": not is_near and len(part) > FEW, "names": names, "rows": part})
    return parts


def rows_of(step):
    """Yield the rows of diff(), their notes still empty."""
    old, new = (body(s) for s in (base_of(step), step))
    old_html, new_html = coloured(old), coloured(new)
    top = 1 + len(read_script(step).splitlines()) - len(new)
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for kind, i1, i2, j1, j2 in matcher.get_opcodes():
        for j in range(j1, j2) if kind == "replace" else ():
            for like in difflib.get_close_matches(new[j], old[i1:i2], 1, 0.7):
                i = old.index(like, i1)
                old_html[i], new_html[j] = mark_changes(old_html[i], new_html[j])
        for i in range(i1, i2) if kind != "equal" else ():
            yield {"tag": "del", "number": "", "text": old[i], "html": old_html[i], "notes": []}
        tag = "span" if kind == "equal" or not old else "ins"
        for j in range(j1, j2):
            yield {"tag": tag, "number": top + j, "text": new[j], "html": new_html[j], "notes": []}


def body(step):
    """Return the lines of a script below its docstring."""
    return split_docstring(read_script(step))[1].splitlines() if step else []


def coloured(lines):
    """Return the lines as HTML, with the classes that Pygments gives to what stands in them."""
    html = pygments.highlight(
        "\n".join(lines), PythonLexer(stripnl=False), HtmlFormatter(nowrap=True)
    )
    return html.split("\n")


def mark_changes(old, new):
    """Return two lines of HTML, the words in which they differ marked."""
    pieces = [PIECE.findall(line) for line in (old, new)]
    for kind, *ends in difflib.SequenceMatcher(None, *pieces, autojunk=False).get_opcodes():
        for side, line in enumerate(pieces if kind != "equal" else ()):
            for i in range(*ends[2 * side : 2 * side + 2]):
                if line[i][0] != "<" and not line[i].isspace():
                    line[i] = f"<mark>{line[i]}</mark>"
    return ["".join(line) for line in pieces]
