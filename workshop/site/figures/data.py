"""The numbers of the figures: data() -> {name: what NAME.js is given}, from what is committed.

A function for each figure, by its name; the words that it shows are in figures.toml. Models are in
data/weights and data/babygpt_evening.pt; numbers are rounded, so that a page stays small.
"""

import functools
import json
import math
import re
import statistics
import sys
from collections import Counter
from pathlib import Path

import torch
from torch.nn import functional as F

HERE = Path(__file__).resolve().parent
sys.path[1:1] = [str(HERE.parents[1]), str(HERE.parents[2] / "tools")]

from experiments import SWEEP, SWEPT  # noqa: E402
from poems import AUTHOR  # noqa: E402
from quantities import last  # noqa: E402
from records import Records  # noqa: E402
from steps import ROOT, find_step, import_script, tomllib  # noqa: E402

TRIES = "春花月，\n不人江"  # to begin with, beside what one types
FREQUENT, TEN = 1000, 10  # characters that can be asked for, and how many may follow each
POEM = "春花秋月何时了，往事知多少。\n小楼昨夜又东风，故国不堪回首月明中"  # 李煜《虞美人》
HANDS = "，。\n春花人不"  # queries and keys that can be chosen
PLANES = 0, 4, 8, 12  # of 16, shown as clocks


def listed():
    """Return figures.toml: {name: {page, after, title, caption, words, …}}."""
    return tomllib.loads((HERE / "figures.toml").read_text(encoding="utf-8"))


def data():
    """Return {name: numbers} of every figure."""
    torch.set_grad_enabled(False)
    try:
        return {name: globals()[name]() for name in listed()}
    finally:
        torch.set_grad_enabled(True)


def rounded(numbers, digits=3):
    """Return a tensor as nested lists of rounded numbers."""
    numbers = numbers.tolist() if hasattr(numbers, "tolist") else numbers
    return [rounded(n, digits) if isinstance(n, list) else round(n, digits) for n in numbers]


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


def depth():
    """v6 and v7: spread and gradient after the embedding and each block, of every seed."""
    runs = []
    for version in 6, 7:
        for number, record in enumerate(Records().of(f"v{version}")):
            for when, rows in record["depth"].items():
                run = {"version": version, "seed": record["seed"], "when": when}
                run |= {"first": number == 0, "spread": [row[1] for row in rows]}
                runs.append(run | {"gradient": [row[2] for row in rows]})
    found = {}
    for what in "spread", "gradient":
        powers = [math.log10(v) for run in runs for v in run[what] if v > 0]
        low, high = math.floor(min(powers)), math.ceil(max(powers))
        found[what] = [10.0**low, 10.0**high]
        found[f"{what}_ticks"] = [10.0**power for power in range(low, high + 1)]
    return {"runs": runs, "range": found}


def who_writes():
    """v8: how much each head of each block writes into each number of the stream, in v9's weights.

    before: what v7 would add, each head in its own part. after: what proj makes of the same.
    """
    script, model = model_of("v09")
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


def rates():
    """v9: the last val loss by learning rate and seed; None is a run that was stopped."""
    records = Records()
    by_rate = {float(rate): run for rate, run in SWEEP.items()}
    versions = {name: [] for name in SWEPT}
    for _, run in sorted(by_rate.items()):
        for name, found in versions.items():
            losses = [last(record) for record in records.find(f"{run}.{name}")]
            found.append([round(loss, 4) if loss < math.inf else None for loss in losses])
    guess = math.log(records.of("v9")[0]["vocabulary"])
    losses = [v for found in versions.values() for seeds in found for v in seeds if v and v < guess]
    measured = [i for i in range(len(by_rate)) if any(found[i] for found in versions.values())]
    return {
        "rates": [sorted(by_rate)[i] for i in measured],
        "versions": {name: [found[i] for i in measured] for name, found in versions.items()},
        "guess": round(guess, 4),
        "range": [math.floor(10 * min(losses)) / 10, min(6, math.ceil(10 * max(losses) + 2) / 10)],
    }


def overfitting():
    """v10: the two losses with little text, means over the seeds, by dropout."""
    runs, records = [], Records()
    for dropout, name in ((0, "little_text.v9"), (0.1, "little_text.v10"), (0.4, MORE_DROPOUT)):
        found = records.find(name)
        if not found:
            continue
        curves = list(zip(*(record["curve"] for record in found), strict=True))
        run = {"dropout": dropout, "seeds": len(found), "steps": [p[0]["step"] for p in curves]}
        for kind in "train", "val":
            run[kind] = [round(statistics.mean(p[f"{kind}_loss"] for p in ps), 4) for ps in curves]
        runs.append(run)
    return {"runs": runs, "range": [0, 9]}


MORE_DROPOUT = "exercise_more_dropout.v10"


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


def context():
    """v11: poems of the evening's model by how much it sees, of context_poems.py; its losses."""
    written = json.loads((HERE / "context_poems.json").read_text(encoding="utf-8"))
    (record,) = Records().of("evening")
    return {**written, "losses": record["form"]["contexts"]}


def clock():
    """v14: queries and keys of some characters in the first block of the evening's model.

    There they come from the character alone, so that with the distance they are all of the score.
    """
    weights, chars, shape = saved("evening")
    x = weights["token_embedding_table.weight"][[chars.index(char) for char in HANDS]]
    ln1 = [weights[f"blocks.0.ln1.{part}"] for part in ("weight", "bias")]
    qkv = F.layer_norm(x, x.shape[-1:], *ln1) @ weights["blocks.0.sa.qkv.weight"].T
    if "blocks.0.sa.qkv.bias" in weights:
        qkv = qkv + weights["blocks.0.sa.qkv.bias"]
    query, key, _ = qkv.view(len(HANDS), 3, shape["n_head"], -1).permute(1, 2, 0, 3)
    half = query.shape[-1] // 2
    return {
        "speeds": [1000 ** -(i / half) for i in range(half)],
        "planes": list(PLANES),
        "heads": [str(i) for i in range(shape["n_head"])],
        "chars": HANDS,
        "query": rounded(query),
        "key": rounded(key),
    }


def cache():
    """v15: a poem of the evening's model, and how many heads it has in all."""
    (record,) = Records().of("evening")
    poem = next(poem for poem in record["form"]["poems"] if poem["whole"])
    prompt, (_, _, shape) = f"{poem['tune']} {AUTHOR}\n", saved("evening")
    sizes = {name: shape[name] for name in ("n_head", "n_layer")}
    return {"prompt": prompt, "poem": prompt + poem["body"], **sizes}
