"""The committed records: what was measured, with which code, and the numbers that they hold.

    from records import Records

    Records().text("v6", "loss")  # as a sentence shows it
    Records().of("hour")          # [record], one for each seed

No PyTorch is needed, and no version is named: see runs.toml for the sets of runs.
"""

import contextlib
import functools
import hashlib
import json
import math
import statistics
from pathlib import Path
from types import SimpleNamespace

from quantities import NUMBERS, shown
from rules import code_hash
from steps import ROOT, base_of, find_step, read_script, tomllib

FOLDER = ROOT / "docs" / "records"
TOO_BUSY = 0.05  # share of the cores that other processes may take during a run
MINUS = str.maketrans("-", "−")
USUAL = {"flags": "", "seeds": 3, "poems": 1, "edit": None, "stands_for": [], "preset": False}
USUAL |= {"keep_versions": [], "each": [""]}
COUNT_TAKES = ("Config", "Tokenizer", "load_data", "get_batch", "estimate_loss")  # of v1


def read_runs():
    """Return {name: set of runs}, as runs.toml lists them."""
    table = tomllib.loads(Path(__file__).with_name("runs.toml").read_text(encoding="utf-8"))
    runs = {}
    for file, sets in table.items():
        for first, row in sets.items():
            run = {**USUAL, **row, "file": file}
            for each in run["each"]:
                name = f"{first}_{each}" if each else first
                runs[name] = SimpleNamespace(**run | {"flags": run["flags"].format(each).split()})
    return runs


RUNS = read_runs()
OWN = {  # a version's own run, or that of the version that computes the same
    version: [(name, version if version in run.versions else run.versions[0])]
    for name, run in RUNS.items()
    for version in run.stands_for
}
BESIDE = ("real", "chance", "placed", "rule", "forms")  # what tools/form.py puts beside a model
OWN |= {name: [("beside", name)] for name in BESIDE}


def read_lines(file):
    """Return the records of a file; none where it is missing."""
    path = FOLDER / f"{file}.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def write(file, record, key):
    """Put a record in a file, in the place of the one that is equal in these fields, or last."""
    lines = {tuple(old[name] for name in key): old for old in read_lines(file)}
    lines[tuple(record[name] for name in key)] = record
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines.values())
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{file}.jsonl").write_text(text, encoding="utf-8", newline="\n")


def code_of(version):
    """Return the hash of a version's script, 12 or "v12", today; "counted_pairs" is of count.py."""
    if not str(version).startswith("counted"):
        return code_hash(read_script(find_step(version)))
    count = code_hash((ROOT / "tools" / "count.py").read_text(encoding="utf-8"))
    return count + code_hash(read_script(find_step("v1")), COUNT_TAKES)


def model_of(flags):
    """Return a hash of the saved model that a run samples from; None where it trains its own."""
    if "--sample" not in flags:
        return None
    return (sha256(ROOT / flags[flags.index("--sample") + 1]) or "missing")[:12]


@functools.cache
def sha256_then(path, written):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def sha256(path):
    return sha256_then(path, path.stat().st_mtime_ns) if path.exists() else None


def stale(record):
    """Return whether a record is of other code, flags or edit than today's."""
    if "name" in record:  # of speed.py: it has the code of each version
        return any(code != code_of(version) for version, code in record["code"].items())
    run = RUNS.get(record["run"])
    if run is None:
        return True
    made = record["code"], record["flags"], record.get("edit"), record.get("model")
    return made != (code_of(record["version"]), run.flags, run.edit, model_of(run.flags))


def disturbed(record):
    """Return whether other processes took so much of its machine that a time says little."""
    others = record["seconds_of_others"]
    return others is not None and others > TOO_BUSY * record["seconds"] * record["machine"]["cores"]


class Records:
    """All records, by run and version; each list is in the order of the seeds."""

    def __init__(self):
        self.by_run, self.used = {}, []
        for file in dict.fromkeys(run.file for run in RUNS.values()):
            for record in sorted(read_lines(file), key=lambda record: record["seed"]):
                self.by_run.setdefault((record["run"], record["version"]), []).append(record)
        self.speeds = read_lines("speed")
        for record in self.by_run.get(("ladder", 1), [])[:1]:  # what stands beside is alike in all
            for name, numbers in record.get("form", {}).get("beside", {}).items():
                bare = {k: v for k, v in record.items() if k in ("run", "version", "flags", "code")}
                self.by_run["beside", name] = [{**bare, "form": numbers}]

    def of(self, name):
        """Return the records of "v6", of the run "hour", or of "little_text.v9"."""
        found = self.find(name)
        if not found:
            raise KeyError(f"no record of {name}; see workshop/runs.toml and docs/records")
        self.used += found
        return found

    def find(self, name):
        """Return the same; none where there are no records, or several versions have some."""
        run, _, version = name.rpartition(".")
        if run in RUNS:
            keys = [(run, find_step(version).version)]
        elif name in RUNS:
            keys = [(name, version) for version in RUNS[name].versions]
        else:
            keys = OWN.get(name) or OWN.get(find_step(name).version, [])
        return self.by_run.get(keys[0], []) if len(keys) == 1 else []

    def speed_of(self, name):
        """Return the records of speed.py by their second word, v13 of train_v13_laptop."""
        found = [record for record in self.speeds if record["name"].split("_")[1] == name]
        self.used += found
        return found

    def used_stale_ones(self):
        """Return whether one that was asked for since the last call is of other code than today."""
        used, self.used = self.used, []
        return any(map(stale, used))

    def values(self, name, what="loss"):
        """Return a number of each seed; none where the records lack it."""
        number, found = NUMBERS[what][0], []
        for record in self.of(name):
            with contextlib.suppress(KeyError, IndexError):
                found.append(number(record))
        return [value for value in found if value is not None]

    def spread(self, name, what="loss"):
        """Return (smallest, mean, largest) over the seeds."""
        values = self.values(name, what)
        return min(values), statistics.mean(values), max(values)

    def wide(self, name, what="loss"):
        """Return whether the seeds are too far apart for a mean of them to say anything."""
        low, _, high = self.spread(name, what)
        return high == math.inf or high - low > NUMBERS[what][2]

    def text(self, name, what, digits=None, low_to_high=False):
        """Return a number as a sentence or a table shows it, maybe with its range, or ""."""
        if what == "change":
            before = base_of(find_step(name)).name
            if self.wide(name) or self.wide(before):
                raise KeyError(f"no mean of {name} or of {before}: their seeds are far apart")
            old, new = (round(self.spread(name)[1], 3) for name in (before, name))  # as shown
            return f"{new - old:+.3f}".translate(MINUS)
        if what in ("low", "high"):
            return shown(self.spread(name)[0 if what == "low" else 2], "{:.2f}")
        values, kind = self.values(name, what), NUMBERS[what][1]
        if not values:
            return ""
        kind = f"{{:.{digits}f}}" if digits and kind.endswith("2f}") else kind
        if self.wide(name, what):
            return " / ".join(shown(value, kind) for value in values)
        low, mean, high = (shown(value, kind) for value in self.spread(name, what))
        return f"{mean} ({low}–{high})" if low_to_high and low != high else mean
