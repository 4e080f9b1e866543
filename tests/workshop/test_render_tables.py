"""The tables of what has been measured, and of what has not been yet, from made up records."""

import blocks
from made_up import measured
from render import WORDS


def rows_of(block, records, step=None):
    """Return {first cell: other cells} of a block in English; "" is its head."""
    lines = blocks.BLOCKS[block](records, WORDS["en"], step).splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {first or "head": cells for first, *cells in rows[:1] + rows[2:]}


def test_the_ladder_has_a_column_of_the_long_budget_once_it_is_measured_and_rows_of_counting():
    def cells(*names):
        records = measured(*names)
        for record, loss in zip(records.of("v6"), (5.7, 6.18, 6.2), strict=True):
            record["curve"][-1]["val_loss"] = loss
        lines = blocks.BLOCKS["ladder table"](records, WORDS["en"]).splitlines()
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        return rows[0], {row[0].split("]")[0][1:] or row[1]: row for row in rows}

    head, rows = cells()
    assert head[2:4] == ["val loss", "line ends"] and "counted: pairs" not in rows
    head, rows = cells("counting")
    assert rows["counted: pairs"][2:4] == ["4.68", ""]
    head, rows = cells("counting", "ladder_long")
    assert head[2:4] == ["val loss", "val loss, 8,000 steps"]
    assert rows["v3"][3] == "4.22 (4.21–4.23)" and rows["v11"][3] == ""
    assert rows["counted: triples"][2:4] == ["4.49", "4.49"]
    assert rows["v6"][2] == "5.70 / 6.18 / 6.20"


def test_counting_stands_beside_v1_at_both_budgets():
    rows = rows_of("counting", measured("counting", "ladder_long", "exercise_n_embed_512_long"))
    assert rows["counted: pairs"] == ["4.679", "3.679"]
    assert rows["v1, 8,000 steps"][0] == "4.220 (4.210–4.230)"
    assert list(rows)[-1] == "v1, 8,000 steps, --n_embed 512"
    assert list(rows_of("counting", measured())) == ["head", "v1"]


def test_real_poems_chance_and_rules_stand_beside_what_versions_know_of_form():
    rows = rows_of("form", measured("beside"))
    at = {name: i for i, name in enumerate(rows["head"])}
    real, chance = rows["real poems, held out"], rows["real lines, shuffled"]
    assert (real[at["rhyme"]], real[at["whole poems"]]) == ("0.91", "98%")
    assert chance[at["rhyme"]] == "0.08" and chance[at["whole poems"]] == ""
    rule = rows["rule: yes after 4 characters"]
    assert rule[at["line ends"]] == "0.55" and rows["v9"][at["rhyme"]] == ""
    assert "rhyme" not in rows_of("form", measured())["head"]


def test_the_rates_are_compared_as_far_as_there_are_records():
    records = measured("sweep_1e-3", "exercise_rate_1e-2")
    del records.by_run["exercise_rate_1e-2", 7]
    records.of("exercise_rate_1e-2.v8")[1] |= {"stopped": "error: loss not finite"}
    rows = rows_of("rate sweep", records)
    assert list(rows) == ["learning rate", "1e-3", "3e-3", "1e-2"]
    assert rows["1e-3"] == ["4.220 (4.210–4.230)"] * 3
    assert rows["1e-2"] == ["", "4.210 / ∞ / 4.230", "4.220 (4.210–4.230)"]
    assert rows["3e-3"][0] == records.text("v7", "loss", 3, True)


def test_units_that_never_fire_are_shown_by_block_and_seed():
    records = measured()
    assert blocks.BLOCKS["dead units"](records, WORDS["en"], None) == ""
    for i, record in enumerate(records.of("v6")):
        record["dead"] = {"untrained": [0, 0, 0.4], "trained": [0, 0.1, i / 2]}
    rows = rows_of("dead units", records)
    assert rows["block 3"] == ["40% → 0%", "40% → 50%", "40% → 100%"]
    losses = [f"{record['curve'][-1]['val_loss']:.3f}" for record in records.of("v6")]
    assert rows["val loss"] == losses


def test_of_each_context_the_best_rate_is_taken():
    records = measured("window_16_3e-3", "window_16_1e-2", "window_64_3e-3")
    (best,) = records.of("window_16_1e-2")
    best["curve"][-1]["val_loss"] = 4.1
    best["form"]["contexts"] = [{"loss": 4.567}, {"loss": 4.321}]
    rows = rows_of("context", records)
    at = {name: i for i, name in enumerate(rows["context window"])}
    assert rows["16"][at["best rate"]] == "1e-2" and rows["64"][at["best rate"]] == "3e-3"
    assert rows["16"][at["at 1e-2"]] == "4.100" and rows["8"][at["best rate"]] == "6e-3"
    assert rows["16"][at["loss on held-out poems"]] == "4.321"
    assert list(rows)[1:] == ["8", "16", "64"]
