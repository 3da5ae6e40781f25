"""The values of a user's own program: a kernel that agrees with float64 must agree with the program too."""

from __future__ import annotations

import numpy as np
import pytest
from fixtures import kernels

from lowering import inputs, reference
from lowering.given import Values, verify_given
from lowering.problem import from_shape
from lowering.targets.x86.runtime import CPU

PROBLEM = from_shape(40, 24, 50, "f32")
INPUTS = tuple(inputs.normals(PROBLEM, 3))
RIGHT = tuple(each.astype(np.float32) for each in reference.evaluate(PROBLEM, INPUTS))


def failed(binary, values: Values) -> list[str]:
    """Names of the checks that failed."""
    with CPU().load(binary) as program:
        found = verify_given(PROBLEM, program, values)
    assert {check.scope for check in found} == {"full"}
    return [check.name for check in found if not check.ok]


def test_an_honest_kernel_agrees_with_the_program():
    assert failed(kernels.honest(PROBLEM), Values(INPUTS, RIGHT, "torch")) == []
    assert failed(kernels.honest(PROBLEM), Values(INPUTS, None, "torch")) == []


@pytest.mark.parametrize("change", [1e-3, np.nan, np.inf])
def test_a_program_that_computed_something_else_is_seen(change):
    other = RIGHT[0].copy()
    other[7, 5] += change
    assert failed(kernels.honest(PROBLEM), Values(INPUTS, (other,), "torch")) == ["result of torch"]


def test_a_program_that_ran_on_other_inputs_is_seen():
    doubled = tuple(2 * each for each in INPUTS[:1]) + INPUTS[1:]
    right = Values(doubled, RIGHT, "torch")
    assert failed(kernels.honest(PROBLEM), right) == ["result of torch"]
    with CPU().load(kernels.honest(PROBLEM)) as program:
        checked = verify_given(PROBLEM, program, right)
    assert any(check.ok and check.name.startswith("inputs of torch") for check in checked)
