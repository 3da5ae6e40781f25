"""Checks of a product that is too large to compute again: every element at O(n^2) cost, and a sample against float64.

Freivalds: C = A B is tested as C x = A (B x) for random integer vectors x. With integer inputs all of it is exact in
float64, so equality is exact, and a wrong C passes one vector with probability at most 1/(2 X + 1) for entries of x
drawn evenly from [-X, X]; here X = 512 and there are three vectors: 1e-9. Source: R. Freivalds, Probabilistic
machines can use less running time, IFIP 1977. It needs an output that is the product itself (plus C), rounded
nowhere.

The sample: rows, columns and the four corner tiles are computed by the same payload made smaller, whose inputs are the
chosen lines of the large ones. Everything elementwise commutes with choosing lines, so any epilogue is covered.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lowering import bounds, inputs, reference
from lowering.bounds import Arithmetic
from lowering.checks import Check, within
from lowering.core import Argument, Problem, UserError
from lowering.dtypes import lookup
from lowering.intervals import Array
from lowering.memory import Run
from lowering.problem import resize

VECTORS = 3
LARGEST = 512  # of the entries of x
LINES = 32  # sampled rows and columns, besides the first and the last
CORNER = 128


def checks(
    problem: Problem, values: Sequence[Array], run: Run, label: str, arithmetic: Arithmetic | None, seed: int
) -> list[Check]:
    """Freivalds' check where it applies to these inputs, and the sample."""
    found = [product(problem, values, run, label, seed)] if applies(problem, values) else []
    try:
        return [*found, *sampled(problem, values, run, label, arithmetic, seed)]
    except UserError:  # sizes that are tied together, or several loops a class: no part of it is the same program
        expected, exact = bounds.limits(problem, values, arithmetic), reference.evaluate(problem, values)
        return [*found, *within(problem.arguments[len(values) :], [run], expected, exact, label)]


def applies(problem: Problem, values: Sequence[Array]) -> bool:
    """Whether the output is A B (plus C) exactly: nothing but casts after it, a known layout, exact integer inputs."""
    c = problem.contraction
    plain = all(name in ("cast", "copy") for name in problem.epilogue)
    exact = lookup(c.element).kind == "float" or c.k < 2**16  # 8-bit products over so many terms cannot wrap around
    known = c.layout != "other" and inputs.operands(problem) is not None
    return plain and exact and known and all(bounds.integral(v.astype(np.float64)) for v in values)


def product(problem: Problem, values: Sequence[Array], run: Run, label: str, seed: int) -> Check:
    """C x = A (B x) for three random integer vectors, exactly."""
    pair = inputs.operands(problem)
    assert pair is not None
    a, b = (inputs.k_last(values[operand.index], operand).astype(np.float64) for operand in pair)
    x = np.random.default_rng((seed, 5)).integers(-LARGEST, LARGEST, (b.shape[-2], VECTORS), endpoint=True)
    expected = a @ (b.swapaxes(-1, -2) @ x.astype(np.float64))
    start = inputs.start(problem)
    if start is not None:
        expected += values[start].astype(np.float64) @ x
    with np.errstate(invalid="ignore", over="ignore"):
        wrong = (run.outputs[0].astype(np.float64) @ x != expected).any(axis=-1)
    name = f"Freivalds, {label}"
    if not wrong.any():
        return Check(name, True, f"every element, by {VECTORS} vectors", 0.0, 0.0)
    rows = np.nonzero(wrong.reshape(-1, wrong.shape[-1]).any(axis=0))[0]
    return Check(name, False, f"{rows.size} of {wrong.shape[-1]} rows are wrong, {rows[0]} to {rows[-1]}")


def sampled(
    problem: Problem, values: Sequence[Array], run: Run, label: str, arithmetic: Arithmetic | None, seed: int
) -> list[Check]:
    """Seeded rows with the first and the last, columns alike, and the four corner tiles, each against its limits."""
    c = problem.contraction
    rng = np.random.default_rng((seed, 6))
    batches = spaced(rng, c.batch, 2) if c.batch else None
    rows, columns = spaced(rng, c.m, LINES), spaced(rng, c.n, LINES)
    parts = {
        "rows": (batches, rows, None),
        "columns": (batches, None, columns),
        "corners": (batches, ends(c.m), ends(c.n)),
    }
    found: list[Check] = []
    for name, lines in parts.items():
        small, arrays = chosen(problem, (*values, *run.outputs), lines)
        count = len(values)
        expected = bounds.limits(small, arrays[:count], arithmetic)
        exact = reference.evaluate(small, arrays[:count])
        part = Run(arrays[count:], (), (), run.poison)
        found += within(small.arguments[count:], [part], expected, exact, f"{name}, {label}")
    return found


def spaced(rng: np.random.Generator, size: int, count: int) -> Array:
    """The first, the last and `count` random lines, in order."""
    return np.unique([0, size - 1, *rng.integers(0, size, count).tolist()])


def ends(size: int) -> Array:
    """The lines of the first and the last tile."""
    return np.unique([*range(min(CORNER, size)), *range(max(0, size - CORNER), size)])


def chosen(
    problem: Problem, arrays: Sequence[Array], lines: tuple[Array | None, Array | None, Array | None]
) -> tuple[Problem, tuple[Array, ...]]:
    """The problem with only the given batches, rows and columns, and its arrays. None: all of them.

    Which axes of which argument are rows is read off from the problem itself: those that change with its size.
    """
    for number, picked in enumerate(lines):
        if picked is None:
            continue
        small = smaller(problem, number, len(picked))
        arrays = [
            taken(array, before, after, picked)
            for array, before, after in zip(arrays, problem.arguments, small.arguments, strict=True)
        ]
        problem = small
    return problem, tuple(arrays)


def smaller(problem: Problem, which: int, size: int) -> Problem:
    """The problem with another number of batches (0), rows (1) or columns (2)."""
    c = problem.contraction
    batch, m, n = (size if which == i else old for i, old in enumerate((c.batch, c.m, c.n)))
    return resize(problem, m, n, c.k, batch or None)


def taken(array: Array, before: Argument, after: Argument, picked: Array) -> Array:
    """The chosen lines of one argument's array, along every axis whose size changed."""
    for axis, (old, new) in enumerate(zip(before.shape, after.shape, strict=True)):
        if old != new:
            array = array.take(picked, axis)
    return array
