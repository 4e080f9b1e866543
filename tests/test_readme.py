"""What the pages say is so: commands run, links lead somewhere, numbers come from measurements."""

import re
import shlex
import subprocess
import sys
from collections import Counter
from dataclasses import fields

import pytest
from conftest import ROOT, TEXT, flags, loaded

sys.path.insert(0, str(ROOT / "tools"))
import carry_forward
import measure
import render
import xray
from rules import STEPS, find_step

STEP_PAGES = sorted((ROOT / "docs" / "steps").glob("*.md"))
OTHER_PAGES = ["README.md", "beyond/README.md", "data/README.md", "docs/glossary.md"]
OTHER_PAGES += ["docs/measurements/README.md", "docs/setup.md"]
PAIRS = {page: page.parent / "zh-CN" / page.name for page in STEP_PAGES}  # English: Chinese
PAIRS |= {ROOT / page: ROOT / page.replace(".md", ".zh-CN.md") for page in OTHER_PAGES}
ALL_PAGES = [*PAIRS, *PAIRS.values()]


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
    if "data/babygpt_evening.pt" in argv:  # the model that comes with the repository
        monkeypatch.chdir(ROOT)
        return loaded(find_step(script).version).main(argv)
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


@pytest.mark.parametrize("page", ALL_PAGES, ids=page_id)
def test_snippets_of_code_stand_in_the_script_that_they_are_from(page):
    version = re.fullmatch(r"v(\d+)\.md", page.name)
    for snippet in re.findall(r"^```python\n(.*?)^```$", read(page), flags=re.M | re.S):
        assert snippet in read(ROOT / STEPS[int(version[1]) - 1].file)


@pytest.mark.parametrize("page", ["setup.md", "setup.zh-CN.md"])
def test_the_table_of_flags_has_every_flag_and_since_when(page):
    rows = re.findall(r"^\| `--(\w+)` \| v(\d+) \|", read(ROOT / "docs" / page), flags=re.M)
    since = {}
    for step in STEPS:
        for field in fields(loaded(step.version).Config):
            since.setdefault(field.name, str(step.version))
    assert dict(rows) == since and len(rows) == len(since)


@pytest.mark.parametrize("page", ["setup.md", "setup.zh-CN.md"])
def test_the_messages_of_the_table_of_errors_are_the_scripts_own(page):
    table = read(ROOT / "docs" / page).split("## ")[-1]
    messages = re.findall(r"^\| `+ ?(.+?) ?`+ \|", table, flags=re.M)
    ours = [m for m in messages if not m.startswith(("File exists", "No module", "CUDA"))]
    assert len(ours) == 10 and len(messages) == 13
    said = "".join(read(ROOT / step.file) for step in STEPS[11:])
    for message in ours:
        assert message in said, message


@pytest.mark.parametrize("page", ["setup.md", "setup.zh-CN.md"])
def test_what_is_to_be_installed_is_what_was_tried(page):
    required = read(ROOT / "requirements.txt")
    for package in re.findall(r"\w+==[\d.]+", read(ROOT / "docs" / page)):
        assert f"{package} " in required


def test_what_follows_spring_is_counted_right():
    data = read(ROOT / "data" / "ci.txt")
    train = data[: int(0.9 * len(data))]
    after = Counter(b for a, b in zip(train, train[1:], strict=False) if a == "春")
    for page in (PAIRS, PAIRS.values()):
        text = read(next(page for page in page if page.name == "v01.md"))
        rows = re.findall(r"^\| (\S|a space|空格) \| (\d+) \|$", text, flags=re.M)
        found = [(" " if len(char) > 1 else char, int(count)) for char, count in rows]
        assert found == after.most_common(4) and f"{sum(after.values()):,}" in text
        assert f"{sorted(set(data)).index('花'):,}" in read(PAIRS[STEP_PAGES[10]])


def test_every_script_is_in_the_table():
    for page in (ROOT / "README.md", ROOT / "README.zh-CN.md"):
        for step in STEPS:
            assert f"| [v{step.version}]({step.file})" in read(page)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"v{step.version}")
def test_the_docstring_names_its_own_command_and_the_next_diff(step):
    text = loaded(step.version).__doc__
    assert text.startswith(f"BabyGPT v{step.version}: ")
    assert re.search(rf"^Run: +(python|torchrun .*) {step.file}( |$)", text, re.M)
    if step is not STEPS[-1]:
        after = STEPS[step.version].file
        command = f"git diff --no-index {step.file} " if step.version < 12 else ""
        assert step.version == 12 or f"\nNext:   {command}{after}\n" in text


def test_ci_runs_the_readmes_test_command():
    command = "pip install -r requirements.txt && pytest"
    assert command in commands()
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
