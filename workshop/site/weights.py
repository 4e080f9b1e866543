"""The committed models, as scripts: a page that is opened from disk may load nothing else."""

import base64
import json

from steps import ROOT


def models(records):
    """Return [(name, version, file)] of the models that come with the repository."""
    files = sorted((ROOT / "data" / "weights").glob("v*.pt"))
    found = [(name, r) for name in ("evening", "rhyme") for r in records.find(name) if "kept" in r]
    kept = [(name, record["version"], ROOT / record["kept"]["file"]) for name, record in found]
    return [*((file.stem, int(file.stem[1:]), file) for file in files), *kept]


def write_weights(name, version, file, folder):
    """Write a model as a script that hands it to the page."""
    import torch

    saved = torch.load(file, weights_only=True)
    tensors = {key: tensor.half() for key, tensor in saved["model"].items()}
    numbers = b"".join(tensor.numpy().astype("<f2").tobytes() for tensor in tensors.values())
    out = {
        "version": version,
        **saved["shape"],
        "chars": "".join(saved["chars"]),
        "tensors": [[key, list(tensor.shape)] for key, tensor in tensors.items()],
        "data": base64.b64encode(numbers).decode("ascii"),
    }
    text = f"loaded({json.dumps(name)}, {json.dumps(out, ensure_ascii=False)});\n"
    (folder / f"{name}.js").write_text(text, encoding="utf-8")
