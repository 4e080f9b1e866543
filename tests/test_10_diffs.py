"""Each diff shows the step's one idea and nothing else, and each script keeps its budget.

On this rests that the other tests run where something changed and nowhere else.
"""

import pytest
import rules
from steps import STEPS, base_of, read_script

each = pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)


@each
def test_a_script_is_in_order_and_within_the_readers_budget(step):
    problems = rules.check_script(step, read_script(step))
    assert not problems, "\n".join(problems)


@each
def test_a_step_changes_what_the_table_says_and_nothing_else(step):
    base = base_of(step)
    problems = rules.check_step(step, read_script(base), read_script(step)) if base else []
    assert not problems, "\n".join(problems)
