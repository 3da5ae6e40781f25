"""Checks of a product that is too large to compute twice over: every element at O(n^2) cost, or whole, and a sample.

Freivalds: C = A B is tested as C x = A (B x) for random integer vectors x. Integer inputs make all of it exact in
int64, which wraps: equality holds modulo 2^64. An element that is an integer up to 2^53 and wrong is wrong by less than
2^54, so for each of its x at most two of the 2 X + 1 entries from [-X, X] hide it; here X = 512 and there are three
vectors: 1e-8. An element that is no such integer is wrong as it is. Source: R. Freivalds, Probabilistic machines can
use less running time, IFIP 1977. It needs an output that is the product itself (plus C), exact in its type.

Where it does not apply, integers are compared whole, some batches or rows at a time: one float64 product. Beyond 2^38
multiply-adds (20 s or so) that is a sample only, and the verdict says so.

The sample: rows, columns and the four corner tiles are computed by the same payload made smaller, whose inputs are the
chosen lines of the large ones. Everything elementwise commutes with choosing lines, so any epilogue is covered.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from lowering import bounds, inputs, reference
from lowering import problem as problems
from lowering.bounds import Arithmetic
from lowering.checks import Check, within
from lowering.core import Argument, Problem
from lowering.dtypes import lookup, sum_mantissa
from lowering.find import largest
from lowering.intervals import Array
from lowering.memory import Run
from lowering.program import Contract, Map
from lowering.sizes import ties

VECTORS = 3
LARGEST = 512  # of the entries of x
LINES = 32  # sampled rows and columns, besides the first and the last
CORNER = 128
AFFORDABLE = 2**38  # multiply-adds up to which integers are compared whole
BLOCK = 2**22  # elements of the output compared at a time: some float64 arrays of 32 MiB

Lines = tuple[Array | None, Array | None, Array | None]  # batches, rows, columns; None: all of them


def checks(
    problem: Problem, values: Sequence[Array], run: Run, label: str, arithmetic: Arithmetic | None, seed: int
) -> list[Check]:
    """Every element of integer inputs, by Freivalds or whole, and the sample; whole where lines cannot be chosen."""
    if not any(loops(problem)):
        return block(problem, values, run, label, arithmetic, (None, None, None))
    sample = sampled(problem, values, run, label, arithmetic, seed)
    if applies(problem, values):
        found = product(problem, values, run, label, seed)
        if found.ok or not problem.epilogue:
            return [found, *sample]
    if not all(bounds.integral(each.astype(np.float64)) for each in values):
        return sample
    if problem.contraction.flops // 2 <= AFFORDABLE:
        return [*whole(problem, values, run, label, arithmetic), *sample]
    return [replace(check, detail=f"{check.detail}, of a sample", note="sampled") for check in sample]


# --- Freivalds -------------------------------------------------------------------------------------------------------


def applies(problem: Problem, values: Sequence[Array]) -> bool:
    """Whether the output is A B (plus C) exactly: integers whose sums fit the accumulator, in a known layout.

    Nothing may come after the product but a narrowing; whether the sums fit that as well is seen only from them.
    """
    node = problems.program(problem.ir).contract
    pair = inputs.operands(problem)
    if problem.contraction.layout == "other" or pair is None or not plain(problem):
        return False
    if not all(bounds.integral(each.astype(np.float64)) for each in values):
        return False
    a, b = (np.abs(inputs.k_last(values[each.index], each).astype(np.float64)) for each in pair)
    start = inputs.start(problem)
    most = float(a.sum(axis=-1).max(initial=0.0) * b.max(initial=0.0))
    most += 0.0 if start is None else float(np.abs(values[start].astype(np.float64)).max(initial=0.0))
    known = lookup(node.dtype)
    kept = sum_mantissa(node.a.dtype, node.dtype) + 1
    return most <= (2.0**kept if known.kind == "float" else 2.0 ** (known.bits - 1) - 1)


def plain(problem: Problem) -> bool:
    """Whether the one output is the contraction's result, or that rounded to a narrower float, element for element."""
    program = problems.program(problem.ir)
    result = program.outputs[0]
    if len(program.outputs) > 1 or isinstance(result, Contract):
        return len(program.outputs) == 1
    if not isinstance(result, Map) or result.inputs != (program.contract,):
        return False
    ops = [op.operation for op in result.body.operations]
    if [op.name for op in ops] != ["arith.truncf", "linalg.yield"] or list(ops[1].operands) != list(ops[0].results):
        return False
    rounded = [
        bound for value, bound in zip(result.body.arguments, result.bound, strict=False) if value == ops[0].operands[0]
    ]
    return rounded == [0] and result.positions == (tuple(range(len(result.shape))),)


def product(problem: Problem, values: Sequence[Array], run: Run, label: str, seed: int) -> Check:
    """C x = A (B x) for three random integer vectors, exactly modulo 2^64."""
    pair = inputs.operands(problem)
    assert pair is not None
    a, b = (inputs.k_last(values[operand.index], operand).astype(np.int64) for operand in pair)
    x = np.random.default_rng((seed, 5)).integers(-LARGEST, LARGEST, (b.shape[-2], VECTORS), endpoint=True)
    expected = a @ (b.swapaxes(-1, -2) @ x)
    start = inputs.start(problem)
    if start is not None:
        expected += values[start].astype(np.int64) @ x
    output = run.outputs[0].astype(np.float64)
    with np.errstate(invalid="ignore"):
        possible = (np.abs(output) <= 2.0**53) & (output == np.rint(output))
    wrong = (np.where(possible, output, 0.0).astype(np.int64) @ x != expected).any(axis=-1) | ~possible.all(axis=-1)
    name = f"Freivalds, {label}"
    if not wrong.any():
        return Check(name, True, f"every element, by {VECTORS} vectors", 0.0, 0.0)
    rows = np.nonzero(wrong.reshape(-1, wrong.shape[-1]).any(axis=0))[0]
    return Check(name, False, f"{rows.size} of {wrong.shape[-1]} rows are wrong, {rows[0]} to {rows[-1]}")


# --- whole -----------------------------------------------------------------------------------------------------------


def whole(
    problem: Problem, values: Sequence[Array], run: Run, label: str, arithmetic: Arithmetic | None
) -> list[Check]:
    """Every element of every output against its limits, block by block; the first block with a wrong one ends it."""
    found: list[list[Check]] = []
    for lines in blocks(problem):
        found.append(block(problem, values, run, label, arithmetic, lines))
        if not all(check.ok for check in found[-1]):
            return found[-1]
    return [max(each, key=lambda check: check.figure or 0.0) for each in zip(*found, strict=True)]


def blocks(problem: Problem) -> Iterator[Lines]:
    """Some batches at a time, or where there is one only, some rows or columns."""
    sizes = problems.program(problem.ir).contract.sizes
    there = [(axis, loop) for axis, loop in enumerate(loops(problem)) if loop is not None]
    axis, loop = next(((axis, loop) for axis, loop in there if sizes[loop] > 1), there[0])
    c = problem.contraction
    line = (c.batch or 1) * c.m * c.n // sizes[loop]
    step = max(1, BLOCK // line)
    for first in range(0, sizes[loop], step):
        picked = np.arange(first, min(first + step, sizes[loop]))
        yield (*(None,) * axis, picked, *(None,) * (2 - axis))  # pyright: ignore[reportReturnType]


def block(
    problem: Problem,
    values: Sequence[Array],
    run: Run,
    label: str,
    arithmetic: Arithmetic | None,
    lines: Lines,
) -> list[Check]:
    """Some consecutive lines of the outputs against their limits, which are the reference where they are one number."""
    small, arrays = chosen(problem, (*values, *run.outputs), lines)
    count = len(values)
    expected = bounds.limits(small, arrays[:count], arithmetic)
    certain = all(each.low is each.high or np.array_equal(each.low, each.high, equal_nan=True) for each in expected)
    exact = [each.low for each in expected] if certain else reference.evaluate(small, arrays[:count])
    first = next((int(picked[0]) for picked in lines if picked is not None), 0)
    origins = [
        tuple(first if old != new else 0 for old, new in zip(before.shape, after.shape, strict=True))
        for before, after in zip(problem.arguments[count:], small.arguments[count:], strict=True)
    ]
    part = Run(arrays[count:], (), (), run.poison)
    sure = bounds.bounded(small, arithmetic)
    return within(small.arguments[count:], [part], expected, exact, label, sure, origins)


# --- the sample ------------------------------------------------------------------------------------------------------


def sampled(
    problem: Problem, values: Sequence[Array], run: Run, label: str, arithmetic: Arithmetic | None, seed: int
) -> list[Check]:
    """Seeded rows with the first and the last, columns alike, and the four corner tiles, each against its limits."""
    sizes = problems.program(problem.ir).contract.sizes
    batch, m, n = (None if loop is None else sizes[loop] for loop in loops(problem))
    rng = np.random.default_rng((seed, 6))
    batches = spaced(rng, batch, 2)
    rows, columns = spaced(rng, m, LINES), spaced(rng, n, LINES)
    parts: dict[str, Lines] = {
        "rows": (batches, rows, None),
        "columns": (batches, None, columns),
        "corners": (batches, ends(m), ends(n)),
    }
    found: list[Check] = []
    for name, lines in parts.items():
        small, arrays = chosen(problem, (*values, *run.outputs), lines)
        count = len(values)
        expected = bounds.limits(small, arrays[:count], arithmetic)
        exact = reference.evaluate(small, arrays[:count])
        part = Run(arrays[count:], (), (), run.poison)
        sure = bounds.bounded(small, arithmetic)
        found += within(small.arguments[count:], [part], expected, exact, f"{name}, {label}", sure)
    return found


def loops(problem: Problem) -> tuple[int | None, int | None, int | None]:
    """The loops of the contraction along which batches, rows and columns are chosen: the largest of each class.

    None where there is none, or where the program makes it one size with another: then some lines of one are the same
    of the other, and the program on them is no part of the whole.
    """
    program = problems.program(problem.ir)
    node, dims = program.contract, program.contract.dims
    tied = {loop for group in ties(program) if len(group) > 1 for loop in group}
    found = [largest(each, node.sizes) if each else None for each in (dims.batch, dims.m, dims.n)]
    batch, rows, columns = (None if loop in tied else loop for loop in found)
    return batch, rows, columns


def spaced(rng: np.random.Generator, size: int | None, count: int) -> Array | None:
    """The first, the last and `count` random lines, in order; None where there are none to choose from."""
    if size is None:
        return None
    return np.unique([0, size - 1, *rng.integers(0, size, count).tolist()])


def ends(size: int | None) -> Array | None:
    """The lines of the first and the last tile."""
    if size is None:
        return None
    return np.unique([*range(min(CORNER, size)), *range(max(0, size - CORNER), size)])


def chosen(problem: Problem, arrays: Sequence[Array], lines: Lines) -> tuple[Problem, tuple[Array, ...]]:
    """The problem with only the given batches, rows and columns, and its arrays.

    Which axes of which argument are rows is read off from the problem itself: those that change with its size.
    """
    for loop, picked in zip(loops(problem), lines, strict=True):
        if picked is None or loop is None:
            continue
        small = problems.resize_loops(problem, {loop: len(picked)})
        arrays = [
            taken(array, before, after, picked)
            for array, before, after in zip(arrays, problem.arguments, small.arguments, strict=True)
        ]
        problem = small
    return problem, tuple(arrays)


def taken(array: Array, before: Argument, after: Argument, picked: Array) -> Array:
    """The chosen lines of one argument's array, along every axis whose size changed."""
    for axis, (old, new) in enumerate(zip(before.shape, after.shape, strict=True)):
        if old != new:
            array = array.take(picked, axis)
    return array
