"""workshop/rules.py: what a step must not change is named; what the hash of the code is of."""

import pytest
import rules
from steps import STEPS, find_step, read_script

V1, V3, V7, V11 = (read_script(find_step(name)) for name in ("v1", "v3", "v7", "v11"))
LONG = "# Why, at length\n" * 300
# What a careless edit does to one version alone: version, text, its replacement, what is said of it
TAMPERINGS = {
    "a comment": ("v7", "    windows = ids", "    # hm\n    windows = ids", "get_batch differs"),
    "a blank line": ("v3", "\n\nclass Tokenizer", "\n\n\nclass Tokenizer", "Tokenizer differs"),
    "an import": ("v11", "import math\n", "import math\nimport os\n", "imports differs"),
    "a helper": (
        "v5",
        "def get_batch(",
        "def helper():\n    pass\n\n\ndef get_batch(",
        "helper is",
    ),
    "another name": ("v4", "class MultiHeadAttention", "class Heads", "Heads is new"),
    "a missing idea": ("v7", "x = x + self.", "x = self.", "Block is as before"),
    "help in v11": ("v11", "  # training steps", "  # steps", "more than default values"),
    "a type in v11": ("v11", "n_layer: PositiveInt", "n_layer: int", "more than default values"),
    "many lines": ("v8", "        self.proj =", "\n" * 3 + "        self.proj =", "lines added"),
    "a long script": ("v10", "import math\n", LONG + "import math\n", "what a reader reads"),
    "plumbing": ("v1", "    main()\n", "    main()\n" * 90, "plumbing"),
}


def problems_of(step, source):
    """Return as one text what is wrong with source in the place of that version's script."""
    problems = rules.check_script(step, source)
    if base := rules.base_of(step):
        problems += rules.check_step(step, read_script(base), source)
    return "\n".join(problems)


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_a_change_outside_the_step_is_named_with_its_file(tampering):
    name, old, new, expected = TAMPERINGS[tampering]
    step = find_step(name)
    source = read_script(step)
    assert old in source
    found = problems_of(step, source.replace(old, new))
    assert expected in found and expected not in problems_of(step, source)
    assert step.file in found


def test_definitions_in_another_order_than_in_the_base_are_named():
    parts = rules.sections(V3)
    other = {"Tokenizer": "load_data", "load_data": "Tokenizer"}
    body = "".join(line for name in parts for line in parts[other.get(name, name)])
    assert "another order" in problems_of(find_step("v3"), rules.split_docstring(V3)[0] + body)


def test_a_step_is_compared_with_its_base_and_not_with_the_one_before(monkeypatch):
    step = find_step("v7")
    monkeypatch.setattr(step, "base", 5)
    assert "Block is new" in problems_of(step, V7)


def test_the_docstring_is_each_versions_own():
    top, body = rules.split_docstring(V7)
    assert problems_of(find_step("v7"), '"""Another."""\n' + body) == problems_of(
        find_step("v7"), V7
    )
    assert top + body == V7


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_sections_hold_every_line_below_the_docstring(step):
    source = read_script(step)
    lines = [line for lines in rules.sections(source).values() for line in lines]
    assert "".join(lines) == rules.split_docstring(source)[1]


def test_lines_of_code_are_those_without_docstrings_comments_and_blank_lines():
    source = 'import math  # why\n\n\ndef main():\n    """Do.\n\n    More.\n    """\n    # Why\n'
    source += '    print("a  # b")\n'
    lines = rules.code_lines(source.splitlines(keepends=True))
    assert lines[:2] == ["import math", "def main():"] and len(lines) == 3


WEIGHTLESS = {
    "the docstring": ("babygpt", "gpt"),
    "a comment": ("# (B, T, C)", "# three"),
    "an import": ("import math\n", "import math\nimport os\n"),
    "the prompts": ('"春江"', '"明月"'),
    "the samples' length": ("max_new_tokens: NonNegativeInt = 100", "max_new_tokens: int = 50"),
    "the text's place": ("data/ci.txt", "ci.txt"),
    "how it samples": ("probs, num_samples=1", "probs, 1"),
    "what it prints": ('print(f"\\n{', 'print(f"{'),
}
WEIGHTY = {
    "a default": ("learning_rate: PositiveFloat = 3e-3", "learning_rate: PositiveFloat = 2e-3"),
    "the model": ("self.lm_head(x)", "self.lm_head(2 * x)"),
    "the training": ("optimizer.step()", "optimizer.step(None)"),
    "the batches": ("windows[:, :-1]", "windows[:, :-2]"),
    "the seed": ("torch.manual_seed(config.seed)\n    tokenizer", "tokenizer"),
}


@pytest.mark.parametrize("change", [*WEIGHTLESS, *WEIGHTY])
def test_the_hash_changes_with_what_can_change_a_weight_and_with_nothing_else(change):
    old, new = {**WEIGHTLESS, **WEIGHTY}[change]
    assert old in V1
    alike = rules.code_hash(V1) == rules.code_hash(V1.replace(old, new))
    assert alike is (change in WEIGHTLESS)


def test_saving_and_generating_do_not_count_where_they_are_long_either():
    source = read_script(find_step("v12"))
    for old, new in (("weights_only=True", "weights_only=False"), ("saved = {", "kept = {")):
        assert old in source
        assert rules.code_hash(source) == rules.code_hash(source.replace(old, new))
    assert len({rules.code_hash(read_script(step)) for step in STEPS}) > len(STEPS) - 3
