"""The figures that move: their numbers against PyTorch's and the records', and once in a browser.

The page they are shown on here is a bare one: what the site adds is tested with the site. Needs
Playwright and Chromium for the second half, as test_site_browser.py does.
"""

import functools
import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
from conftest import assert_close, loaded
from records import Records
from steps import ROOT

FIGURES = ROOT / "workshop" / "site" / "figures"
sys.path[1:1] = [str(FIGURES)]

import data  # noqa: E402

LISTED = data.listed()
LANGUAGES = ("en", "zh-CN")
COLOURS = """:root { color-scheme: light dark; --paper: light-dark(#fffdf8, #14171c);
  --ink: light-dark(#1f2328, #e6edf3); --muted: light-dark(#57606a, #9da7b3);
  --line: light-dark(#d8d3c8, #30363d); --accent: light-dark(#a8380b, #f0883e);
  --good: light-dark(#1a7f37, #56d364); --bad: light-dark(#b3261e, #ff8a80) }
  figure { margin: 1.5rem 0; border: 1px solid var(--line); padding: 1rem; border-radius: 8px }
  body { margin: 0; padding: 1rem; background: var(--paper); color: var(--ink); font-family: system-ui;
  max-width: 52rem } * { box-sizing: border-box }"""


@functools.cache
def numbers():
    """Return the numbers of all figures, made once."""
    return data.data()


def page_of(names, language="en"):
    """Return a page with these figures and nothing else, as the site hands them their words."""
    scripts = dict.fromkeys(use for name in names for use in LISTED[name]["uses"])
    given, nodes = [], []
    for name in names:
        words = {k: v[LANGUAGES.index(language)] for k, v in LISTED[name]["words"].items()}
        given.append(f"given[{name!r}] = {json.dumps({**numbers()[name], 'words': words})};")
        title, caption = (LISTED[name][k][LANGUAGES.index(language)] for k in ("title", "caption"))
        nodes.append(
            f'<figure><h2>{title}</h2><div class="figure" id="{name}"></div>'
            f"<figcaption>{caption}</figcaption></figure>"
        )
    texts = [(FIGURES / script).read_text(encoding="utf-8") for script in scripts]
    texts += [(FIGURES / f"{name}.js").read_text(encoding="utf-8") for name in names]
    start = f"for (const name in given) figures[name](document.getElementById(name), given[name], {language!r});"
    first = "const figures = {}, given = {};"
    scripts = "".join(f"<script>{text}</script>" for text in [first, *texts, *given, start])
    sheets = [FIGURES / "lib" / "uPlot.css", FIGURES / "figures.css"]
    style = COLOURS + "".join(sheet.read_text(encoding="utf-8") for sheet in sheets)
    return (
        f'<!doctype html><html lang="{language}"><meta charset="utf-8"><title>figures</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{style}</style><main>{''.join(nodes)}</main>{scripts}</html>"
    )
