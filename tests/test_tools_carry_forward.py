"""tools/carry_forward.py on real edits, in a git repository made of copies of the scripts."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import rules  # noqa: E402

FILES = [step.file for step in rules.STEPS]
NO_CONFIG = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "LC_ALL": "C"}
ANCHOR = "    windows = ids["
COMMENT = "    # All the windows of the batch\n"
FIELD = "    seed: NonNegativeInt = 1337  # same seed, same machine: same run\n"
NEW_FIELD = "    quiet: NonNegativeInt = 0  # 1: no progress\n"


class Repository:
    """A commit of all the scripts and of the tool."""

    def __init__(self, folder):
        self.folder = folder
        tools = [Path("tools", name) for name in ("carry_forward.py", "rules.py", "steps.json")]
        (folder / "tools").mkdir()
        (folder / "beyond").mkdir()
        for path in [*map(Path, FILES), *tools]:
            shutil.copy(ROOT / path, folder / path)
        self.git("init", "-q")
        self.git("add", ".")
        self.git("commit", "-q", "-m", "scripts")

    def git(self, *arguments):
        settings = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "core.autocrlf=false"]
        command = ["git", *settings, *arguments]
        subprocess.run(command, cwd=self.folder, check=True, env=os.environ | NO_CONFIG)

    def edit(self, version, old, new):
        path = self.folder / FILES[version - 1]
        source = path.read_text(encoding="utf-8")
        assert source.count(old) == 1
        path.write_text(source.replace(old, new), encoding="utf-8", newline="\n")

    def sources(self):
        return [(self.folder / name).read_text(encoding="utf-8") for name in FILES]

    def carry(self, *arguments, fails=False):
        """Run the tool; return what it printed, or what it said on its failure."""
        command = [sys.executable, "-B", "tools/carry_forward.py", *arguments]
        result = subprocess.run(command, cwd=self.folder, capture_output=True, encoding="utf-8")
        assert bool(result.returncode) is fails, result.stderr
        assert "Traceback" not in result.stderr
        return result.stderr if fails else result.stdout


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path)


def replaced(sources, old, new, first=1, last=99):
    """Return the sources with old replaced from one version to another."""
    return [
        s.replace(old, new) if first <= i <= last else s for i, s in enumerate(sources, start=1)
    ]


@pytest.mark.parametrize(
    "old, new", [(ANCHOR, COMMENT + ANCHOR), (FIELD, FIELD + NEW_FIELD)], ids=["comment", "field"]
)
def test_an_edit_of_v1_reaches_every_version_and_a_second_run_changes_nothing(repository, old, new):
    expected = replaced(repository.sources(), old, new)
    repository.edit(1, old, new)
    output = repository.carry("v1")
    assert repository.sources() == expected
    assert [line.split()[0] for line in output.splitlines()[:-1]] == FILES[1:]
    assert repository.carry("1").startswith("0 files")
    assert repository.sources() == expected


def test_a_local_renamed_in_v3_is_renamed_in_every_later_head(repository):
    before = repository.sources()
    for old, new in (
        ("query = self.query(x)", "asked = self.query(x)"),
        ("scores = query @", "scores = asked @"),
    ):
        repository.edit(3, old, new)
        before = replaced(before, old, new, first=3, last=12)
    assert FILES[12] in repository.carry(FILES[2], fails=True)  # it has no Head
    repository.carry(FILES[2], "--until", "v12")
    assert repository.sources() == before


def test_after_a_conflict_the_edit_goes_on_from_the_version_made_by_hand(repository):
    before = repository.sources()
    old, new = "learning_rate: PositiveFloat = 3e-3", "learning_rate: PositiveFloat = 3e-2"
    repository.edit(1, old, new)
    edited = repository.sources()
    assert FILES[10] in repository.carry("v1", fails=True)  # its step changes the same number
    assert repository.sources() == edited
    repository.carry("v1", "--until", "v10")
    assert repository.sources() == replaced(before, old, new, last=10)
    old_v11, new_v11 = old.replace("e-3", "e-4"), new.replace("e-2", "e-5")
    repository.edit(11, old_v11, new_v11)
    repository.carry("v11")
    assert repository.sources() == replaced(replaced(before, old, new), old_v11, new_v11)


def test_another_change_of_a_later_version_is_neither_lost_nor_carried(repository):
    repository.edit(7, "    main()\n", "    main()  # mine\n")
    repository.edit(3, ANCHOR, COMMENT + ANCHOR)
    before = repository.sources()
    assert FILES[6] in repository.carry("v3", fails=True)
    assert repository.sources() == before


def test_an_edit_beside_or_on_a_line_that_a_later_step_changes_is_carried(repository):
    old, new = "embedding size, numbers", "width, numbers"  # v4 adds a line below, v11 the default
    expected = replaced(repository.sources(), old, new)
    repository.edit(1, old, new)
    repository.carry("v1")
    assert repository.sources() == expected


def test_docstrings_are_not_carried(repository):
    repository.edit(2, "\nWhy: ", "\nWhy so: ")
    repository.edit(9, "\nWhy: ", "\nHow so: ")
    before = repository.sources()
    assert FILES[1] in repository.carry("v2", fails=True)  # no edit
    repository.edit(2, ANCHOR, COMMENT + ANCHOR)
    repository.carry("v2")
    assert repository.sources() == replaced(before, ANCHOR, COMMENT + ANCHOR, first=2)


def test_check_names_what_a_step_must_not_change(repository):
    repository.edit(8, ANCHOR, COMMENT + ANCHOR)
    error = repository.carry("--check", fails=True)
    assert f"{FILES[7]}: get_batch differs" in error and f"+{COMMENT}" in error


@pytest.mark.parametrize("arguments", [["v99"], [], ["v12"], ["v3", "--until", "x"]], ids=str)
def test_a_wrong_command_changes_nothing(repository, arguments):
    before = repository.sources()
    assert repository.carry(*arguments, fails=True)
    assert repository.sources() == before
