"""BabyGPT v17: several processes.

Same as v16, except that torchrun may start it several times, one process for each GPU: each has the
gradients of its share of a batch, and these are averaged (DistributedDataParallel). With
--accumulate a process goes through its share in parts, where all of it does not fit into memory.

Why: large models are trained on many GPUs. However a batch is shared out, the step is the same, but
for dropout. Started without torchrun, the script runs as one process.

Run:    torchrun --nproc_per_node 2 beyond/babygpt_v17_distributed.py
Laptop: add --block_size 64 --n_embed 128 --n_head 4 --n_layer 4 --batch_size 32 --max_iters 1000
            --learning_rate 6e-3 --dropout 0
"""

import contextlib
import math
import os
import signal
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Literal

import torch
import torch.distributed as dist
import torch.nn as nn
import tyro
import wandb
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import OneCycleLR
from tqdm import tqdm


@dataclass
class Config:
    """The settings of a run: pydantic checks them, tyro makes flags of them (--batch_size 32)."""

    data_path: str = str(Path(__file__).parents[1] / "data" / "ci.txt")  # UTF-8 text to learn from
    train_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.9  # to train on; the rest, val, to test on
    prompts: tuple[Annotated[str, Field(min_length=1)], ...] = ("春江", "往事")  # texts to continue
    max_new_tokens: NonNegativeInt = 100  # characters to add to each prompt
    # mps, the GPU of a Mac, only when asked for: some PyTorch releases compute wrongly there
    device: Literal["cpu", "cuda", "mps"] = "cuda" if torch.cuda.is_available() else "cpu"
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
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2  # part of the values zeroed in training
    dtype: Literal["float32", "bfloat16"] = "float32"  # of the matrix products in training
    compile: bool = False  # translate the model first: takes a while, and a C++ compiler on a CPU
    accumulate: PositiveInt = 1  # parts of its share that a process computes one after the other
    # record runs in ./wandb, send them to the website as well (after `wandb login`), or neither
    wandb_mode: Literal["offline", "online", "disabled"] = os.getenv("WANDB_MODE") or "offline"
    checkpoint_path: str = time.strftime("babygpt_v17_%Y%m%d_%H%M%S.pt")  # for the best model
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
    try:
        text = Path(config.data_path).read_text(encoding="utf-8-sig")  # -sig: skips a BOM
    except (OSError, UnicodeDecodeError) as error:
        sys.exit(f"error: --data_path {config.data_path}: no UTF-8 text to read: {error}")
    tokenizer = Tokenizer(text)
    ids = torch.tensor(tokenizer.encode(text), device=config.device)  # (N + M,)
    n = int(config.train_ratio * len(ids))
    if min(n, len(ids) - n) <= config.block_size:
        sys.exit(f"error: --data_path {config.data_path}: split too short for --block_size")
    if unknown := set("".join(config.prompts)) - set(tokenizer.chars):  # now, not after training
        sys.exit(f"error: --prompts: not in the text, choose others: {sorted(unknown)}")
    return tokenizer, {"train": ids[:n], "val": ids[n:]}


def get_batch(ids, starts, config):
    """Return the windows of ids (N,) that begin at starts (B,): inputs x and targets y (B, T)."""
    offsets = torch.arange(config.block_size + 1, device=ids.device)  # (T + 1,)
    windows = ids[starts[:, None] + offsets]  # (B, 1) + (T + 1,): each start + offset, (B, T + 1)
    return windows[:, :-1], windows[:, 1:]  # each target is the character after its input


def rotate(x, start):
    """Turn the vectors x (B, n_head, T, head_size) by their positions, start to start + T - 1."""
    # Number i of the first half and number i of the second: a point (a, b) in plane i. From one
    # position to the next, plane 0 turns by 1 radian (57 degrees), the last by about 1 / 1000
    T, half = x.shape[-2], x.shape[-1] // 2
    speeds = 1000 ** -(torch.arange(half, device=x.device) / half)  # (half,)
    angles = torch.arange(start, start + T, device=x.device)[:, None] * speeds  # (T, half)
    a, b = x.chunk(2, dim=-1)  # each (B, n_head, T, half)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)  # the points (a, b), turned


class MultiHeadAttention(nn.Module):
    """Several heads side by side: each can look for something else."""

    def __init__(self, config):
        super().__init__()
        self.n_head = config.n_head
        self.qkv = nn.Linear(config.n_embed, 3 * config.n_embed, bias=False)  # of all heads
        self.proj = nn.Linear(config.n_embed, config.n_embed)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x, cache=None):
        """Return (B, T, C) for x (B, T, C), a part of it from each head.

        cache: a dict, at first empty, to keep keys and values in. Once it has some, T must be 1.
        """
        B, T, C = x.shape
        qkv = self.qkv(x).view(B, T, 3, self.n_head, C // self.n_head)  # cuts up the 3 * C numbers
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # 3 in front: each (B, n_head, T, head_size)
        start = cache["key"].shape[-2] if cache else 0  # cached positions; a new cache is empty
        query, key = rotate(query, start), rotate(key, start)  # not value: see v14
        if cache:  # neither None, as in training, nor empty, as at the first call
            key = torch.cat([cache["key"], key], dim=-2)  # (B, n_head, start + T, head_size)
            value = torch.cat([cache["value"], value], dim=-2)
        if cache is not None:
            cache.update(key=key, value=value)
        # The function below does all that Head did. Unlike nn.Dropout, it drops after eval(), too
        dropout = self.dropout.p if self.training else 0.0  # train() and eval() set self.training
        # Several positions need the mask. One alone may look at all before it; the mask would be
        # wrong: it takes the first query to stand beside the first key
        x = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=T > 1)
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
        """Return (B, T, C) for x (B, T, C). cache: see MultiHeadAttention."""
        x = x + self.sa(self.ln1(x), cache)
        x = x + self.ffwd(self.ln2(x))
        return x


class BabyGPT(nn.Module):
    """Predicts for each character of a text which one comes next."""

    def __init__(self, config, vocab_size):
        super().__init__()
        self.block_size = config.block_size
        self.token_embedding_table = nn.Embedding(vocab_size, config.n_embed)
        self.blocks = nn.Sequential(*[Block(config) for _ in range(config.n_layer)])
        self.ln_final = nn.LayerNorm(config.n_embed)
        self.lm_head = nn.Linear(config.n_embed, vocab_size)  # lm: language model

    def forward(self, idx, targets=None, caches=None):
        """Return logits (B, T, vocab_size) for ids (B, T), and the mean loss against targets."""
        x = self.token_embedding_table(idx)  # (B, T, C)
        for i, block in enumerate(self.blocks):  # nn.Sequential would pass on x alone
            x = block(x, caches[i] if caches else None)  # (B, T, C)
        x = self.ln_final(x)  # (B, T, C)
        logits = self.lm_head(x)  # (B, T, vocab_size), a score for each possible next character
        if targets is None:
            return logits, None
        # Inside, softmax turns scores into probabilities p; loss = mean of -log(p of the true next)
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())  # (B*T, vocab_size), (B*T,)
        return logits, loss

    @torch.no_grad()  # no gradients: they are for training only, and take time and memory
    def generate(self, idx, max_new_tokens):
        """Return ids (B, T), of any length T, continued by sampling to (B, T + max_new_tokens)."""
        caches = None
        for _ in range(max_new_tokens):
            new = idx[:, -1:]  # (B, 1), all that the caches lack
            # The model was trained on distances below block_size: keep the last characters only.
            # When the window slides, start again: from the second block on, keys and values were
            # made from mixes that still hold the characters that left
            if caches is None or idx.shape[1] > self.block_size:
                caches, new = [{} for _ in self.blocks], idx[:, -self.block_size :]
            logits, _ = self(new, caches=caches)  # (B, length of new, vocab_size)
            probs = F.softmax(logits[:, -1], dim=-1)  # (B, vocab_size), of the last position
            idx_next = torch.multinomial(probs, num_samples=1)  # (B, 1), drawn by probability
            idx = torch.cat([idx, idx_next], dim=1)  # (B, T + 1)
        return idx


@torch.no_grad()
def estimate_loss(model, data, config):
    """Return {"train": loss, "val": loss}, each a mean over many windows of that split."""
    model.eval()  # turns off what acts in training only, such as dropout (v10)
    losses = {}
    for name, ids in data.items():
        # n starts at equal distances over the split, the same every time, so losses can be compared
        n = config.eval_iters * config.batch_size
        starts = torch.arange(n, device=ids.device) * (len(ids) - config.block_size) // n  # (n,)
        batches = [get_batch(ids, part, config) for part in starts.split(config.batch_size)]
        losses[name] = sum(model(x, y)[1].item() for x, y in batches) / config.eval_iters
    model.train()
    return losses


def save_checkpoint(model, tokenizer, config, val_loss):
    """Write the model to checkpoint_path: whole or not at all, whenever the script is killed."""
    shape = {name: getattr(config, name) for name in ("block_size", "n_embed", "n_head", "n_layer")}
    saved = {"shape": shape, "chars": tokenizer.chars, "model": model.state_dict()}
    torch.save({**saved, "val_loss": val_loss}, f"{config.checkpoint_path}.tmp")
    os.replace(f"{config.checkpoint_path}.tmp", config.checkpoint_path)


def load_checkpoint(path, config):
    """Return the model saved at path, with the shape it has there, and its tokenizer."""
    try:
        saved = torch.load(path, map_location=config.device, weights_only=True)  # refuses code
        tokenizer = Tokenizer(saved["chars"])
        model = BabyGPT(replace(config, **saved["shape"]), len(tokenizer.chars))
        model.load_state_dict(saved["model"])
        print(f"model: {path}, val loss {saved['val_loss']:.4f}, {saved['shape']}")
    except Exception as error:  # which one depends on where a file is broken
        sys.exit(f"error: --sample {path}: no checkpoint to load: {error!r:.80}")
    if unknown := set("".join(config.prompts)) - set(tokenizer.chars):
        sys.exit(f"error: --prompts: {path} does not know these, take others: {sorted(unknown)}")
    return model.to(config.device), tokenizer


def train(model, data, config, tokenizer, rank=0, world_size=1):
    """Take max_iters steps, on record, keeping the best model. Ctrl-C ends the training early.

    rank: which of the world_size processes this is; the first, 0, alone tracks and saves
    """
    try:
        if config.wandb_mode == "online" and not wandb.login(prompt=False):
            sys.exit("error: --wandb_mode online: needs `wandb login` first")
        if rank == 0:
            open(config.checkpoint_path, "x").close()  # try it now; "x": never over another file
            os.remove(config.checkpoint_path)  # the first evaluation writes it
        run = wandb.init(project="babygpt", mode=config.wandb_mode, config=asdict(config))
    except OSError as error:
        sys.exit(f"error: --checkpoint_path {config.checkpoint_path}: {error}")
    except wandb.Error as error:
        sys.exit(f"error: --wandb_mode {config.wandb_mode}: {error}")
    best, tokens, start = math.inf, 0, time.perf_counter()
    # AdamW moves each parameter a little against its gradient, so that the loss falls. The schedule
    # says how far: small steps first, large ones at the peak, ever finer ones towards the end
    optimizer = torch.optim.AdamW(model.parameters())
    schedule = OneCycleLR(optimizer, config.learning_rate, total_steps=config.max_iters + 1)
    n_starts = len(data["train"]) - config.block_size  # how many windows there are
    fast = torch.compile(model) if config.compile else model  # the same parameters, other code
    # Every process draws the same batches, but has a dropout of its own
    batches = torch.Generator(config.device).manual_seed(config.seed)
    torch.manual_seed(config.seed + rank)
    asked_to_stop = []
    if world_size > 1:
        fast = DistributedDataParallel(fast)  # averages the gradients, in backward()
        # Ctrl-C reaches the processes at different moments: note it, and agree before a step
        signal.signal(signal.SIGINT, lambda *_: asked_to_stop.append(True))
    # Within autocast, products are computed in bfloat16, the loss in float32. Parameters stay
    # float32: a bfloat16 knows a number to one part in 256, and most steps change it by less
    autocast = torch.autocast(config.device, torch.bfloat16, enabled=config.dtype == "bfloat16")
    try:
        hidden = rank > 0 or None  # None: shown in terminals only
        for step in tqdm(range(config.max_iters + 1), leave=False, disable=hidden):
            if step % config.eval_interval == 0 or step == config.max_iters:
                tokens_per_sec = tokens / (time.perf_counter() - start)
                losses = estimate_loss(model, data, config)
                text = "step {:5d}: train loss {train:.4f}, val loss {val:.4f}"
                tqdm.write(text.format(step, **losses))
                metrics = {"train_loss": losses["train"], "val_loss": losses["val"]}
                run.log({**metrics, "tokens_per_sec": tokens_per_sec}, step=step)
                if rank == 0 and losses["val"] < best:
                    save_checkpoint(model, tokenizer, config, losses["val"])
                    best = losses["val"]
                tokens, start = 0, time.perf_counter()
            if step == config.max_iters:
                break
            if world_size > 1:
                stops = torch.tensor(len(asked_to_stop))
                dist.all_reduce(stops)  # the sum over the processes: all stop, or none
                if stops:
                    raise KeyboardInterrupt
            size = (config.batch_size,)
            starts = torch.randint(n_starts, size, generator=batches, device=config.device)  # (B,)
            tokens += config.batch_size * config.block_size
            optimizer.zero_grad()  # else backward() would add to the gradients of before
            parts = starts.chunk(world_size)[rank].chunk(config.accumulate)
            for i, part in enumerate(parts):
                x, y = get_batch(data["train"], part, config)  # each (B / processes / parts, T)
                # The processes exchange gradients once, in the last backward(), all added up
                waits = world_size > 1 and i + 1 < len(parts)
                with fast.no_sync() if waits else contextlib.nullcontext():
                    with autocast:
                        _, loss = fast(x, y)
                    (loss / len(parts)).backward()  # gradients, added up to those of the mean
            optimizer.step()
            schedule.step()  # the + 1 above: one rate to start from, and one after each step
    except KeyboardInterrupt:
        tqdm.write(f"stopped at step {step}")
        val_loss = estimate_loss(model, data, config)["val"] if rank == 0 else best
        if val_loss < best:
            save_checkpoint(model, tokenizer, config, val_loss)
    run.finish()


def sample(model, tokenizer, config):
    """Print each prompt with its continuation."""
    model.eval()
    torch.manual_seed(config.seed)  # the samples depend on the model, not on what ran before
    for prompt in config.prompts:
        idx = torch.tensor([tokenizer.encode(prompt)], device=config.device)  # (1, T)
        idx = model.generate(idx, config.max_new_tokens)  # (1, T + max_new_tokens)
        print(f"\n{tokenizer.decode(idx[0].tolist())}")


def main(argv=None):
    """Train on the text, then continue the prompts. torchrun starts several of these."""
    config = tyro.cli(Config, args=argv, use_underscores=True)  # None: from the command line
    if not getattr(torch, config.device).is_available():  # as torch.cuda.is_available()
        sys.exit(f"error: --device {config.device}: not available on this machine")
    if config.n_embed % (2 * config.n_head):  # the numbers of a head are taken in pairs
        sys.exit(f"error: --n_embed {config.n_embed}: no multiple of 2 * --n_head {config.n_head}")
    rank, world_size = int(os.getenv("RANK", 0)), int(os.getenv("WORLD_SIZE", 1))  # from torchrun
    if rank > 0:  # the first process alone prints and tracks
        sys.stdout = open(os.devnull, "w", encoding="utf-8")
        config = replace(config, wandb_mode="disabled")
    if world_size > 1 and config.device == "cuda":
        gpu = int(os.environ["LOCAL_RANK"])  # one for each process
        if gpu >= torch.cuda.device_count():
            sys.exit(f"error: --device cuda: no GPU for process {gpu}; fewer, or --device cpu")
        torch.cuda.set_device(gpu)
    torch.manual_seed(config.seed)
    if config.sample:
        return sample(*load_checkpoint(config.sample, config), config)
    if config.batch_size % (world_size * config.accumulate):
        n = f"{world_size} processes * --accumulate {config.accumulate}"
        sys.exit(f"error: --batch_size {config.batch_size}: not divisible by {n}")
    if config.compile:
        try:
            torch.compile(torch.sin)(torch.ones(1, device=config.device))  # now, not after loading
        except Exception as error:  # which one depends on what is missing; its end says it
            sys.exit(f"error: --compile: does not work on this machine: {repr(error)[-200:]}")
    tokenizer, data = load_data(config)
    vocab_size = len(tokenizer.chars)
    model = BabyGPT(config, vocab_size).to(config.device)
    print(f"text: {sum(map(len, data.values())):,} characters, {vocab_size:,} distinct")
    print(f"model: {sum(p.numel() for p in model.parameters()):,} parameters, on {config.device}")
    print(f"guessing: loss ln({vocab_size}) = {math.log(vocab_size):.4f}")  # -log(1 / vocab_size)
    if world_size > 1:
        dist.init_process_group("cpu:gloo,cuda:nccl" if config.device == "cuda" else "gloo")
    train(model, data, config, tokenizer, rank, world_size)
    if world_size > 1:
        dist.destroy_process_group()
    if rank == 0:
        model, tokenizer = load_checkpoint(config.checkpoint_path, config)
        sample(model, tokenizer, config)


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="replace", line_buffering=True)  # consoles without Chinese; pipes
    main()
