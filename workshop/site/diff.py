"""The code of a step for its page: its lines in colours, what changed marked, the rest folded."""

import difflib
import functools
import html
import itertools
import re
import sys

import pygments
from comments import in_chinese
from pygments.lexers import PythonLexer
from rules import sections, split_docstring
from steps import base_of, read_script

CONTEXT, FEW = 3, 5  # lines around what changed; so few are not worth a fold
HALF = 52  # columns
WORD = re.compile(r"\w+|\s+|.")
LEXER = PythonLexer(stripnl=False, ensurenl=False)


def rows_of(step, chinese=False):
    """Return the lines of a version and those that it lost, in the order of a unified diff.

    A row is {tag, number, text, html, section, new}: a span stayed, an ins is new, a del is gone;
    of v1, nothing is either, but the model alone is new. In Chinese, comments are, too.
    """
    base, rows = base_of(step), []
    old, new = (body(s) for s in (base, step))
    names = [name for name, lines in sections(read_script(step)).items() for _ in lines]
    top = 1 + len(read_script(step).splitlines()) - len(new)
    old_pieces, new_pieces = (pieces(lines, chinese) for lines in (old, new))
    sampling = next((i for i, line in enumerate(new) if "@torch.no_grad" in line), 0)

    def add(tag, i, lines, parts):
        is_new = tag != "span" if base else names[i] == "BabyGPT" and i < sampling
        number, section = ("", "") if tag == "del" else (top + i, names[i])
        row = {"tag": tag, "number": number, "text": lines[i], "html": as_html(parts[i])}
        rows.append({**row, "section": section, "new": is_new})

    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for kind, i1, i2, j1, j2 in matcher.get_opcodes():
        for j in range(j1, j2) if kind == "replace" else ():
            for like in difflib.get_close_matches(new[j], old[i1:i2], 1, 0.7):
                i = old.index(like, i1)
                old_pieces[i], new_pieces[j] = mark_changes(old_pieces[i], new_pieces[j])
        for i in range(i1, i2) if kind != "equal" else ():
            add("del", i, old, old_pieces)
        for j in range(j1, j2):
            add("span" if kind == "equal" or not base else "ins", j, new, new_pieces)
    return rows


def fold(rows, by_section=False):
    """Return [{folded, names, runs, lines}]: what is new, the lines around it, and all the rest.

    The runs are [(whether they changed, rows)]. By section, each definition is folded by itself.
    """
    new = [i for i, row in enumerate(rows) if row["new"]]
    around = 0 if by_section else CONTEXT
    near = {j for i in new for j in range(i - around, i + around + 1)}
    keys = [(i in near, by_section and i not in near and r["section"]) for i, r in enumerate(rows)]
    parts = []
    for (is_near, _), run in itertools.groupby(range(len(rows)), keys.__getitem__):
        part = [rows[i] for i in run]
        names = [name for name in dict.fromkeys(row["section"] for row in part) if name]
        changes = itertools.groupby(part, lambda row: row["tag"] != "span")
        runs = [(changed, [*lines]) for changed, lines in changes]
        folded = not is_near and (by_section or len(part) > FEW)
        parts.append({"folded": folded, "names": names, "runs": runs, "lines": len(part)})
    return parts


def is_replaced(rows):
    """Return whether lines were replaced, neither added nor removed: old and new side by side."""
    few, many = sorted(sum(row["tag"] == tag for row in rows) for tag in ("ins", "del"))
    return 2 * few >= many > 0


def is_long(parts):
    """Return whether a line that is shown needs more than half of the usual width."""
    runs = [rows for part in parts if not part["folded"] for _, rows in part["runs"]]
    return any(len(row["text"]) > HALF for rows in runs for row in rows)


def excerpt(rows, code, like=""):
    """Return the first new row that has this code; with the lines of a quotation, all of them."""
    at = next((i for i, row in enumerate(rows) if is_quoted(row, code)), None)
    if at is None:
        sys.exit(f"error: no new line has {code!r}")
    lines = like.rstrip("\n").split("\n")
    texts = [row["text"] for row in rows if row["tag"] != "del"]
    if like and lines[0] in texts:
        rows = [row for row in rows if row["tag"] != "del"]
        return rows[texts.index(lines[0]) :][: len(lines)]
    return [rows[at]]


def is_quoted(row, code):
    return row["tag"] != "del" and (row["new"] or row["tag"] == "span") and code in row["text"]


def body(step):
    """Return the lines of a script below its docstring."""
    return split_docstring(read_script(step))[1].splitlines() if step else []


def pieces(lines, chinese=False):
    """Return of each line its pieces, [class, text, text in English, is it marked]."""
    source = "\n".join(lines)
    shown = in_chinese(source) if chinese and lines else source
    return [
        [[kind, text, english, False] for (kind, text), (_, english) in zip(*both, strict=True)]
        for both in zip(lexed(shown), lexed(source), strict=True)
    ]


@functools.cache  # each script is shown twice, as itself and as what the next began with
def lexed(source):
    """Return of each line [(class, text)]: k keyword, s string, c comment, d what is defined."""
    result = [[]] if source else []
    for token, text in pygments.lex(source, LEXER) if source else ():
        name = pygments.token.STANDARD_TYPES.get(token, "")
        kind = {"nc": "d", "nf": "d", "sd": "c"}.get(name, name[:1])
        for i, part in enumerate(text.split("\n")):
            result += [[]] if i else []
            result[-1] += [(kind, part)] if part else []
    return result


def mark_changes(old, new):
    """Return two lines in pieces, the words in which they differ marked."""
    both = [
        [[kind, word, word, False] for kind, text, _, _ in line for word in WORD.findall(text)]
        if all(text == english for _, text, english, _ in line)
        else [list(piece) for piece in line]
        for line in (old, new)
    ]
    texts = [[piece[1] for piece in line] for line in both]
    for kind, *ends in difflib.SequenceMatcher(None, *texts, autojunk=False).get_opcodes():
        for side, line in enumerate(both if kind != "equal" else ()):
            for piece in line[ends[2 * side] : ends[2 * side + 1]]:
                piece[3] = piece[1] == piece[2] and not piece[1].isspace()
    return both


def as_html(line):
    """Return a line in pieces as HTML."""
    parts = []
    for kind, text, english, is_marked in line:
        part = html.escape(text, quote=False)
        other = f' data-en="{html.escape(english)}"' if english != text else ""
        if kind in ("k", "s", "c", "d") and not text.isspace():
            kind += " whole" * (kind == "s" and "-" in text and " " not in text)  # such as "-inf"
            part = f'<span class="{kind}"{other}>{part}</span>'
        parts.append(f"<mark>{part}</mark>" if is_marked else part)
    return "".join(parts)
