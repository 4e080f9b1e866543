"""Shapes: a picture of the tensors of one forward pass, each as wide as its last number says."""

import re

import torch
import tyro
from charts import STYLE, svg_text
from rules import STEPS, import_script
from xray import look

ROW, WIDTH, SCALE, GAP = 44, 400, 0.7, 3
WIDEST = 512  # what is wider, the logits, is drawn with a broken edge


def rows_of(version, vocab_size):
    """Return [(name, shapes)] of the tensors in the order in which they are there."""
    script = import_script(STEPS[version - 1])
    config = tyro.cli(script.Config, args=["--device", "cpu"], use_underscores=True)
    model = script.BabyGPT(config, vocab_size)
    idx = torch.zeros(1, config.block_size, dtype=torch.long)
    calls, weights = look(script, model, idx)
    stack, done = [], []  # look() has them in the order of their beginning, here it is their end
    for call in calls:
        while stack and stack[-1][1] >= call[1]:
            done.append(stack.pop())
        stack.append(call)
    rows, seen = {"idx": [("B", "T")]}, None
    for name, _, x, y in done:
        label = re.sub(r"heads\.\d+", "heads.*", name)
        if re.search(r"blocks\.[1-9]", name) or y is seen:
            continue  # the further blocks are like the first; a module that only passes on
        if label.endswith(".proj"):
            rows["heads, side by side"] = [("B", "T", x.shape[-1])]
        if name in weights:
            rows.setdefault(f"{label}: attention weights", []).append(("B", "T", "T"))
        kind = ("T",) if label == "position_embedding_table" else ("B", "T")
        rows.setdefault(label, []).append((*kind, y.shape[-1]))
        seen = y
    rows["lm_head"] = [("B", "T", vocab_size)]
    return list(rows.items())


def draw(title, version, vocab_size):
    """Return the picture as SVG: a row for each kind of tensor, a box for each tensor of it."""
    rows, elements = rows_of(version, vocab_size), [svg_text(8, 20, title)]
    for i, (name, shapes) in enumerate(rows):
        y, x = 34 + i * ROW, 8
        times = f" × {len(shapes)}" if len(shapes) > 1 else ""
        shape = f"({', '.join(map(str, shapes[0]))}){times}"
        elements.append(svg_text(8, y + 12, f"{name}  {shape}"))
        for *_, size in shapes:
            width = 8 if isinstance(size, str) else min(size, WIDEST) * SCALE
            broken = not isinstance(size, str) and size > WIDEST
            kind = 'class="box" stroke-dasharray="6 4"' if broken else 'class="box"'
            elements.append(f'<rect x="{x}" y="{y + 18}" width="{width:g}" height="14" {kind}/>')
            x = round(x + width + GAP, 1)
    height = 44 + len(rows) * ROW
    size = f'width="{WIDTH}" height="{height}"'
    style = f"{STYLE}.box {{ fill: #b3400f33; stroke: #b3400f; stroke-width: 1.5 }}\n"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" {size}'
    head += f' role="img">\n<title>{title}</title>\n<style>{style}</style>'
    return "\n".join([head, f'<rect {size} class="page"/>', *elements, "</svg>\n"])
