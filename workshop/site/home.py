"""What the first page shows: a poem, two plus signs, the ladder; and the rules of the tunes."""

import json
import statistics

from blocks import first_right_poem
from chart import round_ticks
from diff import rows_of
from poems import AUTHOR, by_tune, fixed_tunes, read_rhymes, rhyming_pairs, split_poems, usual_form
from records import RUNS
from steps import ROOT, find_step
from tables import COUNTED, COURSE, LONG


def read(records, t):
    """Return what the template of the first page needs."""
    best = records.of("rhyme")[0]
    poem = first_right_poem(best)
    changed = [row for row in rows_of(find_step("v7")) if row["tag"] != "span"]
    return {
        "poem": f"{poem['tune']} {AUTHOR}\n{poem['body']}",
        "file": ROOT / best["kept"]["file"],
        "two_lines": {"v6": changed[:2], "v7": changed[2:]},
        "losses": {name: records.text(name, "loss") for name in ("v6", "v7", "v11")},
        "ladder": ladder(records),
    }


def ladder(records):
    """Return the ladder: a row a step, dots at both budgets, lines of counting; in per cent."""
    runs = {"ladder": {}, LONG: {}}
    for run, losses in runs.items():
        names = {s.name: f"{run}.{s.name}" for s in COURSE if s.version in RUNS[run].versions}
        losses |= {name: records.values(n) for name, n in names.items() if records.find(n)}
    counted = {name: statistics.mean(records.values(name)) for name in COUNTED}
    values = [v for losses in runs.values() for found in losses.values() for v in found]
    ticks = round_ticks(min(*values, *counted.values()), max(values), 6)

    def at(value):
        return round(100 * (value - ticks[0]) / (ticks[-1] - ticks[0]), 2)

    def dots(run, step):
        return [at(value) for value in runs[run].get(step.name, [])]

    rows = [(s, dots("ladder", s), dots(LONG, s), records.text(s.name, "loss")) for s in COURSE]
    return {
        "rows": rows,
        "longer": bool(runs[LONG]),
        "ticks": [(at(tick), f"{tick:g}") for tick in ticks],
        "counted": [(at(value), name, f"{value:.2f}") for name, value in counted.items()],
    }


def tunes():
    """Return what poem.js judges by: the accepted forms of each tune, its rhymes, all rhymes."""
    poems = split_poems("\n\n" + (ROOT / "data" / "ci.txt").read_text(encoding="utf-8"))
    rhymes = (ROOT / "data" / "rhymes.txt").read_text(encoding="utf-8")
    groups, bodies, rules = read_rhymes(rhymes), by_tune(poems), {}
    for tune, (forms, longest) in fixed_tunes(poems).items():
        usual = usual_form(bodies[tune])[0]
        rules[tune] = {"forms": [usual, *sorted(forms - {usual})], "longest": longest}
        rules[tune]["pairs"] = rhyming_pairs(bodies[tune], groups)
    text = json.dumps(rules, ensure_ascii=False, separators=(",", ":"))
    return f"const TUNES = {text};\nconst RHYMES = {json.dumps(rhymes, ensure_ascii=False)};\n"
