"""Let the evening's model write with less and less context: context_poems.json, for v11's figure.

    python workshop/site/figures/context_poems.py    # about two minutes; a build would be too slow

Twenty poems to each of the eight tunes of tools/form.py, after a title, by seed 1337, for each
context. Those that are kept are the first to each tune, none is chosen; "whole" counts all of them.
"""

import hashlib
import json
import sys
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
sys.path[1:1] = [str(HERE.parents[2] / "tools")]

from form import text_of, write  # noqa: E402
from judge import Judge  # noqa: E402
from poems import AUTHOR, lines_of, read_rhymes, usual_form  # noqa: E402
from steps import ROOT, find_step, import_script, loaded  # noqa: E402

MODEL = ROOT / "data" / "babygpt_evening.pt"
CONTEXTS, EACH, SEED = (8, 16, 32, 64, 128), 20, 1337
SHOWN = "浣溪沙", "蝶恋花", "点绛唇"


def main():
    script = import_script(find_step("v15"))
    model, tokenizer, config = loaded(script, MODEL)
    _, _, train, val = text_of(script, config)
    rhymes = (ROOT / "data" / "rhymes.txt").read_text(encoding="utf-8")
    judge = Judge(train, val, read_rhymes(rhymes))
    model.eval()
    contexts, poems = [], {tune: {} for tune in SHOWN}
    for context in CONTEXTS:
        model.block_size, whole = context, 0
        torch.manual_seed(SEED)
        for tune, (_, longest) in judge.tunes.items():
            written = write(model, tokenizer, tune, EACH, longest, config.device)
            whole += sum(end and judge.whole(tune, body) for body, end in written)
            if tune in poems:
                poems[tune][context] = written[0][0]
        contexts.append({"context": context, "whole": whole})
        print(contexts[-1])
    tunes = [
        {
            "name": tune,
            "author": AUTHOR,
            "form": usual_form(judge.bodies[tune])[0],
            "poems": poems[tune],
        }
        for tune in SHOWN
    ]
    asked = EACH * len(judge.tunes)
    found = {"contexts": contexts, "asked": asked, "seed": SEED, "tunes": tunes}
    found["sha256"] = hashlib.sha256(MODEL.read_bytes()).hexdigest()
    text = json.dumps(found, ensure_ascii=False, indent=1)
    (HERE / "context_poems.json").write_text(text + "\n", encoding="utf-8", newline="\n")
    print([len(lines_of(body)) for tune in tunes for body in tune["poems"].values()])


if __name__ == "__main__":
    main()
