"""What the pages say is so: commands run, links lead somewhere, snippets stand in the scripts."""

import re
import shlex
import subprocess
from collections import Counter
from dataclasses import fields

import pytest
from conftest import ROOT, TEXT, flags, has_history, loaded
from poems import by_tune, line_ends, read_rhymes, rhyming_pairs, split_poems
from records import read_lines
from steps import STEPS, find_step

DOCS = {page: page.parent.parent / "zh-CN" / page.name for page in (ROOT / "docs/en").glob("*.md")}
READMES = {page: page.with_suffix(".zh-CN.md") for page in ROOT.glob("**/README.md")}
READMES = {page: twin for page, twin in READMES.items() if twin.exists()}
PAIRS = dict(sorted({**READMES, **DOCS}.items()))  # English: Chinese
PAGES = [*PAIRS, *PAIRS.values(), ROOT / "CONTRIBUTING.md"]
LANGUAGES = pytest.mark.parametrize("language", ["en", "zh-CN"])
FENCED = re.compile(r"^```.*?^```$", re.M | re.S)


def page_id(page):
    return page.relative_to(ROOT).as_posix()


def read(page):
    return page.read_text(encoding="utf-8")


def test_every_page_is_there_in_both_languages():
    assert {page.name for page in DOCS} == {page.name for page in (ROOT / "docs/zh-CN").glob("*")}
    assert {f"v{step.version:02}.md" for step in STEPS} <= {page.name for page in DOCS}
    assert {"README.md", "beyond/README.md", "data/README.md"} <= {*map(page_id, READMES)}


# --- commands


def commands(what):
    """Return each command line of the README that begins so, once."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", read(ROOT / "README.md"), flags=re.M | re.S)
    parts = [part for block in blocks for line in block.splitlines() for part in line.split(" && ")]
    return [part for part in dict.fromkeys(parts) if part.split()[0] == what]


@pytest.mark.parametrize("line", [line for line in commands("python") if "tools/" not in line])
def test_every_run_that_the_readme_shows_works(line, tmp_path, capsys, monkeypatch):
    """With flags that make it short, on a short text."""
    _, script, *argv = shlex.split(line)
    gpt = loaded(find_step(script).version)
    poems = tmp_path / "poems.txt"
    poems.write_text(TEXT + "春江往事明月东风" * 40, encoding="utf-8")
    if "--sample" in argv:  # the model that comes with the repository
        monkeypatch.chdir(ROOT)
        gpt.main([*argv, "--device", "cpu", "--max_new_tokens", "3"])
    else:
        short = flags(gpt, data_path=poems, prompts=["春江"], max_iters=2)
        gpt.main([*argv, *short])
    assert capsys.readouterr().out


@has_history
@pytest.mark.parametrize("line", commands("git"))
def test_every_look_at_the_history_shows_something(line):
    shallow = ["git", "rev-parse", "--is-shallow-repository"]
    if subprocess.run(shallow, cwd=ROOT, capture_output=True, text=True).stdout != "false\n":
        pytest.skip("a copy without its history")
    shown = subprocess.run(shlex.split(line), cwd=ROOT, capture_output=True, encoding="utf-8")
    assert shown.stdout and not shown.stderr


def test_what_the_readme_installs_is_there():
    for line in commands("pip"):
        assert (ROOT / line.split()[-1]).is_file()


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_a_docstring_names_its_own_command_and_the_next_script(step):
    text = loaded(step.version).__doc__
    assert re.search(rf"^Run: +(python|torchrun .*) {step.file}( |$)", text, re.M)
    for name in re.findall(r"\S+\.py", text):
        assert (ROOT / name).is_file()


# --- links and translations


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_link_leads_to_a_file_or_a_heading(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCED.sub("", read(page))):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in [anchor_of(heading) for _, heading in headings(file)], target


def headings(page):
    return re.findall(r"^(#+) (.*)$", FENCED.sub("", read(page)), flags=re.M)


def anchor_of(heading):
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAIRS, ids=page_id)
def test_both_languages_have_the_same_headings_blocks_tables_numbers_and_links(page):
    for what in (level_of_headings, blocks, tables, marks, numbers, targets):
        assert what(page) == what(PAIRS[page])


def level_of_headings(page):
    return [level for level, _ in headings(page)]


def blocks(page):
    return [block for block in FENCED.findall(read(page)) if not block.startswith("```text")]


def tables(page):
    return re.findall(r"^\|[-:| ]+\|$", read(page), flags=re.M)


def marks(page):
    return re.findall(r"<!--.*?-->", read(page))


def numbers(page):
    """Return the decimal numbers of a page's prose and tables."""
    prose = re.sub(r"`[^`\n]*`", "", FENCED.sub("", read(page)))
    return sorted(re.findall(r"\d+\.\d+|\d+,\d+", prose))


def targets(page):
    """Return the files and addresses that a page links to, in whichever language."""
    found = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", read(page))]
    files = [link if "//" in link else (page.parent / link).resolve() for link in found if link]
    names = [re.sub(r"[./]zh-CN|/en(?=/)", "", str(file)) for file in files]
    return sorted(name for name in names if "README" not in name)


# --- what pages say of the code and the text


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_snippets_of_a_steps_page_stand_in_its_script(page):
    version = re.fullmatch(r"v(\d+)\.md", page.name)
    for snippet in re.findall(r"^```python\n(.*?)^```$", read(page), flags=re.M | re.S):
        if version:
            assert snippet in read(STEPS[int(version[1]) - 1].path)


@LANGUAGES
def test_the_table_of_flags_has_every_flag_and_since_when(language):
    rows = re.findall(
        r"^\| `--(\w+)` \| v(\d+) \|", read(ROOT / "docs" / language / "setup.md"), re.M
    )
    since = {}
    for step in STEPS:
        for field in fields(loaded(step.version).Config):
            since.setdefault(field.name, str(step.version))
    assert dict(rows) == since and len(rows) == len(since)


@LANGUAGES
def test_every_message_of_the_scripts_is_in_the_table_of_errors(language):
    """By some words of it that are the same whatever the values."""
    table = re.findall(r"^\| `+ ?(.+?) ?`+ \|", read(ROOT / "docs" / language / "setup.md"), re.M)
    for step in STEPS:
        for message in re.findall(r'sys\.exit\(f?"(.+)"\)', read(step.path)):
            assert any(words in message for words in table), message


@LANGUAGES
def test_what_is_to_be_installed_is_what_was_tried(language):
    required = read(ROOT / "requirements.txt")
    for package in re.findall(r"\w+==[\d.]+", read(ROOT / "docs" / language / "setup.md")):
        assert package in required


@LANGUAGES
def test_what_follows_spring_is_counted_right(language):
    data = read(ROOT / "data" / "ci.txt")
    train = data[: int(0.9 * len(data))]
    after = Counter(b for a, b in zip(train, train[1:], strict=False) if a == "春")
    text = read(ROOT / "docs" / language / "v01.md")
    rows = re.findall(r"^\| (\S|a space|空格) \| (\d+) \|$", text, flags=re.M)
    found = [(" " if len(char) > 1 else char, int(count)) for char, count in rows]
    assert found == after.most_common(4) and f"{sum(after.values()):,}" in text


@LANGUAGES
def test_what_v19_counts_in_its_recorded_poems_is_counted_right(language):
    """Ends of lines by group, or of several; lines that repeat a rhyme; sad poems; whole ones."""
    runs = {r["run"]: r for name in ("sampling", "rhyme") for r in read_lines(name)[::-1]}
    bodies = {name: [p["body"] for p in r["form"]["poems"]] for name, r in runs.items()}
    ends = {name: sum(map(line_ends, of), []) for name, of in bodies.items()}
    groups = read_rhymes(read(ROOT / "data" / "rhymes.txt"))
    real = by_tune(split_poems(f"\n\n{read(ROOT / 'data' / 'ci.txt')}"))

    def of(name, *wanted):
        return sum(not groups.get(end, set()).isdisjoint(wanted) for end in ends[name])

    def unclear(name):
        found = [groups[end] for end in ends[name] if end in groups]
        return sum(len(some) > len({level for _, level in some}) for some in found)

    def repeats(name):
        poems = [(p["tune"], line_ends(p["body"])) for p in runs[name]["form"]["poems"]]
        same = [
            any(j < len(e) and e[i] == e[j] for i, j in rhyming_pairs(real[tune], groups))
            for tune, e in poems
        ]
        return sum(same)

    def sad(name):
        return sum(not set("愁恨泪悲").isdisjoint(body) for body in bodies[name])

    level, oblique, last = ("第七部", True), [("第三部", False), ("第四部", False)], "第四部"
    own = of("rhyme", level), of("rhyme", *oblique)
    printed = [point["whole"] for point in runs["sorrow"]["curve"]]
    told = [
        (len(ends["rhyme"]), *own),
        (len(ends["titles"]), of("titles", (last, False)), of("titles", level), *own),
        (len(ends["readings"]), unclear("readings"), len(ends["short"]), unclear("short")),
        (24, repeats("repeats"), repeats("short")),
        (24, sad("temperature_1.0")),
        (f"{min(printed):.2f}", f"{max(printed):.2f}"),
    ]
    lines = [
        Counter(re.findall(r"[\d.]*\d", line))
        for line in read(ROOT / "docs" / language / "v19.md").splitlines()
    ]
    for numbers in told:
        assert any(Counter(map(str, numbers)) <= line for line in lines), numbers
    assert sad("sorrow") == 0
