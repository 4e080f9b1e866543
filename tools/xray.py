"""See inside a version: its modules, shapes and parameters, and where its attention looks.

    python tools/xray.py v7                                # untrained, over 春江花月夜
    python tools/xray.py v10 春江花月夜 --train 1600 --out attention.svg
    python tools/xray.py v12 明月几时有 --sample FILE.pt      # a checkpoint of v12
    python tools/xray.py v6 --depth                        # what becomes of the signal on its way

VERSION and TEXT come first; flags of the script, such as --n_embed 64, work too. Shapes and weights
are those of one forward pass over TEXT; parameters include those of the modules inside.
"""

import argparse
import contextlib
import html
import sys
import tempfile
import unicodedata
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from unittest.mock import patch

import rules
import torch
import tyro
from charts import svg_text

SHADES = ((0.1, "░"), (0.3, "▒"), (0.6, "▓"), (2, "█"))
LEGEND = "In percent: ░ below 10, ▒ below 30, ▓ below 60, █ above."
READING = "Row: the character that looks. Column: the character looked at. A row sums to 100 %."
CELL = 30  # width and height in the picture


def make_model(script, args, flags):
    """Return the model, untrained, trained or from a checkpoint, its config and its tokenizer."""
    config = tyro.cli(script.Config, args=flags, use_underscores=True)
    config = replace(config, prompts=())  # nothing is sampled: they need not be in the vocabulary
    torch.manual_seed(config.seed)
    if args.sample:
        model, tokenizer = script.load_checkpoint(args.sample, config)
    else:
        tokenizer, data = script.load_data(config)
        model = script.BabyGPT(config, len(tokenizer.chars)).to(config.device)
    if unknown := set(args.text) - set(tokenizer.chars):  # before the training
        sys.exit(f"error: TEXT {args.text}: not in the vocabulary: {sorted(unknown)}")
    if args.train and args.step.version < 12:
        script.train(model, data, config)
    elif args.train:
        with tempfile.TemporaryDirectory() as folder:  # leave no record of this run, and no model
            path = str(Path(folder, "model.pt"))
            config = replace(config, wandb_mode="disabled", checkpoint_path=path)
            script.train(model, data, config, tokenizer)
    return model, config, tokenizer


def look(script, model, idx):
    """Run ids (1, T) through the model. Return what was seen on the way:

    calls: [name, depth, input, output] of each module, in their order
    weights: {name: attention weights (T, T)} of each head
    """
    calls, running, weights = [], [], {}
    softmax = script.F.softmax

    def watched_softmax(*args, **kwargs):
        # Taken where they arise: the weights never leave a Head, only their mix of values does
        result = softmax(*args, **kwargs)
        weights[running[-1][0]] = result[0].cpu()
        return result

    def watched_attention(query, key, value, **kwargs):
        # From v13 on one function does it all and hands out no weights: here they are made by hand
        T = query.shape[-2]
        scores = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5  # (1, n_head, T, T)
        result = softmax(scores.masked_fill(scores.new_ones(T, T).tril() == 0, -torch.inf), dim=-1)
        for i, head in enumerate(result[0].cpu()):
            weights[f"{running[-1][0]}.heads.{i}"] = head
        return result @ value

    def before(name):
        running.append([name, len(running), None, None])
        calls.append(running[-1])

    def after(inputs, output):
        # The model itself returns logits and loss
        running.pop()[2:] = inputs[0], output[0] if isinstance(output, tuple) else output

    model.eval()  # as in use: dropout would zero some weights
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.enter_context(patch.object(script.F, "softmax", watched_softmax))
        fused = "scaled_dot_product_attention"
        stack.enter_context(patch.object(script.F, fused, watched_attention))
        for name, module in model.named_modules():
            handle = module.register_forward_pre_hook(lambda m, x, name=name: before(name))
            stack.callback(handle.remove)
            stack.callback(module.register_forward_hook(lambda m, x, y: after(x, y)).remove)
        model(idx)
    return calls, weights


def depth(script, model, config, ids):
    """Return [name, spread, gradient] of the embedding and of each block, for a batch of ids.

    spread: standard deviation over the positions of a window, mean over all numbers of the vectors
    gradient: root mean square of the gradient of the loss with respect to these vectors
    """
    found = []

    def watch(name, module):
        def after(module, inputs, output):
            output.retain_grad()
            found.append((name, output))

        stack.callback(module.register_forward_hook(after).remove)

    starts = torch.arange(config.batch_size) * 997 % (len(ids) - config.block_size)
    x, y = script.get_batch(ids, starts.to(ids.device), config)
    model.eval()
    with contextlib.ExitStack() as stack:
        watch("embedding", model.token_embedding_table)
        # Before v6 there is one block, and its last part ends it; v1 and v2 have none
        before_v6 = [getattr(model, "ffwd", getattr(model, "sa", None))]
        for i, block in enumerate(getattr(model, "blocks", before_v6)):
            if block is not None:
                watch(f"block {i + 1}", block)
        model(x, y)[1].backward()
    model.zero_grad()
    return [
        (name, *(float(f"{number:.3g}") for number in (x.std(dim=1).mean(), rms(x.grad))))
        for name, x in found
    ]


def rms(x):
    return x.square().mean().sqrt()


def table(model, calls):
    """Return the lines of the table of modules, shapes (B, T, size). Alike ones share a line."""
    groups, path = {}, []
    for name, depth, x, y in calls:
        path[depth:] = [name]
        relative = name[len(path[depth - 1]) :].lstrip(".") if depth else ""
        kind = type(model.get_submodule(name)).__name__
        alike = tuple("#" if part.isdigit() else part for part in name.split("."))
        key = (alike, kind, str(tuple(x.shape)), str(tuple(y.shape)))
        groups.setdefault(key, []).append((name, depth, relative))
    rows = [("module", "in", "out", "parameters")]
    for (_, kind, *shapes), members in groups.items():
        first, last = members[0][2], members[-1][2]
        label = first if first == last else f"{first}..{last.rpartition('.')[2]}"
        times = f" x{len(members)}" if len(members) > 1 else ""
        title = f"{label}: {kind}{times}" if label else kind
        modules = [model.get_submodule(name) for name, _, _ in members]
        params = sum(p.numel() for module in modules for p in module.parameters())
        rows.append(("  " * members[0][1] + title, *shapes, f"{params:,}"))
    a, b, c, d = (max(map(len, column)) for column in zip(*rows, strict=True))
    return [f"{m:{a}}  {x:{b}}  {y:{c}}  {n:>{d}}" for m, x, y, n in rows]


def pad(text, columns):
    """Return text filled up with spaces; Chinese characters are two columns wide."""
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return text + " " * (columns - len(text) - wide)


def heat_map(name, weights, chars):
    """Return a head's weights as lines for a terminal: shades with the percentage."""
    lines = ["", name, "   " + "".join(pad(char, 4) for char in chars).rstrip()]
    for i, char in enumerate(chars):
        shades = [next(sign for limit, sign in SHADES if weight < limit) for weight in weights[i]]
        cells = [f"{shades[j]}{100 * weights[i, j]:<3.0f}" for j in range(i + 1)]
        lines.append(pad(char, 3) + "".join(cells).rstrip())
    return lines


STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.char { font: 17px "Noto Sans CJK SC", "Source Han Sans SC", "PingFang SC", "Microsoft YaHei",
  "WenQuanYi Micro Hei", sans-serif; text-anchor: middle }
.value { font-size: 12px; text-anchor: middle } .title { font-size: 15px; font-weight: 600 }
.page { fill: #ffffff } .empty { fill: #f0f2f5 } .ink { fill: #08306b } .on { fill: #ffffff }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .page { fill: #0d1117 } .empty { fill: #1b222c }
  .ink { fill: #7ab8f5 } .on { fill: #0d1117 }
}
"""


def svg_panel(name, weights, chars, left, top):
    """Return the elements of one head. Ink is the root of the weight, so that small ones show."""
    elements, middle = [svg_text(left, top - CELL - 6, name, "name")], CELL / 2
    for i, char in enumerate(chars):
        x, y = left + i * CELL, top + i * CELL
        elements.append(svg_text(x + middle, top - 6, char, "char"))
        elements.append(svg_text(left - middle - 2, y + middle + 5, char, "char"))
        for j, weight in enumerate(weights[i, : i + 1].tolist()):
            x, ink = left + j * CELL, weight**0.5
            rect = f'<rect x="{x}" y="{y}" width="{CELL - 1}" height="{CELL - 1}" class='
            tip = f"<title>{html.escape(f'{char} looks at {chars[j]}: {weight:.1%}')}</title>"
            elements.append(f'{rect}"empty"/>{rect}"ink" fill-opacity="{ink:.2f}">{tip}</rect>')
            kind, percent = "value on" if ink > 0.6 else "value", f"{100 * weight:.0f}"
            elements.append(svg_text(x + middle - 0.5, y + middle + 4, percent, kind))
    return elements


def draw_svg(title, notes, weights, chars):
    """Return the picture of all heads: a row for each block. It follows light and dark mode."""
    heads = groupby(weights.items(), key=lambda item: item[0].partition("heads")[0])
    rows = [list(row) for _, row in heads]
    step_x = max(len(chars) * CELL, 130) + CELL + 24  # 130: the name of a head
    step_y, top = (len(chars) + 1) * CELL + 44, 44 + 20 * len(notes)
    width, height = max(24 + step_x * max(map(len, rows)), 660), top + step_y * len(rows)
    lines = [svg_text(24, 56 + 20 * i, note, "note") for i, note in enumerate(notes)]
    elements = [svg_text(24, 34, title, "title"), *lines]
    for i, row in enumerate(rows):
        for j, (name, w) in enumerate(row):
            left, y = 24 + CELL + j * step_x, top + CELL + 24 + i * step_y
            elements += svg_panel(name, w, chars, left, y)
    size = f'width="{width}" height="{height}"'
    view = f'viewBox="0 0 {width} {height}" {size} xml:lang="zh"'  # zh: which glyphs fonts take
    start = f'<svg xmlns="http://www.w3.org/2000/svg" {view}>'
    page = f'<style>{STYLE}</style>\n<rect {size} class="page"/>'
    return "\n".join([start, page, *elements, "</svg>\n"])


def parse_args(argv):
    """Return the arguments of this tool, and those left over, which are flags of the script."""
    # No abbreviations: a flag of the script may begin as one of this tool
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.usage = "xray.py VERSION [TEXT] [options] [flags of the script]"
    # One list for both: an optional TEXT of its own could take the value of a flag of the script
    parser.add_argument("words", nargs="+", metavar="VERSION [TEXT]", help="v1 on, characters")
    weights = parser.add_mutually_exclusive_group()
    weights.add_argument("--train", metavar="STEPS", help="train first, for this long")
    weights.add_argument("--sample", metavar="FILE.pt", help="checkpoint of v12, with its shape")
    parser.add_argument("--out", type=Path, metavar="FILE.svg", help="picture of the attention")
    parser.add_argument("--depth", action="store_true", help="spread and gradient, block by block")
    args, flags = parser.parse_known_args(argv)
    flags += ["--max_iters", args.train] if args.train else []
    args.text = " ".join(args.words[1:]) or "春江花月夜"
    try:
        args.step = rules.find_step(args.words[0])
    except ValueError as error:
        sys.exit(f"error: {error}")
    if args.sample and args.step.version < 12:
        sys.exit(f"error: --sample {args.sample}: v{args.step.version} has none; v12 is the first")
    if args.out and args.out.suffix.lower() != ".svg":
        sys.exit(f"error: --out {args.out}: expected a name that ends in .svg")
    if args.out and not args.out.parent.is_dir():
        sys.exit(f"error: --out {args.out}: no such folder")
    if args.out and args.step.version < 3:
        sys.exit(f"error: --out {args.out}: v{args.step.version} has no attention; v3 is the first")
    return args, flags


def main(argv=None):
    """Show what the arguments ask for."""
    args, flags = parse_args(argv)
    script = rules.import_script(args.step)
    model, config, tokenizer = make_model(script, args, flags)
    text = args.text[-getattr(model, "block_size", config.block_size) :]  # v1 has it in config only
    idx = torch.tensor([tokenizer.encode(text)], device=config.device)  # (1, T)
    calls, weights = look(script, model, idx)
    chars = "".join("↵" if char == "\n" else char if char.isprintable() else "·" for char in text)
    cut = f" (its last {len(text)} characters: block_size)" if text != args.text else ""
    source = f"--train {args.train}" if args.train else args.sample or "random, untrained"
    title = f"{args.step.file[:-3]}: {args.step.idea}"
    notes = [f"text: {chars}{cut}", f"weights: {source}"]
    print("\n".join([title, *notes, "", *table(model, calls), ""]))
    print(f"parameters in all: {sum(p.numel() for p in model.parameters()):,}\n")
    if args.depth:
        print("after       spread over positions   gradient (root mean square)")
        for name, spread, gradient in depth(
            script, model, config, script.load_data(config)[1]["train"]
        ):
            print(f"{name:12}{spread:<24.2g}{gradient:.2g}")
        print()
    print(f"attention: {READING}\n{LEGEND}" if weights else "attention: none before v3")
    for name, head in weights.items():
        print("\n".join(heat_map(name, head, chars)))
    if args.out:
        args.out.write_text(draw_svg(title, [*notes, READING], weights, chars), encoding="utf-8")
        print(f"picture: {args.out}")


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="replace")  # for consoles that lack a character
    main()
