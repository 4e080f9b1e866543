"""tools/steps.py: the table of the steps, and the one way to run a script and get its model."""

import argparse
from dataclasses import asdict

import pytest
import steps
import torch
from conftest import flags
from steps import STEPS, base_of, find_step, import_script


def test_the_table_names_every_script_and_no_other():
    found = [*steps.ROOT.glob("babygpt_v*.py"), *steps.ROOT.glob("beyond/*.py")]
    assert sorted(step.path for step in STEPS) == sorted(found)
    assert [step.version for step in STEPS] == list(range(1, len(STEPS) + 1))


@pytest.mark.parametrize("name", ["3", "v3", "V3", 3, STEPS[2].file, STEPS[2].path.stem])
def test_a_version_goes_by_number_or_file_name(name):
    assert find_step(name) is STEPS[2]


@pytest.mark.parametrize("name", ["", "0", "v", len(STEPS) + 1, "babygpt_v3.py", "v3.1"])
def test_an_unknown_version_is_refused_by_a_message_that_says_what_is_expected(name):
    for error in (ValueError, argparse.ArgumentTypeError):
        with pytest.raises(error, match=f"v1 to {STEPS[-1].name}"):
            find_step(name)


def test_a_step_is_a_copy_of_its_base_which_is_the_one_before_unless_the_table_says_so(monkeypatch):
    assert base_of(STEPS[0]) is None and base_of(STEPS[6]) is STEPS[5]
    monkeypatch.setattr(STEPS[6], "base", 3)
    assert base_of(STEPS[6]) is STEPS[2]


def test_importing_without_torch_is_possible(monkeypatch):
    """What reads the table only, such as the rules and the pages, starts in no time."""
    import subprocess
    import sys

    code = "import sys; sys.modules['torch'] = None; sys.path[:0] = ['tools', 'workshop']\n"
    code += "import rules, carry, records, tables, blocks, charts, render"
    subprocess.run([sys.executable, "-c", code], cwd=steps.ROOT, check=True)


def test_a_text_of_a_script_is_replaced_where_it_stands_once():
    step = find_step("v7")
    edited = import_script(step, ["x = x + self.ffwd(x)", "x = self.ffwd(x)"])
    config = edited.Config(n_embed=8, n_head=2, n_layer=1, device="cpu")
    torch.manual_seed(1)
    block, x = edited.Block(config), torch.randn(1, 4, 8)
    torch.testing.assert_close(block(x), block.ffwd(x + block.sa(x)))
    assert import_script(step).Block is not edited.Block
    with pytest.raises(ValueError, match=step.file):
        import_script(step, ["self", "this"])


def test_a_run_hands_out_its_model_and_a_file_gives_the_same(corpus, capsys):
    script = import_script(find_step("v12"))
    argv = flags(script, data_path=corpus, checkpoint_path="model.pt", block_size=6)
    model, tokenizer, config = steps.trained(script, argv)
    assert config.block_size == 6 and "val loss" in capsys.readouterr().out
    argv = ["--device", "cpu", "--prompts", "不在其中"]  # need not be known: nothing is sampled
    saved, other, found = steps.loaded(script, "model.pt", argv)
    assert other.chars == tokenizer.chars
    for name, value in model.state_dict().items():
        assert torch.equal(saved.state_dict()[name], value)
    shape = ("block_size", "n_embed", "n_head", "n_layer")
    assert [asdict(found)[name] for name in shape] == [asdict(config)[name] for name in shape]
