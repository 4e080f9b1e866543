"""BabyGPT v3: one head of causal self-attention.

Same as v2, plus `Head`: each place says what it looks for (`query`), each place up to it what it
offers (`key`), and what the best matches have to say (`value`) is mixed. `tril` hides the future.

Why: up to v2 a character is predicted from one character alone. Attention is how a place gets to
know what came before it, and the only part of a GPT in which places exchange anything.

Run:    python babygpt_v3_self_attention.py
Expect: val loss 5.02 (5.01 to 5.03) after 800 steps, seeds 1337 to 1339,
        in 43 s on 2 CPU cores
Next:   git diff --no-index babygpt_v3_self_attention.py babygpt_v4_multihead_attention.py
"""

import argparse
import math
import operator
import sys
import time
from dataclasses import dataclass, field, fields
from pathlib import Path

import torch
import torch.nn as nn
from torch.nn import functional as F
from tqdm import tqdm

CHECKS = {
    "at_least": operator.ge,
    "above": operator.gt,
    "below": operator.lt,
    "one_of": lambda value, choices: value in choices,
}


def fail(message):
    """End the program because of bad input: one line on stderr, exit status 2."""
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(2)


def knob(default, text, **bounds):
    """Return a field of Config with its help line and its bounds, such as at_least=1."""
    return field(default=default, metadata={"help": text, "bounds": bounds})


@dataclass
class Config:
    """Every knob of a run, each a command-line flag. Raises ValueError for one out of bounds."""

    # Data, samples, device
    data_path: str = knob(str(Path(__file__).with_name("data") / "ci.txt"), "UTF-8 text to learn")
    train_ratio: float = knob(0.9, "fraction of the text to train on", above=0, below=1)
    prompts: tuple = knob(("春江", "往事"), "beginnings to continue after the training")
    max_new_tokens: int = knob(100, "characters to add to each prompt", at_least=0)
    device: str = knob("cuda" if torch.cuda.is_available() else "cpu", "cpu, cuda or mps")
    seed: int = knob(1337, "same seed, same machine: same run", at_least=0, below=2**32)
    matmul_precision: str = knob(
        "highest", "exactness of float32 products", one_of=("highest", "high", "medium")
    )
    # Training
    max_iters: int = knob(800, "training steps", at_least=0)
    eval_interval: int = knob(200, "steps from one evaluation to the next", at_least=1)
    eval_iters: int = knob(20, "batches of each split in an evaluation", at_least=1)
    batch_size: int = knob(128, "windows of text in a batch (B)", at_least=1)
    learning_rate: float = knob(3e-3, "step size of AdamW", above=0, below=math.inf)
    # Model
    block_size: int = knob(8, "characters in a window (T), the longest context", at_least=1)
    n_embed: int = knob(128, "numbers that represent one character (C)", at_least=1)

    def __post_init__(self):
        for f in fields(self):
            value = getattr(self, f.name)
            for check, bound in f.metadata["bounds"].items():
                if not CHECKS[check](value, bound):
                    words = check.replace("_", " ")
                    raise ValueError(f"--{f.name} {value}: must be {words} {bound}")


def parse_args(argv=None):
    """Return the Config that the command line asks for, or fail."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.error = fail
    for f in fields(Config):
        several = isinstance(f.default, tuple)
        parser.add_argument(
            f"--{f.name}",
            default=f.default,
            type=str if several else type(f.default),
            nargs="+" if several else None,
            help=f"{f.metadata['help']} (default: %(default)s)",
        )
    args = parser.parse_args(argv)
    try:
        torch.zeros(1, device=args.device).item()
    except (RuntimeError, AssertionError, ImportError):
        here = [d for d in ("cuda", "mps") if getattr(torch, d).is_available()]
        fail(f"--device {args.device}: not available here; use {' or '.join(['cpu'] + here)}")
    try:
        return Config(**vars(args))
    except ValueError as error:
        fail(error)


class Tokenizer:
    """Turns text into ids and back. The vocabulary: the distinct characters of text, sorted."""

    def __init__(self, text):
        self.chars = sorted(set(text))
        self.vocab_size = len(self.chars)
        self.ids = {char: i for i, char in enumerate(self.chars)}

    def encode(self, text):
        """Return a list of ids. Raises ValueError for characters outside the vocabulary."""
        unknown = sorted(set(text) - self.ids.keys())
        if unknown:
            raise ValueError(f"not in the vocabulary: {' '.join(map(repr, unknown[:10]))}")
        return [self.ids[char] for char in text]

    def decode(self, ids):
        """Return the text of a list of ids."""
        return "".join(self.chars[i] for i in ids)


def load_text(config):
    """Return the text at data_path, without a byte-order mark, or fail."""
    try:
        return Path(config.data_path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        fail(f"--data_path {config.data_path}: expected a UTF-8 text file ({error})")


def split_text(text, tokenizer, config):
    """Return {"train": ids (N,), "val": ids (M,)} on the device, or fail if one is too short."""
    ids = torch.tensor(tokenizer.encode(text), device=config.device)  # (N + M,)
    n = int(config.train_ratio * len(ids))
    if min(n, len(ids) - n) <= config.block_size:
        fail(
            f"--data_path {config.data_path}: {n} characters to train on, {len(ids) - n} to "
            f"validate on; each must be above --block_size {config.block_size}"
        )
    return {"train": ids[:n], "val": ids[n:]}


def get_batch(split, config, starts=None):
    """Return windows of split (N,): inputs x and targets y (B, T), y one character later.

    The windows begin at starts (B,); by default at batch_size random places.
    """
    windows = split.unfold(0, config.block_size + 1, 1)  # (N - T, T + 1), a view: no copy
    if starts is None:
        starts = torch.randint(len(windows), (config.batch_size,), device=split.device)  # (B,)
    batch = windows[starts]  # (B, T + 1)
    return batch[:, :-1], batch[:, 1:]


class Head(nn.Module):
    """One head of causal self-attention (Vaswani et al., "Attention Is All You Need", 2017)."""

    def __init__(self, config, head_size):
        super().__init__()
        self.key = nn.Linear(config.n_embed, head_size, bias=False)
        self.query = nn.Linear(config.n_embed, head_size, bias=False)
        self.value = nn.Linear(config.n_embed, head_size, bias=False)
        # A buffer moves to the device with the model, but is not trained
        self.register_buffer("tril", torch.tril(torch.ones(config.block_size, config.block_size)))

    def forward(self, x):
        """Return for each place of x (B, T, C) a mix of the values up to it, (B, T, head_size)."""
        T = x.shape[1]
        k = self.key(x)  # (B, T, head_size), what each place offers
        q = self.query(x)  # (B, T, head_size), what each place looks for
        v = self.value(x)  # (B, T, head_size), what each place passes on
        # Unscaled, the products grow with head_size and softmax would pick one place alone
        weights = q @ k.transpose(-2, -1) * k.shape[-1] ** -0.5  # (B, T, T)
        # The future gets weight exp(-inf) = 0
        weights = weights.masked_fill(self.tril[:T, :T] == 0, float("-inf"))  # (B, T, T)
        weights = F.softmax(weights, dim=-1)  # (B, T, T), each row sums to 1
        return weights @ v  # (B, T, head_size)


class BabyGPT(nn.Module):
    """Predicts for each character of a text which one comes next."""

    def __init__(self, config, vocab_size):
        super().__init__()
        self.block_size = config.block_size
        self.token_embedding_table = nn.Embedding(vocab_size, config.n_embed)
        self.position_embedding_table = nn.Embedding(config.block_size, config.n_embed)
        self.sa = Head(config, config.n_embed)
        self.lm_head = nn.Linear(config.n_embed, vocab_size)

    def forward(self, idx, targets=None):
        """Return logits (B, T, vocab_size) for ids (B, T), and the mean loss against targets."""
        x = self.token_embedding_table(idx)  # (B, T, C)
        # What stands here, plus where it stands, which is the same for every text in the batch
        positions = torch.arange(idx.shape[1], device=idx.device)  # (T,)
        x = x + self.position_embedding_table(positions)  # (B, T, C) + (T, C)
        x = self.sa(x)  # (B, T, C)
        logits = self.lm_head(x)  # (B, T, vocab_size)
        if targets is None:
            return logits, None
        # Cross-entropy: -log of the probability given to the character that really came next
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())  # (B*T, vocab_size), (B*T,)
        return logits, loss

    @torch.no_grad()
    def generate(self, idx, max_new_tokens):
        """Return ids (B, T) continued by sampling to (B, T + max_new_tokens)."""
        was_training = self.training
        self.eval()
        for _ in range(max_new_tokens):
            # There is no position beyond block_size: keep the last characters only
            logits, _ = self(idx[:, -self.block_size :])  # (B, T, vocab_size)
            probs = F.softmax(logits[:, -1], dim=-1)  # (B, vocab_size), of the last place
            idx_next = torch.multinomial(probs, num_samples=1)  # (B, 1)
            idx = torch.cat([idx, idx_next], dim=1)  # (B, T + 1)
        self.train(was_training)
        return idx


@torch.no_grad()
def estimate_loss(model, data, config):
    """Return {"train": loss, "val": loss}, means over the same evenly spaced windows every time."""
    was_training = model.training
    model.eval()
    losses = {}
    for name, split in data.items():
        # Window i of n starts i/n of the way
        i = torch.arange(config.eval_iters * config.batch_size, device=split.device)
        starts = i * (len(split) - config.block_size) // len(i)  # (eval_iters * B,)
        batches = [get_batch(split, config, part) for part in starts.split(config.batch_size)]
        losses[name] = sum(model(x, y)[1].item() for x, y in batches) / len(batches)
    model.train(was_training)
    return losses


def train(model, data, config):
    """Take max_iters steps of AdamW, evaluating on the way. Ctrl-C ends the training early."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, fused=True)
    step, seconds = 0, 0.0
    # disable=None: no bar where the output is not a terminal
    bar = tqdm(total=config.max_iters, unit="step", leave=False, disable=None)

    def evaluate():
        losses = estimate_loss(model, data, config)
        speed = step * config.batch_size * config.block_size / seconds if step else 0
        text = "step {:5d}: train loss {train:.4f}, val loss {val:.4f}, {:,.0f} tokens/s"
        tqdm.write(text.format(step, speed, **losses))

    try:
        while step < config.max_iters:
            if step % config.eval_interval == 0:
                evaluate()
            start = time.perf_counter()
            x, y = get_batch(data["train"], config)  # (B, T), (B, T)
            _, loss = model(x, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seconds += time.perf_counter() - start
            step += 1
            bar.update()
    except KeyboardInterrupt:
        tqdm.write(f"stopped after {step} steps, evaluating once more (Ctrl-C again to quit)")
    bar.close()
    evaluate()


def main(argv=None):
    """Train on the text, then print a sample for each prompt."""
    # A character that the console cannot show must not end the run
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace", line_buffering=True)
    config = parse_args(argv)
    torch.set_float32_matmul_precision(config.matmul_precision)
    torch.manual_seed(config.seed)

    text = load_text(config)
    tokenizer = Tokenizer(text)
    data = split_text(text, tokenizer, config)
    # The prompts are encoded before the training: a bad one must not cost a run
    try:
        prompts = [tokenizer.encode(prompt) for prompt in config.prompts]
    except ValueError as error:
        some = "".join(tokenizer.chars[len(tokenizer.chars) // 2 :][:8])
        fail(f"--prompts: {error}; use others, such as {some!r}")
    if [] in prompts:
        fail("--prompts: one is empty; each needs at least one character")

    model = BabyGPT(config, tokenizer.vocab_size).to(config.device)
    n_params = sum(p.numel() for p in model.parameters())
    print(f"text: {len(text):,} characters, {tokenizer.vocab_size:,} distinct")
    print(f"model: {n_params:,} parameters, on {config.device}")
    print(f"guessing: loss ln({tokenizer.vocab_size}) = {math.log(tokenizer.vocab_size):.4f}")
    train(model, data, config)

    torch.manual_seed(config.seed)  # the samples depend on the model, not on what ran before
    for prompt in prompts:
        idx = torch.tensor([prompt], device=config.device)  # (1, T)
        idx = model.generate(idx, config.max_new_tokens)  # (1, T + max_new_tokens)
        print(f"\n{tokenizer.decode(idx[0].tolist())}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
