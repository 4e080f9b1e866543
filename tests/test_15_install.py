"""Whoever has a Python that the pages name, on a system that they name, can install it all."""

import itertools
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

requirements = pytest.importorskip("packaging.requirements")

PLATFORMS = {
    "linux": [f"manylinux_2_{n}_x86_64" for n in range(17, 29)],
    "windows": ["win_amd64"],
    "macos": ["macosx_14_0_arm64"],
}
PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]
LINES = [line.split(" #")[0] for line in (ROOT / "requirements.txt").read_text().splitlines()]
REQUIRED = [requirements.Requirement(line) for line in LINES if line and line[0] != "#"]


def test_every_requirement_is_one_version_on_every_python():
    for python in PYTHONS:
        pinned = [(r.name, str(r.specifier)) for r in REQUIRED if wanted(r, python)]
        assert len(dict(pinned)) == len(pinned)
        assert all(version.startswith("==") for _, version in pinned)


def wanted(requirement, python):
    return not requirement.marker or requirement.marker.evaluate({"python_version": python})


@pytest.mark.slow
@pytest.mark.parametrize("python, system", [*itertools.product(PYTHONS, PLATFORMS)])
def test_pip_finds_wheels_of_all_that_is_required(python, system, tmp_path):
    """PyTorch without what it needs in turn: pip takes conditions as those of this system."""
    names = [f"{r.name}{r.specifier}" for r in REQUIRED if wanted(r, python)]
    torch = [name for name in names if name.startswith("torch==")]
    others = [name for name in names if name not in torch]
    pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--only-binary", ":all:"]
    pip += ["--python-version", python, "--target", str(Path(tmp_path, "nowhere"))]
    pip += [word for platform in PLATFORMS[system] for word in ("--platform", platform)]
    for words in (["--no-deps", *torch], others):
        found = subprocess.run([*pip, *words], capture_output=True, text=True, timeout=300)
        assert found.returncode == 0, found.stderr
