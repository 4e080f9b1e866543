"""Numbers of the figures about attention: what queries and keys make of a poem."""

import functools
import re

import torch
from committed import model_of, rounded, saved, text_of
from steps import ROOT

POEM = "春花秋月何时了，往事知多少。\n小楼昨夜又东风，故国不堪回首月明中"  # 李煜《虞美人》
HANDS = "，。\n春花人不"  # queries and keys that can be chosen
PLANES = 0, 4, 8, 12  # of 16, shown as clocks


@functools.cache
def example():
    """Return the names of v3's page: what its four steps, run one after another, have made."""
    names, page = {"print": lambda *_: None}, (ROOT / "docs" / "en" / "v03.md")
    for code in page.read_text(encoding="utf-8").split("\n```py\n")[1:]:
        exec(code.partition("\n```\n")[0], names)
    return names


def averaging():
    """Before v3: the example of the page, its scores before the mask."""
    names = example()
    scores = names["query"] @ names["key"].T / names["key"].shape[-1] ** 0.5
    return {"chars": list("春江水"), "x": names["x"].tolist(), "scores": scores.tolist()}


def heads_of(name, text):
    """Return of each head of a v4 its queries, keys and values for a text, (T, head_size) each."""
    weights, chars, shape = saved(name)
    x = weights["token_embedding_table.weight"][[chars.index(char) for char in text]]
    x = x + weights["position_embedding_table.weight"][: len(text)]
    return [
        {part: x @ weights[f"sa.heads.{i}.{part}.weight"].T for part in ("query", "key", "value")}
        for i in range(shape["n_head"])
    ]


def one_query():
    """v3: the example of the page; and the two heads of the trained v4 that its page speaks of."""
    names = example()
    first = {part: names[part].tolist() for part in ("query", "key")} | {"value": averaging()["x"]}
    sources = [{"head": None, "chars": list("春江水"), **first}]
    own, before, _ = work_of_heads()
    for i in own["head"], before["head"]:
        head = heads_of("v04", POEM[:8])[i]
        top = max(head["query"].abs().max().item(), head["key"].abs().max().item())
        sizes = {"top": round(top, 3), "top_value": round(head["value"].abs().max().item(), 3)}
        parts = {part: rounded(numbers) for part, numbers in head.items()}
        sources.append({"head": i, "chars": list(POEM[:8]), **sizes, **parts})
    return {"sources": sources}


def weights_of(head):
    """Return the attention weights (T, T) of a head."""
    scores = head["query"] @ head["key"].mT * head["key"].shape[-1] ** -0.5
    return scores.masked_fill(torch.ones_like(scores).triu(1) == 1, -torch.inf).softmax(dim=-1)


@functools.cache
def work_of_heads():
    """Return which head of v4 looks at the character itself most, which at the one before; all.

    The shares are means over the windows of the val loss, without their first positions.
    """
    weights, _, shape = saved("v04")
    x = weights["token_embedding_table.weight"][text_of()[1]]
    x = x + weights["position_embedding_table.weight"]
    shares = []
    for i in range(shape["n_head"]):
        head = {part: x @ weights[f"sa.heads.{i}.{part}.weight"].T for part in ("query", "key")}
        seen = weights_of(head)
        own, before = seen.diagonal(0, 1, 2)[:, 1:].mean(), seen.diagonal(-1, 1, 2).mean()
        shares.append((round(own.item(), 4), round(before.item(), 4)))
    best = [max(range(len(shares)), key=lambda i: shares[i][k]) for k in (0, 1)]
    own, before = ({"head": i, "share": shares[i][k]} for k, i in enumerate(best))
    return own, before, shares


def heads():
    """v4: the weights of its heads over a poem, window by window."""
    parts = [POEM[i : i + 8] for i in range(0, len(POEM) - 7, 8)]
    lines = [
        {
            "text": text,
            "heads": rounded([weights_of(head).tolist() for head in heads_of("v04", text)]),
        }
        for text in parts
    ]
    own, before, _ = work_of_heads()
    return {"lines": lines, "own": own, "before": before}


def all_heads():
    """v10: the weights that docs/images/attention.svg shows, by block and head, and their text."""
    picture = (ROOT / "docs" / "images" / "attention.svg").read_text(encoding="utf-8")
    text = re.search(r">text: (.+?)<", picture)[1]
    blocks = {}
    for part in picture.split('class="name">')[1:]:
        block, _ = re.match(r"blocks\.(\d+)\.sa\.heads\.(\d+)<", part).groups()
        shares = [float(share) / 100 for share in re.findall(r": ([\d.]+)%</title>", part)]
        rows = [shares[i * (i + 1) // 2 :][: i + 1] for i in range(len(text))]
        blocks.setdefault(block, []).append(rounded(rows))
    return {"text": text, "blocks": list(blocks.values())}


def clock():
    """v14: queries and keys of some characters in the first block of the evening's model.

    There they come from the character alone, so that with the distance they are all of the score.
    """
    model, chars = model_of("evening")
    block = model.blocks[0]
    x = model.token_embedding_table.weight[[chars.index(char) for char in HANDS]]
    qkv = block.sa.qkv(block.ln1(x)).view(len(HANDS), 3, block.sa.n_head, -1)
    query, key, _ = qkv.permute(1, 2, 0, 3)
    half = query.shape[-1] // 2
    return {
        "speeds": [1000 ** -(i / half) for i in range(half)],
        "planes": list(PLANES),
        "heads": [str(i) for i in range(block.sa.n_head)],
        "chars": HANDS,
        "query": rounded(query),
        "key": rounded(key),
    }
