"""Build data/ci.txt, the corpus of the series, from the npm package chinese-poetry 2.0.1.

    npm pack chinese-poetry@2.0.1
    python data/prepare.py chinese-poetry-2.0.1.tgz

The tarball is read directly, nothing is unpacked. The same tarball gives the same file, byte for
byte. One poem of the result: a line `tune author`, the lines of the poem, a blank line.
"""

import argparse
import hashlib
import json
import random
import re
import sys
import tarfile
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


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("tarball", help="the file that `npm pack chinese-poetry@2.0.1` writes")
    parser.add_argument(
        "--out", default=str(Path(__file__).with_name("ci.txt")), help="file to write (%(default)s)"
    )
    args = parser.parse_args(argv)
    try:
        raw = read_poems(args.tarball)
    except (OSError, EOFError, tarfile.TarError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())  # on one line
        print(f"error: {args.tarball}: not chinese-poetry 2.0.1 ({reason})", file=sys.stderr)
        return 2
    poems, dropped = clean(raw)
    # In source order the poems run by century: the validation tenth would be another population.
    random.Random(SHUFFLE_SEED).shuffle(poems)
    text = "".join(map(to_text, poems))
    data = text.encode("utf-8")
    Path(args.out).write_bytes(data)

    source = "".join(map(to_text, raw))
    print(f"raw:   {len(raw):,} poems, {len(source):,} characters, {len(set(source)):,} distinct")
    for rule, number in dropped.items():
        print(f"       {number:,} dropped: {rule}")
    print(f"clean: {len(poems):,} poems, {len(text):,} characters, {len(set(text)):,} distinct")
    print(f"       {len(data):,} bytes, SHA-256 {hashlib.sha256(data).hexdigest()}")


if __name__ == "__main__":
    sys.exit(main())
