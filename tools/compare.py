"""Compares a learner's version with the reference, and with the wrong turns, edits of it."""

import functools
import inspect
import itertools
import re

import torch
from steps import import_text
from task import edited, read_task

# Sizes of which no two are equal, so that each says what it is
SIZES = {"n_embed": 40, "block_size": 8, "n_head": 4, "n_layer": 2, "dropout": 0.25}
VOCAB = 29
MEANING = {str(size): name for name, size in SIZES.items()} | {str(VOCAB): "vocab_size"}
MEANING |= {"10": "n_embed // n_head", "160": "4 * n_embed", "120": "3 * n_embed"}

IDS = (7 * torch.arange(16) % VOCAB).view(2, 8)
PROBES = (  # what they make of the same weights tells two versions apart
    "len([*model.parameters()])",  # a module used twice counts once
    "model.eval()(ids)[0]",
    "model.train()(ids)[0]",
    "model.eval()(ids, ids.flip(0))[1]",
    "model.eval()(ids[:, :5])[0]",
    "written(model, ids[:, :3])",
    "torch.autograd.grad(model(ids, ids)[1], weights(model), allow_unused=True)",
)


def weights(model):
    """Return the weights in the order of their names: in __init__ they may come in any order."""
    return [p for _, p in sorted(model.named_parameters(remove_duplicate=False))]


def drawn(model):
    """Return a model with random weights, those that start as 0 or 1, too; by name, the same."""
    torch.manual_seed(0)
    with torch.no_grad():
        for p in weights(model):
            p.normal_(std=0.3)
    return model


def new_model(module):
    """Return a model of these sizes with random weights."""
    if not hasattr(module, "BabyGPT"):  # a step on the way to v3
        return torch.nn.Module()
    known = module.Config.__dataclass_fields__
    config = module.Config(device="cpu", **{k: v for k, v in SIZES.items() if k in known})
    return drawn(module.BabyGPT(config, VOCAB))


def attempt(function, *args):
    """Return what a function returns, or else its error as a text; random numbers as always."""
    torch.manual_seed(1)
    try:
        return function(*args)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


# --- names and sizes


def parts(module):
    """Return {name: size} of the weights of a version, and of its dropouts, which have none."""
    model = new_model(module)
    sizes = {name: str(tuple(p.shape)) for name, p in model.state_dict().items()}
    drops = {n: m for n, m in model.named_modules() if isinstance(m, torch.nn.Dropout)}
    sizes |= {name: f"= nn.Dropout({drop.p})" for name, drop in drops.items()}
    return {
        name: re.sub(r"\d+(\.\d+)?", lambda n: MEANING.get(n[0], n[0]), size)
        for name, size in sizes.items()
    }


def names(task, module):
    """Return what of the reference's names and sizes this file lacks, as [(kind, text)]."""
    reference, lacks = import_text(task["reference"], "reference"), []
    for name, thing in vars(reference).items():
        if getattr(thing, "__module__", "") != "reference":
            continue  # imported
        if not hasattr(module, name):
            lacks.append(("missing", name))
        elif name == "Config":
            known = module.Config.__dataclass_fields__
            lacks += [("flag", flag) for flag in thing.__dataclass_fields__ if flag not in known]
        else:
            ours, theirs = map(inspect.signature, (getattr(module, name), thing))
            try:
                ours.bind(*theirs.parameters)
            except TypeError:
                lacks.append(("called", f"{name}{ours} → {name}{theirs}"))
    ours, theirs = parts(module), parts(reference)
    extra = sorted(n for n in ours if n not in theirs)
    for new in sorted(n for n in theirs if n not in ours):  # k, q, v are key, query, value
        if old := next((n for n in extra if ours[n] == theirs[new]), None):
            extra.remove(old)
        lacks.append(("renamed", f"{old} → {new}") if old else ("missing", f"{new} {theirs[new]}"))
    lacks += [("extra", f"{n} {ours[n]}") for n in extra]
    both = [n for n in theirs if n in ours]
    lacks += [("size", f"{n} {ours[n]} → {theirs[n]}") for n in both if ours[n] != theirs[n]]
    # Of several blocks or heads the first will do
    return [x for x in lacks if not re.search(r"(blocks|heads)\.[1-9]", x[1])]


# --- wrong turns


def written(model, ids):
    """Return a sample, and for each of its characters the last logits and how many were read."""
    seen = []
    model.lm_head.register_forward_hook(lambda _, args, out: seen.append(out.detach()))
    out = model.eval().generate(ids, 8)
    return [out, *((logits[:, -1], logits.shape[1]) for logits in seen)]


def behaviour(task, module):
    """Yield what a version does: the weights are the same where names and sizes are."""
    model = attempt(new_model, module)
    if isinstance(model, str):
        yield model
        return
    known = {**vars(module), "torch": torch, "model": model, "ids": IDS, "written": written}
    known |= {"weights": weights, "drawn": drawn}
    for probe in [*task.get("probes", []), *(PROBES if hasattr(module, "BabyGPT") else [])]:
        yield attempt(eval, probe, known)


def same(a, b):
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        close = a.shape == b.shape and a.dtype == b.dtype
        return close and torch.allclose(a, b, rtol=1e-3, atol=1e-4, equal_nan=True)
    return a == b


@functools.cache
def variant_of(name, numbers):
    """Return a task's reference with these wrong turns, and its parts; None if they do not mix."""
    task = read_task(name)
    try:
        text = task["reference"]
        for turn in map(task["wrong"].__getitem__, numbers):
            text = edited(text, turn["edits"])
        variant = import_text(text, "variant")
        return variant, attempt(parts, variant)
    except Exception:
        return None, None


def wrong_turns(task, module, most=3):
    """Return the numbers of the wrong turns, at most so many, that do what this file does.

    Three together are tried where names or sizes differ, which leaves few to try.
    """
    ours, sizes = [*behaviour(task, module)], attempt(parts, module)
    right, numbers = variant_of(task["name"], ())[1], range(len(task["wrong"]))
    resizing = {n for n in numbers if variant_of(task["name"], (n,))[1] != right}
    for chosen in itertools.chain(*(itertools.combinations(numbers, n + 1) for n in range(most))):
        if (sizes == right) is bool(resizing.intersection(chosen)) or sizes == right and chosen[2:]:
            continue
        variant, same_sizes = variant_of(task["name"], chosen)
        if variant and sizes == same_sizes:
            if all(map(same, ours, behaviour(task, variant))):
                return list(chosen)
    return []
