"""The tasks of practice: a file of tasks/ each, with the texts of the scripts that it is about; and
the bugs, all in one. What practice says is in tasks/ too: words.toml."""

import ast
import json
import re
import sys
from pathlib import Path

from steps import ROOT, base_of, find_step, read_script, tomllib

TASKS = Path(__file__).with_name("tasks")
LANGUAGES = ("en", "zh-CN")
RECORDS = ROOT / "docs" / "records"
WORDS = tomllib.loads((TASKS / "words.toml").read_text(encoding="utf-8"))
RUNS = ("ladder", "laptop", "fused", "rotary")  # of a minute or so each
BUGS = {
    f"bug {bug['number']}": bug
    for bug in tomllib.loads((TASKS / "bugs.toml").read_text(encoding="utf-8"))["bug"]
}


def say(word, **values):
    """Return what words.toml has for this word, in the reader's language, which main sets."""
    return WORDS[word][LANGUAGES.index(say.language)].format(**values)


def command(*words):
    words = [f'"{word}"' if " " in word and word not in BUGS else word for word in words]
    return " ".join(["python", Path(sys.argv[0]).as_posix(), *words])


def task_names():
    """Return the names of the tasks in their order: v1, v2, v3.1, v3.2, v3.3, v3, …"""
    names = [path.stem for path in TASKS.glob("v*.toml")]
    return sorted(names, key=lambda name: [*map(int, re.findall(r"\d+", name)), 99])


def read_task(name):
    """Return all about a task: its file of tools/tasks/, and the texts of its scripts."""
    if name in BUGS:
        return read_bug(name)
    task = {"name": name, "mine": name, "file": Path(f"my_{name.replace('.', '_')}.py")}
    task |= tomllib.loads((TASKS / f"{name}.toml").read_text(encoding="utf-8"))
    step = find_step(name.partition(".")[0])
    task |= {"version": step.version, "page": f"v{step.version:02}.md"}
    if "reference" in task:  # a step on the way to v3: a few lines
        task["reference"] = (TASKS / task["reference"]).read_text(encoding="utf-8")
    else:
        task |= {"reference": read_script(step), "idea": step.idea, "idea_zh": step.idea_zh}
    blank = edited(task["reference"], task.get("blank", []))
    task["base"] = blank if "blank" in task else read_script(base_of(step))
    task["wrong"][0]["edits"] = [[task["reference"], task["base"]]]
    if name == step.name and (later := f"v{step.version + 1}") in task_names():
        turn = {"en": f"This is already {later}. See first how {name} does without."}
        turn["zh"] = f"这已经是下一步 {later} 了。先看看没有它的 {name} 会怎样。"
        turn["edits"] = [[task["reference"], read_script(find_step(later))]]
        task["wrong"].append(turn)
    task["needs"] = [n for n in defined(task["base"]) if n in defined(task["reference"])]
    return task


def read_bug(name):
    """Return the same of a bug. Its file is to be its version again: so what holds there must hold,
    and what the bug breaks. There are no wrong turns, since to name one would be the answer."""
    bug = BUGS[name]
    task = read_task(f"v{bug['version']}")
    task |= {"name": name, "file": Path(f"{name.replace(' ', '_')}.py"), "page": "debugging.md"}
    task["idea"] = f"{task['mine']} with one wrong line"
    task["idea_zh"] = f"{task['mine']}，有一行是错的"
    task |= {"base": edited(task["reference"], [bug["edit"]]), "wrong": []}
    task["needs"] = defined(task["reference"])
    task["properties"] += [test for test in bug["tests"] if test not in task["properties"]]
    for language in LANGUAGES:
        task[language] = {**bug[language], "task": bug[language]["symptom"]}
    return task


def edited(text, edits):
    """Return a text with each [old, new] of it replaced."""
    for old, new in edits:
        if text.count(old) != 1:
            raise ValueError(f"has {text.count(old)} times what is to be edited: {old}")
        text = text.replace(old, new)
    return text


def defined(source):
    return re.findall(r"^(?:class|def) (\w+)", source, flags=re.M)


def body(source):
    """Return a script below its docstring."""
    first = ast.parse(source).body[0]
    has_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return "".join(source.splitlines(True)[first.end_lineno if has_docstring else 0 :])


def syllabus():
    """Return {test: file} of the syllabus."""
    files = {path: path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob("test_*.py")}
    return {n: path for path, text in files.items() for n in defined(text) if n[:5] == "test_"}


def idea(task):
    return task[say.language].get("idea") or task["idea" if say.language == "en" else "idea_zh"]


def page_of(task):
    return Path("docs", say.language, task["page"]).as_posix()


def recorded(**wanted):
    """Return the recorded runs of which all this is true."""
    texts = (path.read_text(encoding="utf-8") for path in RECORDS.glob("*.jsonl"))
    found = [json.loads(line) for text in texts for line in text.splitlines()]
    return [record for record in found if all(record.get(k) == v for k, v in wanted.items())]


def records_of(version):
    """Return the shortest recorded runs of a version, or of the one before, which learns alike."""
    found = [record for record in recorded(version=version) if record.get("run") in RUNS]
    return found or records_of(base_of(find_step(version)).version)
