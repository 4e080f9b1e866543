"""The tables of what was tried beside the ladder: a function each, as in tables.py."""

import statistics

from records import RUNS
from tables import COUNTED, LONG, cell, compared, table

SWEPT = ("v7", "v8", "v9")
SWEEP = {"1e-3": "sweep_1e-3", "2e-3": "sweep_2e-3", "3e-3": "ladder", "4e-3": "sweep_4e-3"}
SWEEP |= {"6e-3": "sweep_6e-3", "1e-2": "exercise_rate_1e-2", "2e-2": "sweep_2e-2"}


def counting_table(records, words, step=None):
    """Return the table of v1 at both budgets, and wider, beside counting."""
    names = {name: name for name in COUNTED} | {"v1": "v1", "v1 longer": f"{LONG}.v1"}
    names["v1 wider"] = "exercise_n_embed_512_long"
    return compared(records, words, names, ("loss", "train"))


def tunes_table(records, words, step=None, name=""):
    """Return the table of whole poems by tune, of one run."""
    report = records.of(name)[0]["form"]
    rows = [[tune, f"{kept} / {report['poems_to_each']}"] for tune, kept in report["whole"].items()]
    return table(["", words["whole"]], rows)


def context_table(records, words, step=None):
    """Return the table of models with other context windows: val loss by rate, and of the best.

    Losses of windows of different length are means over different contexts; those on the same
    held-out poems can be compared.
    """
    found = {}
    for name, run in RUNS.items():
        if (run.file == "context" or name == "laptop") and records.find(name):
            flags = dict(zip(run.flags[::2], run.flags[1::2], strict=True))
            found.setdefault(int(flags["--block_size"]), {})[flags["--learning_rate"]] = name
    rates, rows = sorted({rate for names in found.values() for rate in names}, key=float), []
    for context, names in sorted(found.items()):
        best = min(names, key=lambda rate: records.spread(names[rate])[1])
        losses = [
            cell(records, words, names[rate], "loss", 3) if rate in names else "" for rate in rates
        ]
        more = [cell(records, words, names[best], what, 3) for what in ("held", "ends")]
        rows.append([str(context), *losses, best if len(rates) > 1 else "", *more])
    head = [words["context"], *(words["at"].format(rate) for rate in rates)]
    return table([*head, words["best rate"], words["held"], words["ends"]], rows)


def sweep_table(records, words, step=None):
    """Return the table of val loss by learning rate."""
    rows = []
    for rate, run in SWEEP.items():
        cells = [cell(records, words, f"{run}.{name}", "loss", 3, True) for name in SWEPT]
        rows += [[rate, *cells]] if any(cells) else []
    return table([words["the rate"], *SWEPT], rows)


def dead_table(records, words, step=None):
    """Return the table of units that never fire, by block and seed, and the loss."""
    runs = [record for record in records.of("v6") if "dead" in record]
    if not runs:
        return ""
    pairs = (zip(r["dead"]["untrained"], r["dead"]["trained"], strict=True) for r in runs)
    rows = [
        [words["block"].format(i), *(f"{before:.0%} → {after:.0%}" for before, after in row)]
        for i, row in enumerate(zip(*pairs, strict=True), 1)
    ]
    losses = [f"{record['curve'][-1]['val_loss']:.3f}" for record in runs]
    rows.append([words["loss"], *losses])
    seeds = [words["seed"].format(record["seed"]) for record in runs]
    return table([words["dead"], *seeds], rows)


def magnitude(value):
    """Return a number with its first two digits, a tiny one with its first and the power of ten."""
    if 0 < value < 0.001:
        return f"{value:.0e}".replace("e-0", "e-")
    return f"{value:.0f}" if value >= 100 else f"{value:.2g}"


def depth_table(words, columns):
    """Return the table of spread and gradient by depth; columns: {heading: depths of some runs}."""
    heads = [words[what].format(name) for name in columns for what in ("spread", "gradient")]
    rows = []
    for i in range(max(len(levels) for depths in columns.values() for levels in depths)):
        cells = []
        for depths in columns.values():
            for part in (1, 2):
                values = [levels[i][part] for levels in depths if i < len(levels)]
                cells.append(magnitude(statistics.mean(values)) if values else "")
        rows.append([words["block"].format(i) if i else words["embedding"], *cells])
    return table([words["after"], *heads], rows)


def depth_of(records, words, step=None, names=(), when=""):
    """Return the table of the depth of some versions, each a mean over its seeds."""
    return depth_table(
        words, {name: [r["depth"][when] for r in records.of(name)] for name in names}
    )


def trained_depth(records, words, step=None):
    """Return the table of v6 after training, a column for each seed."""
    depths = {str(r["seed"]): [r["depth"]["trained"]] for r in records.of("v6")}
    return depth_table(words, depths)


def seen_table(records, words, step=None):
    """Return the table of what one model reaches by how much it may see."""
    rows = [
        [str(row["context"]), f"{row['loss']:.3f}", f"{row['line_ends']:.3f}"]
        for row in records.of("scale.v12")[0]["form"]["contexts"]
    ]
    return table([words["seen"], words["held"], words["ends"]], rows)


def speed_table(records, words, step, of=None):
    """Return the table of times of a version, or of a name: the first of a row, then ratios."""
    rows, columns = [], {}
    for record in records.speed_of(of or step.name):
        columns = record["seconds"]
        times = [1000 * statistics.median(found) for found in columns.values()]
        shown = [words["ms"].format(f"{time:.0f}") for time in times]
        ratios = ["", *(f" ({time / times[0]:.2f})" for time in times[1:])]
        cells = [time + ratio for time, ratio in zip(shown, ratios, strict=True)]
        rows.append(
            [f"`{' '.join(record['flags'])}`" if record["flags"] else words["defaults"], *cells]
        )
    return table([words["flags"], *(f"`{name}`" for name in columns)], rows)
