"""Every pass of the table, on states of every family: what `choices` yields can be applied."""

from __future__ import annotations

from itertools import chain

import pytest

from lowering import mlir
from lowering.core import Pass, PassError, Problem, Target
from lowering.passes.common.backend import BACKEND
from lowering.passes.table import TABLE
from lowering.passes.upstream import Upstream
from lowering.problem import from_shape
from lowering.targets import load, names
from lowering.targets.families import FAMILIES

BLOCKS = {"mr": 2, "nr": 4, "mc": 4, "nc": 8, "kc": 4}
TILES = {"block_m": 8, "block_n": 8, "block_k": 4, "thread_m": 4, "thread_n": 4, "unroll_k": 2}


def states(problem: Problem, target: Target) -> dict[str, str]:
    """The fresh state, those after each of our own steps and the bufferisation, and the last one."""
    space = FAMILIES[target.family].space
    module = mlir.parse(problem.ir)
    found = {"": mlir.text(module)}
    for step in space.schedule(BLOCKS if target.family == "x86" else TILES, problem, target):
        if isinstance(step, BACKEND):
            break
        step.apply(module)
        if not isinstance(step, Upstream) or step.of == "one-shot-bufferize":
            found[str(step)] = mlir.text(module)
    return found | {"last": mlir.text(module)}


@pytest.mark.parametrize("chip", names())
@pytest.mark.parametrize(
    "problem",
    [from_shape(5, 11, 6, "f16", batch=2), from_shape(8, 16, 8, "f32", "nt")],
    ids=lambda problem: problem.name,
)
def test_every_choice_applies(problem: Problem, chip: str) -> None:
    target = load(chip)
    offered: set[str] = set()
    for after, text in states(problem, target).items():
        for step in chain.from_iterable(cls.choices(mlir.parse(text), problem, target) for cls in TABLE):
            module = mlir.parse(text)
            try:
                step.apply(module)
            except PassError as error:
                pytest.fail(f"{step} after '{after}': {error.reason}")
            assert module.operation.verify(), step
            offered.add(step.name)
    assert len(offered) > len(TABLE) // 4  # of three families' passes


def test_choices_read_the_state_only() -> None:
    problem, target = from_shape(5, 11, 6, "f16"), load("x86_64")
    module = mlir.parse(problem.ir)
    steps: list[Pass] = [step for cls in TABLE for step in cls.choices(module, problem, target)]
    assert steps
    assert mlir.text(module) == mlir.text(mlir.parse(problem.ir))
