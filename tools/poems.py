"""Poems in a text, the form of each, and how lines end: length and rhyme. No PyTorch is needed."""

import itertools
import re
from collections import Counter

ENDS = "，。、？！\n"  # what ends a line of verse
AUTHOR = "苏轼"  # of the poems that a model is asked for
N_TUNES = 8
FIXED = 0.9  # part of a tune's poems that have its most frequent form, at least
ACCEPTED = 3  # poems that make a form one of the tune's
RHYMES = 0.7  # part of a tune's real poems in which two lines rhyme, at least, for it to ask for it


def split_poems(text):
    """Return [(tune, author, body)] of the poems that follow a blank line, and end at one."""
    return re.findall(r"\n\n(\S+) (\S+)\n(.+?)(?=\n\n)", text, flags=re.S)


def lines_of(body):
    """Return a poem's lines, without the marks and line breaks that end them."""
    return [line for line in re.split(f"[{ENDS}]", body) if line]


def form(body):
    """Return the lengths of a poem's lines."""
    return tuple(map(len, lines_of(body)))


def by_tune(poems):
    """Return {tune: [body]}."""
    bodies = {}
    for tune, _, body in poems:
        bodies.setdefault(tune, []).append(body)
    return bodies


def usual_form(bodies):
    """Return the most frequent form, and of how many poems it is."""
    return Counter(map(form, bodies)).most_common(1)[0]


def fixed_tunes(poems):
    """Return {tune: (accepted forms, longest body)} of the most frequent tunes of fixed form."""
    tunes = {}
    for tune, found in sorted(by_tune(poems).items(), key=lambda item: -len(item[1])):
        if usual_form(found)[1] >= FIXED * len(found) and len(tunes) < N_TUNES:
            forms = Counter(map(form, found))
            accepted = {lengths for lengths, count in forms.items() if count >= ACCEPTED}
            tunes[tune] = accepted, max(map(len, found))
    return tunes


# --- rhyme


def read_rhymes(text):
    """Return {character: its groups}, of the text of data/rhymes.txt.

    A group is a part of 词林正韵 with the kind of its tone: level ones rhyme among themselves.
    """
    groups = {}
    for line in text.splitlines():
        part, tone, chars = line.split(" ")
        for char in chars:
            groups.setdefault(char, set()).add((part, tone == "平"))
    return groups


def rhyme(a, b, groups):
    """Return whether two characters have a group in common; one that is in none never does."""
    return not groups.get(a, set()).isdisjoint(groups.get(b, ()))


def line_ends(body):
    """Return the last character of each line of a poem."""
    return [line[-1] for line in lines_of(body)]


def opening(body, i):
    """Return a poem up to line i, with the mark behind it."""
    return re.match(f"([^{ENDS}]+[{ENDS}]\n?){{{i}}}[^{ENDS}]+[{ENDS}]", body)[0]


def rhyming_pairs(bodies, groups):
    """Return the pairs of lines that rhyme in real poems to a tune, of its most frequent form."""
    usual, count = usual_form(bodies)
    poems = [line_ends(body) for body in bodies if form(body) == usual]
    return [
        (i, j)
        for i, j in itertools.combinations(range(len(usual)), 2)
        if sum(rhyme(ends[i], ends[j], groups) for ends in poems) >= RHYMES * count
    ]


def rhymed(body, pairs, groups):
    """Return how many of these pairs of lines rhyme in a poem, with two different characters."""
    ends = line_ends(body)
    found = [(ends[i], ends[j]) for i, j in pairs if j < len(ends)]
    return sum(a != b and rhyme(a, b, groups) for a, b in found)


def shuffled(bodies, dice):
    """Return poems of as many lines each, made of all the lines of these in random order."""
    lines = [line for body in bodies for line in lines_of(body)]
    dice.shuffle(lines)
    left = iter(lines)
    return ["，".join(itertools.islice(left, len(form(body)))) for body in bodies]


def placed(bodies, dice):
    """Return poems of their most frequent form, each line from its own place in one of these."""
    usual, _ = usual_form(bodies)
    places = list(zip(*(lines_of(body) for body in bodies if form(body) == usual), strict=True))
    mixed = [dice.sample(lines, len(lines)) for lines in places]
    return ["，".join(lines) for lines in zip(*mixed, strict=True)]
