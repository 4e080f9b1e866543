"""What is committed: models, the training text, its tunes; and numbers short enough for a page."""

import functools
from collections import Counter

import torch
from poems import ACCEPTED, by_tune, form, line_ends, read_rhymes, rhyme, rhyming_pairs, split_poems
from steps import ROOT, find_step, import_script


@functools.cache
def saved(name):
    """Return the weights, characters and sizes of a committed model."""
    file = "babygpt_evening.pt" if name == "evening" else f"weights/{name}.pt"
    found = torch.load(ROOT / "data" / file, weights_only=True)
    weights = {key: tensor.float() for key, tensor in found["model"].items()}
    return weights, found["chars"], found["shape"]


@functools.cache
def model_of(name):
    """Return a committed model, such as v09, and its characters."""
    weights, chars, shape = saved(name)
    script = import_script(find_step(15 if name == "evening" else int(name[1:])))
    sizes = {k: v for k, v in shape.items() if k in script.Config.__dataclass_fields__}
    model = script.BabyGPT(script.Config(device="cpu", **sizes), len(chars))
    model.load_state_dict(weights)
    return model.eval(), chars


@functools.cache
def text_of():
    """Return the training text, and the windows (N, T) that every val loss is measured on."""
    script = import_script(find_step("v1"))
    config = script.Config(device="cpu")
    tokenizer, ids = script.load_data(config)
    n = config.eval_iters * config.batch_size
    starts = torch.arange(n) * (len(ids["val"]) - config.block_size) // n
    windows, _ = script.get_batch(ids["val"], starts, config)
    return tokenizer.decode(ids["train"].tolist()), windows


@functools.cache
def poems():
    """Return {tune: bodies} of all poems of the text, and the groups of rhymes."""
    text = "\n\n" + (ROOT / "data" / "ci.txt").read_text(encoding="utf-8")
    rhymes = (ROOT / "data" / "rhymes.txt").read_text(encoding="utf-8")
    return by_tune(split_poems(text)), read_rhymes(rhymes)


@functools.cache
def rule_of(tune):
    """Return the forms that poems to a tune have, the usual one first; and which lines rhyme."""
    bodies, groups = poems()
    forms = Counter(map(form, bodies[tune])).most_common()
    usual, *others = (lengths for lengths, count in forms if count >= ACCEPTED)
    return [usual, *others], rhyming_pairs(bodies[tune], groups)


def marks_of(tune, body):
    """Return of each line of a poem [length that the tune has, does it fit, does it rhyme].

    It rhymes if it does with an earlier line that it should rhyme with; None if there is none.
    """
    (forms, pairs), (_, groups) = rule_of(tune), poems()
    ends, marks = line_ends(body), []
    for i, length in enumerate(form(body)):
        usual = forms[0][i : i + 1] or (0,)
        fits = any(lengths[i : i + 1] == (length,) for lengths in forms)
        others = [ends[j] for j, k in pairs if k == i]
        rhymes = any(end != ends[i] and rhyme(end, ends[i], groups) for end in others)
        marks.append([*usual, fits, rhymes if others else None])
    return marks


def rounded(numbers, digits=3):
    """Return a tensor as nested lists of rounded numbers."""
    numbers = numbers.tolist() if hasattr(numbers, "tolist") else numbers
    return [rounded(n, digits) if isinstance(n, list) else round(n, digits) for n in numbers]
