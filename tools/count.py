"""Counting: what can be predicted without any learning, by counting what follows what?

    python tools/count.py                             # characters, pairs and triples of the text
    python tools/count.py --prompts 明月 --seed 7     # flags of v1 work here too

A table counts in the training text what follows each context. A share of the probability is for
what that text lacks: u / (n + u) after a context seen n times, with u different characters behind
it. The share goes to what the next shorter context predicts, in the end to all characters alike.
(Method C of Witten and Bell, The zero-frequency problem, IEEE Trans. Inf. Theory 37(4), 1991)

train, val    loss on the windows that the scripts are evaluated on. A table sees no more than a
              model does, so a window's first triple is judged as a pair: with the character
              before the window, triples would have 2.50 and 4.47 instead of 2.72 and 4.49
all of val    loss on the whole validation text
"""

import argparse
import json
import math
import random
import sys
import time
from collections import Counter

import torch
import tyro
from steps import find_step, import_script

TABLES = {"characters": 1, "pairs": 2, "triples": 3}  # how many characters each counts
LOSSES = "train_loss", "val_loss", "all_of_val"


class Counts:
    """A table of counts. It can stand in the place of a model: estimate_loss calls it as one."""

    def __init__(self, text, order, chars):
        self.order, self.chars = order, chars
        self.runs = Counter()  # how often each run of up to order characters is in the text
        self.seen, self.kinds = Counter(), Counter()  # n and u of each context
        for length in range(1, order + 1):
            runs = Counter(text[i : i + length] for i in range(len(text) - length + 1))
            self.runs.update(runs)
            for run, count in runs.items():
                self.seen[run[:-1]] += count
                self.kinds[run[:-1]] += 1

    def prob(self, before, char):
        """Return the probability that char comes next after a text."""
        p = 1 / len(self.chars)
        for length in range(min(self.order, len(before) + 1)):  # ever longer contexts
            context = before[len(before) - length :]
            if u := self.kinds[context]:
                p = (self.runs[context + char] + u * p) / (self.seen[context] + u)
        return p

    def loss(self, text, first=0):
        """Return the mean of -log(p) over the characters of a text, from the first-th on."""
        places = range(first, len(text))
        probs = [self.prob(text[max(0, i - self.order + 1) : i], text[i]) for i in places]
        return -sum(map(math.log, probs)) / len(probs)

    def __call__(self, x, y):
        """Return None for the logits, and the mean loss of windows of ids, x and y (B, T)."""
        rows = torch.cat([x[:, :1], y], dim=1).tolist()  # each target is the character after x
        losses = [self.loss("".join(self.chars[i] for i in row), first=1) for row in rows]
        return None, torch.tensor(sum(losses) / len(losses))

    eval = train = lambda self: None  # it calls these two; there is no dropout to turn off

    def write(self, text, length, dice):
        """Return a text, continued by so many characters drawn by probability."""
        for _ in range(length):
            text += dice.choices(self.chars, [self.prob(text, char) for char in self.chars])[0]
        return text


def main(argv=None):
    """Print what each table scores, and what it writes."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw, allow_abbrev=False)
    parser.add_argument("--json", action="store_true", help="print the report as a line of JSON")
    args, flags = parser.parse_known_args(argv)
    script = import_script(find_step("v1"))
    config = tyro.cli(script.Config, args=flags, use_underscores=True)
    tokenizer, data = script.load_data(config)  # ends here where there is no text to count
    train, val = (tokenizer.decode(ids.tolist()) for ids in data.values())
    report = {"run": "counting", "seed": config.seed, "flags": flags, "tables": []}
    for name, order in TABLES.items():
        start = time.process_time()  # of this process alone, whatever else the machine does
        counts = Counts(train, order, tokenizer.chars)
        found = {"table": name, "seconds": round(time.process_time() - start, 1)}
        losses = [*script.estimate_loss(counts, data, config), counts.loss(val)]
        found |= zip(LOSSES, [round(loss, 4) for loss in losses], strict=True)
        length, dice = config.max_new_tokens, random.Random(config.seed)
        found["samples"] = [counts.write(prompt, length, dice) for prompt in config.prompts]
        report["tables"].append(found)
    if args.json:
        return print(json.dumps(report, ensure_ascii=False))
    print(f"guessing: loss ln({len(tokenizer.chars)}) = {math.log(len(tokenizer.chars)):.4f}\n")
    print("loss on        train     val  all of val  perplexity of val  seconds")
    for row in report["tables"]:
        numbers = [row[name] for name in LOSSES] + [math.exp(row["val_loss"]), row["seconds"]]
        print("{:11} {:8.4f}{:8.4f}{:12.4f}{:19.1f}{:9.1f}".format(row["table"], *numbers))
    for row in report["tables"]:
        print("", f"--- {row['table']}", "\n\n".join(row["samples"]), sep="\n")


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # on Windows it may be another
    main()
