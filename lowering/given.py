"""One more check at full size for a problem out of a user's program: the values that the program itself had there.

The kernel runs on the inputs of the program's own run, is compared with float64 like every other run, and then with
what the program computed. Both results lie within the same limits around the exact one, so they differ by no more than
the limits are wide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lowering import bounds, checks, memory, reference
from lowering.bounds import Arithmetic
from lowering.checks import Check
from lowering.core import Problem
from lowering.intervals import Array, Interval
from lowering.targets.executor import Program


@dataclass(frozen=True)
class Values:
    """Inputs of a problem in a run of the user's program, and what `source` computed from them, where that is known."""

    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...] | None
    source: str


def verify_given(
    problem: Problem, program: Program, values: Values, arithmetic: Arithmetic | None = None
) -> tuple[Check, ...]:
    """The checks on a program's own values."""
    slots = memory.place(problem, program)
    label = f"inputs of {values.source}"
    runs = [memory.execute(program, slots, values.inputs, memory.POISONS[0])]
    limits = bounds.limits(problem, values.inputs, arithmetic)
    results = problem.arguments[len(values.inputs) :]
    found = checks.hygiene(runs, label)
    found += checks.within(results, runs, limits, reference.evaluate(problem, values.inputs), label)
    if values.outputs is not None:
        theirs = [output.astype(np.float64) for output in values.outputs]
        found += checks.within(results, runs, around(theirs, limits), theirs, f"result of {values.source}")
    return tuple(replace(check, scope="full") for check in found)


def around(results: Sequence[Array], limits: Sequence[Interval]) -> list[Interval]:
    """Where a second result may lie that obeys the same limits as these."""
    widths = [np.where(np.isfinite(each.high - each.low), each.high - each.low, 0.0) for each in limits]
    return [Interval(result - width, result + width) for result, width in zip(results, widths, strict=True)]
