"""The lesson site, from what is committed, into site/. It opens from disk, without a network.

    pip install -r workshop/site/requirements.txt
    python workshop/site/build.py

Text comes from docs/, code from the scripts, numbers from the records, models from data/.
"""

import shutil
import sys
from pathlib import Path

import jinja2

HERE = Path(__file__).resolve().parent
sys.path[1:1] = [str(HERE), str(HERE.parent), str(HERE.parent.parent / "tools")]

import downloads  # noqa: E402
import home  # noqa: E402
import tables  # noqa: E402
from diff import excerpt, fold, is_long, is_replaced, rows_of  # noqa: E402
from figures_of import figures_of, files_on, place, write_data  # noqa: E402
from links import DOCS, REPOSITORY, files_of  # noqa: E402
from pages import read_page  # noqa: E402
from records import Records  # noqa: E402
from renderer import as_html  # noqa: E402
from steps import ROOT, STEPS, tomllib  # noqa: E402
from weights import models, write_weights  # noqa: E402

TEXTS = tomllib.loads((HERE / "texts.toml").read_text(encoding="utf-8"))
TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(HERE / "templates"), autoescape=True, trim_blocks=True
)
TEMPLATES.globals |= {"course": tables.COURSE, "beyond": tables.BEYOND, "repository": REPOSITORY}
TEMPLATES.filters["megabytes"] = lambda file: round(file.stat().st_size * 4 / 3 / 1e6)  # base64
TEMPLATES.filters["page"] = lambda step: f"v{step.version:02}"


def build(out):
    """Write the whole site into this folder, which is emptied first."""
    records = Records()
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(ROOT / "docs" / "images", out / "images")
    for folder in ("weights", *(docs.name for docs in DOCS)):
        (out / folder).mkdir()
    for file in [*HERE.glob("*.css"), *HERE.glob("*.js")]:
        shutil.copy(file, out)
    downloads.write(out)
    TEMPLATES.globals["zip_megabytes"] = round((out / "babygpt.zip").stat().st_size / 1e6)
    shown = write_data(out)
    (out / "tunes.js").write_text(home.tunes(), encoding="utf-8", newline="\n")
    for model in models(records):
        write_weights(*model, out / "weights")
    for i, docs in enumerate(DOCS):
        t = words_of(TEXTS, i)
        pages = {n: page_of(n, file, i, t, records, shown) for n, file in files_of(docs).items()}
        pages["index"] = {"template": "home", "title": "BabyGPT", **home.read(records, t)}
        pages["play"] = {"template": "play", "title": t["play_title"], "models": models(records)}
        for name, page in pages.items():
            template = TEMPLATES.get_template(page.get("template", "page") + ".html")
            text = template.render(name=name, language=docs.name, t=t, **page)
            (out / docs.name / f"{name}.html").write_text(text, encoding="utf-8", newline="\n")
    shutil.copy(HERE / "templates" / "start.html", out / "index.html")


def words_of(texts, i):
    """Return the texts in the language of this number."""
    return {k: words_of(v, i) if isinstance(v, dict) else v[i] for k, v in texts.items()}


def page_of(name, file, i, t, records, shown):
    """Return what the template of a page needs: its title and sections; of a step, its code."""
    step = next((step for step in STEPS if name == f"v{step.version:02}"), None)
    headings = {label: name for name, both in t["sections"].items() for label in both.split("|")}
    title, sections = read_page(file.read_text(encoding="utf-8"), headings)
    macros = TEMPLATES.get_template("lines.html").make_module({"t": t})
    env = {"file": file, "t": t, "records": records, "figure": macros.figure}
    code = step_of(step, DOCS[i].name, env, macros) if step else {}
    figures = figures_of(name, i, shown)
    place(figures, sections)
    parts = [(part, as_html(tokens, **env, section=part)) for part, tokens in sections]
    parts = [(part, html) for part, html in parts if html or part == "lines"]
    return {"title": title, "sections": parts, "step": step, **code, **files_on(figures)}


def step_of(step, language, env, macros):
    """Return the code of a step, folded, and add to env what stands beside its text."""
    rows = rows_of(step, chinese=language == "zh-CN")
    notes = []

    def strip(code, quoted):
        found = excerpt(rows, code, quoted)
        notes.append(found[0]["number"])
        found[0].setdefault("notes", []).append(len(notes))
        return macros.strip(found, len(notes))

    starts = downloads.starts_of(step)
    env["strip"] = strip
    env["guess"] = macros.guess()
    env["start"] = macros.start(starts, language) if starts else ""
    parts = fold(rows, by_section=not step.base)
    return {
        "parts": parts,
        "long": is_long(parts),
        "replaced": is_replaced(rows),
        "has_task": bool(starts),
        "before_it": next((s for s in STEPS if s.version == step.version - 1), None),
        "after_it": next((s for s in STEPS if s.version == step.version + 1), None),
    }


def main():
    out = Path(sys.argv[1]) if sys.argv[1:] else ROOT / "site"
    build(out)
    print(f"{out / 'index.html'}: the first of {len(list(out.rglob('*.html')))} pages")


if __name__ == "__main__":
    main()
