"""See inside a version: its modules, shapes and parameters, and where its attention looks.

    python tools/xray.py v7                                # untrained, over 春江花月夜
    python tools/xray.py v10 春江花月夜 --train 1600
    python tools/xray.py v12 明月几时有 --sample FILE.pt      # a checkpoint of v12
    python tools/xray.py v6 --depth                        # what becomes of the signal on its way

VERSION and TEXT come first; flags of the script, such as --n_embed 64, work too. Shapes and weights
are those of one forward pass over TEXT; parameters include those of the modules inside.
"""

import contextlib
import sys
import tempfile
import unicodedata
from argparse import ArgumentParser
from argparse import RawDescriptionHelpFormatter as Raw
from dataclasses import replace
from unittest.mock import patch

import torch
import tyro
from depth import dead, signal
from steps import find_step, import_script, loaded, trained

SHADES, LIMITS = "░▒▓█", (10, 30, 60)
LEGEND = "attention, row looks at column, in percent: ░ below 10, ▒ below 30, ▓ below 60, █ above"


def untrained(script, flags):
    """Return a version's model as it is before training, its tokenizer and its config."""
    config = replace(tyro.cli(script.Config, args=flags, use_underscores=True), prompts=())
    tokenizer, _ = script.load_data(config)
    torch.manual_seed(config.seed)
    return script.BabyGPT(config, len(tokenizer.chars)).to(config.device), tokenizer, config


def train(script, flags):
    """Return the model that a run ends with; it samples nothing, and leaves no record or file."""
    with tempfile.TemporaryDirectory() as folder:
        if hasattr(script, "save_checkpoint"):
            flags = [*flags, "--wandb_mode", "disabled", "--checkpoint_path", f"{folder}/model.pt"]
        return trained(script, [*flags, "--prompts"])[0]


def look(script, model, ids):
    """Run ids (1, T) through the model. Return what was seen on the way:

    calls: [name, depth, input, output] of each module, in their order
    weights: {name: attention weights (T, T)} of each head
    """
    calls, running, weights, softmax = [], [], {}, script.F.softmax
    names = {module: name for name, module in model.named_modules()}

    def watched_softmax(*args, **kwargs):
        # Taken where they arise: the weights never leave a Head, only their mix of values does
        result = softmax(*args, **kwargs)
        weights[running[-1][0]] = result[0].cpu()
        return result

    def watched_attention(query, key, value, *args, **kwargs):
        # From v13 on one function does it all and hands out no weights: here they are made by hand
        scores = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5  # (1, n_head, T, T)
        future = torch.ones_like(scores, dtype=torch.bool).triu(1)
        result = softmax(scores.masked_fill(future, -torch.inf), dim=-1)
        for i, head in enumerate(result[0].cpu()):
            weights[f"{running[-1][0]}.heads.{i}"] = head
        return result @ value

    def before(module, inputs):
        running.append([names[module], len(running), None, None])
        calls.append(running[-1])

    def after(module, inputs, output):  # the model itself returns logits and loss
        running.pop()[2:] = inputs[0], output[0] if isinstance(output, tuple) else output

    model.eval()  # as in use: dropout would zero some weights
    watched = {"softmax": watched_softmax, "scaled_dot_product_attention": watched_attention}
    with torch.no_grad(), patch.multiple(script.F, **watched), contextlib.ExitStack() as stack:
        for module in names:
            stack.callback(module.register_forward_pre_hook(before).remove)
            stack.callback(module.register_forward_hook(after).remove)
        model(ids)
    return calls, weights


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
        label, last = members[0][2], members[-1][2]
        label += "" if label == last else f"..{last.rpartition('.')[2]}"
        title = f"{label}: {kind}" if label else kind
        title += f" x{len(members)}" if len(members) > 1 else ""
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
    lines = ["", name, "   " + "".join(pad(char, 4) for char in chars).rstrip()]
    for i, char in enumerate(chars):
        percents = [100 * weight.item() for weight in weights[i, : i + 1]]
        cells = [f"{SHADES[sum(n >= limit for limit in LIMITS)]}{n:<3.0f}" for n in percents]
        lines.append(pad(char, 3) + "".join(cells).rstrip())
    return lines


def main(argv=None):
    parser = ArgumentParser(description=__doc__, formatter_class=Raw, allow_abbrev=False)
    # One list for both: an optional TEXT of its own could take the value of a flag of the script
    parser.add_argument("words", nargs="+", metavar="VERSION [TEXT]", help="v1 on, characters")
    weights = parser.add_mutually_exclusive_group()
    weights.add_argument("--train", metavar="STEPS", help="train first, for this long")
    weights.add_argument("--sample", metavar="FILE.pt", help="checkpoint of v12, with its shape")
    parser.add_argument("--depth", action="store_true", help="spread, gradient and dead units")
    args, flags = parser.parse_known_args(argv)
    whole = " ".join(args.words[1:]) or "春江花月夜"
    try:
        step = find_step(args.words[0])
    except ValueError as error:
        parser.error(error)
    script = import_script(step)
    if args.sample and not hasattr(script, "load_checkpoint"):
        parser.error(f"--sample: {step.name} saves no model; v12 is the first that does")
    if args.sample:
        model, tokenizer, config = loaded(script, args.sample, flags)
    else:
        model, tokenizer, config = untrained(script, flags)
    if unknown := set(whole) - set(tokenizer.chars):
        sys.exit(f"error: TEXT {whole}: not in the vocabulary: {sorted(unknown)}")
    if args.train:
        model = train(script, [*flags, "--max_iters", args.train])
    text = whole[-config.block_size :]
    calls, weights = look(script, model, torch.tensor([tokenizer.encode(text)]).to(config.device))
    chars = "".join("↵" if char == "\n" else char if char.isprintable() else "·" for char in text)
    cut = f" (its last {len(text)} characters: block_size)" if text != whole else ""
    source = f"--train {args.train}" if args.train else args.sample or "random, untrained"
    print(f"{step.path.stem}: {step.idea}\ntext: {chars}{cut}\nweights: {source}\n")
    print("\n".join(table(model, calls)))
    print(f"\nparameters in all: {sum(p.numel() for p in model.parameters()):,}\n")
    if args.depth:
        print("after       spread over positions   gradient (root mean square)   dead units")
        ids = script.load_data(config)[1]["train"]
        units = ["", *(f"{share:.0%}" for share in dead(script, model, config, ids)), ""]
        for row, share in zip(signal(script, model, config, ids), units, strict=False):
            print("{:12}{:<24.2g}{:<30.2g}{}".format(*row, share).rstrip())
        print()
    print(LEGEND if weights else "attention: none before v3")
    for name, head in weights.items():
        print("\n".join(heat_map(name, head, chars)))


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # on Windows it may be another
    main()
