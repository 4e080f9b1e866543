"""What a reader takes along: scripts, also with Chinese comments; start files; the repository."""

import contextlib
import io
import os
import shutil
import sys
import zipfile
from unittest import mock

import practice
from comments import in_chinese
from steps import ROOT, STEPS
from task import read_task, task_names

# The repository as one file: all of it, and nothing that somebody has made in the same folder
KEPT = ("*.md", "*.toml", "LICENSE", "requirements.txt", "babygpt_v*.py", "beyond/*", "docs/*/*")
KEPT += ("data/*", "data/weights/*", "tools/*", "tools/tasks/*", "tests/**/*", "workshop/**/*")
KEPT += (".gitignore", ".ci/*", ".github/workflows/*")


def write(out):
    """Write all of it into folders of the site."""
    for language in practice.LANGUAGES:
        (out / "start" / language).mkdir(parents=True)
        write_starts(out / "start" / language, language)
    for folder in ("scripts", "scripts/zh-CN"):
        (out / folder).mkdir(exist_ok=True)
    for step in STEPS:
        shutil.copy(step.path, out / "scripts")
        text = in_chinese(step.path.read_text(encoding="utf-8"))
        file = out / "scripts" / "zh-CN" / step.path.name
        file.write_text(text, encoding="utf-8", newline="\n")
    with zipfile.ZipFile(out / "babygpt.zip", "w", compresslevel=1) as kept:
        for path in sorted({path for pattern in KEPT for path in ROOT.glob(pattern)}):
            packed = zipfile.ZIP_STORED if path.suffix == ".pt" else zipfile.ZIP_DEFLATED
            if path.is_file() and path.parent.name != "__pycache__":
                kept.write(path, f"babygpt/{path.relative_to(ROOT).as_posix()}", packed)


def write_starts(folder, language):
    """Let practice write the file that each task begins with, as it does for who types it."""
    here = os.getcwd()
    os.chdir(folder)
    practice.say.language = language
    try:
        with (
            mock.patch.object(sys, "argv", ["tools/practice.py"]),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            for name in task_names():
                practice.write_start(read_task(name))
    finally:
        os.chdir(here)


def starts_of(step):
    """Return [(task, file)] of a step, the small steps that lead to it first."""
    names = [name for name in task_names() if name.partition(".")[0] == step.name]
    return [(name, read_task(name)["file"].name) for name in names]
