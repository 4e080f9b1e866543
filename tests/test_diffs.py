"""The diff between two neighbours shows the step's one idea and nothing else (tools/steps.json)."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import steps  # noqa: E402

SOURCES = [steps.read_script(step) for step in steps.STEPS]
every_version = pytest.mark.parametrize("step", steps.STEPS, ids=lambda step: f"v{step.version}")
every_step = pytest.mark.parametrize("step", steps.STEPS[1:], ids=lambda step: f"v{step.version}")


def problems_of(step, source):
    """Return as one text what is wrong with source in the place of that version's script."""
    problems = steps.check_script(step, source)
    if step.version > 1:
        problems += steps.check_step(step, SOURCES[step.version - 2], source)
    return "\n".join(problems)


@every_version
def test_sections_stand_in_the_order_of_the_design_and_lines_are_short(step):
    problems = steps.check_script(step, SOURCES[step.version - 1])
    assert not problems, "\n".join(problems)


@every_step
def test_a_step_changes_what_the_step_table_says_and_nothing_else(step):
    before, after = SOURCES[step.version - 2 : step.version]
    problems = steps.check_step(step, before, after)
    assert not problems, "\n".join(problems)


@every_version
def test_sections_hold_every_line_below_the_docstring(step):
    source = SOURCES[step.version - 1]
    top, body = steps.split_docstring(source)
    assert "".join(top + body) == source
    assert [line for _, lines in steps.sections(source) for line in lines] == body


def test_the_step_table_names_every_script_and_no_other():
    assert [step.version for step in steps.STEPS] == list(range(1, 13))
    assert {step.file for step in steps.STEPS} == {path.name for path in ROOT.glob("babygpt_v*.py")}


# What a careless edit does to one version alone: version, text, its replacement, what is said of it
TAMPERINGS = {
    "a comment": (7, "    return batch[:, ", "    # hm\n    return batch[:, ", "get_batch differs"),
    "a blank line": (3, "\n\nclass Tokenizer", "\n\n\nclass Tokenizer", "Tokenizer differs"),
    "an import": (11, "import argparse\n", "import argparse\nimport os\n", "imports differs"),
    "a decorator": (9, "@torch.no_grad()\ndef est", "def est", "estimate_loss differs"),
    "a statement": (2, "CHECKS = {\n", "LIMIT = 3\nCHECKS = {\n", "LIMIT is new"),
    "a new helper": (5, "def fail(", "def helper():\n    pass\n\n\ndef fail(", "helper is new"),
    "the end": (8, "from None\n", "from None\n# end\n", "end of file is new"),
    "a new definition's name": (4, "class MultiHeadAttention", "class Heads", "Heads is new"),
    "a missing idea": (7, "x = x + self.", "x = self.", "Block is as before"),
    "help in v11": (11, '"training steps"', '"steps"', "more than default values"),
    "a comment in v11's Config": (11, "    # Training\n", "    # Train\n", "more than default"),
    "a field in v11": (11, "    # Model\n", "    a: int = knob(1, 'b')\n", "more than default"),
    "a class twice": (6, "class BabyGPT(", "class Block:\n    pass\n\n\nclass B(", "Block again"),
    "a long line": (1, "import math\n", f"import math  # {'-' * 100}\n", "columns, more than 100"),
    "too much": (
        8,
        "        self.proj =",
        "        pass\n" * 3 + "        self.proj =",
        "lines added",
    ),
}


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_a_change_outside_the_step_is_named(tampering):
    version, old, new, expected = TAMPERINGS[tampering]
    source = SOURCES[version - 1]
    assert old in source
    assert expected in problems_of(steps.STEPS[version - 1], source.replace(old, new))


@pytest.mark.parametrize(
    "first, second, expected",
    [
        ("Head", "BabyGPT", "Head stands below BabyGPT, but belongs above it"),
        ("CHECKS", "knob", "in another order than in babygpt_v2_position.py"),
    ],
)
def test_definitions_out_of_order_are_named(first, second, expected):
    parts = dict(steps.sections(SOURCES[2]))
    other = {first: second, second: first}
    body = "".join(line for name in parts for line in parts[other.get(name, name)])
    assert expected in problems_of(steps.STEPS[2], body)


def test_a_problem_shows_the_offending_lines_as_a_unified_diff():
    source = SOURCES[6].replace('"""Return windows of split', '"""Return parts of split')
    problems = problems_of(steps.STEPS[6], source)
    assert "--- babygpt_v6_block.py\n+++ babygpt_v7_residual_connection.py\n" in problems
    assert '-    """Return windows of split' in problems
    assert '+    """Return parts of split' in problems


def test_the_docstring_is_each_versions_own():
    source = SOURCES[4].replace("\nWhy: ", "\nWhy?\n\n")
    assert source != SOURCES[4]
    assert problems_of(steps.STEPS[4], source) == ""


@pytest.mark.parametrize("name", ["3", "v3", "V3", "babygpt_v3_self_attention.py"])
def test_a_version_goes_by_number_or_file_name(name):
    assert steps.find_step(name).version == 3


@pytest.mark.parametrize("name", ["", "0", "13", "v", "babygpt_v3.py"])
def test_an_unknown_version_is_refused(name):
    with pytest.raises(ValueError, match="expected v1 to v12"):
        steps.find_step(name)
