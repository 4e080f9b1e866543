"""BabyGPT v16: mixed precision and compilation.

Same as v15, plus two flags that change how a training step is computed, not what: --dtype bfloat16
does the matrix products with half the bits (autocast), and --compile has PyTorch translate the
model first. Both are off unless asked for; evaluation and sampling do without.

Why: a modern GPU multiplies bfloat16 several times faster than float32, and a compiled model reads
and writes memory less often. What a CPU gains differs from one to the next: measure.

Run:    python beyond/babygpt_v16_mixed_precision.py --dtype bfloat16 --compile  (on a GPU)
Laptop: add --block_size 64 --n_embed 128 --n_head 4 --n_layer 4 --batch_size 32 --max_iters 1000
            --learning_rate 6e-3 --dropout 0
Next:   beyond/babygpt_v17_distributed.py
"""

import math
import os
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

import torch
import torch.nn as nn
import tyro
import wandb
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
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
    device: Literal["cpu", "cuda", "mps"] = "cuda" if torch.cuda.is_available() else "cpu"  # where
    seed: NonNegativeInt = 1337  # same seed, same machine: same run
    max_iters: NonNegativeInt = 5000  # training steps
    eval_interval: PositiveInt = 400  # steps from one evaluation to the next
    eval_iters: PositiveInt = 40  # batches of train and of val in an evaluation
    batch_size: PositiveInt = 64  # windows of text in a batch: B in the shapes below
    learning_rate: PositiveFloat = 3e-4  # about how far a step moves a parameter, at the peak
    block_size: PositiveInt = 256  # characters in a window, the longest context (from v3 on): T
    n_embed: PositiveInt = 384  # embedding size, numbers in the vector of a character: C
    n_head: PositiveInt = 6  # attention heads, which share n_embed evenly
    n_layer: PositiveInt = 6  # blocks, one after the other
    dropout: float = 0.2  # part of the values zeroed in training, from 0 to below 1
    dtype: Literal["float32", "bfloat16"] = "float32"  # of the matrix products in training
    compile: bool = False  # translate the model first: takes a while, and a C++ compiler on a CPU
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
    def generate(self, ids, max_new_tokens):
        """Return ids (B, T), of any length T, continued by sampling to (B, T + max_new_tokens)."""
        caches = None
        for _ in range(max_new_tokens):
            new = ids[:, -1:]  # (B, 1), all that the caches lack
            # The model was trained on distances below block_size: keep the last characters only.
            # When the window slides, start again: from the second block on, keys and values were
            # made from mixes that still hold the characters that left
            if caches is None or ids.shape[1] > self.block_size:
                caches, new = [Cache() for _ in self.blocks], ids[:, -self.block_size :]
            logits, _ = self(new, caches=caches)  # (B, length of new, vocab_size)
            probs = F.softmax(logits[:, -1], dim=-1)  # (B, vocab_size), of the last position
            next_id = torch.multinomial(probs, num_samples=1)  # (B, 1), drawn by probability
            ids = torch.cat([ids, next_id], dim=1)  # (B, T + 1)
        return ids


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


def train(model, data, config, tokenizer):
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
    best, tokens, start = math.inf, 0, time.perf_counter()
    # AdamW moves each parameter a little against its gradient, so that the loss falls. The schedule
    # says how far: small steps first, large ones at the peak, ever finer ones towards the end
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate)
    last = config.max_iters  # the step before which training ends; Ctrl-C brings it forward
    schedule = OneCycleLR(optimizer, config.learning_rate, last + 1, cycle_momentum=False)
    fast = torch.compile(model) if config.compile else model  # the same parameters, other code
    # Within autocast, products are computed in bfloat16, the loss in float32. Parameters stay
    # float32: a bfloat16 knows a number to one part in 256, and small steps change it by less
    autocast = torch.autocast(config.device, torch.bfloat16, enabled=config.dtype == "bfloat16")
    for step in tqdm(range(last + 1), "Ctrl-C stops", leave=False, disable=None):  # terminals only
        try:
            if step % config.eval_interval == 0 or step == last:
                speed = {"tokens_per_sec": tokens / (time.perf_counter() - start)} if tokens else {}
                train_loss, val_loss = estimate_loss(model, data, config)
                tqdm.write(f"step {step:5d}: train loss {train_loss:.4f}, val loss {val_loss:.4f}")
                if not math.isfinite(train_loss + val_loss):
                    sys.exit(f"error: --learning_rate {config.learning_rate}: loss not finite")
                if val_loss < best:
                    save_checkpoint(model, tokenizer, config, val_loss)
                    best = val_loss
                try:
                    run.log({"train_loss": train_loss, "val_loss": val_loss, **speed}, step=step)
                except ConnectionError as error:  # its process has died
                    tqdm.write(f"not tracked: {error}")
                tokens, start = 0, time.perf_counter()
            if step >= last:
                break
            starts = torch.randint(len(data["train"]) - config.block_size, (config.batch_size,))
            x, y = get_batch(data["train"], starts, config)  # starts at random: (B, T), (B, T)
            tokens += x.numel()
            with autocast:
                _, loss = fast(x, y)
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
        ids = model.generate(ids, config.max_new_tokens)  # (1, T + max_new_tokens)
        print(f"\n{tokenizer.decode(ids[0].tolist())}")


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
    torch.set_float32_matmul_precision("high")  # 10 bits of a factor's 23, on GPUs that can
    if config.compile:
        try:
            torch.compile(torch.sin)(torch.ones(1, device=config.device))  # now, not after loading
        except Exception as error:  # which one depends on what is missing
            sys.exit(f"error: --compile: does not work on this machine: {error}")
    tokenizer, data = load_data(config)
    vocab_size = len(tokenizer.chars)
    model = BabyGPT(config, vocab_size).to(config.device)
    print(f"text: {sum(map(len, data.values())):,} characters, {vocab_size:,} distinct")
    print(f"model: {sum(p.numel() for p in model.parameters()):,} parameters, on {config.device}")
    print(f"guessing: loss ln({vocab_size}) = {math.log(vocab_size):.4f}")  # -log(1 / vocab_size)
    train(model, data, config, tokenizer)
    model, tokenizer = load_checkpoint(config.checkpoint_path, config)
    sample(model, tokenizer, config)
    return model, tokenizer, config


if __name__ == "__main__":
    if hasattr(sys.stdout, "reconfigure"):  # not in IDLE or a notebook
        sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)  # on Windows; in pipes
    main()
