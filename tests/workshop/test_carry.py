"""workshop/carry.py on real edits, in a git repository made of copies of the scripts."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from steps import STEPS

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="needs git")

FILES = [step.file for step in STEPS]
TOOLS = ["tools/steps.py", "tools/steps.toml", "workshop/carry.py", "workshop/rules.py"]
NO_CONFIG = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "LC_ALL": "C"}
ANCHOR = "    windows = ids"
COMMENT = "    # All the windows of the batch\n"


class Repository:
    """A commit of all the scripts and of the tool."""

    def __init__(self, folder):
        self.folder = folder
        for path in map(Path, [*FILES, *TOOLS]):
            (folder / path).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / path, folder / path)
        self.git("init", "-q")
        self.git("add", ".")
        self.git("commit", "-q", "-m", "scripts")

    def git(self, *arguments):
        settings = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "core.autocrlf=false"]
        command = ["git", *settings, *arguments]
        subprocess.run(command, cwd=self.folder, check=True, env=os.environ | NO_CONFIG)

    def edit(self, path, old, new):
        path = self.folder / path
        source = path.read_text(encoding="utf-8")
        assert source.count(old) == 1
        path.write_text(source.replace(old, new), encoding="utf-8", newline="\n")

    def sources(self):
        return [(self.folder / name).read_text(encoding="utf-8") for name in FILES]

    def carry(self, *arguments, fails=False):
        """Run the tool; return what it printed, or what it said on its failure."""
        command = [sys.executable, "-B", "workshop/carry.py", *arguments]
        result = subprocess.run(command, cwd=self.folder, capture_output=True, encoding="utf-8")
        assert bool(result.returncode) is fails, result.stderr
        assert "Traceback" not in result.stderr
        return result.stderr if fails else result.stdout


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path)


def replaced(sources, old, new, versions=range(1, 99)):
    """Return the sources with old replaced in these versions."""
    return [s.replace(old, new) if i in versions else s for i, s in enumerate(sources, start=1)]


def test_an_edit_of_v1_reaches_every_version_and_a_second_run_changes_nothing(repository):
    expected = replaced(repository.sources(), ANCHOR, COMMENT + ANCHOR)
    repository.edit(FILES[0], ANCHOR, COMMENT + ANCHOR)
    output = repository.carry("v1")
    assert repository.sources() == expected
    assert [line.split()[0] for line in output.splitlines()[:-1]] == FILES[1:]
    assert repository.carry("1").startswith("0 files")
    assert repository.sources() == expected


def test_an_edit_goes_to_copies_alone(repository):
    """Where v7 is a copy of v4, an edit of v5 reaches v6 and none of those after it."""
    repository.edit("tools/steps.toml", "version = 7\n", "version = 7\nbase = 4\n")
    expected = replaced(repository.sources(), ANCHOR, COMMENT + ANCHOR, (5, 6))
    repository.edit(FILES[4], ANCHOR, COMMENT + ANCHOR)
    repository.carry("v5")
    assert repository.sources() == expected


def test_after_a_conflict_the_edit_goes_on_from_the_version_made_by_hand(repository):
    before = repository.sources()
    old, new = "learning_rate: PositiveFloat = 3e-3", "learning_rate: PositiveFloat = 3e-2"
    repository.edit(FILES[0], old, new)
    edited = repository.sources()
    assert FILES[10] in repository.carry("v1", fails=True)  # its step changes the same number
    assert repository.sources() == edited
    repository.carry("v1", "--until", "v10")
    assert repository.sources() == replaced(before, old, new, range(1, 11))
    old_v11, new_v11 = old.replace("e-3", "e-4"), new.replace("e-2", "e-5")
    repository.edit(FILES[10], old_v11, new_v11)
    repository.carry("v11", "--until", "v18")  # v19 has a rate of its own
    assert repository.sources() == replaced(replaced(before, old, new), old_v11, new_v11)


def test_another_change_of_a_later_version_is_neither_lost_nor_carried(repository):
    repository.edit(FILES[6], "\n    main()\n", "\n    main()  # mine\n")
    repository.edit(FILES[2], ANCHOR, COMMENT + ANCHOR)
    before = repository.sources()
    assert FILES[6] in repository.carry("v3", fails=True)
    assert repository.sources() == before


def test_an_edit_beside_or_on_a_line_that_a_later_step_changes_is_carried(repository):
    old, new = "embedding size, numbers", "width, numbers"  # v4 adds a line below, v11 the default
    expected = replaced(repository.sources(), old, new)
    repository.edit(FILES[0], old, new)
    repository.carry("v1")
    assert repository.sources() == expected


def test_docstrings_are_not_carried(repository):
    repository.edit(FILES[1], "\nWhy: ", "\nWhy so: ")
    before = repository.sources()
    assert FILES[1] in repository.carry("v2", fails=True)  # no edit
    repository.edit(FILES[1], ANCHOR, COMMENT + ANCHOR)
    repository.carry("v2")
    assert repository.sources() == replaced(before, ANCHOR, COMMENT + ANCHOR, range(2, 99))


def test_check_names_what_a_step_must_not_change(repository):
    repository.edit(FILES[7], ANCHOR, COMMENT + ANCHOR)
    error = repository.carry("--check", fails=True)
    assert f"{FILES[7]}: get_batch differs" in error and f"+{COMMENT}" in error


@pytest.mark.parametrize("arguments", [["v99"], [], ["v12"], ["v3", "--until", "x"]], ids=str)
def test_a_wrong_command_changes_nothing(repository, arguments):
    before = repository.sources()
    assert repository.carry(*arguments, fails=True)
    assert repository.sources() == before
