"""Each diff shows the step's one idea and nothing else, and each script keeps its budget."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import rules  # noqa: E402

SOURCES = [rules.read_script(step) for step in rules.STEPS]
every_version = pytest.mark.parametrize("step", rules.STEPS, ids=lambda step: f"v{step.version}")
every_step = pytest.mark.parametrize("step", rules.STEPS[1:], ids=lambda step: f"v{step.version}")


def problems_of(step, source):
    """Return as one text what is wrong with source in the place of that version's script."""
    problems = rules.check_script(step, source)
    if step.version > 1:
        problems += rules.check_step(step, SOURCES[step.version - 2], source)
    return "\n".join(problems)


@every_version
def test_a_script_is_in_the_order_of_the_design_and_within_the_readers_budget(step):
    problems = rules.check_script(step, SOURCES[step.version - 1])
    assert not problems, "\n".join(problems)


@every_step
def test_a_step_changes_what_the_step_table_says_and_nothing_else(step):
    problems = rules.check_step(step, *SOURCES[step.version - 2 : step.version])
    assert not problems, "\n".join(problems)


@every_version
def test_sections_hold_every_line_below_the_docstring(step):
    source = SOURCES[step.version - 1]
    top, body = rules.split_docstring(source)
    assert top + body == source
    assert [line for lines in rules.sections(source).values() for line in lines] == list(
        body.splitlines(keepends=True)
    )


def test_the_step_table_names_every_script_and_no_other():
    assert [step.version for step in rules.STEPS] == list(range(1, 18))
    found = [*ROOT.glob("babygpt_v*.py"), *ROOT.glob("beyond/*.py")]
    assert {step.file for step in rules.STEPS} == {p.relative_to(ROOT).as_posix() for p in found}


def test_lines_of_code_are_counted_without_docstrings_comments_and_blank_lines():
    source = (
        '"""Doc."""\n\nimport math  # why\n\n\ndef main():\n    """Do."""\n    # Why\n    pass\n'
    )
    assert rules.code_by_kind(source)["plumbing"] == 3
    two_lines = source.replace('"""Do."""', '"""Do.\n\n    More.\n    """')
    assert rules.code_by_kind(two_lines)["plumbing"] == 3


def test_every_line_of_code_of_a_script_is_counted_once():
    """Against Python's own tokenizer: the lines on which some token of code begins or ends."""
    import ast
    import io
    import tokenize

    for source in SOURCES:
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
        nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, documented)]
        docstrings = {
            line
            for node in nodes
            if ast.get_docstring(node)
            for line in range(node.body[0].lineno, node.body[0].end_lineno + 1)
        }
        layout = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
        lines = {
            line
            for token in tokenize.generate_tokens(io.StringIO(source).readline)
            if token.type not in (*layout, tokenize.ENDMARKER)
            for line in (token.start[0], token.end[0])
        }
        assert sum(rules.code_by_kind(source).values()) == len(lines - docstrings)


# What a careless edit does to one version alone: version, text, its replacement, what is said of it
LONG = "# Why, at length\n" * 100
TAMPERINGS = {
    "a comment": (7, "    windows = ids[", "    # hm\n    windows = ids[", "get_batch differs"),
    "a blank line": (3, "\n\nclass Tokenizer", "\n\n\nclass Tokenizer", "Tokenizer differs"),
    "an import": (11, "import math\n", "import math\nimport os\n", "imports differs"),
    "a decorator": (9, "@torch.no_grad()\ndef est", "def est", "estimate_loss differs"),
    "a statement": (2, "@dataclass\n", "LIMIT = 3\n\n\n@dataclass\n", "expected"),
    "a new helper": (
        5,
        "def get_batch(",
        "def helper():\n    pass\n\n\ndef get_batch(",
        "'helper'",
    ),
    "the end": (8, "    main()\n", "    main()\n# end\n", "guard differs"),
    "a new definition's name": (4, "class MultiHeadAttention", "class Heads", "Heads is new"),
    "a missing idea": (7, "x = x + self.", "x = self.", "Block is as before"),
    "help in v11": (11, "  # training steps", "  # steps", "more than default values"),
    "a type in v11": (11, "n_layer: PositiveInt", "n_layer: int", "more than default values"),
    "a field in v11": (
        11,
        "    n_layer:",
        "    a: int = 3  # b\n    n_layer:",
        "more than default",
    ),
    "too many changes": (8, "        self.proj =", "\n" * 3 + "        self.proj =", "lines added"),
    "a long v1": (1, "import math\n", LONG + "import math\n", "at most 185"),
    "a long v10": (10, "import math\n", LONG + "import math\n", "at most 280"),
    "plumbing": (1, "    main()\n", "    main()\n" * 40, "plumbing"),
}


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_a_change_outside_the_step_is_named(tampering):
    version, old, new, expected = TAMPERINGS[tampering]
    source = SOURCES[version - 1]
    assert old in source
    assert expected in problems_of(rules.STEPS[version - 1], source.replace(old, new))


def test_definitions_out_of_order_are_named():
    parts = rules.sections(SOURCES[2])
    other = {"Head": "BabyGPT", "BabyGPT": "Head"}
    body = "".join(line for name in parts for line in parts[other.get(name, name)])
    source = rules.split_docstring(SOURCES[2])[0] + body
    assert "in this order" in problems_of(rules.STEPS[2], source)


def test_a_problem_shows_the_offending_lines_as_a_unified_diff():
    source = SOURCES[6].replace('"""Return the windows of', '"""Return the parts of')
    problems = problems_of(rules.STEPS[6], source)
    assert "--- babygpt_v6_block.py\n+++ babygpt_v7_residual_connection.py\n" in problems
    assert '-    """Return the windows of' in problems
    assert '+    """Return the parts of' in problems


def test_the_docstring_is_each_versions_own():
    source = SOURCES[4].replace("\nWhy: ", "\nWhy?\n\n")
    assert source != SOURCES[4]
    assert problems_of(rules.STEPS[4], source) == ""


@pytest.mark.parametrize("name", ["3", "v3", "V3", "babygpt_v3_self_attention.py"])
def test_a_version_goes_by_number_or_file_name(name):
    assert rules.find_step(name).version == 3


@pytest.mark.parametrize("name", ["", "0", "18", "v", "babygpt_v3.py"])
def test_an_unknown_version_is_refused(name):
    with pytest.raises(ValueError, match="expected v1 to v17"):
        rules.find_step(name)
