"""The corpus that is committed, and the script that builds it."""

import hashlib
import importlib.util
import io
import json
import re
import tarfile
from collections import Counter

import pytest
from conftest import ROOT, loaded

CI = ROOT / "data" / "ci.txt"
README = ROOT / "data" / "README.md"


@pytest.fixture(scope="module")
def prepare():
    spec = importlib.util.spec_from_file_location("prepare", ROOT / "data" / "prepare.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- data/ci.txt


@pytest.fixture(scope="module")
def poems():
    """The poems of data/ci.txt: [(head, [line, ...])]."""
    text = CI.read_text(encoding="utf-8")
    assert text.endswith("\n\n")
    parts = [part.split("\n") for part in text[:-2].split("\n\n")]
    return [(head, lines) for head, *lines in parts]


def test_every_poem_is_a_tune_an_author_and_its_lines(poems):
    assert len(poems) > 10_000
    for head, lines in poems:
        assert re.fullmatch(r"\S+ \S+", head)
        assert lines and all(lines)


def test_the_poems_hold_only_ideographs_and_six_marks(poems):
    marks = set("，。、？！・")
    others = set("".join(head.replace(" ", "") + "".join(lines) for head, lines in poems)) - marks
    assert all("\u3400" <= char <= "\u9fff" or char >= "\U00020000" for char in others)


def test_no_poem_is_a_fragment_and_none_comes_twice(poems):
    bodies = ["".join(lines) for _, lines in poems]
    assert min(map(len, bodies)) >= 20
    assert len(set(bodies)) == len(bodies)


def test_the_poems_are_shuffled(poems):
    """In source order an author's poems stand together: most have a neighbour by the same one."""
    authors = [head.split(" ")[1] for head, _ in poems]
    neighbours = sum(a == b for a, b in zip(authors, authors[1:], strict=False))
    assert neighbours < len(authors) / 20


def test_the_default_prompts_are_in_the_corpus():
    text = CI.read_text(encoding="utf-8")
    for prompt in loaded(1).Config().prompts:
        assert prompt in text


def test_the_readme_beside_it_describes_this_file(poems):
    data, readme = CI.read_bytes(), README.read_text(encoding="utf-8")
    counts = Counter(data.decode("utf-8"))
    rare = sum(n < 5 for n in counts.values())
    assert hashlib.sha256(data).hexdigest() in readme
    words = " ".join(readme.split())
    for part in (
        f"{len(poems):,} poems",
        f"{counts.total():,} characters, {len(counts):,} distinct",
        f"{len(data):,} bytes",
        f"{rare} of the {len(counts):,} distinct characters occur fewer than 5 times",
    ):
        assert part in words


# --- data/prepare.py


def poem(body, tune="春江", author="山人"):
    return {"rhythmic": tune, "author": author, "paragraphs": body}


GOOD = "春江花月夜山人" * 3  # 21 characters
# Five, so that the space after the tune occurs often enough
KEPT = [poem([f"{GOOD}。", f"，{char}"]) for char in "春江花月夜"]

# Each of these breaks one rule and no other
DROPPED = {
    "has a lacuna (□)": poem([GOOD, "春□江"]),
    "has a character that is no ideograph and none of ，。、？！・": poem([GOOD, "春のか江"]),
    "shorter than 20 characters": poem(["春江花月夜山人" * 2, "春江花月夜"]),
    "same text as an earlier poem": poem(KEPT[0]["paragraphs"], author="花人"),
    "has a character that occurs fewer than 5 times in what is left": poem([GOOD, "雪雪雪雪"]),
}


def archive(path, song, nantang=(), **others):
    """Write a tarball such as npm's, with song = {number: poems}."""
    files = {f"dist/songci/ci.song.{n}.json": part for n, part in song.items()}
    files["dist/wudaishici/nantang/poetrys.json"] = list(nantang)
    files |= {name.replace("__", "/") + ".json": part for name, part in others.items()}
    with tarfile.open(path, "w:gz") as tar:
        for name, part in files.items():
            data = json.dumps(part, ensure_ascii=False).encode()
            info = tarfile.TarInfo(f"package/{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def build(prepare, tmp_path):
    """Return build(song, nantang): the text that prepare.py makes of these poems."""

    def build(song, nantang=(), **others):
        tarball = archive(tmp_path / "poems.tgz", song, nantang, **others)
        prepare.main([str(tarball), "--out", str(tmp_path / "out.txt")])
        return (tmp_path / "out.txt").read_text(encoding="utf-8")

    return build


def bodies(text):
    return sorted(part.split("\n", 1)[1] for part in text.removesuffix("\n\n").split("\n\n"))


def wanted(*poems):
    return sorted("\n".join(one["paragraphs"]) for one in poems)


@pytest.mark.parametrize("rule", DROPPED)
def test_each_rule_drops_its_poem_and_says_so(build, rule, capsys):
    text = build({0: [*KEPT, DROPPED[rule]]})
    assert bodies(text) == wanted(*KEPT)
    dropped = re.findall(r"^ +(\d+) dropped: (.+)$", capsys.readouterr().out, re.M)
    assert dropped == [("1" if name == rule else "0", name) for name in DROPPED]


@pytest.mark.parametrize("part", ["rhythmic", "author"])
def test_tune_and_author_must_be_clean_too(build, part):
    for bad in ("春A", "春□", "春 江", "春，の"):
        assert bodies(build({0: [*KEPT, {**poem([GOOD, "山山山"]), part: bad}]})) == wanted(*KEPT)


def test_the_last_poem_that_suffices_is_kept(build):
    """Twenty characters, and one that occurs five times, are enough."""
    short = poem(["春江花月夜山人" * 2 + "春江花月夜山"])
    rare = poem([GOOD, "雪雪雪雪雪"])
    assert bodies(build({0: [*KEPT, short, rare]})) == wanted(*KEPT, short, rare)


def test_a_poem_is_its_tune_and_author_its_lines_and_a_blank_line(build):
    """White space around a line goes, and so do empty lines."""
    one = poem([f"　{GOOD} ", "", "春江"], tune=" 花月 ", author="夜人　")
    assert build({0: [one, *KEPT]}).count(f"花月 夜人\n{GOOD}\n春江\n\n") == 1


def test_all_song_files_and_southern_tang_are_read_but_not_the_other_edition(build):
    first, second, *third = KEPT
    other = poem([GOOD, "人人人人人人"])
    text = build({1000: [first], 0: [second], "2019y": [other]}, third, dist__other=[other])
    assert bodies(text) == wanted(*KEPT)


def test_the_same_tarball_gives_the_same_bytes_in_a_shuffled_order(prepare, tmp_path, capsys):
    poems = [poem([GOOD, "春" * n]) for n in range(1, 41)]
    outs = []
    for i in range(2):
        tarball = archive(tmp_path / f"{i}.tgz", {0: poems[:20], 1: poems[20:]})
        prepare.main([str(tarball), "--out", str(tmp_path / f"{i}.txt")])
        outs.append((tmp_path / f"{i}.txt").read_bytes())
    assert outs[0] == outs[1]
    assert hashlib.sha256(outs[0]).hexdigest() in capsys.readouterr().out
    lengths = [len(part) for part in outs[0].decode().split("\n\n")[:-1]]
    assert sorted(lengths) != lengths and len(lengths) == 40


def not_there(path):
    pass


def no_archive(path):
    path.write_text("春江")


def another_package(path):
    with tarfile.open(path, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("package/package.json"))


def cut_off(path):
    archive(path, {0: KEPT * 100})
    path.write_bytes(path.read_bytes()[:-30])


@pytest.mark.parametrize(
    "make", [not_there, no_archive, another_package, cut_off], ids=lambda f: f.__name__
)
def test_a_wrong_file_is_refused_and_nothing_is_written(prepare, tmp_path, capsys, make):
    path = tmp_path / "poems.tgz"
    make(path)
    assert prepare.main([str(path), "--out", str(tmp_path / "out.txt")]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {path}: ") and "chinese-poetry 2.0.1" in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out.txt").exists()
