"""Numbers of v18's figure: what temperature and top-k make of a distribution, and of poems."""

from collections import Counter

import torch
from committed import marks_of, model_of, rounded
from quantities import NUMBERS
from records import Records

BEGINNINGS = (  # hardly certain, less so, certain; the second is by 晏殊
    "浣溪沙 苏轼\n",
    "浣溪沙 苏轼\n一曲新词酒一杯，去年天气旧亭台。\n夕阳西下几时",
    "浣溪",
)
KEPT, WIDTH = 200, 0.05  # logits as they are; of the others, how many are in each range
TEMPERATURES = 0, 0.5, 0.7, 0.8, 0.9, 1, 1.1, 1.2
TOP_KS = 5, 20, 50, 200, 0  # 0: all
SHOWN = "whole", "distinct", "rhyme", "pairs"


def temperature():
    """v18: logits of the evening's model after some beginnings; what was measured, by setting."""
    model, chars = model_of("evening")
    beginnings = []
    for text in BEGINNINGS:
        logits = model(torch.tensor([[chars.index(char) for char in text]]))[0][0, -1]
        largest, order = logits.sort(descending=True)
        counts = Counter((largest[KEPT:] // WIDTH).int().tolist())
        found = {"text": text, "chars": "".join(chars[i] for i in order[:10])}
        found |= {"logits": rounded(largest[:KEPT]), "others": sorted(counts.items())}
        beginnings.append(found)
    settings = {f"{t} 0": f"temperature_{float(t)}" for t in TEMPERATURES[1:]}
    settings |= {"0 0": "likeliest"} | {f"1 {k}": f"top_{k}" for k in TOP_KS[:-1]}
    records, measured = Records(), {}
    for setting, name in settings.items():
        record = next(iter(records.find(name)), None)
        if record:
            poem = {name: record["form"]["poems"][0][name] for name in ("tune", "body")}
            poem["marks"] = marks_of(poem["tune"], poem["body"])
            measured[setting] = {**numbers_of(record), "poem": poem}
    return {
        "beginnings": beginnings,
        "width": WIDTH,
        "temperatures": TEMPERATURES,
        "top_ks": TOP_KS,
        "measured": measured,
        "real": numbers_of(records.of("real")[0]),
    }


def numbers_of(record):
    return {name: round(NUMBERS[name][0](record), 4) for name in SHOWN}
