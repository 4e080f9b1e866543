"""The numbers of the figures: data() -> {name: what NAME.js is given}, from what is committed.

A function for each figure, by its name, in one of the modules below; the words that it shows are
in figures.toml. Models are in data/weights and data/babygpt_evening.pt; numbers are rounded, so
that a page stays small.
"""

import sys
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
sys.path[1:1] = [str(HERE), str(HERE.parents[1]), str(HERE.parents[2] / "tools")]

import attention  # noqa: E402
import characters  # noqa: E402
import measured  # noqa: E402
import sampling  # noqa: E402
from steps import tomllib  # noqa: E402

FUNCTIONS = {**vars(attention), **vars(characters), **vars(measured), **vars(sampling)}


def listed():
    """Return figures.toml: {name: {page, after, title, caption, words, …}}."""
    return tomllib.loads((HERE / "figures.toml").read_text(encoding="utf-8"))


@torch.no_grad()
def data():
    """Return {name: numbers} of every figure; without those whose records are still to be made."""
    found = {name: FUNCTIONS[name]() for name in listed()}
    return {name: numbers for name, numbers in found.items() if numbers}
