"""Judges a learner's file for practice.py, which starts it as a process of its own:

    python tools/examine.py v7 my_v7.py report.jsonl

It runs the properties of the task, which are tests of the syllabus, by pytest until one fails,
and writes what it finds, one JSON a line. In between, at "names", it compares the names and sizes
of the learner's model with the reference's. What failed is then looked up among the wrong turns:
edits of the reference, of which one may do just what the learner's file does.
"""

import functools
import itertools
import json
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType

import pytest
import torch
from steps import ROOT, import_file
from task import edited, read_task, syllabus

# Sizes of which no two are equal, so that each says what it is
SIZES = {"n_embed": 36, "block_size": 8, "n_head": 3, "n_layer": 2, "dropout": 0.25}
VOCAB = 29
MEANING = {36: "n_embed", 8: "block_size", 12: "n_embed // n_head", 29: "vocab_size"}
MEANING |= {144: "4 * n_embed", 108: "3 * n_embed"}


def module_of(text, name):
    """Return a script's text as a module."""
    module = sys.modules[name] = ModuleType(name)
    module.__file__ = str(ROOT / f"{name}.py")
    exec(compile(text, name, "exec"), module.__dict__)
    return module


def new_model(module, seed=0):
    """Return a model of these sizes with random weights: those that start as 0 or 1, too."""
    torch.manual_seed(seed)
    known = module.Config.__dataclass_fields__
    config = module.Config(device="cpu", **{k: v for k, v in SIZES.items() if k in known})
    model = module.BabyGPT(config, VOCAB)
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(std=0.3)
    return model


def parts(module):
    """Return {name: size} of the weights of a version, and of its dropouts, which have none."""
    model = new_model(module)
    sizes = {name: str(tuple(p.shape)) for name, p in model.state_dict().items()}
    drops = {n: m for n, m in model.named_modules() if isinstance(m, torch.nn.Dropout)}
    return sizes | {name: f"nn.Dropout({m.p})" for name, m in drops.items()}


def attempt(function, *args):
    """Return what a function returns, or else its error as a text; random numbers as always."""
    torch.manual_seed(1)
    try:
        return function(*args)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def behaviour(module, probe="", state=None):
    """Yield (name, value) of all that tells one version from another, with these weights."""
    if probe:  # of a step on the way to v3
        yield "probe", attempt(eval, probe, {**vars(module), "torch": torch})
        return
    model = attempt(new_model, module)
    if isinstance(model, str):
        yield "model", model
        return
    if state is not None:
        model.load_state_dict(state)
    ids = (7 * torch.arange(16) % VOCAB).view(2, 8)
    seen = []
    model.lm_head.register_forward_hook(lambda module, args, logits: seen.append(logits.detach()))

    def write(length):
        seen.clear()
        out = model.eval().generate(ids[:, :length], 8)
        return [out, *(logits[:, -1] for logits in seen), torch.tensor([x.shape[1] for x in seen])]

    def turned():
        takes = module.rotate.__code__.co_argcount
        return module.rotate(torch.ones(1, 1, 3, 12), *[0] * (takes - 1))

    def gradient():
        model.zero_grad()
        model.eval()(ids, ids.flip(0))[1].backward()
        return [p.grad for p in model.parameters()]

    def read_in_parts():
        caches = [module.Cache() for _ in model.blocks]
        return [model.eval()(ids[:, a:b], caches=caches)[0] for a, b in ((0, 3), (3, 4), (4, 7))]

    yield "count", len([*model.parameters()])  # a module used twice counts once
    yield "window", attempt(lambda: model.eval()(ids)[0])
    yield "training", attempt(lambda: model.train()(ids)[0])
    yield "loss", attempt(lambda: model.eval()(ids, ids.flip(0))[1])
    yield "short window", attempt(lambda: model.eval()(ids[:, :5])[0])
    yield "rotate", attempt(turned) if hasattr(module, "rotate") else ""
    yield "parts", attempt(read_in_parts) if hasattr(module, "Cache") else ""
    yield "writes", attempt(write, 3)
    yield "gradient", attempt(gradient)


def same(a, b):
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        close = a.shape == b.shape and a.dtype == b.dtype
        return close and torch.allclose(a, b, rtol=1e-3, atol=1e-4, equal_nan=True)
    return a == b


@functools.cache
def variant_of(name, numbers):
    """Return a task's reference with these wrong turns, and its parts; None if they do not mix."""
    task = read_task(name)
    try:
        text = task["reference"]
        for turn in map(task["wrong"].__getitem__, numbers):
            text = task["base"] if turn.get("base") else edited(text, turn["edits"])
        variant = module_of(text, "variant")
        return variant, attempt(parts, variant)
    except Exception:
        return None


def wrong_turns(task, module, most=2):
    """Return the numbers of the wrong turns, at most so many, that do what this file does."""
    probe, numbers = task.get("probe", ""), range(len(task["wrong"]))
    ours, sizes = dict(behaviour(module, probe)), attempt(parts, module)
    model = attempt(new_model, module)
    state = None if isinstance(model, str) else model.state_dict()
    counts = range(1, most + 1)
    for chosen in itertools.chain(*(itertools.combinations(numbers, n) for n in counts)):
        variant, same_sizes = variant_of(task["name"], chosen) or (None, None)
        if variant and (probe or sizes == same_sizes):
            if all(same(ours.get(n), b) for n, b in behaviour(variant, probe, state)):
                return list(chosen)
    return []


def readable(name, sizes):
    """Return a weight with its size as a reader of Config would say it."""
    size = re.sub(r"\b\d+\b", lambda n: MEANING.get(int(n[0]), n[0]), sizes[name])
    size = size.replace(f"nn.Dropout({SIZES['dropout']})", "nn.Dropout(dropout)")
    return f"{name} {size}" if "Dropout" not in size else f"{name} = {size}"


def names(task, module):
    """Return what of the reference's names and sizes this file lacks, as [(kind, text)]."""
    reference = module_of(task["reference"], "reference")
    if task.get("probe"):
        return [("missing", n) for n in task["defines"] if not hasattr(module, n)]
    known = module.Config.__dataclass_fields__
    lacks = [("flag", n) for n in reference.Config.__dataclass_fields__ if n not in known]
    defined = [n for n, thing in vars(reference).items() if is_own(thing, reference)]
    lacks += [("missing", n) for n in defined if not hasattr(module, n)]
    ours, theirs = parts(module), parts(reference)
    wanted = [n for n in theirs if n not in ours]
    extra = [n for n in ours if n not in theirs]
    if len(wanted) == len(extra) and sorted(map(theirs.get, wanted)) == sorted(
        map(ours.get, extra)
    ):
        for n in wanted:
            other = next(m for m in extra if ours[m] == theirs[n])
            extra.remove(other)
            lacks.append(("renamed", f"{other} → {n}"))
    else:
        lacks += [("missing", readable(n, theirs)) for n in wanted]
        lacks += [("extra", readable(n, ours)) for n in extra]
    for n in theirs if not lacks else ():
        if n in ours and ours[n] != theirs[n]:
            lacks.append(("size", f"{readable(n, ours)} → {readable(n, theirs)}"))
    # Of several blocks or heads the first will do
    return [x for x in dict.fromkeys(lacks) if not re.search(r"(blocks|heads)\.[1-9]", x[1])]


def is_own(thing, module):
    return getattr(thing, "__module__", "") == module.__name__


class Judge:
    """A plugin of pytest: the properties in the order of the task, up to the first that fails."""

    def __init__(self, task, module, report):
        self.task, self.module, self.report = task, module, report
        self.order, self.names_checked, self.open = task["properties"], False, None

    def write(self, **line):
        print(json.dumps(line), file=self.report, flush=True)

    def pytest_collection_modifyitems(self, items):
        items.sort(key=lambda item: self.order.index(item.originalname))
        assert {"names", *(item.originalname for item in items)} >= {*self.order}
        for item in items:
            self.write(says=item.originalname, **item.get_closest_marker("says").kwargs)

    def check_names(self):
        self.names_checked = True
        self.write(start="names")
        if lacks := names(self.task, self.module):
            self.write(failed="names", lacks=lacks)
            return False
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item, nextitem):
        name = item.originalname
        due = "names" in self.order and self.order.index(name) > self.order.index("names")
        if due and not self.names_checked and not self.check_names():
            item.session.shouldfail = "names"
            return True  # that is, no more need be done with it
        if name != self.open:
            self.open = name
            self.write(start=name)

    def pytest_exception_interact(self, node, call, report):
        frames = traceback.extract_tb(call.excinfo.tb)
        at = [f for f in frames if Path(f.filename) == Path(self.module.__file__)]
        error = call.excinfo.value
        line = {"line": at[-1].lineno, "code": at[-1].line} if at else {}
        kind = type(error).__name__
        self.write(
            failed=getattr(node, "originalname", self.open or "import"),
            error=kind,
            text=str(error),
            **line,
        )


def main(name, file, report):
    task, path = read_task(name), Path(file).resolve()
    with open(report, "w", encoding="utf-8") as lines:
        judge = Judge(task, None, lines)
        judge.write(start="import")
        try:
            judge.module = module = import_file(path)
        except BaseException as error:
            frames = [
                f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)
            ]
            line = {"line": frames[-1].lineno, "code": frames[-1].line} if frames else {}
            judge.write(failed="import", error=type(error).__name__, text=str(error), **line)
            return
        if lacks := [n for n in task["needs"] if not hasattr(module, n)]:
            judge.write(failed="import", lacks=[("missing", n) for n in lacks])
            return
        files = syllabus()
        tests = [f"{files[n]}::{n}" for n in task["properties"] if n != "names"]
        quiet = ["-q", "-x", "-p", "no:cacheprovider", "-o", "addopts=", "--capture=sys"]
        place = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT)]
        failed = pytest.main([*quiet, *place, f"--mine={name}={path}", *tests], plugins=[judge])
        if failed or not judge.open:
            turns = attempt(wrong_turns, task, module)
            judge.write(turns=turns if isinstance(turns, list) else [])
        judge.write(done=True, ok=not failed)


if __name__ == "__main__":
    main(*sys.argv[1:])
