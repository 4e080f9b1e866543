"""See inside a version: its modules, its shapes, its time, and where its attention looks.

    python tools/xray.py v9                                  # 春江花月夜, untrained weights
    python tools/xray.py v9 --train 300 --out attention.svg  # trained ones, and a picture
    python tools/xray.py v12 明月几时有 --init_from babygpt_v12.pt
    python tools/xray.py v11 --set block_size=64 --set n_embed=96  # any flag of the script

Everything is seen by hooks on the imported script. Shapes are those of one forward pass over TEXT;
the time is that of training steps on batches of the script's own size, on a copy of the model. Time
and parameters of a module include those of the modules inside it; what they leave is its own work,
such as softmax or the loss.

The attention weights never leave a Head, so they are computed again from what its `query` and `key`
put out and from its `tril`. That they are the right ones is checked: they must turn what its
`value` put out into what the Head did.
"""

import argparse
import contextlib
import copy
import html
import importlib.util
import io
import math
import shutil
import sys
import tempfile
import time
import unicodedata
from dataclasses import fields
from itertools import groupby
from pathlib import Path

import steps
import torch

SHAPE_FIELDS = ("block_size", "n_embed", "n_head", "n_layer", "dropout")
PICTURES = (".svg", ".html", ".png")
SHADES = ((0.1, "░"), (0.3, "▒"), (0.6, "▓"), (2, "█"))
SHADE_LEGEND = "In percent, where there is room: ░ below 10, ▒ below 30, ▓ below 60, █ above."
READING = (
    "Row: the character that looks. Column: the character it looks at. Each row sums to 100 %."
)
STEP_PARTS = ("forward", "backward", "optimizer")
MAX_PICTURE = 64  # characters; the picture grows with their square, times the heads
MAX_NUMBERS = 16  # with more characters than these, a cell is too small for a number


def fail(message):
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(2)


@contextlib.contextmanager
def matmul_precision(value):
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(value)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def load_script(step):
    """Return the version's script as a module."""
    name = Path(step.file).stem
    spec = importlib.util.spec_from_file_location(name, steps.ROOT / step.file)
    script = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(script)
    except ImportError as error:
        fail(f"{step.file}: {error}; install what requirements.txt lists")
    return script


def load_checkpoint(script, config, path):
    """Return the model and the tokenizer that v12 saved at path."""
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        for name in {f.name for f in fields(config)} & set(SHAPE_FIELDS):
            setattr(config, name, saved["config"][name])
        tokenizer = script.Tokenizer(saved["chars"])
        model = script.BabyGPT(config, tokenizer.vocab_size)
        model.load_state_dict(saved["model"])
    except OSError as error:
        fail(f"--init_from {path}: {error}")
    except Exception as error:  # what a broken file raises depends on where it is broken
        reason = " ".join(str(error).split())[:150]
        fail(f"--init_from {path}: no checkpoint of v12 that fits {script.__name__} ({reason})")
    return model.to(config.device), tokenizer


def train(script, model, tokenizer, config, max_iters):
    """Train by the script's own train(), quietly. Return the last line that it printed."""
    data = script.split_text(script.load_text(config), tokenizer, config)
    config.max_iters = config.eval_interval = max_iters
    output = io.StringIO()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        if hasattr(config, "wandb_mode"):  # v12
            config.wandb_mode, config.checkpoint_path = "disabled", str(Path(folder, "model.pt"))
        stack.enter_context(matmul_precision(config.matmul_precision))
        stack.enter_context(contextlib.redirect_stdout(output))
        stack.enter_context(contextlib.redirect_stderr(output))
        script.train(model, data, config)
    return output.getvalue().strip().splitlines()[-1]


def make_model(script, args):
    """Return the model, untrained or from a checkpoint, its tokenizer and its config."""
    config = script.parse_args([f"--{item}" for item in args.set])
    torch.manual_seed(config.seed)
    if args.init_from:
        return *load_checkpoint(script, config, args.init_from), config
    tokenizer = script.Tokenizer(script.load_text(config))
    return script.BabyGPT(config, tokenizer.vocab_size).to(config.device), tokenizer, config


def read_text(args, tokenizer, config):
    """Return the last block_size characters of the text, and their ids (1, T), or fail."""
    text = args.text[-config.block_size :]
    if not text:
        fail("TEXT: empty; it needs at least one character")
    if args.out and len(text) > MAX_PICTURE:
        fail(f"--out: {len(text)} characters; a picture has room for {MAX_PICTURE}")
    try:
        return text, torch.tensor([tokenizer.encode(text)], device=config.device)
    except ValueError as error:
        fail(f"TEXT: {error}")


@contextlib.contextmanager
def watch(model, before, after):
    """Call before(name, module) and after(name, module, inputs, output) around every module."""
    handles = []
    for name, module in model.named_modules():
        handles += [
            module.register_forward_pre_hook(lambda m, _, name=name: before(name, m)),
            module.register_forward_hook(lambda m, x, y, name=name: after(name, m, x, y)),
        ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def look(model, idx):
    """Run idx through the model. Return its calls, [name, depth, input, output] in their order."""
    calls, running = [], []

    def before(name, module):
        running.append([name, len(running), None, None])
        calls.append(running[-1])

    def after(name, module, inputs, output):
        # The model itself returns logits and loss
        running.pop()[2:] = inputs[0], output[0] if isinstance(output, tuple) else output

    model.eval()
    with torch.no_grad(), watch(model, before, after):
        model(idx)
    return calls


def attention_weights(model, calls):
    """Return {name: weights (T, T)} of every Head, computed again from what its parts put out."""
    outputs = {name: output for name, _, _, output in calls}
    result = {}
    for name, head in model.named_modules():
        if type(head).__name__ != "Head":
            continue
        q, k, v = (outputs[f"{name}.{part}"] for part in ("query", "key", "value"))
        T = q.shape[1]
        scores = q @ k.transpose(-2, -1) * k.shape[-1] ** -0.5  # (B, T, T)
        weights = scores.masked_fill(head.tril[:T, :T] == 0, float("-inf")).softmax(dim=-1)
        if not torch.allclose(weights @ v, outputs[name], rtol=1e-3, atol=1e-4):
            fail(f"{name} no longer computes what xray computes again: see attention_weights()")
        result[name] = weights[0].cpu()
    return result


def time_step(model, config, vocab_size):
    """Return seconds of forward, backward, optimizer, and {name: forward seconds} of a step."""

    def clock():
        if torch.device(config.device).type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def before(name, module):
        started[name] = clock()

    def after(name, module, inputs, output):
        seconds[name] = seconds.get(name, 0) + clock() - started[name]

    model = copy.deepcopy(model).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, fused=True)
    shape = (config.batch_size, config.block_size + 1)
    idx = torch.randint(vocab_size, shape, device=config.device)
    started, seconds, split, count = {}, {}, [0, 0, 0], 0
    begin = clock()
    with watch(model, before, after), matmul_precision(config.matmul_precision):
        while count < 10 and clock() - begin < 5:
            if count == 1:  # the first step was the warm-up; only where all are slow it counts
                seconds.clear()
                split = [0, 0, 0]
            times = [clock()]
            _, loss = model(idx[:, :-1], idx[:, 1:])
            times.append(clock())
            optimizer.zero_grad()
            loss.backward()
            times.append(clock())
            optimizer.step()
            times.append(clock())
            split = [s + b - a for s, a, b in zip(split, times, times[1:], strict=False)]
            count += 1
    counted = max(1, count - 1)
    return [s / counted for s in split], {name: s / counted for name, s in seconds.items()}


def name_shape(tensor, last):
    """Return the shape with its sizes named, such as (B=1, T=5, C=128), the last as given."""
    labels = ["B", "T", last] if tensor.is_floating_point() else ["B", "T"]  # numbers, or ids
    sizes = list(tensor.shape)
    parts = [f"{label}={n}" for label, n in zip(labels[-len(sizes) :], sizes, strict=True)]
    return f"({', '.join(parts)})"


def shapes_of(model, config, call):
    """Return the named shapes of what a module takes and gives."""
    name, _, x, y = call
    module, parent = (model.get_submodule(n) for n in (name, name.rpartition(".")[0]))
    sizes = {config.n_embed: "C", 4 * config.n_embed: "4*C"}
    last = [sizes.get(t.shape[-1], "?") for t in (x, y)]
    if module is model or name == "lm_head":
        last[1] = "V"
    elif type(parent).__name__ == "Head" and isinstance(module, torch.nn.Dropout):
        last = ["T", "T"]  # the weights
    elif "Head" in (type(module).__name__, type(parent).__name__):
        last[1] = "head_size"
    return name_shape(x, last[0]), name_shape(y, last[1])


def table(model, config, calls, seconds):
    """Return the lines of the table of modules. Those that are alike share a line."""
    groups, path = {}, []
    for call in calls:
        name, depth = call[:2]
        path[depth:] = [name]
        relative = name[len(path[depth - 1]) :].lstrip(".") if depth else ""
        kind = type(model.get_submodule(name)).__name__
        alike = tuple("#" if part.isdigit() else part for part in name.split("."))
        key = (alike, kind, shapes_of(model, config, call))
        groups.setdefault(key, []).append((name, depth, relative))
    rows = [("module", "in", "out", "parameters", "forward time")]
    for (_, kind, shapes), members in groups.items():
        names = list(dict.fromkeys(relative for _, _, relative in members))
        label = names[0] if len(names) == 1 else f"{names[0]}..{names[-1].rpartition('.')[2]}"
        times = f" x{len(members)}" if len(members) > 1 else ""
        modules = [model.get_submodule(name) for name, _, _ in members]
        params = sum(p.numel() for module in modules for p in module.parameters())
        share = sum(seconds[name] for name, _, _ in members) / seconds[""]
        title = f"{label}: {kind}{times}" if label else kind
        rows.append(("  " * members[0][1] + title, *shapes, f"{params:,}", f"{share:.0%}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if i > 2 else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def visible(char):
    """Return a character as it is, or a sign for one that leaves no mark."""
    return {"\n": "↵", " ": "␣"}.get(char, char if char.isprintable() else "·")


def pad(text, columns):
    """Return text filled up with spaces; Chinese characters are two columns wide."""
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return text + " " * (columns - len(text) - wide)


def heat_map(name, weights, chars):
    """Return a head's weights as lines of equal width: shades, with the percentage if few."""
    numbers = len(chars) <= MAX_NUMBERS
    cell = 4 if numbers else 2
    lines = [name, "   " + "".join(pad(char, cell) for char in chars)]
    for i, char in enumerate(chars):
        line = pad(char, 3)
        for weight in weights[i, : i + 1].tolist():
            shade = next(sign for limit, sign in SHADES if weight < limit)
            line += f"{shade}{100 * weight:<3.0f}" if numbers else shade * 2
        lines.append(line)
    width = max(len(name), 3 + cell * len(chars))
    return [pad(line, width) for line in lines]


def by_block(weights):
    """Return the heads in rows, one for each block: lists of (name, weights)."""
    rows = groupby(weights.items(), key=lambda item: item[0].partition("heads")[0])
    return [list(row) for _, row in rows]


def heat_maps(weights, chars):
    """Return the lines of the heat maps of all heads, side by side as far as there is room."""
    columns = shutil.get_terminal_size((100, 24)).columns
    lines = []
    for row in by_block(weights):
        panels = [heat_map(name, w, chars) for name, w in row]
        width = len(panels[0][0])
        if width > columns:
            return [f"attention: {len(chars)} characters need {width} columns: see --out"]
        most = (columns + 2) // (width + 2)
        most = math.ceil(len(panels) / math.ceil(len(panels) / most))  # rows of even length
        for i in range(0, len(panels), most):
            lines += [
                "  ".join(parts).rstrip() for parts in zip(*panels[i : i + most], strict=True)
            ]
            lines.append("")
    return [f"attention: {READING}", SHADE_LEGEND, "", *lines]


STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.char { font: 17px "Noto Sans CJK SC", "Source Han Sans SC", "PingFang SC", "Microsoft YaHei",
  "WenQuanYi Micro Hei", sans-serif; text-anchor: middle }
.small { font-size: 11px }
.value { font-size: 12px; text-anchor: middle }
.title { font-size: 15px; font-weight: 600 }
.page { fill: #ffffff }
.empty { fill: #f0f2f5 }
.ink { fill: #08306b }
.on { fill: #ffffff }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .page { fill: #0d1117 }
  .empty { fill: #1b222c }
  .ink { fill: #7ab8f5 }
  .on { fill: #0d1117 }
}
"""


def svg_text(x, y, kind, text):
    return f'<text x="{x:g}" y="{y:g}" class="{kind}">{html.escape(text)}</text>'


def svg_panel(name, weights, chars, left, top, cell):
    """Return the elements of one head. Ink is the root of the weight, so that small ones show."""
    elements = [svg_text(left, top - cell - 6, "name", name)]
    middle = cell / 2
    kind = "char" if cell > 20 else "char small"
    for i, char in enumerate(chars):
        x, y = left + i * cell, top + i * cell
        elements.append(svg_text(x + middle, top - 6, kind, char))
        elements.append(svg_text(left - middle - 2, y + middle + 5, kind, char))
        size = f'width="{(i + 1) * cell - 1}" height="{cell - 1}"'
        elements.append(f'<rect x="{left}" y="{y}" {size} class="empty"/>')
        for j, weight in enumerate(weights[i, : i + 1].tolist()):
            x, ink = left + j * cell, weight**0.5
            size = f'width="{cell - 1}" height="{cell - 1}"'
            title = html.escape(f"{char} looks at {chars[j]}: {weight:.1%}")
            style = f'class="ink" fill-opacity="{ink:.2f}"'
            elements.append(f'<rect x="{x}" y="{y}" {size} {style}><title>{title}</title></rect>')
            if cell > 20:
                kind_of_value = "value on" if ink > 0.6 else "value"
                place = (x + middle - 0.5, y + middle + 4)
                elements.append(svg_text(*place, kind_of_value, f"{100 * weight:.0f}"))
    return elements


def draw_svg(title, notes, weights, chars):
    """Return the picture of all heads: a row for each block. It follows light and dark mode."""
    rows = by_block(weights)
    cell = 30 if len(chars) <= MAX_NUMBERS else 16
    size = len(chars) * cell
    step_x, step_y = max(size, 130) + cell + 24, size + cell + 44
    top = 44 + 20 * len(notes)
    width = max(24 + step_x * max(map(len, rows)), 660)
    height = top + step_y * len(rows)
    elements = [svg_text(24, 34, "title", title)]
    elements += [svg_text(24, 56 + 20 * i, "note", note) for i, note in enumerate(notes)]
    for i, row in enumerate(rows):
        for j, (name, w) in enumerate(row):
            left, y = 24 + cell + j * step_x, top + cell + 24 + i * step_y
            elements += svg_panel(name, w, chars, left, y, cell)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" xml:lang="zh">',
            f"<style>{STYLE}</style>",
            f'<rect width="{width}" height="{height}" class="page"/>',
            *elements,
            "</svg>\n",
        ]
    )


def draw_html(title, report, svg):
    """Return a page of the picture and the report."""
    return f"""<!doctype html>
<html lang="zh">
<meta charset="utf-8">
<meta name="color-scheme" content="light dark">
<title>{html.escape(title)}</title>
<style>
body {{ margin: 0; background: #ffffff; color: #1f2328; font-family: system-ui, sans-serif }}
pre {{ margin: 24px; overflow-x: auto; font-size: 13px }}
@media (prefers-color-scheme: dark) {{ body {{ background: #0d1117; color: #e6edf3 }} }}
</style>
{svg}
<pre>{html.escape(report)}</pre>
</html>
"""


def find_font(font_manager, chars):
    """Return a font on this system that has every one of the characters, or fail."""
    paths = font_manager.findSystemFonts()
    for path in sorted(paths, key=lambda path: ("Regular" not in path, path)):
        try:
            font = font_manager.get_font(path)
            if all(font.get_char_index(ord(char)) for char in chars):
                return font_manager.FontProperties(fname=path)
        except (OSError, RuntimeError):
            continue  # not a font that matplotlib can read
    fail("--out: no font on this system has all characters of the text: use .svg, not .png")


def draw_png(path, title, notes, weights, chars):
    """Write the picture by matplotlib, which can draw no character that its font lacks."""
    try:
        from matplotlib import font_manager
        from matplotlib.figure import Figure
    except ImportError:
        fail("--out: a .png needs matplotlib: pip install matplotlib, or use .svg or .html")
    font = find_font(font_manager, set("".join([title, *notes, chars])))
    rows, numbers = by_block(weights), len(chars) <= MAX_NUMBERS
    cell = 0.34 if numbers else 0.2  # inches
    size = max(len(chars) * cell, 1.2)
    figure = Figure(
        figsize=(max(map(len, rows)) * (size + 0.8) + 0.2, len(rows) * (size + 0.9) + 1.2),
        layout="constrained",
    )
    figure.suptitle("\n".join([title, *notes]), x=0.02, ha="left", fontproperties=font, fontsize=9)
    grid = figure.subplots(len(rows), max(map(len, rows)), squeeze=False)
    for axes, (name, w) in zip(grid.flat, weights.items(), strict=True):
        future = torch.ones_like(w).tril() == 0
        ink = w.sqrt().masked_fill(future, float("nan")).numpy()
        axes.imshow(ink, cmap="Blues", vmin=0, vmax=1)
        axes.set_title(name, fontsize=9, loc="left")
        axes.xaxis.tick_top()
        for set_ticks in (axes.set_xticks, axes.set_yticks):
            set_ticks(range(len(chars)), list(chars), fontproperties=font)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        for i, j in w.tril().nonzero().tolist() if numbers else []:
            color = "white" if w[i, j] > 0.45 else "black"
            text = f"{100 * w[i, j]:.0f}"
            axes.text(j, i, text, ha="center", va="center", fontsize=8, color=color)
    figure.savefig(path, dpi=150)


def draw(path, title, report, notes, weights, chars):
    """Write the picture in the format that the name of its file asks for."""
    try:
        if path.suffix.lower() == ".png":
            draw_png(path, title, notes, weights, chars)
            return
        picture = draw_svg(title, notes, weights, chars)
        if path.suffix.lower() == ".html":
            picture = draw_html(title, "\n".join(report), picture)
        path.write_text(picture, encoding="utf-8")
    except OSError as error:
        fail(f"--out {path}: {error}")


def parse_args(argv):
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.error = fail
    parser.add_argument("version", help="v1 to v12, a number or a file name")
    parser.add_argument("text", nargs="?", default="春江花月夜", help="default: %(default)s")
    weights = parser.add_mutually_exclusive_group()
    weights.add_argument("--init_from", metavar="FILE", help="checkpoint of v12, with its shape")
    weights.add_argument("--train", type=int, metavar="STEPS", help="train first, for this long")
    set_help = "a flag of the script, such as batch_size=8; may be repeated"
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help=set_help)
    parser.add_argument("--out", type=Path, metavar="FILE", help="picture: .svg, .html or .png")
    args = parser.parse_args(argv)
    try:
        args.step = steps.find_step(args.version)
    except ValueError as error:
        fail(error)
    if args.train is not None and args.train < 1:
        fail(f"--train {args.train}: must be at least 1")
    if args.out and args.out.suffix.lower() not in PICTURES:
        fail(f"--out {args.out}: expected a name that ends in {', '.join(PICTURES)}")
    if args.out and not args.out.parent.is_dir():
        fail(f"--out {args.out}: no such folder")
    if args.out and args.step.version < 3:
        fail(f"--out {args.out}: v{args.step.version} has no attention to draw; v3 is the first")
    return args


def main(argv=None):
    args = parse_args(argv)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    script = load_script(args.step)
    model, tokenizer, config = make_model(script, args)
    text, idx = read_text(args, tokenizer, config)
    source = "untrained, random (see --train, --init_from)"
    if args.init_from:
        source = f"from {args.init_from}"
    elif args.train:
        print(f"training for {args.train} steps ...", file=sys.stderr)
        source = f"trained here, {train(script, model, tokenizer, config, args.train)}"
    with matmul_precision("highest"):
        calls = look(model, idx)
        weights = attention_weights(model, calls)
    split, seconds = time_step(model, config, tokenizer.vocab_size)
    parts = [f"{name} {s / sum(split):.0%}" for name, s in zip(STEP_PARTS, split, strict=True)]
    chars = "".join(map(visible, text))
    cut = f" (its last {len(text)} characters: block_size)" if text != args.text else ""
    title = f"{args.step.file[:-3]}: {args.step.idea}"
    notes = [f"text: {chars}{cut}", f"weights: {source}"]
    report = [
        *(*table(model, config, calls, seconds), ""),
        f"parameters in all: {sum(p.numel() for p in model.parameters()):,}",
        f"a training step (B={config.batch_size}, T={config.block_size}, {config.device}): "
        f"{1000 * sum(split):.1f} ms: {', '.join(parts)}",
        "",
    ]
    print("\n".join([title, *notes, "", *report]))
    if not weights:
        print(f"attention: none in v{args.step.version}; v3 is the first that has it")
        return
    print("\n".join(heat_maps(weights, chars)))
    if args.out:
        draw(args.out, title, report, [*notes, READING], weights, chars)
        print(f"picture: {args.out}")


if __name__ == "__main__":
    main()
