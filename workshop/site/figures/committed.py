"""What is committed: models, the training text, its tunes; and numbers short enough for a page."""

import functools

import torch
from poems import (
    by_tune,
    fixed_tunes,
    form,
    line_ends,
    read_rhymes,
    rhyme,
    rhyming_pairs,
    split_poems,
    usual_form,
)
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
def rules():
    """Return {tune: its forms, the usual one first}, {tune: lines that rhyme}, groups of rhymes."""
    poems = split_poems("\n\n" + (ROOT / "data" / "ci.txt").read_text(encoding="utf-8"))
    groups = read_rhymes((ROOT / "data" / "rhymes.txt").read_text(encoding="utf-8"))
    bodies, forms, pairs = by_tune(poems), {}, {}
    for tune, (accepted, _) in fixed_tunes(poems).items():
        usual = usual_form(bodies[tune])[0]
        forms[tune], pairs[tune] = [usual, *accepted], rhyming_pairs(bodies[tune], groups)
    return forms, pairs, groups


def marks_of(tune, body):
    """Return of each line of a poem [length that the tune has, does it fit, does it rhyme].

    It rhymes if it does with an earlier line that it should rhyme with; None if there is none.
    """
    forms, pairs, groups = rules()
    ends, marks = line_ends(body), []
    for i, length in enumerate(form(body)):
        usual = forms[tune][0][i : i + 1] or (0,)
        fits = any(lengths[i : i + 1] == (length,) for lengths in forms[tune])
        others = [ends[j] for j, k in pairs[tune] if k == i]
        rhymes = any(end != ends[i] and rhyme(end, ends[i], groups) for end in others)
        marks.append([*usual, fits, rhymes if others else None])
    return marks


def rounded(numbers, digits=3):
    """Return a tensor as nested lists of rounded numbers."""
    numbers = numbers.tolist() if hasattr(numbers, "tolist") else numbers
    return [rounded(n, digits) if isinstance(n, list) else round(n, digits) for n in numbers]
