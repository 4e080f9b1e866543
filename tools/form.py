"""Form: does a model know the tunes? Each fixes the length of every line, and nobody tells it.

    python tools/form.py v9                                # train v9 as always, then judge it
    python tools/form.py v12 --sample FILE.pt --show 10    # judge a saved model, see ten poems

Flags of the script, such as --n_embed 64, work too. What is reported:

line ends     of held-out poems: at each character, does a mark or a line break come next? The
              model says yes where it gives these more than half of the probability; F1 of its yes.
              The new row after 。？！ is no question: there nothing is asked and nothing counted
context       loss and line ends of these poems when the model may see so many characters only
whole poems   sampled after a blank line and a title such as 浣溪沙 苏轼: how many have the line
              lengths of a poem to that tune. The tunes are the most frequent ones of fixed form
rhyme         of the pairs of lines that rhyme in 70 % of the real poems to the tune, how many
              rhyme in these, by data/rhymes.txt and with two different characters
rhymed        part of the poems that are whole and in which all these pairs rhyme
given         when a held-out poem is given up to the first line that rhymes, how many of the lines
              that rhyme with it in this tune do so; from v15 on, whose cache makes it quick
distinct      part of a poem's characters that are left when each is counted once
verbatim      part of these poems' runs of 8 characters that the training text has as well
pairs         part of their pairs of neighbouring characters that the training text has 20 times

Beside it stand real poems, held out like those for the line ends; chance: the lines of real poems
in random order; placed: each in its own place, of another poem, so that tones fit; and two rules
for line ends that need no model: from the 4th character of a line on, always yes (4 is best), and
the most frequent form of the tune.
"""

import json
import math
import sys
from argparse import ArgumentParser
from argparse import RawDescriptionHelpFormatter as Raw
from pathlib import Path

import torch
import tyro
from judge import FULL, HELD_OUT, Judge
from poems import AUTHOR, ENDS, fixed_tunes, read_rhymes, split_poems
from steps import ROOT, STEPS, find_step, import_script, loaded, trained
from torch.nn import functional as F
from tqdm import tqdm
from writing import KEPT, judge_poems

TOKENS = 8192  # in a forward pass, at most
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
    ends, full = (
        torch.tensor(tokenizer.encode(c for c in chars if c in tokenizer.ids), device=device)
        for chars in (ENDS, FULL)
    )
    right, said, true, losses = 0, 0, 0, []
    for tune, author, body in tqdm(poems, "line ends", unit="poem", leave=False, disable=None):
        title = f"\n{tune} {author}\n"
        ids = torch.tensor(tokenizer.encode(f"{title}{body}\n"), device=device)
        probs = next_probs(model, ids[:-1], context)[len(title) - 1 :]
        asked, ids = ~torch.isin(ids[len(title) - 1 : -1], full), ids[len(title) :]
        losses.append(-probs.gather(1, ids[:, None]).log())
        says, comes = asked & (probs[:, ends].sum(dim=-1) > 0.5), asked & torch.isin(ids, ends)
        right, said, true = right + (says & comes).sum(), said + says.sum(), true + comes.sum()
    loss, f1 = torch.cat(losses).mean().item(), (2 * right / (said + true)).item()
    return {"context": context, "loss": round(loss, 4), "line_ends": round(f1, 4)}


def judge_of(script, tokenizer, config):
    """Return who judges poems by a text, its data and parts; exit if it is not the model's."""
    of_text, data, train, val = text_of(script, config)
    if of_text.chars != tokenizer.chars:
        sys.exit(f"error: --data_path {config.data_path}: not the text of this model")
    rhymes = (ROOT / "data" / "rhymes.txt").read_text(encoding="utf-8")
    return Judge(train, val, read_rhymes(rhymes)), data, train, val


def judge(script, model, tokenizer, config, n):
    """Return the report: numbers, and n poems to each tune."""
    by, data, train, val = judge_of(script, tokenizer, config)
    _, val_loss = script.estimate_loss(model, data, config)
    model.eval()
    torch.manual_seed(config.seed)
    known, held_out = split_poems(f"\n\n{train}"), split_poems(val)
    contexts = [n for n in CONTEXTS if n < config.block_size] + [config.block_size]
    scores = [read(model, tokenizer, held_out[:HELD_OUT], n, config.device) for n in contexts]
    perplexity = math.exp(min(val_loss, 700))  # what diverged would be too large a number
    report = {"perplexity": round(perplexity, 1), "line_ends": scores[-1]["line_ends"]}
    report |= {"held_out_poems": len(held_out[:HELD_OUT]), "contexts": scores}
    rest = held_out if hasattr(script, "Cache") else []  # without a cache it would take minutes
    report |= judge_poems(by, model, tokenizer, config, n, rest)
    return report | {"beside": by.beside(known, held_out, config.seed)}


def lines_of(report, show):
    """Return the report as lines of text, with some of the poems."""
    n, whole, beside = report["poems_to_each"], report["whole"], report["beside"]
    real, chance, placed = beside["real"], beside["chance"], beside["placed"]
    lines = [f"perplexity   {report['perplexity']}"]
    lines += [f"line ends    {report['line_ends']:.3f}, on {report['held_out_poems']} poems"]
    lines += ["  always from character {characters} on: {line_ends:.3f}".format(**beside["rule"])]
    lines += ["  most frequent form of the tune: {line_ends:.3f}".format(**beside["forms"])]
    for row in report["contexts"]:
        lines += ["  context {context}: loss {loss:.3f}, line ends {line_ends:.3f}".format(**row)]
    lines += [
        f"whole poems  {sum(whole.values())} of {n * len(whole)}; of real ones {real['whole']}"
    ]
    lines += [f"  {tune}: {kept} of {n}" for tune, kept in whole.items()]
    lines += [f"{'':12} model   real    chance  placed"]
    for name in ("rhyme", "rhymed", "given", "distinct", "verbatim", "pairs"):
        cells = [str(found.get(name, "")) for found in (report, real, chance, placed)]
        lines += ["{:12} {:8}{:8}{:8}{}".format(name, *cells).rstrip()]
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
