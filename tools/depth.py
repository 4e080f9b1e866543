"""What becomes of the signal on its way through the blocks, for a batch of the text."""

import contextlib

import torch


def batch_of(script, config, ids):
    """Return x and y of windows from all over the text, the same every time."""
    starts = torch.arange(config.batch_size) * 997 % (len(ids) - config.block_size)
    return script.get_batch(ids, starts.to(ids.device), config)


def signal(script, model, config, ids):
    """Return [name, spread, gradient] of the embedding and of each block.

    spread: standard deviation over the positions of a window, mean over all numbers of the vectors
    gradient: root mean square of the gradient of the loss with respect to these vectors
    """
    found = []

    def watch(name, module):
        def after(module, inputs, output):
            output.retain_grad()
            found.append((name, output))

        stack.callback(module.register_forward_hook(after).remove)

    x, y = batch_of(script, config, ids)
    model.eval()
    with contextlib.ExitStack() as stack:
        watch("embedding", model.token_embedding_table)
        last = getattr(model, "ffwd", getattr(model, "sa", None))  # ends what is a block from v6 on
        for i, block in enumerate(getattr(model, "blocks", [last] if last else [])):
            watch(f"block {i + 1}", block)
        model(x, y)[1].backward()
    model.zero_grad()
    rows = []
    for name, x in found:
        gradient = torch.zeros(1) if x.grad is None else x.grad  # None: the loss does not use it
        numbers = x.std(dim=1).mean(), gradient.square().mean().sqrt()
        rows.append((name, *(float(f"{n:.3g}") for n in numbers)))
    return rows


@torch.no_grad()
def dead(script, model, config, ids):
    """Return for each block which part of its ReLU units are dead: 0 at every position."""
    found = []

    def after(module, inputs, output):  # (B, T, units)
        found.append(round((output == 0).all(dim=0).all(dim=0).float().mean().item(), 4))

    model.eval()
    with contextlib.ExitStack() as stack:
        for module in model.modules():
            if isinstance(module, torch.nn.ReLU):
                stack.callback(module.register_forward_hook(after).remove)
        model(batch_of(script, config, ids)[0])
    return found
