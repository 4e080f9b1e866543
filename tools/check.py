"""Checks a learner's file for practice.py, and says what is found: in its text, and by examine.py,
which runs it in a process of its own."""

import ast
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from textwrap import shorten

from task import BUGS, LANGUAGES, command, idea, page_of, say

PASSED = Path(".practice")  # in the reader's folder: the hashes of the files that have passed
LATER = (  # word of words.toml, versions where it is a mistake, calls that show it, or exclude it
    ("side by side", [2], r"^BabyGPT.forward .*\.(cat|concat|concatenate)$", "^$"),
    (
        "at once",
        range(4, 13),
        r"^(?!BabyGPT).*\.(view|reshape|unflatten|einsum|MultiheadAttention)$",
        " Head$",
    ),
    ("dropout", range(1, 10), r"( |nn\.|F\.|functional\.|torch\.)(Dropout|dropout)$", "^$"),
)
LIMIT = 90  # seconds for a check, which takes a few; whatever needs longer is stopped


def stamp(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


def problem_of(file):
    """Return what keeps a file from being imported, as a word of words.toml and its values."""
    if file.suffix != ".py":
        return "no py", {}
    try:
        nodes = ast.parse(file.read_bytes(), file.name).body
    except (SyntaxError, ValueError) as error:
        line = (getattr(error, "text", "") or "").strip()
        return "syntax", {"error": error, "code": line}
    for node in nodes:
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        code = ast.unparse(node).split("\n")[0]
        does = isinstance(node, (ast.Expr, ast.For, ast.While, ast.With)) and not is_text
        if does or re.search(r"= (main|train|sample)\(", code):
            return "runs", {"line": node.lineno, "code": code}
    return None if nodes else ("empty", {})


def slips(file, version):
    """Yield what in a file cannot be meant, as a word of words.toml and its values."""
    tree = ast.parse(file.read_bytes())
    for node in ast.walk(tree):
        for part in node.body if isinstance(node, ast.ClassDef) and node.bases else []:
            code = ast.unparse(part)
            if code.startswith("def forward(") and not re.search(
                r"^ +(return|raise)\b", code, re.M
            ):
                yield "no return", {"what": f"{node.name}.forward", "line": part.lineno}
            if code.startswith("def __init__(") and ".__init__(" not in code:
                yield "no super", {"what": f"{node.name}.__init__", "line": part.lineno}
        if isinstance(node, ast.Call) and ast.unparse(node).startswith("nn.Sequential(["):
            yield "no star", {"line": node.lineno}
    yield from later_ideas(tree, version)


def later_ideas(tree, version):
    """Yield what in a file is the idea of another version, each once, however it is written."""
    lines = {}  # {"BabyGPT.forward torch.cat": 93}: the method, what it calls, where
    for part in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        for method in (node for node in part.body if isinstance(node, ast.FunctionDef)):
            for node in (node for node in ast.walk(method) if isinstance(node, ast.Call)):
                call = f"{part.name}.{method.name} {ast.unparse(node.func)}"
                lines.setdefault(call, node.lineno)
    for word, versions, calls, unless in LATER:
        at = [line for call, line in lines.items() if re.search(calls, call)]
        if version in versions and at and not any(re.search(unless, call) for call in lines):
            yield word, {"line": min(at), "name": f"v{version}"}


def judged(task, file, limit=LIMIT):
    """Return the lines that examine.py writes about a file, up to the limit in seconds."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.jsonl"
        argv = [sys.executable, Path(__file__).with_name("examine.py"), task["name"], file, report]
        env = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONDONTWRITEBYTECODE": "1"}
        env["OMP_NUM_THREADS"] = "1"  # the models are tiny: a second thread only waits
        try:
            ended = subprocess.run(
                argv, timeout=limit, env=env, capture_output=True, text=True, errors="replace"
            )
        except subprocess.TimeoutExpired:
            ended = None
        text = report.read_text(encoding="utf-8") if report.exists() else ""
        lines = [json.loads(line) for line in text.splitlines()]
        if not any(line.get("done") or "failed" in line for line in lines):
            started = [line["start"] for line in lines if "start" in line] or ["import"]
            why = (ended.stdout + ended.stderr)[-2000:] if ended else ""
            lines.append({"failed": started[-1], "error": "ended" if ended else "limit"})
            lines[-1] |= {"text": why or str(limit)}
        return lines


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
    why += [] if problem else [say(slip, **values) for slip, values in slips(file, task["version"])]
    told = why + told if "lacks" in failed else told + why  # a list of names may be long
    print("".join(f"    {line}\n" for line in "\n".join(told).splitlines() if line), end="")
    print("".join(f"· {texts[name]}\n" for name in order[at + 1 :] if name in texts and at), end="")
    print("\n" + say("read on", page=page_of(task), hint=command(task["name"], "--hint")))
    return False
