"""What the pages say is so: commands run, links lead somewhere, numbers come from measurements."""

import re
import shlex
import subprocess
import sys

import pytest
from conftest import ROOT, TEXT, flags, loaded

sys.path.insert(0, str(ROOT / "tools"))
import carry_forward
import measure
import render
import xray
from rules import STEPS, find_step

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "steps").glob("*.md"))]
PAIRS = {
    page: ROOT / "README.zh-CN.md"
    if page.name == "README.md"
    else page.parent / "zh-CN" / page.name
    for page in PAGES
}
ALL_PAGES = [*PAIRS, *PAIRS.values(), ROOT / "data/README.md", ROOT / "docs/measurements/README.md"]


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
            shallow = ["git", "rev-parse", "--is-shallow-repository"]
            if "true" in subprocess.run(shallow, cwd=ROOT, capture_output=True, text=True).stdout:
                pytest.skip("a shallow clone has no history to show")
            shown = subprocess.run(words, cwd=ROOT, capture_output=True, encoding="utf-8")
            assert shown.stdout and not shown.stderr
        else:
            assert words[0] == "python"
            run_python(words[1], words[2:], tmp_path, monkeypatch)
            assert capsys.readouterr().out


def run_python(script, argv, folder, monkeypatch):
    if script.startswith("tools/"):
        # Nothing is written or measured here: what these tools do is tested in their own files
        monkeypatch.setattr(carry_forward, "carry", lambda *args: [])
        monkeypatch.setattr(measure, "measure_all", lambda *args: print("measuring"))
        monkeypatch.setattr(render, "rendered", lambda records: {})
        tool = {"carry_forward": carry_forward, "measure": measure, "render": render, "xray": xray}
        try:
            tool[script[len("tools/") : -len(".py")]].main(argv)
        except SystemExit as end:
            assert not end.code
        print("done")
        return
    module = loaded(find_step(script).version)
    short = flags(module, prompts=())
    del short[short.index("--prompts")]
    if "--data_path" not in argv:
        short += ["--data_path", str(folder / "ci.txt")]
    if "--sample" in argv:
        module.main([*short, "--checkpoint_path", argv[argv.index("--sample") + 1]])
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
    for what in (r"^```.*?^```$", r"^\|[-:| ]+\|$", r"<!--.*?-->"):
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
    names = [re.sub(r"zh-CN[/.\\]", "", str(file)) for file in files]
    return [name for name in names if "README" not in name]


@pytest.mark.parametrize("page", ALL_PAGES, ids=page_id)
def test_every_test_that_a_page_names_exists(page):
    tests = "".join(read(file) for file in (ROOT / "tests").glob("test_*.py"))
    for name in re.findall(r"`(test_\w+)`", read(page)):
        assert f"def {name}(" in tests, name


def test_every_script_is_in_the_table():
    for page in (ROOT / "README.md", ROOT / "README.zh-CN.md"):
        for step in STEPS:
            assert f"| [v{step.version}]({step.file})" in read(page)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"v{step.version}")
def test_the_docstring_names_its_own_command_and_the_next_diff(step):
    text = loaded(step.version).__doc__
    assert text.startswith(f"BabyGPT v{step.version}: ")
    assert f"\nRun:    python {step.file}\n" in text
    if step is not STEPS[-1]:
        after = STEPS[step.version].file
        command = f"git diff --no-index {step.file} " if step.version < 12 else ""
        assert step.version == 12 or f"\nNext:   {command}{after}\n" in text


def test_ci_runs_the_readmes_test_command():
    command = "pip install -r requirements.txt && pytest"
    assert command in commands()
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
