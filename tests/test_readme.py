"""What the pages say is so: commands run, links lead somewhere, numbers come from measurements."""

import re
import shlex
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT, TEXT, flags, loaded

sys.path.insert(0, str(ROOT / "tools"))
import carry_forward
import ladder
import xray
from steps import STEPS, find_step

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "steps").glob("*.md"))]
PAIRS = {
    page: ROOT / "README.zh-CN.md"
    if page.name == "README.md"
    else page.parent / "zh-CN" / page.name
    for page in PAGES
}
ALL_PAGES = [*PAIRS, *PAIRS.values(), ROOT / "data" / "README.md"]


def read(page):
    return page.read_text(encoding="utf-8")


def page_id(page):
    return str(page.relative_to(ROOT))


def without_blocks(text):
    """Return the prose of a page: no code blocks, no code."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S))


def commands():
    """Return each command line of the shell blocks of the README, once."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", read(ROOT / "README.md"), flags=re.M | re.S)
    return list(dict.fromkeys(line for block in blocks for line in block.splitlines()))


@pytest.mark.parametrize("line", commands())
def test_every_command_of_the_readme_works(line, tmp_path, monkeypatch, capsys):
    """Run as written but for flags that make it short, in a folder with the text it speaks of."""
    (tmp_path / "novel.txt").write_text("Call me what you like. " * 99, encoding="utf-8")
    (tmp_path / "ci.txt").write_text(TEXT + "春江往事明月东风" * 40, encoding="utf-8")
    for part in line.split(" && "):
        words = shlex.split(part)
        if words[:2] == ["pip", "install"]:
            assert (ROOT / words[-1]).is_file()
        elif words == ["pytest"]:
            pass  # this is it
        elif words[0] == "git":
            subprocess.run(["git", "rev-parse"], cwd=ROOT, check=True)
            shown = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
            assert shown.stdout and not shown.stderr
        else:
            assert words[0] == "python"
            run_python(words[1], words[2:], tmp_path, monkeypatch)
            assert capsys.readouterr().out


def run_python(script, argv, folder, monkeypatch):
    if script == "tools/carry_forward.py":
        assert carry_forward.main(argv if "--check" in argv else [*argv, "--dry-run"]) in (0, None)
    elif script == "tools/xray.py":
        assert xray.main(argv) in (0, None)
    elif script == "tools/ladder.py":
        monkeypatch.setattr(ladder, "measure_all", lambda *args: print("measuring"))
        monkeypatch.setattr(ladder, "render", lambda: print("rendering"))
        assert ladder.main(argv) in (0, None)
    else:
        module = loaded(find_step(script).version)
        short = flags(module, prompts=())
        del short[short.index("--prompts")]
        if "--data_path" not in argv:
            short += ["--data_path", str(folder / "ci.txt")]
        if "--init_from" in argv:
            module.main([*short, "--checkpoint_path", str(folder / "babygpt_v12.pt")])
            short += ["--max_iters", "0"]
        module.main([*argv, *short])


@pytest.mark.parametrize("page", ALL_PAGES, ids=page_id)
def test_every_link_leads_to_a_file_or_a_heading(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", read(page)):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in [anchor_of(heading) for _, heading in headings(file)], target


def headings(page):
    text = re.sub(r"^```.*?^```$", "", read(page), flags=re.M | re.S)
    return re.findall(r"^(#+) (.*)$", text, flags=re.M)


def anchor_of(heading):
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAIRS, ids=page_id)
def test_both_languages_say_the_same(page):
    """The same headings, blocks, tables, numbers and links, in the same order."""
    english, chinese = read(page), read(PAIRS[page])
    assert [level for level, _ in headings(page)] == [level for level, _ in headings(PAIRS[page])]
    for what in (r"^```.*?^```$", r"^\|[-:| ]+\|$", r"<!-- .*? -->"):
        found = [re.findall(what, text, flags=re.M | re.S) for text in (english, chinese)]
        assert found[0] == found[1]
    assert sorted(numbers(english)) == sorted(numbers(chinese))
    assert sorted(targets(english, page)) == sorted(targets(chinese, PAIRS[page]))


def numbers(text):
    """Return the decimal numbers of a page's prose and tables."""
    return re.findall(r"\d+\.\d+|\d+,\d+", without_blocks(text))


def targets(text, page):
    """Return the files and addresses that a page links to, its own language's pages apart."""
    found = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text)]
    files = [link if "//" in link else (page.parent / link).resolve() for link in found if link]
    return [str(file).replace("zh-CN/", "") for file in files if "README" not in str(file)]


@pytest.mark.parametrize("page", ALL_PAGES, ids=page_id)
def test_every_test_that_a_page_names_exists(page):
    tests = "".join(read(file) for file in (ROOT / "tests").glob("test_*.py"))
    for name in re.findall(r"`(test_\w+)`", read(page)):
        assert f"def {name}(" in tests, name


def test_every_script_is_in_the_table():
    for page in (ROOT / "README.md", ROOT / "README.zh-CN.md"):
        for step in STEPS:
            assert f"| [v{step.version}]({step.file})" in read(page)


def test_pages_and_docstrings_say_what_was_measured():
    assert ladder.check() == []


def test_a_number_that_nobody_measured_is_found(tmp_path, monkeypatch):
    for name in ("docs", "README.md", "README.zh-CN.md"):
        source, copy = ROOT / name, tmp_path / "copy" / name
        shutil.copytree(source, copy) if source.is_dir() else shutil.copy(source, copy)
    for step in STEPS:
        shutil.copy(ROOT / step.file, tmp_path / "copy")
    monkeypatch.setattr(ladder, "ROOT", tmp_path / "copy")
    page = tmp_path / "copy" / "docs" / "steps" / "v07.md"
    page.write_text(read(page) + "\nIt went down to 3.1416.\n", encoding="utf-8")
    assert ladder.check() == ["docs/steps/v07.md: 3.1416 is in no committed measurement"]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"v{step.version}")
def test_the_docstring_names_its_own_command_and_the_next_diff(step):
    text = loaded(step.version).__doc__
    assert text.startswith(f"BabyGPT v{step.version}: ")
    assert f"\nRun:    python {step.file}\n" in text
    if step is not STEPS[-1]:
        after = STEPS[step.version].file
        assert f"\nNext:   git diff --no-index {step.file} {after}\n" in text


def test_ci_runs_the_readmes_test_command():
    command = "pip install -r requirements.txt && pytest"
    assert command in commands()
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
