"""BabyGPT v3: one head of causal self-attention.

Same as v2, plus `Head`: each position compares what it looks for (`query`) with what every position
up to it offers (`key`), and takes in the more of what it passes on (`value`) the better it fits.

Why: up to v2 a character is predicted from one character alone. Attention is the only part of a
GPT in which positions exchange anything: here the earlier characters begin to count.

Run:    python babygpt_v3_self_attention.py
Expect: val loss 5.02 (5.01 to 5.03) after 1600 steps, seeds 1337 to 1339
Next:   git diff --no-index babygpt_v3_self_attention.py babygpt_v4_multihead_attention.py
"""

import math
import sys
from pathlib import Path
from typing import Literal

import torch
import torch.nn as nn
import tyro
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
    max_iters: NonNegativeInt = 1600  # training steps
    eval_interval: PositiveInt = 400  # steps from one evaluation to the next
    eval_iters: PositiveInt = 40  # batches of train and of val in an evaluation
    batch_size: PositiveInt = 64  # windows of text in a batch: B in the shapes below
    learning_rate: PositiveFloat = 3e-3  # about how far a step moves a parameter, at the peak
    block_size: PositiveInt = 8  # characters in a window, the longest context (from v3 on): T
    n_embed: PositiveInt = 128  # embedding size, numbers in the vector of a character: C


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


class Head(nn.Module):
    """One head of causal self-attention (Vaswani et al., "Attention Is All You Need", 2017)."""

    def __init__(self, config, head_size):
        super().__init__()
        self.key = nn.Linear(config.n_embed, head_size, bias=False)
        self.query = nn.Linear(config.n_embed, head_size, bias=False)
        self.value = nn.Linear(config.n_embed, head_size, bias=False)
        # The mask, 1 where a row may look: it moves with the model, neither trained nor saved
        tril = torch.tril(torch.ones(config.block_size, config.block_size))
        self.register_buffer("tril", tril, persistent=False)

    def forward(self, x):
        """Return a mix of the values up to each position of x (B, T, C), (B, T, head_size)."""
        T = x.shape[1]
        key = self.key(x)  # (B, T, head_size), what each position offers
        query = self.query(x)  # (B, T, head_size), what each position looks for
        value = self.value(x)  # (B, T, head_size), what each position passes on
        # Unscaled, scores spread with the root of head_size: softmax then favours few positions
        scores = query @ key.transpose(-2, -1) * key.shape[-1] ** -0.5  # (B, T, T)
        # The future is masked: its weight becomes exp(-inf) = 0
        scores = scores.masked_fill(self.tril[:T, :T] == 0, float("-inf"))  # (B, T, T)
        weights = F.softmax(scores, dim=-1)  # (B, T, T), each row sums to 1
        return weights @ value  # (B, T, head_size)


class BabyGPT(nn.Module):
    """Predicts for each character of a text which one comes next."""

    def __init__(self, config, vocab_size):
        super().__init__()
        self.block_size = config.block_size
        self.token_embedding_table = nn.Embedding(vocab_size, config.n_embed)
        self.position_embedding_table = nn.Embedding(config.block_size, config.n_embed)
        self.sa = Head(config, config.n_embed)
        self.lm_head = nn.Linear(config.n_embed, vocab_size)  # lm: language model

    def forward(self, ids, targets=None):
        """Return logits (B, T, vocab_size) for ids (B, T), and the mean loss against targets."""
        x = self.token_embedding_table(ids)  # (B, T, C)
        # Which character, plus at which position: the same vectors for every window of the batch
        positions = torch.arange(ids.shape[1], device=ids.device)  # (T,)
        x = x + self.position_embedding_table(positions)  # (B, T, C) + (T, C)
        x = self.sa(x)  # (B, T, C)
        logits = self.lm_head(x)  # (B, T, vocab_size), a score for each possible next character
        # Softmax turns scores into probabilities p; the loss is the mean of -log(p of what comes)
        loss = None if targets is None else F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        return logits, loss

    @torch.no_grad()  # no gradients: they are for training only, and take time and memory
    def generate(self, ids, max_new_tokens):
        """Return ids (B, T), of any length T, continued by sampling to (B, T + max_new_tokens)."""
        for _ in range(max_new_tokens):
            # There is no vector for a position beyond block_size: keep the last characters only
            logits, _ = self(ids[:, -self.block_size :])  # (B, T, vocab_size)
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


def train(model, data, config):
    """Take max_iters steps, evaluating on the way. Ctrl-C ends the training early."""
    # AdamW moves each parameter a little against its gradient, so that the loss falls. The schedule
    # says how far: small steps first, large ones at the peak, ever finer ones towards the end
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate)
    last = config.max_iters  # the step before which training ends; Ctrl-C brings it forward
    schedule = OneCycleLR(optimizer, config.learning_rate, last + 1, cycle_momentum=False)
    for step in tqdm(range(last + 1), "Ctrl-C stops", leave=False, disable=None):  # terminals only
        try:
            if step % config.eval_interval == 0 or step == last:
                train_loss, val_loss = estimate_loss(model, data, config)
                tqdm.write(f"step {step:5d}: train loss {train_loss:.4f}, val loss {val_loss:.4f}")
                if not math.isfinite(train_loss + val_loss):
                    sys.exit(f"error: --learning_rate {config.learning_rate}: loss not finite")
            if step >= last:
                break
            starts = torch.randint(len(data["train"]) - config.block_size, (config.batch_size,))
            x, y = get_batch(data["train"], starts, config)  # starts at random: (B, T), (B, T)
            _, loss = model(x, y)
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
    torch.manual_seed(config.seed)
    tokenizer, data = load_data(config)
    vocab_size = len(tokenizer.chars)
    model = BabyGPT(config, vocab_size).to(config.device)
    print(f"text: {sum(map(len, data.values())):,} characters, {vocab_size:,} distinct")
    print(f"model: {sum(p.numel() for p in model.parameters()):,} parameters, on {config.device}")
    print(f"guessing: loss ln({vocab_size}) = {math.log(vocab_size):.4f}")  # -log(1 / vocab_size)
    train(model, data, config)
    sample(model, tokenizer, config)
    return model, tokenizer, config


if __name__ == "__main__":
    if hasattr(sys.stdout, "reconfigure"):  # not in IDLE or a notebook
        sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)  # on Windows; in pipes
    main()
