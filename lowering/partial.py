"""Full size where running all of it would take long: some workgroups, and every element that they wrote.

An emulator runs a large problem in minutes, so it runs the corners of the grid, some of its edges and seeded random
workgroups, as many as the work limit allows, on integers and on random numbers. What they wrote is known byte for byte
and compared with the reference; the witness problem, run whole, says whether everything is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lowering import bounds, checks, freivalds, memory, reference, verify
from lowering import problem as problems
from lowering.bounds import Arithmetic
from lowering.checks import Check
from lowering.core import Problem
from lowering.intervals import Array, Interval
from lowering.targets.executor import Program, Sampler

WORK = 2**27  # multiply-adds of a run: half a second to a few seconds in the emulator

MOST = 2**31  # multiply-adds up to which what cannot be sampled is emulated whole: some ten seconds a check


def suits(problem: Problem, program: Program) -> bool:
    """Whether a problem is so large that its program is sampled."""
    return isinstance(program, Sampler) and program.divisible and problem.contraction.flops // 2 > WORK


@dataclass
class Some:
    """Starts a share of a program's workgroups, and keeps how many of how many that was."""

    program: Sampler
    share: float
    seed: int
    ran: int = 0
    there: int = 0

    def __call__(self, pointers: Sequence[int]) -> None:
        self.ran, self.there = self.program.run_some(pointers, self.share, self.seed)


def verify_some(
    problem: Problem, program: Program, arithmetic: Arithmetic | None, seed: int
) -> tuple[tuple[Check, ...], str]:
    """The checks of a sample, and how many of how many workgroups ran, in words."""
    assert isinstance(program, Sampler)
    slots = memory.place(problem, program)
    found: list[Check] = []
    words = ""
    for name, make in verify.FULL:
        label, values = f"{name}, seed {seed}", make(problem, seed)
        share = WORK / (problem.contraction.flops // 2)
        some = Some(program, share, seed)
        run = memory.execute(program, slots, values, memory.POISONS[0], some)
        words = f"{some.ran} of {some.there} workgroups"
        outputs = problem.arguments[len(values) :]
        masks: list[Array] = [
            np.all(program.written(slot.pointer, slot.nbytes).reshape((*output.shape, -1)), axis=-1, keepdims=True)[
                ..., 0
            ]
            for slot, output in zip(slots[len(values) :], outputs, strict=True)
        ]
        found += checks.hygiene([run], label)
        found += compared(problem, values, run, masks, label, arithmetic)
        if not all(check.ok for check in found):
            break
    return tuple(replace(check, scope="full") for check in found), words


def compared(
    problem: Problem,
    values: Sequence[Array],
    run: memory.Run,
    masks: Sequence[Array],
    label: str,
    arithmetic: Arithmetic | None,
) -> list[Check]:
    """What was written against its limits, computed only on the lines that were reached."""
    if not all(mask.any() for mask in masks):
        return [Check(label, False, "the workgroups that ran wrote nothing")]
    lines = reached(problem, masks)
    small, arrays = freivalds.chosen(problem, (*values, *run.outputs), lines)
    kept = freivalds.chosen(problem, (*values, *masks), lines)[1][len(values) :]
    inputs, outputs = arrays[: len(values)], arrays[len(values) :]
    limits = [
        open_where(~mask, each) for mask, each in zip(kept, bounds.limits(small, inputs, arithmetic), strict=True)
    ]
    exact = reference.evaluate(small, inputs)
    settled = [np.where(m, o, e.astype(o.dtype)) for m, o, e in zip(kept, outputs, exact, strict=True)]
    part = replace(run, outputs=tuple(settled))
    return checks.within(
        small.arguments[len(values) :], [part], limits, exact, label, bounds.bounded(small, arithmetic)
    )


def open_where(where: Array, limits: Interval) -> Interval:
    """Limits that say nothing of some elements."""
    return Interval(np.where(where, -np.inf, limits.low), np.where(where, np.inf, limits.high))


def reached(problem: Problem, masks: Sequence[Array]) -> freivalds.Lines:
    """The batches, rows and columns with an element that was written; None for those that cannot be chosen from."""
    found: list[Array | None] = []
    for loop in freivalds.loops(problem):
        touched: Array | None = None
        if loop is not None:
            small = problems.resize_loops(problem, {loop: 1})
            count = len(masks)
            for mask, before, after in zip(masks, problem.arguments[-count:], small.arguments[-count:], strict=True):
                for axis, (old, new) in enumerate(zip(before.shape, after.shape, strict=True)):
                    if old != new:
                        there = np.atleast_1d(mask.any(axis=tuple(i for i in range(mask.ndim) if i != axis)))
                        touched = there if touched is None else np.logical_or(touched, there)
        found.append(None if touched is None else np.flatnonzero(touched))
    batch, rows, columns = found
    return batch, rows, columns
