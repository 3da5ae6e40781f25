"""What a kernel is tried on: integers whose sums are exact, normal random numbers, and the values that break things.

Every function gives one array an input of the problem, in the order of the arguments, in the element's own numpy type.
All randomness comes from the seed. Inputs are arguments and never constants, so nothing can fold them away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import ml_dtypes
import numpy as np

from lowering import problem as problems
from lowering.core import Argument, Contraction, Problem
from lowering.dtypes import lookup, operand_mantissa, sum_mantissa
from lowering.intervals import Array
from lowering.program import Node, Positions, Program

LINEAR = (
    "add",
    "sub",
    "max",
    "min",
    "trunc",
    "ext",
    "cmp",
    "select",
    "neg",
    "abs",
    "relu",
    "bias",
    "residual",
    "cast",
    "copy",
)


MOST = 2**24  # of integer-valued inputs, which are made in float32


@dataclass(frozen=True)
class Operand:
    """Where the contraction reads from: the number of an input, its axes along K, and its other axes."""

    index: int
    k_axes: tuple[int, ...]
    free_axes: tuple[int, ...]


def inputs_of(problem: Problem) -> tuple[Argument, ...]:
    """The problem's inputs, in order."""
    return tuple(argument for argument in problem.arguments if argument.role == "input")


def operands(problem: Problem) -> tuple[Operand, Operand] | None:
    """The inputs that are A and B; None where they are one and the same."""
    program = problems.program(problem.ir)
    node = program.contract
    if node.a is node.b:
        return None
    at_a, at_b, _ = node.positions
    return operand(program, node.a, at_a), operand(program, node.b, at_b)


def operand(program: Program, node: Node, at: Positions) -> Operand:
    """Where an operand of the contraction is among the inputs, and which of its axes run along what."""
    dims = program.contract.dims
    along = tuple(axis for axis, loop in enumerate(at) if loop in dims.k)
    free = tuple(axis for axis, loop in enumerate(at) if loop in (*dims.m, *dims.n))
    return Operand(number(program, node), along, free)


def number(program: Program, node: Node) -> int:
    """The number of an input."""
    return next(index for index, each in enumerate(program.inputs) if each is node)


def start(problem: Problem) -> int | None:
    """The number of the input that the contraction adds to; None where it starts from zero."""
    program = problems.program(problem.ir)
    return None if program.contract.start is None else number(program, program.contract.start)


# --- integers -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ranges:
    """Integer ranges: one operand in [-wide, wide], the other in [-narrow, narrow].

    `fill` is the share of the first that is not zero, `density` that of the second's changes along K.
    """

    wide: int
    narrow: int
    fill: float
    density: float


def ranges(c: Contraction) -> Ranges:
    """Ranges for which every partial sum is exact in the accumulator, and the total (8 sigma) in the output too.

    wide * narrow * K * fill stays below half of 2^p of what a sum keeps; only a narrow one has to leave zeros. The
    total is a sum of about K/2 * density terms of up to `wide`, so its standard deviation is
    wide / sqrt(3) * sqrt(K/2 * density), and eight of those fit into 2^p of the output.
    """
    output = lookup(c.output)
    half = max(c.k // 2, 1)
    budget = 2.0 ** sum_mantissa(c.element, c.accumulator) / c.k
    total = 2.0 ** (output.mantissa + 1) / 8 if output.kind == "float" else 2.0 ** (output.bits - 1) / 8
    largest = 2 ** (operand_mantissa(c.element, c.multiplied) + 1)
    wide = int(max(1, min(largest, MOST, budget // 2, total * 3**0.5 / min(half, 4) ** 0.5)))
    narrow = int(max(2, min(largest, MOST, budget // wide)))
    fill = 1.0 if budget >= 2 else budget / 4
    return Ranges(wide, narrow, fill, min(1.0, (total * 3**0.5 / wide) ** 2 / half))


def integers(problem: Problem, seed: int) -> tuple[Array, ...]:
    """Integer-valued inputs for equality bit for bit.

    For floats the second half of K nearly cancels the first: one operand repeats itself with the opposite sign, the
    other repeats itself up to a sparse +-1. So partial sums grow far beyond what a narrower accumulator holds, while
    the totals stay exact in a narrow output. Even seeds give A the wide range, odd ones B. Integers use their whole
    range.
    """
    rng = np.random.default_rng((seed, 1))
    arguments = inputs_of(problem)
    found = [small_integers(rng, argument) for argument in arguments]
    pair = operands(problem)
    if pair is None or lookup(problem.contraction.element).kind == "int":
        return tuple(found)
    plan = ranges(problem.contraction)
    wide, narrow = pair if seed % 2 == 0 else (pair[1], pair[0])
    found[wide.index] = mirrored(rng, arguments[wide.index], wide, plan)
    found[narrow.index] = repeated(rng, arguments[narrow.index], narrow, plan)
    return tuple(found)


def small_integers(rng: np.random.Generator, argument: Argument) -> Array:
    """Integers of the full range for 8-bit integers, else from -8 to 8."""
    dtype = lookup(argument.dtype)
    low, high = (-128, 127) if dtype.name == "i8" else (-8, 8)
    if dtype.name == "i1":
        low, high = 0, 1
    return rng.integers(low, high, argument.shape, dtype=np.int32, endpoint=True).astype(dtype.numpy)


def mirrored(rng: np.random.Generator, argument: Argument, operand: Operand, plan: Ranges) -> Array:
    """Integers in [-wide, wide] whose second half along K is minus the first; what is over of an odd K is small."""
    flat = k_last(np.zeros(argument.shape, np.float32), operand)
    half = flat.shape[-1] // 2
    shape = (*flat.shape[:-1], half)
    flat[..., :half] = rng.integers(-plan.wide, plan.wide, shape, dtype=np.int32, endpoint=True)
    if plan.fill < 1:
        flat[..., :half] *= rng.random(shape, np.float32) < plan.fill
    flat[..., half : 2 * half] = -flat[..., :half]
    flat[..., 2 * half :] = rng.integers(-4, 4, (*flat.shape[:-1], flat.shape[-1] % 2), endpoint=True)
    return k_back(flat, argument, operand)


def repeated(rng: np.random.Generator, argument: Argument, operand: Operand, plan: Ranges) -> Array:
    """Integers in [-narrow, narrow] whose second half along K is the first up to a sparse +-1."""
    flat = k_last(np.zeros(argument.shape, np.float32), operand)
    half, most = flat.shape[-1] // 2, max(plan.narrow - 1, 0)
    shape = (*flat.shape[:-1], half)
    flat[..., :half] = rng.integers(-most, most, shape, dtype=np.int32, endpoint=True)
    sign = rng.integers(0, 1, shape, dtype=np.int8, endpoint=True) * 2 - 1
    change = (rng.random(shape, np.float32) < plan.density) * sign
    flat[..., half : 2 * half] = flat[..., :half] + change
    flat[..., 2 * half :] = rng.integers(-4, 4, (*flat.shape[:-1], flat.shape[-1] % 2), endpoint=True)
    return k_back(flat, argument, operand)


def k_last(values: Array, operand: Operand) -> Array:
    """An operand with its K axes gathered into the last one."""
    others = [i for i in range(values.ndim) if i not in operand.k_axes]
    moved = values.transpose([*others, *operand.k_axes])
    return np.ascontiguousarray(moved).reshape([*(values.shape[i] for i in others), -1])


def k_back(flat: Array, argument: Argument, operand: Operand) -> Array:
    """The inverse of `k_last`, in the argument's own type."""
    others = [i for i in range(len(argument.shape)) if i not in operand.k_axes]
    order = [*others, *operand.k_axes]
    shaped = flat.reshape([argument.shape[i] for i in order])
    return np.ascontiguousarray(shaped.transpose(np.argsort(order))).astype(lookup(argument.dtype).numpy)


# --- random ---------------------------------------------------------------------------------------------------------


def normals(problem: Problem, seed: int) -> tuple[Array, ...]:
    """Standard normal inputs; integers from their whole range.

    Sums over K then vary by sqrt(K), so a constant or input-independent output cannot pass. Where the epilogue holds
    more than sums, casts and maxima, A is scaled so that the sums vary by 2: a saturated tanh would hide everything.
    """
    rng = np.random.default_rng((seed, 2))
    found = [normal(rng, argument) for argument in inputs_of(problem)]
    pair = operands(problem)
    if pair is not None and not linear(problem) and found[pair[0].index].dtype.kind != "i":
        values = found[pair[0].index]
        scale = 2 / max(problem.contraction.k, 1) ** 0.5
        found[pair[0].index] = (values.astype(np.float32) * scale).astype(values.dtype)
    return tuple(found)


def normal(rng: np.random.Generator, argument: Argument) -> Array:
    """One input of standard normal numbers."""
    dtype = lookup(argument.dtype)
    if dtype.kind == "int":
        return small_integers(rng, argument)
    precise = np.float64 if dtype.name == "f64" else np.float32
    return rng.standard_normal(argument.shape, precise).astype(dtype.numpy)


def linear(problem: Problem) -> bool:
    """Whether the epilogue is made of sums, maxima, choices and casts only."""
    return all(part.startswith(LINEAR) for name in problem.epilogue for part in name.split("+"))


# --- special values -------------------------------------------------------------------------------------------------


def specials(problem: Problem, seed: int) -> tuple[Array, ...]:
    """Normal inputs with NaN, both infinities and subnormals planted in some rows of A and columns of B.

    About a quarter of the rows and of the columns stay free, and no row gets two kinds, so that a wrong pattern shows.
    Integers get rows and columns of their extreme values instead, where saturating instructions differ.
    """
    rng = np.random.default_rng((seed, 3))
    found = list(normals(problem, seed))
    for operand, order in zip(operands(problem) or (), ((0, 1, 2, 3), (1, 0, 3, 2)), strict=False):
        values = found[operand.index].copy()
        plant(rng, values, operand, seed + order[seed % 4])
        found[operand.index] = values
    return tuple(found)


def plant(rng: np.random.Generator, values: Array, operand: Operand, first: int) -> None:
    """Writes special values into a few rows (or columns) of an operand, in place; one kind a row."""
    kinds = special_kinds(values)
    axis = operand.free_axes[0] if operand.free_axes else 0
    lines = rng.permutation(values.shape[axis])[: max(1, min(len(kinds), values.shape[axis] * 3 // 4))]
    for number, line in enumerate(lines):
        fill_special(rng, np.moveaxis(values, axis, 0)[line], kinds[(first + number) % len(kinds)])


def special_kinds(values: Array) -> tuple[str, ...]:
    """What the type has of special values; some 8-bit floats have no infinity."""
    if values.dtype.kind in "iu":
        return ("least", "most")
    infinite = bool(np.isinf(np.array(np.inf).astype(values.dtype).astype(np.float64)))
    return ("nan", "inf", "-inf", "subnormal") if infinite else ("nan", "subnormal")


def fill_special(rng: np.random.Generator, view: Array, kind: str) -> None:
    """One special element for NaN and infinities; a whole line of subnormals or extremes."""
    if kind in ("least", "most"):
        known = np.iinfo(view.dtype)
        view[...] = known.min if kind == "least" else known.max
    elif kind == "subnormal":
        known = ml_dtypes.finfo(view.dtype)
        steps = rng.integers(1, 2**known.nmant, view.shape)
        view[...] = (steps * float(known.smallest_subnormal)).astype(view.dtype)
    else:
        view[tuple(int(rng.integers(n)) for n in view.shape)] = float(kind)


def perturbed(inputs: Sequence[Array], index: int, seed: int) -> tuple[Array, ...]:
    """The inputs with one element of input `index` changed to something clearly different."""
    rng = np.random.default_rng((seed, 4, index))
    values = inputs[index].copy()
    place = tuple(int(rng.integers(n)) for n in values.shape)
    if values.dtype == np.bool_:
        values[place] = not values[place]
        return (*inputs[:index], values, *inputs[index + 1 :])
    old = float(values[place])
    lowest = values.dtype.kind == "i" and old == np.iinfo(values.dtype).min
    values[place] = old + 2 if abs(old) < 1 or lowest else -old
    return (*inputs[:index], values, *inputs[index + 1 :])
