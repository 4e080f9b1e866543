"""The figures of the pages, as figures/figures.toml lists them; figures/data.py has their numbers.

A figure is a script that gets an element, its numbers and the language: see the end of site.js.
"""

import importlib.util
import json
import shutil
import sys
from pathlib import Path

from markdown_it.token import Token
from steps import tomllib

FOLDER = Path(__file__).with_name("figures")
BEFORE = {"meaning": "measured", "measured": "proved"}  # the section that follows


def figures_of(page, i, shown):
    """Return those of these figures that a page has, their words in the language of this number."""
    table = tomllib.loads((FOLDER / "figures.toml").read_text(encoding="utf-8"))
    places = {n: {f["page"]: f["after"], **f.get("also", {})} for n, f in table.items()}
    after = {name: at[page] for name, at in places.items() if page in at and name in shown}
    return [
        {
            "name": name,
            "after": after[name] if isinstance(after[name], str) else after[name][i],
            "instead": figure.get("instead"),
            "scripts": [f"figures/{script}" for script in (*figure["uses"], f"{name}.data.js")],
            "title": figure["title"][i],
            "caption": figure["caption"][i],
            "words": {key: both[i] for key, both in figure["words"].items()},
        }
        for name, figure in table.items()
        if name in after
    ]


def place(figures, sections):
    """Put each figure where it belongs among the tokens of a page's sections.

    Some stand for a picture that the page has elsewhere, and take its place: "instead".
    """
    for figure in figures:
        for _, tokens in sections:
            at = [i for i, t in enumerate(tokens) if figure["instead"] and is_of(t, figure)]
            for i in at:
                del tokens[i - 1 : i + 2]
        token = Token("figure", "", 0, meta=figure)
        names = [name for name, _ in sections]
        if figure["after"] in BEFORE:
            sections[names.index(BEFORE[figure["after"]]) - 1][1].append(token)
            continue
        for _, tokens in sections:
            for i, one in enumerate(tokens):
                if one.type == "inline" and one.content.startswith(figure["after"]):
                    tokens.insert(i + 2, token)  # behind the end of the paragraph
                    break
            else:
                continue
            break
        else:
            sys.exit(f"error: figure {figure['name']}: no paragraph begins {figure['after']!r}")


def is_of(token, figure):
    return token.type == "inline" and f"/images/{figure['instead']}." in token.content


def files_on(figures):
    """Return the style sheets and scripts that a page with these figures needs, in order."""
    scripts = [script for f in figures for script in (*f["scripts"], f"figures/{f['name']}.js")]
    sheets = ["figures/lib/uPlot.css"] if "figures/lib/uPlot.js" in scripts else []
    return {
        "scripts": list(dict.fromkeys(scripts)),
        "sheets": [*sheets, "figures/figures.css"] if figures else [],
    }


def write_data(out):
    """Copy the scripts of the figures, write beside each the numbers it shows; return their names.

    A figure whose records are still to be made has no numbers yet.
    """
    not_for_readers = shutil.ignore_patterns("*.py", "*.toml", "*.json", "__*")
    shutil.copytree(FOLDER, out / "figures", ignore=not_for_readers)
    spec = importlib.util.spec_from_file_location("figures_data", FOLDER / "data.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.data()
    for name, numbers in found.items():
        text = json.dumps(numbers, ensure_ascii=False, separators=(",", ":"))
        text = f"figureData[{json.dumps(name)}] = {text};\n"
        (out / "figures" / f"{name}.data.js").write_text(text, encoding="utf-8", newline="\n")
    return list(found)
