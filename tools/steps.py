"""The steps, as steps.toml lists them, and the one way to run a script and get its model.

    from steps import find_step, import_script, trained

    script = import_script(find_step("v7"))
    model, tokenizer, config = trained(script, ["--max_iters", "100"])

A new version is a row of steps.toml; nothing here need change.
"""

import argparse
import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
TABLE = tomllib.loads(Path(__file__).with_name("steps.toml").read_text(encoding="utf-8"))
STEPS = [
    SimpleNamespace(
        **{"base": row["version"] - 1, "only_defaults": False, **row},
        name=f"v{row['version']}",
        path=ROOT / row["file"],
    )
    for row in TABLE["step"]
]


class UnknownVersion(ValueError, argparse.ArgumentTypeError):
    """A ValueError whose message argparse shows too."""


def find_step(name):
    """Return the step that "3", "v3" or a script's file name means, or raise UnknownVersion."""
    given = Path(str(name).lower()).name
    for step in STEPS:
        if given in (str(step.version), step.name, step.path.name, step.path.stem):
            return step
    raise UnknownVersion(f"{name!r} is no version: expected v1 to {STEPS[-1].name}, or a file name")


def base_of(step):
    """Return the step that a script is a copy of; None for v1, the first."""
    return find_step(step.base) if step.base else None


def read_script(step, root=ROOT):
    """Return a script's text."""
    return (root / step.file).read_text(encoding="utf-8")


def import_script(step, edit=None):
    """Return a script as a module, maybe with a text of it replaced: edit is [old, new]."""
    if edit is None:
        return import_file(step.path)
    old, new = edit
    source = read_script(step)
    if source.count(old) != 1:
        raise ValueError(f"{step.file}: has {source.count(old)} times what is to be edited: {old}")
    return import_text(source.replace(old, new), f"{step.path.stem}_edited", step.path)


def import_text(text, name, path=ROOT / "text.py"):
    """Return the text of a script as a module, which takes itself for the file at this path."""
    module = sys.modules[name] = ModuleType(name)
    module.__file__ = str(path)
    exec(compile(text, name, "exec"), module.__dict__)
    return module


def import_file(path):
    """Return a file as a module; the same module, should it be asked for again."""
    module = sys.modules.get(path.stem)
    if getattr(module, "__file__", None) != str(path):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[path.stem]
            raise
    return module


def trained(script, flags):
    """Run a script to its end, as from the command line; return its model, tokenizer, config."""
    return script.main(list(flags))


def loaded(script, file, flags=()):
    """Return a saved model, its tokenizer, and the config with the shape that the file has."""
    from dataclasses import replace

    import torch
    import tyro

    config = tyro.cli(script.Config, args=list(flags), use_underscores=True)
    config = replace(config, prompts=())  # nothing is sampled: the model need not know them
    model, tokenizer = script.load_checkpoint(str(file), config)  # says what is wrong with a file
    shape = torch.load(file, map_location="cpu", weights_only=True)["shape"]
    return model, tokenizer, replace(config, **shape)
