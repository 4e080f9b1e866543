"""Write a step yourself, and be told whether it is right. 自己写一步，看写得对不对。

    python tools/practice.py                       # the tasks and the bugs
    python tools/practice.py v7                    # writes my_v7.py: v6 with the task on top
    python tools/practice.py v7 my_v7.py           # checks it
    python tools/practice.py v7 --hint 2           # the second of three hints
    python tools/practice.py v7 my_v7.py --diff    # beside the reference
    python tools/practice.py v7 my_v7.py --train   # trains it, as the recorded runs were
    python tools/practice.py bug 5                 # writes bug_5.py: a version with a wrong line
    python tools/practice.py bug 5 bug_5.py        # is it whole again?

A task is a file of tools/tasks/: its text, its hints, the tests that decide, and wrong turns.
"""

import difflib
import locale
import os
import re
import signal
import subprocess
import sys
from argparse import ArgumentParser
from argparse import RawDescriptionHelpFormatter as Raw
from itertools import zip_longest
from pathlib import Path

from check import PASSED, check, problem_of, stamp
from steps import ROOT
from task import (
    BUGS,
    LANGUAGES,
    body,
    command,
    idea,
    page_of,
    read_task,
    recorded,
    records_of,
    say,
    task_names,
)

MARGIN = 0.03  # of another machine


def system_language():
    names = (os.environ.get("LC_ALL"), os.environ.get("LANG"), locale.getlocale()[0])
    chosen = next((name.lower() for name in names if name), "")
    return "zh-CN" if chosen.startswith(("zh", "chinese")) else "en"


def list_tasks():
    """Print the tasks and the bugs, and how far the reader's files are."""
    passed = PASSED.read_text().split() if PASSED.exists() else []
    for heading, names in (("tasks", task_names()), ("bugs", BUGS)):
        print(say(heading))
        for task in map(read_task, names):
            file = task["file"]
            is_right = file.exists() and stamp(file) in passed
            mark = "✓" if is_right else "○" if file.exists() else "·"
            print(f"{mark} {task['name']:6} {idea(task)}{f'  ({file})' if file.exists() else ''}")
    print(say("how", start=command("v7"), check=command("v7", "my_v7.py")))


def seen(task):
    """Return what the recorded run of a bug printed, beside that of its version; "" if none is."""
    wrong = recorded(run=task["name"].replace(" ", "_"))
    right = recorded(run="ladder", version=task["version"], seed=1337)
    if not wrong or not right:
        return ""
    runs = {task["name"]: wrong[0], task["mine"]: right[0]}
    heads = [
        [f"{name}:", *run["output"].partition("\n\n")[0].splitlines(), run.get("stopped", "")]
        for name, run in runs.items()
    ]
    width = 3 + max(map(len, heads[0]))
    lines = [
        f"{ours:{width}}{theirs}".rstrip() for ours, theirs in zip_longest(*heads, fillvalue="")
    ]
    if "stopped" not in wrong[0]:
        lines += [f"{name}:\n{run['samples'][0].strip()}\n" for name, run in runs.items()]
    return "\n".join(["", say("seen", seed=right[0]["seed"]), *lines])


def write_start(task):
    """Write the file to begin with, in the current folder, and say what to do next."""
    file, name = task["file"], task["name"]
    commands = {"check": command(name, str(file)), "hint": command(name, "--hint")}
    text = say("title", name=name, idea=idea(task))
    text += f"\n\n{task[say.language]['task'].strip()}\n"
    if name in BUGS:
        text += f"{seen(task)}\n{say('find', page=page_of(task))}\n"
    try:
        with file.open("x", encoding="utf-8", newline="\n") as out:
            out.write(f'"""{text}\n{say("commands", **commands)}\n"""\n{body(task["base"])}')
    except FileExistsError:
        sys.exit(say("exists", file=file, **commands))
    print(f"{text}\n{say('bug written' if name in BUGS else 'written', file=file, **commands)}")


def hint(task, number):
    print(f"{say('hint', number=number)}: {task[say.language]['hints'][number - 1].strip()}")


def diff(task, file):
    """Print what differs from the reference, docstrings aside."""
    if (problem := problem_of(file)) and problem[0] == "syntax":
        sys.exit(say("syntax", **problem[1]))
    texts = [body(text).splitlines() for text in (file.read_text("utf-8"), task["reference"])]
    lines = difflib.unified_diff(*texts, str(file), say("reference"), n=2, lineterm="")
    print("\n".join(lines) or say("no difference"))


def train(task, file):
    """Train the file as the recorded runs of its version were, and compare the last val loss."""
    records = records_of(task["version"])
    losses = [record["curve"][-1]["val_loss"] for record in records]
    low, high = min(losses), max(losses)
    flags = [*records[0]["flags"], "--device", "cpu", "--prompts"]  # none
    flags += ["--seed", str(records[0]["seed"]), "--data_path", str(ROOT / "data" / "ci.txt")]
    if task["version"] > 11:
        flags += ["--wandb_mode", "disabled"]
    print(say("training", steps=records[0]["curve"][-1]["step"]))
    argv = [sys.executable, "-u", str(file), *flags]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, encoding="utf-8") as process:
        found = None
        for line in process.stdout:
            print(f"    {line}", end="")
            found = re.search(r"val loss ([\d.]+)$", line.strip()) or found
    if process.returncode or not found:
        sys.exit(say("no loss"))
    loss = float(found[1])
    is_close = low - MARGIN <= loss <= high + MARGIN
    word = "in range" if is_close else "too low" if loss < low else "too high"
    print(say(word, loss=f"{loss:.3f}", low=f"{low:.3f}", high=f"{high:.3f}"))
    return is_close


def main(argv=None):
    parser = ArgumentParser(description=__doc__, formatter_class=Raw)
    tasks = "v1 to v10, v13 to v15, v3.1, v3.2, v3.3, bug 1 to bug 12"
    parser.add_argument("words", nargs="*", metavar="TASK [FILE]", help=f"{tasks}; your file")
    parser.add_argument("--lang", choices=LANGUAGES, default=system_language())
    parser.add_argument("--hint", nargs="?", type=int, const=1, choices=(1, 2, 3))
    parser.add_argument("--diff", action="store_true", help="your file beside the reference")
    parser.add_argument("--train", action="store_true", help="a run as the recorded ones")
    args = parser.parse_args(argv)
    say.language = args.lang
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8")  # on Windows; in pipes
    if not args.words:
        return list_tasks()
    name, *files = args.words
    if name.lower() == "bug" and files:
        name = f"bug {files.pop(0)}"
    name = re.sub(r"^bug[ _]?(?=\d)", "bug ", name.lower())
    if name not in (known := [*task_names(), *BUGS]):
        sys.exit(say("no task", name=name, tasks=" ".join(known[: -len(BUGS)]), bugs=len(BUGS)))
    task = read_task(name)
    if args.hint:
        return hint(task, args.hint)
    if not (files or args.diff or args.train):
        return write_start(task)
    file = Path(files[0]) if files else task["file"]
    if not file.is_file():
        sys.exit(say("no file", file=file, start=command(task["name"])))
    does = diff if args.diff else train if args.train else check
    sys.exit(1 if does(task, file) is False else 0)


if __name__ == "__main__":
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` may stop reading
    main()
