"""Numbers of the figures about single characters: what follows one, who writes of it where."""

from collections import Counter

import torch
from committed import model_of, rounded, saved, text_of

TRIES = "春花月，\n不人江"  # to begin with, beside what one types
FREQUENT, TEN = 1000, 10  # characters that can be asked for, and how many may follow each
UNITS = (
    (153, "无名"),
    (251, "\n\n"),
    (396, "\n水"),
    (278, "相思"),
)  # that say "and", as a search found
DOTS, PLACES = 40, 6  # of each case, the first ones in the text


def next_character():
    """v1: what follows a character, by counting and by the model."""
    text, _ = text_of()
    weights, chars, _ = saved("v01")
    follow = {char: Counter() for char, _ in Counter(text).most_common(FREQUENT)}
    for (a, b), count in Counter(zip(text, text[1:], strict=False)).items():
        if a in follow:
            follow[a][b] = count
    rows = [chars.index(char) for char in follow]
    x = weights["token_embedding_table.weight"][rows]
    logits = x @ weights["lm_head.weight"].T + weights["lm_head.bias"]
    found = {}
    for (char, after), (probs, ids) in zip(
        follow.items(), zip(*logits.softmax(dim=-1).topk(TEN), strict=True), strict=True
    ):
        ten = after.most_common(TEN)
        counted, counts = "".join(b for b, _ in ten), [count for _, count in ten]
        guessed = "".join(chars[i] for i in ids)
        found[char] = [after.total(), counted, counts, guessed, rounded(probs, 4)]
    return {"tries": list(TRIES), "chars": found}


def who_writes():
    """v8: how much each head of each block writes into each number of the stream, in v9's weights.

    before: what v7 would add, each head in its own part. after: what proj makes of the same.
    """
    model, _ = model_of("v09")
    seen, watched = {}, [(b, h) for b, block in enumerate(model.blocks) for h in block.sa.heads]

    def watch(head):
        return head.register_forward_hook(lambda _, __, output: seen.update({head: output}))

    hooks = [watch(head) for _, head in watched]
    model(text_of()[1][::4])  # a quarter of them is enough for a mean
    for hook in hooks:
        hook.remove()
    blocks = []
    for block in model.blocks:
        found = {"before": [], "after": []}
        size = block.sa.proj.in_features // len(block.sa.heads)
        for i, head in enumerate(block.sa.heads):
            part = slice(i * size, (i + 1) * size)
            alone = torch.zeros(*seen[head].shape[:2], block.sa.proj.in_features)
            alone[..., part] = seen[head]
            for name, written in (("before", alone), ("after", alone @ block.sa.proj.weight.T)):
                found[name].append(rounded(written.square().mean(dim=(0, 1)).sqrt()))
        blocks.append(found)
    return {"blocks": blocks}


def hidden_unit():
    """v5: units of v9's last block that stand for two neighbours, and for neither of them alone.

    Sums are those before the ReLU, at each place of the windows that has a character before it.
    """
    (model, chars), windows = model_of("v09"), text_of()[1]
    before, here = windows[:, :-1].flatten(), windows[:, 1:].flatten()
    *blocks, last = model.blocks
    x = model.token_embedding_table(windows) + model.position_embedding_table.weight
    for block in blocks:
        x = block(x)
    x = (x + last.sa(last.ln1(x)))[:, 1:].flatten(0, 1)
    into, relu, out = last.ffwd.net
    sums = into(last.ln2(x))
    units = []
    for unit, pair in UNITS:
        a, b = before == chars.index(pair[0]), here == chars.index(pair[1])
        cases = []
        for is_a, is_b in ((False, False), (True, False), (False, True), (True, True)):
            at = ((a == is_a) & (b == is_b)).nonzero()[:, 0]
            found, texts = sums[at, unit], [text_at(windows, i.item(), chars) for i in at[:PLACES]]
            case = {"fires": (found > 0).float().mean(), "sum": found.mean()}
            case |= {"passed": found.relu().mean()}
            case = {name: round(number.item(), 4) for name, number in case.items()}
            case |= {"n": len(at), "sums": rounded(found[:DOTS], 2), "texts": texts}
            cases.append(case)
        passed, probs = relu(sums[at]), []  # of the last case, which is both
        for is_on in (1, 0):
            passed[:, unit] *= is_on
            logits = model.lm_head(model.ln_final(x[at] + out(passed)))
            probs.append(logits.softmax(dim=-1).mean(dim=0))
        best = probs[0].argmax().item()
        then = [chars[best], *(round(p[best].item(), 4) for p in probs)]
        units.append({"unit": unit, "pair": pair, "cases": cases, "next": then})
    return {"units": units}


def text_at(windows, i, chars):
    """Return the text of a window up to the place of this number, its first one not counted."""
    row, place = divmod(i, windows.shape[1] - 1)
    return "".join(chars[j] for j in windows[row, : place + 2])
