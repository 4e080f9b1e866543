"""Form: does a model know the tunes? Each fixes the length of every line, and nobody tells it.

    python tools/form.py v9                                # train v9 as always, then judge it
    python tools/form.py v12 --sample FILE.pt --show 10    # judge a saved model, see ten poems

Flags of the script, such as --n_embed 64, work too. What is reported:

line ends     of held-out poems: at each character, does a mark or a line break come next? The
              model says yes where it gives these more than half of the probability; F1 of its yes
context       loss and line ends of these poems when the model may see so many characters only
whole poems   sampled after a blank line and a title such as 浣溪沙 苏轼: how many have the line
              lengths of a poem to that tune. The tunes are the most frequent ones of fixed form
verbatim      part of these poems' runs of 8 characters that the training text has as well
pairs         part of their pairs of neighbouring characters that the training text has 20 times
"""

import json
import math
import sys
from argparse import ArgumentParser
from argparse import RawDescriptionHelpFormatter as Raw
from collections import Counter
from pathlib import Path

import torch
import tyro
from poems import AUTHOR, ENDS, fixed_tunes, form, split_poems
from steps import STEPS, find_step, import_script, loaded, trained
from torch.nn import functional as F
from tqdm import tqdm

HELD_OUT = 200  # poems for the line ends
RUN = 8  # characters
FREQUENT = 20
TOKENS = 8192  # in a forward pass, at most
KEPT = 24  # poems in the report, the first ones
CONTEXTS = (8, 16, 32, 64, 128)  # and the model's own


def text_of(script, config):
    """Return the tokenizer of a text with poems, its data, and the parts of the text."""
    tokenizer, data = script.load_data(config)
    train, val = (tokenizer.decode(ids.tolist()) for ids in data.values())
    if not fixed_tunes(split_poems(f"\n\n{train}{val}")) or not {*AUTHOR} <= {*tokenizer.chars}:
        sys.exit(f"error: --data_path {config.data_path}: has no poems to judge by")
    return tokenizer, data, train, val


@torch.no_grad()
def next_probs(model, ids, block_size):
    """Return what ids (N,) predict, (N, vocab_size): each with the block_size - 1 before it."""
    logits = [model(ids[None, :block_size])[0][0]]
    windows = ids.unfold(0, block_size, 1)[1:] if len(ids) > block_size else ids.new_empty(0)
    for part in windows.split(max(1, TOKENS // block_size)):
        logits += [model(part)[0][:, -1]] if len(part) else []
    return F.softmax(torch.cat(logits), dim=-1)


def read(model, tokenizer, poems, context, device):
    """Return a model's loss and the F1 of its "here a line ends", over the bodies of poems."""
    ends = torch.tensor(tokenizer.encode(char for char in ENDS if char in tokenizer.ids))
    ends, right, said, true, losses = ends.to(device), 0, 0, 0, []
    for tune, author, body in tqdm(poems, "line ends", unit="poem", leave=False, disable=None):
        title = f"\n{tune} {author}\n"
        ids = torch.tensor(tokenizer.encode(f"{title}{body}\n"), device=device)
        probs = next_probs(model, ids[:-1], context)[len(title) - 1 :]
        ids = ids[len(title) :]
        losses.append(-probs.gather(1, ids[:, None]).log())
        says, comes = probs[:, ends].sum(dim=-1) > 0.5, torch.isin(ids, ends)
        right, said, true = right + (says & comes).sum(), said + says.sum(), true + comes.sum()
    loss, f1 = torch.cat(losses).mean().item(), (2 * right / (said + true)).item()
    return {"context": context, "loss": round(loss, 4), "line_ends": round(f1, 4)}


def write(model, tokenizer, tune, n, longest, device):
    """Return n sampled poems to a tune: what follows the title, and whether it came to an end."""
    title = f"\n{tune} {AUTHOR}\n"
    ids = torch.tensor([tokenizer.encode(title)] * n, device=device)
    texts = map(tokenizer.decode, model.generate(ids, longest + 2).tolist())
    parts = [text[len(title) :].partition("\n\n") for text in texts]
    return [(body, bool(end)) for body, end, _ in parts]


def share(found, known):
    """Return which part of what was found is known, rounded; None where nothing was found."""
    return round(sum(map(known, found)) / len(found), 4) if found else None


def judge_verbatim(bodies, train):
    """Return which part of the poems' runs of characters, and of their pairs, the text has."""
    known = {train[i : i + RUN] for i in range(len(train))}
    runs = [body[i : i + RUN] for body in bodies for i in range(len(body) - RUN + 1)]
    counts = Counter(zip(train, train[1:], strict=False))
    pairs = [pair for body in bodies for pair in zip(body, body[1:], strict=False)]
    pairs = [pair for pair in pairs if not set(pair) & set(ENDS)]
    return {
        "verbatim": share(runs, known.__contains__),
        "pairs": share(pairs, lambda pair: counts[pair] >= FREQUENT),
    }


def judge(script, model, tokenizer, config, n):
    """Return the report: numbers, and n poems to each tune."""
    of_text, data, train, val = text_of(script, config)
    if of_text.chars != tokenizer.chars:
        sys.exit(f"error: --data_path {config.data_path}: not the text of this model")
    _, val_loss = script.estimate_loss(model, data, config)
    model.eval()
    torch.manual_seed(config.seed)
    held_out = split_poems(val)[:HELD_OUT]
    contexts = [n for n in CONTEXTS if n < config.block_size] + [config.block_size]
    scores = [read(model, tokenizer, held_out, n, config.device) for n in contexts]
    perplexity = math.exp(min(val_loss, 700))  # what diverged would be too large a number
    report = {"perplexity": round(perplexity, 1), "line_ends": scores[-1]["line_ends"]}
    report |= {"held_out_poems": len(held_out), "contexts": scores}
    report |= {"poems_to_each": n, "whole": {}}
    poems, tunes = [], fixed_tunes(split_poems(f"\n\n{train}{val}"))
    for tune in tqdm(tunes, "whole poems", unit="tune", leave=False, disable=None):
        accepted, longest = tunes[tune]
        written = write(model, tokenizer, tune, n, longest, config.device)
        keeps = [end and form(body) in accepted for body, end in written]
        report["whole"][tune] = sum(keeps)
        poems += [(i, tune, keeps[i], body) for i, (body, _) in enumerate(written)]
    report |= judge_verbatim([body for *_, body in poems], train)
    poems.sort(key=lambda poem: poem[0])  # the first to each tune, then the second to each, …
    report["poems"] = [
        {"tune": t, "whole": keeps, "body": body} for _, t, keeps, body in poems[:KEPT]
    ]
    return report


def lines_of(report, show):
    """Return the report as lines of text, with some of the poems."""
    n, whole = report["poems_to_each"], report["whole"]
    lines = [f"perplexity   {report['perplexity']}"]
    lines += [f"line ends    {report['line_ends']:.3f}, on {report['held_out_poems']} poems"]
    for row in report["contexts"]:
        lines += ["  context {context}: loss {loss:.3f}, line ends {line_ends:.3f}".format(**row)]
    lines += [f"whole poems  {sum(whole.values())} of {n * len(whole)}"]
    lines += [f"  {tune}: {kept} of {n}" for tune, kept in whole.items()]
    lines += [f"{name:12} {report[name]}" for name in ("verbatim", "pairs")]
    for poem in report["poems"][:show]:
        kept = "whole" if poem["whole"] else "not whole"
        lines += ["", f"{poem['tune']} {AUTHOR} ({kept})", poem["body"]]
    return lines


def main(argv=None):
    parser = ArgumentParser(description=__doc__, formatter_class=Raw, allow_abbrev=False)
    parser.add_argument("version", type=find_step, help=f"v1 to {STEPS[-1].name}, or a file name")
    parser.add_argument("--poems", type=int, default=100, metavar="N", help="to each of the tunes")
    parser.add_argument("--show", type=int, default=0, metavar="N", help=f"poems, at most {KEPT}")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="for the whole report")
    parser.add_argument("--sample", metavar="FILE.pt", help="a model that v12 or a later one saved")
    args, flags = parser.parse_known_args(argv)
    script = import_script(args.version)
    if args.sample and not hasattr(script, "load_checkpoint"):
        parser.error(f"--sample: {args.version.name} saves no model; v12 is the first that does")
    if args.sample:
        found = loaded(script, args.sample, flags)
    else:
        text_of(script, tyro.cli(script.Config, args=flags, use_underscores=True))  # or exit, now
        found = trained(script, flags)
    report = judge(script, *found, args.poems)
    print("\n".join(["", *lines_of(report, args.show)]))
    if args.out:
        args.out.write_text(json.dumps(report, ensure_ascii=False, indent=1), encoding="utf-8")


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # on Windows it may be another
    main()
