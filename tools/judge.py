"""What poems are judged by, beside them real ones, chance, and rules. No PyTorch is needed."""

import random
from collections import Counter

from poems import (
    ENDS,
    by_tune,
    fixed_tunes,
    form,
    lines_of,
    placed,
    rhymed,
    rhyming_pairs,
    shuffled,
    split_poems,
    usual_form,
)

FULL = "。？！"  # behind these the text begins a new row, whatever the poem
HELD_OUT = 200  # poems for the line ends
RUN = 8  # characters
FREQUENT = 20


def share(part, whole):
    """Return a part of a whole, rounded; None of nothing."""
    return round(part / whole, 4) if whole else None


class Judge:
    """Judges poems by those of a text: these give the tunes of fixed form and what rhymes in them.

    Poems are [(tune, body, whether it is whole)].
    """

    def __init__(self, train, val, groups):
        self.groups, real = groups, split_poems(f"\n\n{train}{val}")
        self.tunes, self.bodies = fixed_tunes(real), by_tune(real)
        self.asked = {tune: rhyming_pairs(self.bodies[tune], groups) for tune in self.tunes}
        self.runs = {train[i : i + RUN] for i in range(len(train))}
        self.pairs = Counter(zip(train, train[1:], strict=False))

    def whole(self, tune, body):
        """Return whether the lines have the lengths of a poem to that tune."""
        return form(body) in self.tunes[tune][0]

    def usual(self, poem):
        """Return whether a poem is to one of the tunes, in its most frequent form."""
        tune, _, body = poem
        return tune in self.tunes and form(body) == usual_form(self.bodies[tune])[0]

    def first_rhymes(self, tune):
        """Return the pairs of the first line that rhymes in a tune."""
        first = self.asked[tune][0][0]
        return [(i, j) for i, j in self.asked[tune] if i == first]

    def rhyme(self, poems):
        """Return which part of the pairs of lines rhyme, and of the poems are whole and do so."""
        asked = [len(self.asked[tune]) for tune, *_ in poems]
        found = [rhymed(body, self.asked[tune], self.groups) for tune, body, _ in poems]
        full = [n == m > 0 and whole for n, m, (*_, whole) in zip(found, asked, poems, strict=True)]
        return {"rhyme": share(sum(found), sum(asked)), "rhymed": share(sum(full), len(poems))}

    def report(self, poems):
        """Return the shares: rhyme, different characters, and what the training text has too."""
        bodies = [body for _, body, _ in poems]
        runs = [body[i : i + RUN] for body in bodies for i in range(len(body) - RUN + 1)]
        pairs = [pair for body in bodies for pair in zip(body, body[1:], strict=False)]
        pairs = [pair for pair in pairs if not set(pair) & set(ENDS)]
        chars = ["".join(lines_of(body)) for body in bodies]
        return {
            **self.rhyme(poems),
            "distinct": share(sum(len({*text}) for text in chars), sum(map(len, chars))),
            "verbatim": share(sum(run in self.runs for run in runs), len(runs)),
            "pairs": share(sum(self.pairs[pair] >= FREQUENT for pair in pairs), len(pairs)),
        }

    def beside(self, known, held_out, seed):
        """Return what stands beside a model's numbers; known and held-out poems: of split_poems.

        real: held-out poems. chance: the lines of all real ones in random order within each tune;
        placed: each line stays in its place, so that tones fit
        """
        dice = random.Random(seed)
        real = [(t, body, self.whole(t, body)) for t, _, body in held_out if t in self.tunes]
        lines, fitting = (
            [(tune, body, True) for tune in self.tunes for body in mixed(self.bodies[tune], dice)]
            for mixed in (shuffled, placed)
        )
        whole = share(sum(whole for *_, whole in real), len(real))
        return {
            "real": {"poems": len(real), "whole": whole, **self.report(real)},
            "chance": {"poems": len(lines), **self.rhyme(lines)},
            "placed": {"poems": len(fitting), **self.rhyme(fitting)},
            **rules(known, held_out[:HELD_OUT]),
        }


def places(body):
    """Return [(number of the line, its characters so far, does it end here)] of a poem.

    One place is before each character, and before the last line break. Those behind a mark that a
    new row follows anyway are left out: nobody has to know a poem to say so.
    """
    found, number, length = [], 0, 0
    for before, char in zip(f"\n{body}", f"{body}\n", strict=True):
        if before not in FULL:
            found.append((number, length, char in ENDS))
        number, length = (number + (length > 0), 0) if char in ENDS else (number, length + 1)
    return found


def f1(answers):
    """Return the F1 of the yes in [(is it said, is it so)]."""
    answers = list(answers)
    right = sum(said and true for said, true in answers)
    return round(2 * right / max(1, sum(map(sum, answers))), 4)


def rules(known, held_out):
    """Return the F1 of what two rules without a model, made of known poems, say of line ends.

    rule: yes at every place from so many characters on, the best number for these poems
    forms: yes where a line ends in the most frequent form of the tune
    """

    def score(poems, says):
        return f1((says(t, *at), ends) for t, _, body in poems for *at, ends in places(body))

    def at_least(n):
        return lambda tune, number, length: length >= n

    def usual(tune, number, length):
        return forms.get(tune, {}).get(number) == length

    best = max(range(12), key=lambda n: score(known[:500], at_least(n)))
    forms = {t: dict(enumerate(usual_form(found)[0])) for t, found in by_tune(known).items()}
    return {
        "rule": {"characters": best, "line_ends": score(held_out, at_least(best))},
        "forms": {"line_ends": score(held_out, usual)},
    }
