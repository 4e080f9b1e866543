"""Site: the lesson site, from what is committed, into site/. It opens from disk, without a network.

    pip install -r tools/site/requirements.txt
    python tools/site.py                # under half a minute
    python tools/site.py --train        # first train those of v1 to v10 that have no weights yet

Text comes from docs/steps/, diffs from the scripts, numbers, poems and curves from the records,
titles from the step table, weights from data/. An explanation that stands after <!-- at: code -->
is shown beside the first new line that has this code; a line that nobody has is an error.
"""

import argparse
import base64
import contextlib
import difflib
import functools
import io
import itertools
import json
import re
import shutil
import sys
from pathlib import Path

import jinja2
import pygments
from markdown_it import MarkdownIt
from markupsafe import Markup, escape
from pygments.lexers import PythonLexer
from render import WORDS, Records
from rules import ROOT, STEPS, read_script, sections, split_docstring
from tqdm import tqdm

HERE = Path(__file__).with_name("site")
OUT = ROOT / "site"
KINDS = {"Keyword": "k", "Name.Class": "n", "Name.Function": "n", "Literal.String": "s"}
KINDS |= {"Comment": "c", "Literal.Number": "m", "Name.Decorator": "n"}


# --- code, in colours


@functools.cache
def coloured(source):
    """Return the lines of a source, each a list of (kind, text); a kind is a CSS class or None."""
    lines = [[]]
    for token, text in pygments.lex(source, PythonLexer(stripnl=False)):
        name = str(token).removeprefix("Token.")
        kind = next((css for prefix, css in KINDS.items() if name.startswith(prefix)), None)
        first, *more = text.split("\n")
        lines[-1].append((kind, first))
        lines += [[(kind, part)] for part in more]
    return lines


def html_of(line, marked=()):
    """Return a line as HTML; marked: the positions of the characters that the step changed."""
    parts, position = [], 0
    for kind, text in line:
        for char in text:
            parts.append((kind, position in marked, char))
            position += 1
    result = []
    for i, (kind, mark, char) in enumerate(parts):
        if i and parts[i - 1][:2] == (kind, mark):
            result[-1][2] += char
        else:
            result.append([kind, mark, char])
    pieces = []
    for kind, mark, text in result:
        piece = escape(text)
        piece = f'<span class="{kind}">{piece}</span>' if kind else piece
        pieces.append(f"<mark>{piece}</mark>" if mark else piece)
    return Markup("".join(map(str, pieces)))


def cell(line, marked):
    """Return a line for the table: where it is too long, the rest is indented as the line is."""
    text = "".join(text for _, text in line)
    indent = len(text) - len(text.lstrip())
    return Markup(f'<code style="--indent: {indent}ch">{html_of(line, marked)}</code>')


def changed_characters(old, new):
    """Return the positions of the characters that differ, word by word, in each of two lines."""
    words = [re.findall(r"\w+|\s+|.", line) for line in (old, new)]
    marked = set(), set()
    matcher = difflib.SequenceMatcher(None, *words, autojunk=False)
    for kind, *ends in matcher.get_opcodes():
        if kind != "equal":
            for side, (begin, end) in enumerate((ends[:2], ends[2:])):
                start = sum(map(len, words[side][:begin]))
                for word in words[side][begin:end]:
                    if not word.isspace():
                        marked[side].update(range(start, start + len(word)))
                    start += len(word)
    return marked


def pairs(old, new):
    """Return [(i, j)] that puts lines side by side: the same, changed ones that are alike, or one.

    i and j are positions in the lists of lines, None where the other side has nothing.
    """
    result = []
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for kind, i1, i2, j1, j2 in matcher.get_opcodes():
        if kind == "equal":
            result += zip(range(i1, i2), range(j1, j2), strict=True)
            continue
        j = j1
        for i in range(i1, i2):
            ratios = [difflib.SequenceMatcher(None, old[i], new[n]).ratio() for n in range(j, j2)]
            best = max(range(len(ratios)), key=ratios.__getitem__, default=None)
            if best is None or ratios[best] < 0.5:
                result.append((i, None))
                continue
            result += [(None, n) for n in range(j, j + best)] + [(i, j + best)]
            j += best + 1
        result += [(None, n) for n in range(j, j2)]
    return result


def diff(version):
    """Return [{name, folded, rows}] of the definitions of a version beside those before it.

    A row is a dict: old and new, HTML or None, their line numbers, and code, the new line's text.
    """
    sources = ["", read_script(STEPS[version - 1])]
    if version > 1:
        sources[0] = read_script(STEPS[version - 2])
    tops = [len(split_docstring(s)[0].splitlines()) if s else 0 for s in sources]
    bodies = [split_docstring(s)[1] if s else "" for s in sources]
    colours = [coloured(body) for body in bodies]
    plain = [body.splitlines() for body in bodies]
    before, after = map(spans, sources)
    names, followed_by = list(after), None
    for name in reversed(before):  # what is gone stands where it stood, before what followed it
        if name not in after:
            names.insert(names.index(followed_by), name)
        followed_by = name
    parts = [(name, *before.get(name, (0, 0)), *after.get(name, (0, 0))) for name in names]
    result = []
    for name, i1, i2, j1, j2 in parts:
        rows = []
        for i, j in pairs(plain[0][i1:i2], plain[1][j1:j2]):
            i, j = (None if i is None else i + i1), (None if j is None else j + j1)
            same = i is not None and j is not None and plain[0][i] == plain[1][j]
            marks = (), ()
            if i is not None and j is not None and not same:
                marks = changed_characters(plain[0][i], plain[1][j])
            rows.append(
                {
                    "old": None if i is None else cell(colours[0][i], marks[0]),
                    "new": None if j is None else cell(colours[1][j], marks[1]),
                    "old_number": None if i is None else i + 1 + tops[0],
                    "new_number": None if j is None else j + 1 + tops[1],
                    "code": "" if j is None else plain[1][j],
                    "changed": not same,
                    "notes": [],
                }
            )
        for folded, part in fold(rows):
            if result and folded and result[-1]["folded"]:
                result[-1]["name"] += f", {name}"
                result[-1]["rows"] += part
            else:
                result.append({"name": name, "folded": folded, "rows": part})
    return result


def fold(rows, context=4, least=12):
    """Return [(folded, rows)]: long runs of rows far from what changed, and the rows between."""
    changed = [i for i, row in enumerate(rows) if row["changed"]]
    near = [any(abs(i - n) <= context for n in changed) for i in range(len(rows))]
    result = []
    for is_near, run in itertools.groupby(zip(near, rows, strict=True), lambda pair: pair[0]):
        run = [row for _, row in run]
        folded = not is_near and (len(run) >= least or not changed)
        if result and result[-1][0] == folded:
            result[-1][1].extend(run)
        else:
            result.append((folded, run))
    return result


def spans(source):
    """Return {name: (first, last + 1)} of a script's definitions, as lines below the docstring."""
    result, begin = {}, 0
    for name, lines in sections(source).items() if source else ():
        result[name] = begin, begin + len(lines)
        begin += len(lines)
    return result


# --- text


MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table")
# A paragraph, with the table that follows; a snippet after it is not needed beside the code itself
ANCHOR = re.compile(
    r"<!-- at: (.+?) -->\n((?:.+\n)+(?:\n(?:\|.+\n)+)?)(?:\n```python\n(?s:.*?)\n```\n)?"
)


def step_text(version, language):
    """Return {title, before, after, notes} of a step's page; notes: [(code, HTML)]."""
    page = ROOT / WORDS[language]["steps"] / f"v{version:02}.md"
    text = page.read_text(encoding="utf-8")
    title, _, text = text.removeprefix("# ").partition("\n\n")
    text = text.partition("\n\n")[2]  # without the line of links
    notes = [(code, html_from(body, language)) for code, body in ANCHOR.findall(text)]
    text = ANCHOR.sub("", text)
    before, _, rest = text.partition("<!-- new lines -->")
    before = before.strip().rpartition("\n\n")[0]  # without the words that lead to the diff
    after = rest.partition("<!-- end of new lines -->")[2]
    return {
        "title": title,
        "before": html_from(before, language),
        "after": html_from(after, language),
        "notes": notes,
    }


def html_from(markdown, language):
    """Return HTML of a piece of a page, its links led to pages of the site."""
    html = MARKDOWN.render(re.sub(r"<!--.*?-->", "", markdown))

    def link(match):
        target, label = match[1], match[2]
        if target.startswith("https://"):
            return match[0]
        path, _, anchor = target.partition("#")
        name = Path(path).name
        if re.fullmatch(r"v\d+\.md", name):
            return f'<a href="{name[:-3]}.html">{label}</a>'
        if script := re.fullmatch(r"babygpt_v(\d+)\w*\.py", name):
            return f'<a href="v{int(script[1]):02}.html">{label}</a>'
        if name.startswith("glossary"):
            return f'<a href="glossary.html">{label}</a>'
        if name.startswith("README") and len(Path(path).parts) <= 5 or not name:
            return f'<a href="index.html">{label}</a>'
        return label if label.startswith("<code>") else f"<code>{label}</code>"

    html = re.sub(r'<a href="(.+?)">(.+?)</a>', link, html)
    html = re.sub(r'<img src="[^"]*?([\w.-]+\.svg)"', r'<img src="../images/\1"', html)
    html = re.sub(r"<th[^>]*></th>", "<td></td>", html)
    html = re.sub(r"<p><strong>([^<]+?)\.?</strong></p>", r"<h2>\1</h2>", html)
    html = html.replace("<table>", '<div class="wide"><table>').replace(
        "</table>", "</table></div>"
    )
    return Markup(html.strip())


def place_notes(parts, notes, page):
    """Put each note to the first new row that has its code; exit if there is none."""
    rows = [(part, row) for part in parts for row in part["rows"] if row["changed"]]
    for code, html in notes:
        found = next(((p, row) for p, row in rows if code in row["code"]), None)
        if found is None:
            sys.exit(f"error: {page}: no new line has {code!r}")
        number = f'<p><span class="at">{found[1]["new_number"]}</span> '
        found[1]["notes"].append(Markup(str(html).replace("<p>", number, 1)))


# --- pictures, curves and weights


# What stands in a version, from the bottom to the top: since which version, and what it is called
PARTS = [
    (1, "token_embedding_table"), (2, "+ position_embedding_table"), (9, "ln1"), (3, "sa: Head"),
    (4, "sa: MultiHeadAttention"), (8, "proj"), (10, "dropout"), (7, "x + "), (9, "ln2"),
    (5, "ffwd: FeedForward"), (10, "dropout"), (7, "x + "), (6, "× n_layer: Block"),
    (9, "ln_final"), (1, "lm_head"),
]  # fmt: skip


def growth():
    """Return a table: what each version has, from the input (below) to the logits, the new lit."""
    head = "".join(f'<th scope="col">v{v}</th>' for v in range(1, 11))
    rows = []
    for since, name in reversed(PARTS):
        until = 3 if name == "sa: Head" else 99
        cells = []
        for version in range(1, 11):
            there = since <= version <= until
            kind = "new" if version == since else "there" if there else ""
            sign = {"new": "●", "there": "○", "": ""}[kind]
            cells.append(f'<td class="{kind}">{sign}</td>')
        rows.append(f'<tr><th scope="row"><code>{name}</code></th>{"".join(cells)}</tr>')
    table = f"<tr><td></td>{head}</tr>{''.join(rows)}"
    return f'<div class="wide"><table class="growth" aria-labelledby="grows">{table}</table></div>'


def curves(records):
    """Return [{name, seed, points}] of all runs of the ladder and of the laptop's preset."""
    result = []
    for name in [f"v{n}" for n in range(1, 12)]:
        for record in records.of(name):
            last = record["curve"][-1]["step"]
            points = [
                {
                    "step": point["step"],
                    "seconds": round(record["seconds"] * point["step"] / last, 1),
                    "val": point["val_loss"],
                    "train": point["train_loss"],
                }
                for point in record["curve"]
            ]
            result.append({"name": name, "seed": record["seed"], "points": points})
    return result


def write_weights(file, name, version, folder):
    """Write a checkpoint as a script that hands it to the page; return how many bytes."""
    import torch

    saved = torch.load(ROOT / file, weights_only=True)
    tensors = {k: v.half() for k, v in saved["model"].items() if not k.endswith("tril")}
    numbers = b"".join(v.contiguous().numpy().astype("<f2").tobytes() for v in tensors.values())
    out = {
        "version": version,
        "block_size": saved["shape"]["block_size"],
        "n_head": saved["shape"].get("n_head", 1),
        "chars": "".join(saved["chars"]),
        "tensors": [[k, list(v.shape)] for k, v in tensors.items()],
        "data": base64.b64encode(numbers).decode("ascii"),
    }
    text = f"babygpt.loaded({json.dumps(name)}, {json.dumps(out, ensure_ascii=False)});\n"
    (folder / f"{name}.js").write_text(text, encoding="utf-8")
    return len(text.encode())


# --- the pages


# Of which models the page can have the weights: name, file and version
WEIGHTS = {f"v{n:02}": (f"data/weights/v{n:02}.pt", n) for n in range(1, 11)}
WEIGHTS["evening"] = ("data/babygpt_evening.pt", 15)


def train():
    """Train the versions that have no weights, as the record of the first seed was made."""
    import form
    import measure

    (ROOT / "data" / "weights").mkdir(exist_ok=True)
    for name, (file, version) in tqdm(WEIGHTS.items(), unit="version"):
        if (ROOT / file).exists():
            continue
        printed, record = io.StringIO(), Records().of(f"v{version}")[0]
        with contextlib.redirect_stdout(printed):
            argv = ["--seed", str(record["seed"]), *record["flags"]]
            script, *trained = form.run(STEPS[version - 1], argv)
        if printed.getvalue().rstrip("\n") != record["output"]:
            tqdm.write(f"{name}: not digit by digit as in its record, made on another machine")
        config = trained[-1]
        measure.keep_half(script, *trained, script.load_data(config)[1], file)


def spans_of_notes(parts):
    """Give each row its share of the column of notes: a note lasts until the next one begins.

    Where it would not end before that, it and the next one share a cell. The last cell of a part
    goes on for one row more, an empty one that makes room.
    """
    for part in parts:
        begin, end = part["rows"][0], 0
        begin["span"] = 0
        for i, row in enumerate(part["rows"]):
            if i and row["notes"] and i >= end:
                begin, begin["span"] = row, 0
            begin["span"] += 1
            if row["notes"] and row is not begin:
                begin["notes"] += row["notes"]
            for html in row["notes"]:
                wide = sum(1 + (c > "\u2e80") for c in html.striptags())
                end = max(end, i) + 2 + wide // 45
        part["room"] = bool(begin["notes"])
        begin["span"] += part["room"]


def step_page(step, language):
    """Return what the template of a step's page needs."""
    parts = diff(step.version)
    text = step_text(step.version, language)
    place_notes(parts, text["notes"], f"v{step.version:02}.md ({language})")
    spans_of_notes(parts)
    source = read_script(step)
    index = step.version - 1
    return {
        "title": text["title"],
        "step": text,
        "parts": parts,
        "file_name": step.file,
        "docstring": split_docstring(source)[0].strip('"\n'),
        "whole_file": Markup("\n".join(map(html_of, coloured(source)))),
        "before": STEPS[index - 1] if index else None,
        "after": STEPS[index + 1] if index + 1 < len(STEPS) else None,
        "version": step.version,
    }


def build(out):
    """Write the whole site."""
    texts = json.loads((HERE / "texts.json").read_text(encoding="utf-8"))
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"), autoescape=True, trim_blocks=True
    )
    records = Records()
    shutil.rmtree(out, ignore_errors=True)
    for folder in ("images", "weights", *texts):
        (out / folder).mkdir(parents=True)
    for name in ("style.css", "site.js", "model.js"):
        shutil.copy(HERE / name, out)
    for picture in (ROOT / "docs").glob("*.svg"):
        shutil.copy(picture, out / "images")
    for name, (file, version) in WEIGHTS.items():
        if (ROOT / file).exists():
            write_weights(file, name, version, out / "weights")
    for language, words in texts.items():

        def write(template, file, words=words, language=language, **values):
            page = environment.get_template(f"{template}.html.j2").render(
                t=words, steps=STEPS, language=language, file=file, page=template, **values
            )
            (out / language / file).write_text(page, encoding="utf-8", newline="\n")

        anchors = [[code for code, _ in step_text(s.version, language)["notes"]] for s in STEPS]
        if anchors != [[c for c, _ in step_text(s.version, "en")["notes"]] for s in STEPS]:
            sys.exit("error: the anchors of the explanations differ between the languages")
        for step in STEPS:
            write("step", f"v{step.version:02}.html", **step_page(step, language))
        text, end = (
            (ROOT / WORDS[language]["page"]).read_text("utf-8"),
            "<!-- end of ladder table -->",
        )
        blocks = dict(re.findall(r"<!-- (.+?) -->\n(.*?)\n<!-- end of \1 -->", text, re.S))
        write(
            "index",
            "index.html",
            title=words["title"],
            poem=html_from(blocks["evening poem"], language),
            ladder=html_from(blocks["ladder table"], language),
            # What the page says of its table, up to the links to the steps
            ladder_notes=html_from(text.partition(end)[2].partition("\n[v1")[0], language),
            beyond=html_from(blocks["beyond table"], language),
            growth=Markup(growth()),
            curves=Markup(json.dumps(curves(records)).replace("<", "\\u003c")),
            curve_names=[f"v{n}" for n in range(1, 12)],
            curves_table=Markup(curves_table(records, words)),
        )
        # Each model that there is: its name, what it is called, and the poems of its recorded run
        models = [
            (n, words.get(n, f"v{v}"), records.of(n if n in words else f"v{v}")[0]["output"])
            for n, (file, v) in WEIGHTS.items()
            if (ROOT / file).exists()
        ]
        models = [(n, about, output.partition("\n\n")[2]) for n, about, output in models]
        model_js = (HERE / "model.js").read_text(encoding="utf-8")
        write("play", "play.html", title=words["play_title"], models=models, model_js=model_js)
        glossary = ROOT / "docs" / words["glossary_file"]
        body = glossary.read_text(encoding="utf-8").partition("\n\n")[2].partition("\n\n")[2]
        write(
            "glossary",
            "glossary.html",
            title=words["glossary"],
            body=html_from(body, language),
        )
    start = (HERE / "start.html").read_text(encoding="utf-8")
    (out / "index.html").write_text(start, encoding="utf-8", newline="\n")


def curves_table(records, words):
    """Return the numbers of the curves as a table, in HTML."""
    head = "".join(
        f"<th>{words[name]}</th>" for name in ("version", "seed", "step", "train", "val")
    )
    rows = [
        f"<tr><td>{run['name']}</td><td>{run['seed']}</td><td>{p['step']}</td>"
        f"<td>{p['train']:.4f}</td><td>{p['val']:.4f}</td></tr>"
        for run in curves(records)
        for p in run["points"]
    ]
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def main(argv=None):
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--train", action="store_true", help="first train what has no weights yet")
    parser.add_argument("--out", type=Path, default=OUT, help="folder, which is written anew")
    args = parser.parse_args(argv)
    if args.train:
        train()
    build(args.out)
    size = sum(path.stat().st_size for path in args.out.rglob("*") if path.is_file())
    print(f"{args.out}: {sum(1 for _ in args.out.rglob('*.html'))} pages, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
