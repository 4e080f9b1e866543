"""BabyGPT v19: learning from a reward.

Same as v18, except that it learns from a reward, and starts with a model that has learned from
text. At a place of a poem it draws a group of characters; a function says what each of them would
earn; those above the mean of their group become likelier. A leash holds the model to the start.

Why: text shows what is likely, not what is wanted. What a program can check need not be shown:
here the lengths of the lines, and that those rhyme which rhyme in real poems.

Run:    python beyond/babygpt_v19_reward.py
Sample: add --sample data/babygpt_rhyme.pt --prompts "浣溪沙 苏轼"
"""

import copy
import math
import os
import random
import re
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

import torch
import torch.nn as nn
import tyro
import wandb
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch.distributions import Categorical, kl_divergence
from torch.nn import functional as F
from torch.optim.lr_scheduler import OneCycleLR
from tqdm import tqdm


@dataclass(config={"allow_inf_nan": False})
class Config:
    """The settings of a run: pydantic checks them, tyro makes flags of them (--batch_size 32)."""

    data_path: Path = Path("data/ci.txt")  # UTF-8 text to learn from
    train_ratio: PositiveFloat = 0.9  # part to train on, below 1; the rest, val, is to test on
    prompts: tuple[str, ...] = ("春江", "往事")  # texts to continue
    max_new_tokens: NonNegativeInt = 100  # characters to add to each prompt
    temperature: NonNegativeFloat = 1.0  # below 1: the likely become likelier; 0: the likeliest
    top_k: NonNegativeInt = 0  # draw from so many of the likeliest characters; 0: from all
    stop: str = "\n\n"  # a sample ends here, at the blank line after a poem; empty: it goes on
    device: Literal["cpu", "cuda", "mps"] = "cuda" if torch.cuda.is_available() else "cpu"  # where
    seed: NonNegativeInt = 1337  # same seed, same machine: same run
    start: Path = Path(__file__).parents[1] / "data/babygpt_evening.pt"  # model to start with
    group: PositiveInt = 256  # characters drawn at a place: G in the shapes below
    leash: NonNegativeFloat = 0.5  # weight of the divergence from the model at the start
    max_iters: NonNegativeInt = 1000  # training steps
    eval_interval: PositiveInt = 100  # steps from one evaluation to the next
    eval_iters: PositiveInt = 5  # batches of train and of val in an evaluation
    batch_size: PositiveInt = 64  # poems in a batch: B in the shapes below
    learning_rate: PositiveFloat = 2e-3  # about how far a step moves a parameter, at the peak
    block_size: PositiveInt = 256  # characters in a window, the longest context (from v3 on): T
    n_embed: PositiveInt = 384  # embedding size, numbers in the vector of a character: C
    n_head: PositiveInt = 6  # attention heads, which share n_embed evenly
    n_layer: PositiveInt = 6  # blocks, one after the other
    dropout: float = 0.2  # part of the values zeroed in training, from 0 to below 1
    wandb_mode: str = os.getenv("WANDB_MODE") or "offline"  # in ./wandb; or online, or disabled
    checkpoint_path: str = time.strftime(f"{Path(__file__).stem}_%Y%m%d_%H%M%S.pt")  # best model
    sample: str = ""  # checkpoint to sample from, with the shape it has, instead of training


class Tokenizer:
    """Turns text into ids, numbers of the distinct characters (the vocabulary), and back."""

    def __init__(self, text):
        self.chars = sorted(set(text))
        self.ids = {char: i for i, char in enumerate(self.chars)}

    def encode(self, text):
        """Return the list of ids. Raises KeyError for a character outside the vocabulary."""
        return [self.ids[char] for char in text]

    def decode(self, ids):
        """Return the text of a list of ids."""
        return "".join(self.chars[i] for i in ids)


def load_data(config):
    """Return the tokenizer of the text, and its ids as {"train": (N,), "val": (M,)}."""
    paths = [folder / config.data_path for folder in (Path(), *Path(__file__).parents)]
    try:  # from here, or from the folder of this script, or from one above it; -sig: skips a BOM
        text = next(filter(Path.is_file, paths), paths[0]).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        sys.exit(f"error: --data_path {config.data_path}: no UTF-8 text to read: {error}")
    tokenizer = Tokenizer(text)
    ids = torch.tensor(tokenizer.encode(text), device=config.device)  # (N + M,)
    n = int(config.train_ratio * len(ids))
    if min(n, len(ids) - n) <= config.block_size:
        sys.exit(f"error: {config.data_path}: too short for this --block_size and --train_ratio")
    if unknown := {c for prompt in config.prompts for c in prompt or [""]} - {*tokenizer.chars}:
        sys.exit(f"error: --prompts: empty, or not in the text: {sorted(unknown)}")
    return tokenizer, {"train": ids[:n], "val": ids[n:]}


class Form:
    """What poems to a tune share: the lengths of their lines, and pairs of lines that rhyme."""

    ENDS = "，。、？！\n"  # what ends a line of verse

    def __init__(self, lengths, poems, groups):
        self.lengths, self.groups = lengths, groups
        pairs = [(i, j) for j in range(len(lengths)) for i in range(j)]
        ends = [[line.strip(Form.ENDS)[-1] for line in lines] for _, lines in poems]
        often = {(i, j): sum(self.rhyme(e[i], e[j]) for e in ends) for i, j in pairs}
        self.pairs = [pair for pair in pairs if often[pair] >= 0.7 * len(poems)]

    def rhyme(self, a, b):
        """Return whether two characters rhyme and are not the same."""
        return a != b and not self.groups.get(a, set()).isdisjoint(self.groups.get(b, ()))

    def clear(self, char):
        """Return whether a character has groups and no choice of them: one of a tone at most."""
        found = self.groups.get(char, ())
        return len(found) == len({level for _, level in found}) > 0

    def due(self, before, after=""):
        """Return what a character between these is to rhyme with, the ends of other lines."""
        *done, line = re.split(f"[{Form.ENDS}]+", before)  # the whole lines, and the one begun
        if self.lengths[len(done) : len(done) + 1] != (len(line) + 1,):
            return []  # it is not the last one of a line
        lines = [*done, line, *re.split(f"[{Form.ENDS}]+", after)[1:-1]]  # and the whole later ones
        pairs = [pair for pair in self.pairs if len(done) in pair and max(pair) < len(lines)]
        ends = [lines[i + j - len(done)][-1:] for i, j in pairs]  # i + j less this one: the other
        return [end for end in ends if self.clear(end)]


def load_poems(tokenizer, data, config):
    """Return the poems of the usual form of a tune, {"train": [(form, title, lines)], "val": …}."""
    groups, forms, poems = {}, {}, {name: [] for name in data}
    rhymes = (Path(__file__).parents[1] / "data/rhymes.txt").read_text(encoding="utf-8")
    for part, tone, chars in re.findall(r"(\S+) (\S) (\S+)", rhymes):
        for char in chars:  # level ones rhyme among themselves, and so do the others
            groups.setdefault(char, set()).add((part, tone == "平"))
    for name, ids in data.items():
        found = {}
        text = tokenizer.decode(ids.tolist())
        for tune, author, body in re.findall(r"\n(\S+)( .*\n)((?:.+\n)+)(?=\n)", text):
            # Each line with the marks that end it
            lines = re.findall(f"[^{Form.ENDS}]+[{Form.ENDS}]+", f"{body}\n")
            lengths = tuple(len(line.strip(Form.ENDS)) for line in lines)
            found.setdefault((tune, lengths), []).append((f"\n{tune}{author}", lines))
        for (tune, lengths), some in sorted(found.items(), key=lambda item: -len(item[1])):
            if name == "train" and len(some) >= 30 and sum(lengths) < config.block_size / 2:
                forms.setdefault(tune, Form(lengths, some, groups))
            if tune in forms and forms[tune].lengths == lengths and forms[tune].pairs:
                poems[name] += [(forms[tune], *poem) for poem in some]
    return poems


def reward(form, before, char, after=""):
    """Return what a character earns, from -1 to 1, between these parts of the body of a poem."""
    *done, line = re.split(f"[{Form.ENDS}]+", before)
    length = form.lengths[len(done)] if len(done) < len(form.lengths) else 0
    if before[-1:] in {*"。？！"}:  # a new row follows, whatever the poem
        return 0
    if char in Form.ENDS or len(line) >= length:  # it should be both, or neither
        return 0 if char in Form.ENDS and len(line) == length else -1
    if char in before:  # repeated
        return -0.1
    ends = form.due(before, after) if form.clear(char) else []
    return sum(form.rhyme(end, char) for end in ends) / max(1, len(ends))


def borrow(form, body, poems, dice):
    """Return the body of a poem with the line ends of another one of its form."""
    *_, lines = dice.choice([poem for poem in poems if poem[0] is form])
    ends = iter([line.strip(Form.ENDS)[-1] for line in lines])
    return re.sub(f"[^{Form.ENDS}](?=[{Form.ENDS}])", lambda _: next(ends), body)


def write(model, tokenizer, poems, lines, n, dice):
    """Return ids (n, T) of n poems, and what they are, [(form, title, body)].

    They go on from so many lines of some of these; or are whole, with line ends borrowed.
    """
    begun = [(form, title, "".join(given[:lines])) for form, title, given in poems]
    length = len("".join(dice.choice(begun)[1:]))
    begun = dice.choices([b for b in begun if len(b[1] + b[2]) == length], k=n)
    if lines is None:
        begun = [(form, title, borrow(form, body, poems, dice)) for form, title, body in begun]
    ids = torch.tensor([tokenizer.encode(title + given) for _, title, given in begun])
    left = [sum(f.lengths) + 2 * len(f.lengths) + 1 - len(given) for f, _, given in begun]
    model.eval()  # no dropout, not in learning either: it would be the gradient of another model
    ids = model.generate(ids.to(model.lm_head.weight.device), max(0, *left))
    written = []
    for (form, title, _), row in zip(begun, ids.tolist(), strict=True):
        body, end, _ = tokenizer.decode(row)[len(title) :].partition("\n\n")
        written.append((form, title, body + end))
    return ids, written


def next_at(model, ids, places):
    """Return the distributions of what comes after N places (row, column, …) of ids (B, T)."""
    rows, columns = ([place[i] for place in places] for i in (0, 1))
    x = model.token_embedding_table(ids)  # (B, T, C)
    for block in model.blocks:
        x = block(x)
    x = model.ln_final(x[rows, columns])  # (N, C): lm_head, the largest product, for these alone
    return Categorical(logits=model.lm_head(x))  # whose logits are log(p): (N, vocab_size)


def policy_loss(model, start, tokenizer, poems, lines, x, dice, config):
    """Return the loss of poems, those of write(), and of text x (B, T); and their divergence."""
    ids, written = write(model, tokenizer, poems, lines, config.batch_size, dice)
    places = []  # where something must rhyme, and a tenth of the others
    for i, (form, title, body) in enumerate(written):
        for t in range(len(body)):
            after = body[t + 1 :] if lines is not None else ""  # later borrowed ends are unknown
            due = form.due(body[:t], after) != []
            if due or dice.random() < 0.1:  # the model says at t - 1 what comes at t
                places.append((i, len(title) + t - 1, form, body[:t], after, due))
    now, then = (next_at(m, ids, places) for m in (model, start))
    drawn, earned = now.sample([config.group]).T, []  # (N, G)
    for (*_, form, before, after, _), group in zip(places, drawn.tolist(), strict=True):
        worth = {i: reward(form, before, tokenizer.chars[i], after) for i in {*group}}
        earned.append([worth[i] for i in group])
    earned = torch.tensor(earned, dtype=torch.float, device=ids.device)  # (N, G)
    spread = earned.std(dim=-1, correction=0, keepdim=True)  # (N, 1)
    advantage = (earned - earned.mean(dim=-1, keepdim=True)) / (spread + 0.05)
    gain = (advantage * now.logits.gather(-1, drawn)).mean(dim=-1)  # (N,), log p of those drawn
    due = torch.tensor([due for *_, due in places], device=ids.device)  # (N,)
    weight = torch.where(due, 1 / due.sum(), 1 / (~due).sum())  # (N,), of either sort 1 in all
    held = torch.where(due, 0.2, 1.0)  # (N,), less at the rhymes: they are to change
    divergence = (weight * held * kl_divergence(now, then)).sum()
    now, then = (Categorical(logits=m(x)[0]) for m in (model, start))
    divergence = divergence + kl_divergence(then, now).mean()  # of the poets' text
    return config.leash * divergence - (weight * gain).sum(), divergence.item()


@torch.no_grad()
def evaluate(model, tokenizer, poems, config):
    """Return what poems that begin like held-out ones are, as {name: mean}, and one of them."""
    dice, found, names = random.Random(config.seed), [], ("reward", "whole", "rhyme", "distinct")
    for lines in (2, 1, 0, 0):
        _, written = write(model, tokenizer, poems, lines, 24, dice)
        for form, _, body in written:
            *done, _ = re.split(f"[{Form.ENDS}]+", body)
            ends, chars = [line[-1:] for line in done], "".join(done)
            earned = sum(reward(form, body[:t], body[t]) for t in range(len(body)))
            whole = (*map(len, done),) == form.lengths and body.endswith("\n\n")
            rhymes = [j < len(ends) and form.rhyme(ends[i], ends[j]) for i, j in form.pairs]
            distinct = len({*chars}) / max(1, len(chars))
            found.append([earned, whole, sum(rhymes) / len(rhymes), distinct])
    means = torch.tensor(found).mean(dim=0).tolist()
    return dict(zip(names, means, strict=True)), "".join(written[0][1:]).strip()


def get_batch(ids, starts, config):
    """Return the windows of ids (N,) that begin at starts (B,): inputs x and targets y (B, T)."""
    windows = ids.unfold(0, config.block_size + 1, 1)[starts]  # of all windows, these: (B, T + 1)
    return windows[:, :-1], windows[:, 1:]  # each target is the character after its input


def rotate(x, start):
    """Turn the vectors x (..., T, head_size) by their positions, start to start + T - 1."""
    # Number i of the first half and number i of the second: a point (a, b) in plane i. From one
    # position to the next, plane 0 turns by 1 radian (57 degrees), the last hundreds of times less
    T, half = x.shape[-2], x.shape[-1] // 2
    speeds = 1000 ** -(torch.arange(half, device=x.device) / half)  # (half,)
    angles = torch.arange(start, start + T, device=x.device)[:, None] * speeds  # (T, half)
    a, b = x.chunk(2, dim=-1)  # each (..., T, half)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)  # the points (a, b), turned


class Cache:
    """Keeps the keys and values of one block for the positions so far."""

    length = 0

    def add(self, key, value):
        """Keep these (B, n_head, T, head_size) too; return all, (B, n_head, length, head_size)."""
        if self.length:
            key = torch.cat([self.key, key], dim=-2)
            value = torch.cat([self.value, value], dim=-2)
        self.key, self.value, self.length = key, value, key.shape[-2]
        return key, value


class MultiHeadAttention(nn.Module):
    """Several heads side by side: each can look for something else."""

    def __init__(self, config):
        super().__init__()
        self.n_head = config.n_head
        self.qkv = nn.Linear(config.n_embed, 3 * config.n_embed, bias=False)  # of all heads
        self.proj = nn.Linear(config.n_embed, config.n_embed)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x, cache=None):
        """Return (B, T, C) for x (B, T, C), made of the heads' outputs; x goes on from a Cache."""
        B, T, C = x.shape
        qkv = self.qkv(x).view(B, T, 3, self.n_head, C // self.n_head)  # cuts up the 3 * C numbers
        qkv = qkv.permute(2, 0, 3, 1, 4)  # 3 in front: each (B, n_head, T, head_size)
        start = cache.length if cache else 0
        query, key = rotate(qkv[:2], start)  # but not value: position decides who is looked at
        value = qkv[2]
        mask = None
        if cache:
            key, value = cache.add(key, value)
            # The query in row i is at position start + i, and looks at the keys up to there
            mask = torch.ones(T, start + T, dtype=torch.bool, device=x.device).tril(start)
        # The function below does all that Head did. Unlike nn.Dropout, it drops after eval(), too
        dropout = self.dropout.p if self.training else 0.0  # train() and eval() set self.training
        x = F.scaled_dot_product_attention(query, key, value, mask, dropout, is_causal=not cache)
        x = x.transpose(1, 2).reshape(B, T, C)  # T before the heads again, these side by side
        return self.dropout(self.proj(x))  # (B, T, C)


class FeedForward(nn.Module):
    """Two linear layers with a ReLU between, for each position on its own."""

    def __init__(self, config):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(config.n_embed, 4 * config.n_embed),
            nn.ReLU(),
            nn.Linear(4 * config.n_embed, config.n_embed),
            nn.Dropout(config.dropout),
        )

    def forward(self, x):
        """Return (B, T, C) for x (B, T, C), by way of (B, T, 4 * C)."""
        return self.net(x)


class Block(nn.Module):
    """One layer: attention gathers from other positions, feed-forward works on each by itself."""

    def __init__(self, config):
        super().__init__()
        self.ln1 = nn.LayerNorm(config.n_embed)
        self.sa = MultiHeadAttention(config)
        self.ln2 = nn.LayerNorm(config.n_embed)
        self.ffwd = FeedForward(config)

    def forward(self, x, cache=None):
        """Return (B, T, C) for x (B, T, C)."""
        x = x + self.sa(self.ln1(x), cache)
        x = x + self.ffwd(self.ln2(x))
        return x


class BabyGPT(nn.Module):
    """Predicts for each character of a text which one comes next."""

    def __init__(self, config, vocab_size):
        super().__init__()
        self.block_size = config.block_size
        self.token_embedding_table = nn.Embedding(vocab_size, config.n_embed)
        self.blocks = nn.ModuleList([Block(config) for _ in range(config.n_layer)])
        self.ln_final = nn.LayerNorm(config.n_embed)
        self.lm_head = nn.Linear(config.n_embed, vocab_size)  # lm: language model

    def forward(self, ids, targets=None, caches=None):
        """Return logits (B, T, vocab_size) for ids (B, T), and the mean loss against targets."""
        x = self.token_embedding_table(ids)  # (B, T, C)
        for block, cache in zip(self.blocks, caches or [None] * len(self.blocks), strict=True):
            x = block(x, cache)  # (B, T, C)
        x = self.ln_final(x)  # (B, T, C)
        logits = self.lm_head(x)  # (B, T, vocab_size), a score for each possible next character
        # Softmax turns scores into probabilities p; the loss is the mean of -log(p of what comes)
        loss = None if targets is None else F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        return logits, loss

    @torch.no_grad()  # no gradients: they are for training only, and take time and memory
    def stream(self, ids, max_new_tokens, temperature=1.0, top_k=0):
        """Yield ids (B, T), of any length T, again and again, a sampled character longer each."""
        caches = None
        for _ in range(max_new_tokens):
            new = ids[:, -1:]  # (B, 1), all that the caches lack
            # The model was trained on distances below block_size: keep the last characters only.
            # When the window slides, start again: from the second block on, keys and values were
            # made from mixes that still hold the characters that left
            if caches is None or ids.shape[1] > self.block_size:
                caches, new = [Cache() for _ in self.blocks], ids[:, -self.block_size :]
            logits, _ = self(new, caches=caches)  # (B, length of new, vocab_size)
            if top_k:  # all below the k-th largest get probability 0
                least = logits.topk(min(top_k, logits.shape[-1])).values[..., -1:]
                logits = logits.masked_fill(logits < least, -math.inf)
            probs = F.softmax(logits[:, -1] / max(temperature, 1e-6), dim=-1)  # (B, vocab_size)
            next_id = torch.multinomial(probs, num_samples=1)  # (B, 1), drawn by probability
            ids = torch.cat([ids, next_id], dim=1)  # (B, T + 1)
            yield ids

    def generate(self, ids, max_new_tokens, temperature=1.0, top_k=0):
        """Return the last of these: (B, T + max_new_tokens)."""
        return [ids, *self.stream(ids, max_new_tokens, temperature, top_k)][-1]


@torch.no_grad()
def estimate_loss(model, data, config):
    """Return the losses of train and val, each a mean over the same evenly spaced windows."""
    model.eval()  # turns off what acts in training only, such as dropout (v10)
    losses = []
    for ids in data.values():
        n = config.eval_iters * config.batch_size
        starts = torch.arange(n, device=ids.device) * (len(ids) - config.block_size) // n  # (n,)
        batches = [get_batch(ids, part, config) for part in starts.split(config.batch_size)]
        losses.append(sum(model(x, y)[1].item() for x, y in batches) / config.eval_iters)
    model.train()
    return losses


def save_checkpoint(model, tokenizer, config, val_loss):
    """Write the model to checkpoint_path: whole or not at all, whenever the script is killed."""
    shape = {name: getattr(config, name) for name in ("block_size", "n_embed", "n_head", "n_layer")}
    saved = {"shape": shape, "chars": tokenizer.chars, "model": model.state_dict()}
    path = Path(f"{config.checkpoint_path}.tmp")
    try:
        torch.save({**saved, "val_loss": val_loss}, path)
        path.replace(config.checkpoint_path)
    except (OSError, RuntimeError) as error:
        path.unlink(missing_ok=True)
        sys.exit(f"error: --checkpoint_path {config.checkpoint_path}: is the disk full? {error}")


def load_checkpoint(path, config):
    """Return the model saved at path, with the shape it has there, and its tokenizer."""
    try:
        saved = torch.load(path, map_location=config.device, weights_only=True)  # refuses code
        tokenizer = Tokenizer(saved["chars"])
        model = BabyGPT(replace(config, **saved["shape"]), len(tokenizer.chars))
        model.load_state_dict(saved["model"])
        print(f"model: {path}, val loss {saved['val_loss']:.4f}, {saved['shape']}")
    except Exception as error:  # which one depends on what the file is
        sys.exit(f"error: model {path}: missing, broken, or of another version: {error!r:.200}")
    if unknown := {c for prompt in config.prompts for c in prompt or [""]} - {*tokenizer.chars}:
        sys.exit(f"error: --prompts: empty, or unknown to {path}: {sorted(unknown)}")
    return model.to(config.device), tokenizer


def train(model, data, config, tokenizer, poems):
    """Take max_iters steps, on record, keeping the best model. Ctrl-C ends the training early."""
    try:
        open(config.checkpoint_path, "x").close()  # takes the name; "x": if nobody has it
    except OSError as error:
        sys.exit(f"error: --checkpoint_path {config.checkpoint_path}: {error.strerror}")
    try:
        if config.wandb_mode == "online" and not wandb.login(prompt=False):
            raise wandb.Error("needs `wandb login` first")
        options = {"mode": config.wandb_mode, "config": asdict(config)}
        run = wandb.init(project="babygpt", reinit="finish_previous", **options)
    except Exception as error:  # of many kinds
        os.remove(config.checkpoint_path)
        sys.exit(f"error: --wandb_mode {config.wandb_mode} (or WANDB_MODE): {error}")
    save_checkpoint(model, tokenizer, config, math.inf)  # is there room? Now, not after training
    best, far, dice = -math.inf, [], random.Random(config.seed)
    start = copy.deepcopy(model).eval().requires_grad_(False)
    # AdamW moves each parameter a little against its gradient, so that the loss falls. The schedule
    # says how far: small steps first, large ones at the peak, ever finer ones towards the end
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate)
    last = config.max_iters  # the step before which training ends; Ctrl-C brings it forward
    schedule = OneCycleLR(  # rises fast
        optimizer, config.learning_rate, last + 1, pct_start=0.06, cycle_momentum=False
    )
    for step in tqdm(range(last + 1), "Ctrl-C stops", leave=False, disable=None):  # terminals only
        try:
            if step % config.eval_interval == 0 or step == last:
                shown, poem = evaluate(model, tokenizer, poems["val"], config)
                shown |= {"divergence": sum(far) / max(1, len(far))}
                _, shown["val_loss"] = estimate_loss(model, data, config)
                numbers = ", ".join(f"{name} {value:.3f}" for name, value in shown.items())
                tqdm.write(f"step {step:5d}: {numbers}\n{poem}\n")
                if not math.isfinite(shown["val_loss"]):
                    sys.exit(f"error: --learning_rate {config.learning_rate}: loss not finite")
                if (score := shown["reward"] - config.leash * shown["divergence"]) > best:
                    save_checkpoint(model, tokenizer, config, shown["val_loss"])
                    best = score
                try:
                    run.log(shown, step=step)
                except ConnectionError as error:  # its process has died
                    tqdm.write(f"not tracked: {error}")
                far = []
            if step >= last:
                break
            starts = torch.randint(len(data["train"]) - config.block_size, (config.batch_size,))
            x, y = get_batch(data["train"], starts, config)  # starts at random: (B, T), (B, T)
            # Real poems alone, to find out what rhymes; then its own, too, from title or first line
            lines = None if step < 0.6 * config.max_iters else dice.choice((None, 0, 1))
            loss, divergence = policy_loss(
                model, start, tokenizer, poems["train"], lines, x[:4], dice, config
            )
            far.append(divergence)
            optimizer.zero_grad()  # else backward() would add to the gradients of before
            loss.backward()  # gradients: how the loss changes with each parameter
            optimizer.step()
            schedule.step()
        except KeyboardInterrupt:
            last = min(last, step + 1)  # evaluate once more; a second Ctrl-C asks for no other


def sample(model, tokenizer, config):
    """Print each prompt with its continuation."""
    model.eval()
    torch.manual_seed(config.seed)  # the samples depend on the model, not on what ran before
    for prompt in config.prompts:
        ids = torch.tensor([tokenizer.encode(prompt)], device=config.device)  # (1, T)
        print(f"\n{prompt}", end="", flush=True)  # flush: now, not when the line is full
        for longer in model.stream(ids, config.max_new_tokens, config.temperature, config.top_k):
            text = tokenizer.decode(longer[0].tolist())
            if config.stop and text.endswith(config.stop):
                break
            print(text[-1], end="", flush=True)
        print()


def main(argv=None):
    """Train on the text, then continue the prompts. Return the model, its tokenizer and config."""
    config = tyro.cli(Config, args=argv, use_underscores=True)  # None: from the command line
    if not getattr(torch, config.device).is_available():  # as torch.cuda.is_available()
        sys.exit(f"error: --device {config.device}: not available on this machine")
    if config.n_embed % (2 * config.n_head):  # the numbers of a head are taken in pairs
        sys.exit(f"error: --n_embed {config.n_embed}: no multiple of 2 * --n_head {config.n_head}")
    if not 0 <= config.dropout < 1:
        sys.exit(f"error: --dropout {config.dropout}: expected from 0 to below 1")
    torch.manual_seed(config.seed)
    if config.sample:
        return sample(*load_checkpoint(config.sample, config), config)
    tokenizer, data = load_data(config)
    vocab_size = len(tokenizer.chars)
    model, known = load_checkpoint(config.start, config)
    config = replace(config, **torch.load(config.start, "cpu", weights_only=True)["shape"])
    poems = load_poems(tokenizer, data, config)
    if known.chars != tokenizer.chars or not all(poems.values()):
        sys.exit(f"error: --data_path {config.data_path}: no poems to tunes, or not of --start")
    print(f"text: {sum(map(len, data.values())):,} characters, {vocab_size:,} distinct")
    print(f"model: {sum(p.numel() for p in model.parameters()):,} parameters, on {config.device}")
    print(f"guessing: loss ln({vocab_size}) = {math.log(vocab_size):.4f}")  # -log(1 / vocab_size)
    train(model, data, config, tokenizer, poems)
    model, tokenizer = load_checkpoint(config.checkpoint_path, config)
    sample(model, tokenizer, config)
    return model, tokenizer, config


if __name__ == "__main__":
    if hasattr(sys.stdout, "reconfigure"):  # not in IDLE or a notebook
        sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)  # on Windows; in pipes
    main()
