"""Judges a learner's file for practice.py, which starts it as a process of its own:

    python tools/examine.py v7 my_v7.py report.jsonl

The properties of the task, which are tests of the syllabus, are run by pytest until one fails, and
what is found is written, one JSON a line. One of them, "names", is no test: it compares names and
sizes with the reference's (compare.py), as it compares what failed with the wrong turns.
"""

import json
import sys
import traceback
from pathlib import Path

import pytest
from compare import names, wrong_turns
from steps import ROOT, import_file
from task import read_task, syllabus


class Judge:
    """A plugin of pytest: the properties in the order of the task, up to the first that fails."""

    def __init__(self, task, path, report):
        self.task, self.path, self.report = task, path, report
        self.order, self.open = task["properties"], None

    def write(self, **line):
        print(json.dumps(line), file=self.report, flush=True)

    def write_error(self, failed, error):
        """Write an error, and the last line of the learner's file on the way to it."""
        frames = traceback.extract_tb(error.__traceback__)
        at = [f for f in frames if Path(f.filename) == self.path]
        line = {"line": at[-1].lineno, "code": at[-1].line} if at else {}
        self.write(failed=failed, error=type(error).__name__, text=str(error), **line)

    def pytest_collection_modifyitems(self, items):
        items.sort(key=lambda item: self.order.index(item.originalname))
        assert {"names", *(item.originalname for item in items)} >= {*self.order}
        for item in items:
            self.write(says=item.originalname, **item.get_closest_marker("says").kwargs)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item):
        """Say what begins. The names are compared when the tests before them have passed."""
        done = self.order.index(self.open) + 1 if self.open else 0
        for name in self.order[done : self.order.index(item.originalname) + 1]:
            self.open = name
            self.write(start=name)
            if name == "names" and (lacks := names(self.task, self.module)):
                self.write(failed="names", lacks=lacks)
                item.session.shouldfail = "names"
                return True  # that is, no more need be done with it

    def pytest_exception_interact(self, node, call):
        self.write_error(getattr(node, "originalname", self.open), call.excinfo.value)


def main(name, file, report):
    task, path = read_task(name), Path(file).resolve()
    with open(report, "w", encoding="utf-8") as lines:
        judge = Judge(task, path, lines)
        judge.write(start="import")
        try:
            judge.module = import_file(path)
        except BaseException as error:
            return judge.write_error("import", error)
        if lacks := [n for n in task["needs"] if not hasattr(judge.module, n)]:
            return judge.write(failed="import", lacks=[("missing", n) for n in lacks])
        files = syllabus()
        tests = [f"{files[n]}::{n}" for n in task["properties"] if n != "names"]
        options = "-q -x -p no:cacheprovider -o addopts= --capture=sys".split()
        options += ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT)]
        failed = pytest.main([*options, f"--mine={task['mine']}={path}", *tests], plugins=[judge])
        if failed:
            judge.write(turns=wrong_turns(task, judge.module))
        judge.write(done=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
