"""Poems in a text, and the form of each: the lengths of its lines. No PyTorch is needed."""

import re
from collections import Counter

ENDS = "，。、？！\n"  # what ends a line of verse
AUTHOR = "苏轼"  # of the poems that a model is asked for
N_TUNES = 8
FIXED = 0.9  # part of a tune's poems that have its most frequent form, at least
ACCEPTED = 3  # poems that make a form one of the tune's


def split_poems(text):
    """Return [(tune, author, body)] of the poems that follow a blank line, and end at one."""
    return re.findall(r"\n\n(\S+) (\S+)\n(.+?)(?=\n\n)", text, flags=re.S)


def form(body):
    """Return the lengths of a poem's lines, which end at marks and line breaks."""
    return tuple(len(line) for line in re.split(f"[{ENDS}]", body) if line)


def fixed_tunes(poems):
    """Return {tune: (accepted forms, longest body)} of the most frequent tunes of fixed form."""
    bodies = {}
    for tune, _, body in poems:
        bodies.setdefault(tune, []).append(body)
    tunes = {}
    for tune, found in sorted(bodies.items(), key=lambda item: -len(item[1])):
        forms = Counter(map(form, found))
        if max(forms.values()) >= FIXED * len(found) and len(tunes) < N_TUNES:
            accepted = {lengths for lengths, count in forms.items() if count >= ACCEPTED}
            tunes[tune] = accepted, max(map(len, found))
    return tunes
