"""What is committed: models, the training text, and numbers short enough for a page."""

import functools

import torch
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
    """Return a script and its committed model, such as v09."""
    weights, chars, shape = saved(name)
    script = import_script(find_step(int(name[1:])))
    sizes = {k: v for k, v in shape.items() if k in script.Config.__dataclass_fields__}
    model = script.BabyGPT(script.Config(device="cpu", **sizes), len(chars))
    model.load_state_dict(weights)
    return script, model.eval()


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


def rounded(numbers, digits=3):
    """Return a tensor as nested lists of rounded numbers."""
    numbers = numbers.tolist() if hasattr(numbers, "tolist") else numbers
    return [rounded(n, digits) if isinstance(n, list) else round(n, digits) for n in numbers]
