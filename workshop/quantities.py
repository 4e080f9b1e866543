"""What a record says, as numbers, and how a sentence or a table shows them."""

import math

WIDE = 0.3  # seeds further apart are no group: each is shown by itself, and no mean of them
RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def share_of_whole(record):
    report = record["form"]
    if isinstance(report["whole"], float):  # of real poems
        return report["whole"]
    return sum(report["whole"].values()) / (report["poems_to_each"] * len(report["whole"]))


def last(record, kind="val"):
    return math.inf if "stopped" in record else record["curve"][-1][f"{kind}_loss"]


def lowest(record):
    return min(record["curve"], key=lambda point: point["val_loss"])


NUMBERS = {  # what a record says, how it is shown, and how far apart its seeds may be for a mean
    "loss": (last, "{:.2f}", WIDE),
    "train": (lambda record: last(record, "train"), "{:.2f}", WIDE),
    "first": (lambda record: record["curve"][0]["val_loss"], "{:.2f}", WIDE),
    "best": (lambda record: lowest(record)["val_loss"], "{:.2f}", WIDE),
    "step": (lambda record: lowest(record)["step"], "{:,.0f}", 0),  # of the lowest loss
    "ppl": (lambda record: math.exp(min(last(record), 700)), "{:.0f}", 100 * WIDE),
    "guess": (lambda record: math.log(record["vocabulary"]), "{:.2f}", WIDE),
    "judged": (lambda record: math.log(record["form"]["perplexity"]), "{:.2f}", WIDE),  # as judged
    "ends": (lambda record: record["form"]["line_ends"], "{:.2f}", WIDE),
    "held": (lambda record: record["form"]["contexts"][-1]["loss"], "{:.2f}", WIDE),
    "held_8": (lambda record: record["form"]["contexts"][0]["loss"], "{:.2f}", WIDE),
    "ends_8": (lambda record: record["form"]["contexts"][0]["line_ends"], "{:.2f}", WIDE),
    "whole": (share_of_whole, "{:.0%}", WIDE),
    "rhyme": (lambda record: record["form"]["rhyme"], "{:.2f}", WIDE),
    "rhymed": (lambda record: record["form"]["rhymed"], "{:.0%}", WIDE),
    "given": (lambda record: record["form"].get("given"), "{:.2f}", WIDE),
    "groups": (lambda record: record["form"].get("given_groups"), "{:.0f}", math.inf),
    "distinct": (lambda record: record["form"]["distinct"], "{:.2f}", WIDE),
    "verbatim": (lambda record: record["form"]["verbatim"], "{:.1%}", WIDE),
    "pairs": (lambda record: record["form"]["pairs"], "{:.0%}", WIDE),
    "minutes": (lambda record: record["seconds"] / 60, "{:.0f}", math.inf),
    "parameters": (lambda record: record["parameters"], "{:,.0f}", math.inf),
}


def shown(value, kind):
    """Return a number as text; one that has diverged without all its digits."""
    if value < 1000 or "," in kind:
        return kind.format(value)
    power = math.floor(math.log10(value)) if value < math.inf else 0
    return f"{value / 10**power:.1f}×10{str(power).translate(RAISED)}" if power else "∞"
