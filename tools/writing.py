"""What a model writes to the tunes, and what becomes of a rhyme that it is given."""

from collections import Counter

import torch
from judge import share
from poems import AUTHOR, line_ends, opening, rhymed
from tqdm import tqdm

KEPT = 24  # poems in the report, the first ones


def write(model, tokenizer, tune, n, longest, device, *how):
    """Return n sampled poems to a tune: what follows the title, and whether it came to an end.

    how: what generate() takes more in some versions
    """
    title = f"\n{tune} {AUTHOR}\n"
    ids = torch.tensor([tokenizer.encode(title)] * n, device=device)
    texts = map(tokenizer.decode, model.generate(ids, longest + 2, *how).tolist())
    parts = [text[len(title) :].partition("\n\n") for text in texts]
    return [(body, bool(end)) for body, end, _ in parts]


def given(by, model, tokenizer, held_out, device, *how):
    """Return how many lines rhyme with one that was given, and in how many groups half of them."""
    begun, found, asked = {}, Counter(), Counter()
    for tune, author, body in filter(by.usual, held_out):
        pairs, ends = by.first_rhymes(tune), line_ends(body)
        groups = [by.groups.get(ends[i], set()) for i in pairs[0]]
        title, begin = f"\n{tune} {author}\n", opening(body, pairs[0][0])
        for part, _ in sorted(set.intersection(*groups))[:1]:  # of the real poem's rhyme
            row = title + begin, len(title), tune, pairs, part
            begun.setdefault(len(title + begin), []).extend([row] * 2)
    for rows in tqdm(begun.values(), "given", leave=False, disable=None):
        ids = torch.tensor([tokenizer.encode(begin) for begin, *_ in rows], device=device)
        left = max(by.tunes[tune][1] + 2 - len(begin) + title for begin, title, tune, *_ in rows)
        texts = map(tokenizer.decode, model.generate(ids, left, *how).tolist())
        for text, (_, title, _, pairs, part) in zip(texts, rows, strict=True):
            asked[part] += len(pairs)
            found[part] += rhymed(text[title:].partition("\n\n")[0], pairs, by.groups)
    half = sum(found[part] >= asked[part] / 2 for part in asked)
    rhyming = share(sum(found.values()), sum(asked.values()))
    return {"given": rhyming, "given_groups": half, "asked_groups": len(asked)}


def judge_poems(by, model, tokenizer, config, n, held_out):
    """Return the part of the report that is about sampled poems, n to each tune."""
    how = [getattr(config, name) for name in ("temperature", "top_k") if hasattr(config, name)]
    report, poems = {"poems_to_each": n, "whole": {}}, []
    for tune in tqdm(by.tunes, "whole poems", unit="tune", leave=False, disable=None):
        written = write(model, tokenizer, tune, n, by.tunes[tune][1], config.device, *how)
        keeps = [end and by.whole(tune, body) for body, end in written]
        report["whole"][tune] = sum(keeps)
        poems += [(i, tune, body, keeps[i]) for i, (body, _) in enumerate(written)]
    report |= by.report([poem[1:] for poem in poems])
    report |= given(by, model, tokenizer, held_out, config.device, *how) if held_out else {}
    poems.sort(key=lambda poem: poem[0])  # the first to each tune, then the second to each, …
    report["poems"] = [
        {"tune": t, "whole": keeps, "body": body} for _, t, body, keeps in poems[:KEPT]
    ]
    return report
