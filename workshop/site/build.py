"""The lesson site, from what is committed, into site/. It opens from disk, without a network.

    pip install -r workshop/site/requirements.txt
    python workshop/site/build.py

Text comes from docs/, code from the scripts, tables from the records, models from data/.
"""

import shutil
import sys
from pathlib import Path

import jinja2

HERE = Path(__file__).resolve().parent
sys.path[1:1] = [str(HERE), str(HERE.parent)]

import tables  # noqa: E402
from diff import diff  # noqa: E402
from pages import DOCS, read_page  # noqa: E402
from records import Records  # noqa: E402
from render import fill  # noqa: E402
from steps import ROOT, STEPS, tomllib  # noqa: E402
from weights import models, write_weights  # noqa: E402

TEXTS = tomllib.loads((HERE / "texts.toml").read_text(encoding="utf-8"))
TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(HERE / "templates"), autoescape=True, trim_blocks=True
)
TEMPLATES.globals |= {"course": tables.COURSE, "beyond": tables.BEYOND}
TEMPLATES.filters["page"] = lambda step: f"v{step.version:02}"


def build(out):
    """Write the whole site into this folder, which is emptied first."""
    records = Records()
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(ROOT / "docs" / "images", out / "images")
    for folder in ("scripts", "weights", *(docs.name for docs in DOCS)):
        (out / folder).mkdir()
    for file in [HERE / "style.css", *HERE.glob("*.js")]:
        shutil.copy(file, out)
    for step in STEPS:
        shutil.copy(step.path, out / "scripts")
    for model in models(records):
        write_weights(*model, out / "weights")
    for i, docs in enumerate(DOCS):
        t = {name: both[i] for name, both in TEXTS.items()}
        pages = {file.stem: read_page(file, file.read_text("utf-8")) for file in docs.glob("*.md")}
        for before, step, after in zip([None, *STEPS], STEPS, [*STEPS[1:], None], strict=False):
            page = pages[f"v{step.version:02}"]
            page |= {"step": step, "parts": diff(step, page["notes"])}
            page |= {"before_it": before, "after_it": after}
        file = HERE / ("index.md" if docs.name == "en" else f"index.{docs.name}.md")
        text = fill(file.relative_to(ROOT), file.read_text("utf-8"), records)
        pages["index"] = read_page(file, text) | {"after_it": STEPS[0]}
        pages["play"] = {"template": "play", "title": t["play_title"], "models": models(records)}
        for name, page in pages.items():
            template = TEMPLATES.get_template(page.get("template", "page") + ".html")
            text = template.render(name=name, language=docs.name, t=t, **page)
            (out / docs.name / f"{name}.html").write_text(text, encoding="utf-8", newline="\n")
    shutil.copy(HERE / "templates" / "start.html", out / "index.html")


def main():
    out = Path(sys.argv[1]) if sys.argv[1:] else ROOT / "site"
    build(out)
    print(f"{out / 'index.html'}: the first of {len(list(out.rglob('*.html')))} pages")


if __name__ == "__main__":
    main()
