"""tools/carry_forward.py on real edits, in a git repository made of copies of the scripts."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import steps  # noqa: E402

FILES = [step.file for step in steps.STEPS]
NO_CONFIG = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null", "LC_ALL": "C"}
FIELD = '    seed: int = knob(1337, "same seed, same machine: same run", at_least=0, below=2**32)\n'
NEW_FIELD = '    quiet: int = knob(0, "1: no progress", at_least=0)\n'
ANCHOR = "    windows = split.unfold("
COMMENT = "    # All the windows there are\n"


class Repository:
    """A commit of the twelve scripts and of the tool."""

    def __init__(self, folder):
        self.folder = folder
        for path in [*(ROOT / name for name in FILES), *(ROOT / "tools").glob("*.*")]:
            (folder / path.relative_to(ROOT)).parent.mkdir(exist_ok=True)
            shutil.copy(path, folder / path.relative_to(ROOT))
        self.git("init", "-q")
        self.commit()

    def git(self, *arguments):
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        subprocess.run(command, cwd=self.folder, check=True, env=NO_CONFIG | {"PATH": PATH})

    def commit(self):
        self.git("add", ".")
        self.git("commit", "-q", "-m", "scripts")

    def edit(self, version, old, new):
        path = self.folder / FILES[version - 1]
        source = path.read_bytes().decode()
        assert source.count(old) == 1
        path.write_bytes(source.replace(old, new).encode())

    def sources(self):
        return [(self.folder / name).read_bytes().decode() for name in FILES]

    def carry(self, *arguments, status=0):
        command = [sys.executable, "-B", "tools/carry_forward.py", *arguments]
        result = subprocess.run(command, cwd=self.folder, capture_output=True, text=True)
        assert result.returncode == status, result.stderr
        assert "Traceback" not in result.stderr
        return result.stdout if status == 0 else result.stdout + result.stderr


PATH = str(Path(shutil.which("git")).parent)


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path)


def replaced(sources, old, new, first=1):
    """Return the sources with old replaced from one version on."""
    return [s.replace(old, new) if i >= first else s for i, s in enumerate(sources, start=1)]


@pytest.mark.parametrize(
    "version, old, new",
    [(1, ANCHOR, COMMENT + ANCHOR), (1, FIELD, FIELD + NEW_FIELD)],
    ids=["comment in get_batch", "common Config field"],
)
def test_an_edit_of_v1_reaches_every_version_and_a_second_run_changes_nothing(
    repository, version, old, new
):
    expected = replaced(repository.sources(), old, new)
    repository.edit(version, old, new)
    output = repository.carry("v1")
    assert repository.sources() == expected
    assert [line.split()[0] for line in output.splitlines()[1:-1]] == [
        f"v{n}" for n in range(2, 13)
    ]
    assert "v12  babygpt_v12_wandb.py                 +1 -0" in output
    assert repository.carry("1").count("has it already") == 11
    assert repository.sources() == expected
    assert "nothing else" in repository.carry("--check")


def test_a_local_renamed_in_v3_is_renamed_in_every_later_head(repository):
    before = repository.sources()
    line = "        q = self.query(x)"
    uses = "weights = q @ k.transpose"
    repository.edit(3, line, line.replace("q =", "asked ="))
    repository.edit(3, uses, uses.replace("q @", "asked @"))
    repository.carry(FILES[2])
    expected = replaced(before, line, line.replace("q =", "asked ="), first=3)
    assert repository.sources() == replaced(expected, uses, uses.replace("q @", "asked @"), first=3)


def test_a_conflict_changes_no_file_and_says_where_and_what_to_do(repository):
    old = "        x = self.sa(x)  # (B, T, C)\n"
    repository.edit(5, ANCHOR, COMMENT + ANCHOR)
    repository.edit(5, old, old.replace("(B, T, C)", "(B, T, C), mixed"))
    repository.edit(6, old, old.replace("(B, T, C)", "(B, T, C), mixed"))
    before = repository.sources()
    output = repository.carry("v6", status=1)
    assert repository.sources() == before
    line = before[6].split("\n").index("        x = x + self.sa(x)  # (B, T, C)") + 1
    assert f"{FILES[6]}:{line}: conflict; no file was written" in output
    assert f"make the edit in {FILES[6]} by hand, then carry v7" in output


def test_after_a_conflict_the_edit_goes_on_from_the_version_made_by_hand(repository):
    before = repository.sources()
    old, new = "batch (B)", "batch, B"  # v11 changes the default on the same line
    repository.edit(1, old, new)
    assert "carry it with --until v10" in repository.carry("v1", status=1)
    repository.carry("v1", "--until", "v10")
    assert repository.sources()[10:] == before[10:]
    repository.edit(11, old, new)
    repository.carry("v11")
    assert repository.sources() == replaced(before, old, new)


def test_a_dry_run_shows_the_lines_and_writes_nothing(repository):
    repository.edit(1, ANCHOR, COMMENT + ANCHOR)
    before = repository.sources()
    output = repository.carry("v1", "--dry-run", "-v")
    assert repository.sources() == before
    assert output.count(f"\n+{COMMENT}") == 11
    assert "nothing was written" in output


def test_uncommitted_changes_of_later_versions_are_kept_and_not_carried(repository):
    before = repository.sources()
    own, docstring = ("    main()\n", "    main()  # mine\n"), ("\nWhy: ", "\nWhy so: ")
    repository.edit(7, *own)
    repository.edit(9, *docstring)
    repository.edit(3, ANCHOR, COMMENT + ANCHOR)
    output = repository.carry("v3")
    expected = replaced(before, ANCHOR, COMMENT + ANCHOR, first=3)
    expected[6] = expected[6].replace(*own)
    expected[8] = expected[8].replace(*docstring)
    assert repository.sources() == expected
    assert output.count("keeps its own uncommitted changes") == 1
    # The edit of v7 is then carried by a run of its own
    repository.carry("v7")
    expected[6:] = [source.replace(*own) for source in expected[6:]]
    assert repository.sources() == expected


def test_an_uncommitted_change_of_the_same_line_is_a_conflict(repository):
    repository.edit(1, ANCHOR, COMMENT + ANCHOR)
    repository.edit(4, ANCHOR, "    # Another comment\n" + ANCHOR)
    before = repository.sources()
    assert f"{FILES[3]}:" in repository.carry("v1", status=1)
    assert repository.sources() == before


def test_an_edit_made_by_hand_in_some_versions_reaches_the_rest(repository):
    expected = replaced(repository.sources(), ANCHOR, COMMENT + ANCHOR)
    for version in (1, 2, 5):
        repository.edit(version, ANCHOR, COMMENT + ANCHOR)
    repository.carry("v1")
    assert repository.sources() == expected


def test_a_carried_edit_is_changed_again_with_staged(repository):
    before = repository.sources()
    repository.edit(1, ANCHOR, COMMENT + ANCHOR)
    repository.carry("v1")
    repository.git("add", ".")
    repository.edit(1, COMMENT, "    # Second thoughts\n")
    repository.carry("v1", status=1)
    repository.carry("v1", "--staged")
    assert repository.sources() == replaced(before, ANCHOR, "    # Second thoughts\n" + ANCHOR)


def test_an_edit_in_the_docstring_stays_where_it_is(repository):
    repository.edit(2, "\nWhy: ", "\nWhy so: ")
    before = repository.sources()
    assert "no uncommitted edit below the docstring" in repository.carry("v2")
    assert repository.sources() == before


def test_line_endings_and_file_modes_stay_as_they_are(repository):
    path = repository.folder / FILES[4]
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    path.chmod(0o755)
    repository.edit(1, ANCHOR, COMMENT + ANCHOR)
    expected = replaced(repository.sources(), ANCHOR, COMMENT + ANCHOR)
    expected[0] = repository.sources()[0]
    expected[4] = expected[4].replace(COMMENT, COMMENT.replace("\n", "\r\n"))
    repository.carry("v1")
    assert repository.sources() == expected
    assert path.stat().st_mode & 0o777 == 0o755
    assert sorted(repository.folder.glob("babygpt*")) == sorted(
        repository.folder / f for f in FILES
    )


def test_check_fails_where_a_step_changes_too_much(repository):
    repository.edit(8, ANCHOR, COMMENT + ANCHOR)
    output = repository.carry("--check", status=1)
    assert f"{FILES[7]}: get_batch differs" in output
    assert f"+{COMMENT}" in output


def test_bad_input_gets_one_line_and_status_2(repository):
    for arguments in (
        ["v13"],
        [],
        ["v1", "--check"],
        ["v12"],
        ["v3", "--until", "v2"],
        ["v1", "-x"],
    ):
        assert repository.carry(*arguments, status=2).count("\n") == 1
    repository.edit(3, "def get_batch(", "def get_batch(:")
    assert f"({FILES[2]}, line " in repository.carry("v1", status=2)
    assert f"({FILES[2]}, line " in repository.carry("--check", status=2)
    (repository.folder / FILES[2]).unlink()
    assert FILES[2] in repository.carry("v1", status=2)
    shutil.rmtree(repository.folder / ".git")
    assert "git" in repository.carry("v1", status=2)
