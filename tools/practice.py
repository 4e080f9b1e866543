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
import hashlib
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
from textwrap import shorten

from steps import ROOT, tomllib
from task import (
    BUGS,
    LANGUAGES,
    LIMIT,
    TASKS,
    body,
    judged,
    problem_of,
    read_task,
    recorded,
    records_of,
    slips,
    task_names,
)

WORDS = tomllib.loads((TASKS / "words.toml").read_text(encoding="utf-8"))
PASSED = Path(".practice")  # in the reader's folder: the hashes of the files that have passed
MARGIN = 0.03  # of another machine


def system_language():
    names = (os.environ.get("LC_ALL"), os.environ.get("LANG"), locale.getlocale()[0])
    chosen = next((name.lower() for name in names if name), "")
    return "zh-CN" if chosen.startswith(("zh", "chinese")) else "en"


def say(word, **values):
    return WORDS[word][LANGUAGES.index(say.language)].format(**values)


def command(*words):
    words = [f'"{word}"' if " " in word and word not in BUGS else word for word in words]
    return " ".join(["python", Path(sys.argv[0]).as_posix(), *words])


def stamp(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


def idea(task):
    return task[say.language].get("idea") or task["idea" if say.language == "en" else "idea_zh"]


def page_of(task):
    return Path("docs", say.language, task["page"]).as_posix()


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
    lines = [f"{ours:50}{theirs}".rstrip() for ours, theirs in zip_longest(*heads, fillvalue="")]
    if "stopped" not in wrong[0]:
        lines += [f"{name}:\n{run['samples'][0].strip()}\n" for name, run in runs.items()]
    return "\n".join(["", *lines])


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


def finding(line):
    """Say what was found, in the reader's language."""
    if "lacks" in line:
        told = [say(kind, what=what) for kind, what in line["lacks"]]
        return "\n".join(told[:5] + (["…"] if told[5:] else []))
    text, error = line["text"].strip(), line["error"]
    if error in ("limit", "ended"):
        return say(error, text=text)
    first = text.splitlines()[0] if text else error
    if " | " in first:  # found() in tests/conftest.py says it in both languages
        return first.split(" | ")[LANGUAGES.index(say.language)].removeprefix("AssertionError: ")
    if "line" in line:
        where = {"line": line["line"], "code": line["code"]}
        return say("crash", error=shorten(f"{error}: {first}", 200), **where)
    if match := re.search(r"Greatest absolute difference: ([\d.e+-]+|nan|inf)", text):
        return say("infinite" if match[1] in ("nan", "inf") else "differs", by=match[1])
    if match := re.search(r"'shape' do not match: .*?\((.*?)\) != .*?\((.*?)\)", text):
        return say("shapes", found=match[1], wanted=match[2])
    return "" if error == "AssertionError" else shorten(f"{error}: {first}", 200)


def check(task, file, limit=LIMIT):
    """Print one line a property, and what is wrong with the first that fails. Return whether all
    hold."""
    print(say("checking", file=file, name=task["name"], idea=idea(task)) + "\n")
    problem = problem_of(file)
    lines = [{"failed": "import"}] if problem else judged(task, file, limit)
    zh = "zh" if say.language == "zh-CN" else "en"
    texts = {line["says"]: line[zh] for line in lines if "says" in line}
    texts |= {"import": say("import"), "names": say("names")}
    failed = next((line for line in lines if "failed" in line), None)
    order = ["import", *task["properties"]]
    at = order.index(failed["failed"]) if failed else len(order)
    print("\n".join(f"✓ {texts[name]}" for name in order[:at]), end="\n" if at else "")
    if not failed:
        with PASSED.open("a") as passed:
            print(stamp(file), file=passed)
        diff = command(task["name"], str(file), "--diff")
        print("\n" + say("whole" if task["name"] in BUGS else "right", diff=diff))
        print(task[say.language].get("mended", ""), end="")
        return True
    print(f"✗ {texts[order[at]]}")
    told = [say(problem[0], **problem[1]) if problem else finding(failed)]
    turns = next((line["turns"] for line in lines if "turns" in line), [])
    why = [task["wrong"][number][zh].strip() for number in turns]
    why += [] if problem else [say(slip, **values) for slip, values in slips(file)]
    told = why + told if "lacks" in failed else told + why  # a list of names may be long
    print("".join(f"    {line}\n" for line in "\n".join(told).splitlines() if line), end="")
    print("".join(f"· {texts[name]}\n" for name in order[at + 1 :] if name in texts and at), end="")
    print("\n" + say("read on", page=page_of(task), hint=command(task["name"], "--hint")))
    return False


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
    args.words[0] = args.words[0].lower()
    length = 2 if args.words[0] == "bug" else 1
    task, files = read_task(" ".join(args.words[:length])), args.words[length:]
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
