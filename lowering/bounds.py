"""Between which limits a correct kernel's output must lie: a derived bound, not a tolerance.

**The sum.** Let u be the unit roundoff of the accumulator (2^-24 for f32) and g(n) = n u / (1 - n u). However a kernel
orders or splits the sum s = c + sum_k a_k b_k, each term goes through at most n roundings, and the computed value obeys

    |s^ - s| <= g(n) (|c| + sum_k |a_k| |b_k|)        n = (K - 1) + p + q

with p = 1 where products are rounded (a product of two f16, bf16 or 8-bit numbers is exact in f32, so p = 0 there;
fused multiply-adds would save it too, but one may not rely on those) and q = 1 where the sum starts from a given c and
not from zero. Source: N. J. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed. (2002), section 3.1, (3.5),
and section 4.2 for sums in any order. A product that underflows adds at most one smallest subnormal (section 2.8).
Where every a_k, b_k and c is an integer and |c| + sum_k |a_k| |b_k| <= 2^p for an accumulator of precision p, no
partial sum rounds at all, and the error is zero: that is what the integer inputs are for.

**Matrix instructions** do not round every step to nearest: they align the terms of a group to the largest one and cut
(M. Fasi, N. J. Higham, M. Mikaitis, S. Pranesh, Numerical behavior of NVIDIA tensor cores, PeerJ Computer Science
7:e330, 2021; AMD's matrix instructions alike). A cut loses less than one unit in the last place of the largest term,
twice the error of rounding to nearest, so on chips that have them u is doubled.

**Narrow sums.** Tensor cores of Ada and Hopper align products of 8-bit floats, and the sum so far, to the largest of an
instruction's 32 and keep 13 bits of mantissa behind its first (DeepSeek-V3 Technical Report, 2024, section 3.3.2:
"around 14 bits"; *measured* on an H100 by scripts/sum_bits.py: each term is cut, and the sum once more where it
carries). So u is 2^-14 there, doubled as above, and a term goes through n = K + K/32 cuts. That is much where K is
large: beyond some 7900 nothing can be claimed of random numbers, and the integers, which are exact in 14 bits, say
whether a kernel is right.

**Rounded operands.** Where f32 operands may be multiplied with p = 11 bits (tf32), each is cut or rounded first: it is
off by less than d = 2^(1-p) of itself, or where it is subnormal by less than s = 2^-136, a unit of the last bit that is
kept there. A product is then off by (2 d + d^2) |a_k| |b_k| + s (|a_k| + |b_k|) + s^2 at most.

**The reference** is a float64 sum of the same length, whose own error, g(n) with u = 2^-53, is added.

**The epilogue** is evaluated in interval arithmetic (`intervals.py`), each op widened by the rounding of its type. The
last narrowing rounds both ends to nearest even, which is monotone, so the limits of the output are numbers of its type.
Integers are exact modulo 2^bits in any order: their limits coincide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

import ml_dtypes
import numpy as np

from lowering import intervals
from lowering import problem as problems
from lowering.body import elementwise
from lowering.core import Problem, Target
from lowering.dtypes import SUMS, lookup, operand_mantissa, sum_mantissa
from lowering.intervals import Array, Interval
from lowering.program import Contract, Fill, Map, Positions

INSTRUCTION = 32  # products that a matrix instruction of 8-bit floats adds up


@dataclass(frozen=True)
class Arithmetic:
    """How a machine computes where there is a choice. `ulps` is the error of an addition: 0.5 rounds, 1 cuts."""

    ulps: float = 0.5
    denormals: Literal["preserved", "flushed"] = "preserved"


def arithmetic_of(target: Target) -> Arithmetic:
    """What a target's facts say: chips with matrix instructions cut; `denormals` is 'preserved' unless stated."""
    flushed = target.facts.get("denormals") == "flushed"
    return Arithmetic(1.0 if target.facts.get("matrix") else 0.5, "flushed" if flushed else "preserved")


def gamma(n: int, unit: float) -> float:
    """Higham's n u / (1 - n u). Infinite where n u reaches 1, so that nothing is claimed there."""
    return n * unit / (1 - n * unit) if n * unit < 1 else float("inf")


def limits(problem: Problem, inputs: Sequence[Array], arithmetic: Arithmetic | None = None) -> tuple[Interval, ...]:
    """The limits of each output, in the order of the outputs, for inputs in the order of the inputs.

    Both ends are float64 arrays of the output's shape. Raises PassError 'not checkable' for an op without a rule.
    """
    how = arithmetic or Arithmetic()
    program = problems.program(problem.ir)
    known: dict[int, Interval] = {
        id(node): intervals.point(flush(values, how)) for node, values in zip(program.inputs, inputs, strict=True)
    }
    with np.errstate(all="ignore"):
        for node in program.nodes:
            if isinstance(node, Contract):
                start = intervals.point(0.0) if node.start is None else known[id(node.start)]
                operands = (known[id(node.a)].low, known[id(node.b)].low, start.low)
                known[id(node)] = contraction(node, operands, how)
            elif isinstance(node, Map):
                known[id(node)] = elementwise(node, [known[id(each)] for each in node.inputs])
            elif isinstance(node, Fill):
                known[id(node)] = intervals.point(np.full(node.shape, float(node.value.value)))
    return tuple(known[id(node)] for node in program.outputs)


def flush(values: Array, how: Arithmetic) -> Array:
    """The inputs as the machine sees them: subnormals are zero where it flushes them."""
    if how.denormals == "preserved" or values.dtype.kind in "iub":
        return values
    exact = values.astype(np.float64)
    return np.where(np.abs(exact) < float(ml_dtypes.finfo(values.dtype).smallest_normal), 0.0, exact)


def contraction(node: Contract, operands: tuple[Array, Array, Array], how: Arithmetic) -> Interval:
    """The limits of a contraction, before the epilogue. Its operands are inputs and so exactly known."""
    a, b, start = operands
    value = product(node, a, b)
    if start.any():
        value += start
    if lookup(node.dtype).kind == "int":
        return intervals.wrap(value, value, node.dtype)
    if exact(node, operands):
        return Interval(value, value)
    size = product(node, np.abs(a), np.abs(b))
    if start.any():
        size += np.abs(start)
    error = rounding(node, size, operands, how)
    finite = np.isfinite(value)
    if finite.all():
        low = value - error
        return Interval(low, np.add(value, error, out=value))
    return Interval(np.where(finite, value - error, value), np.where(finite, value + error, value))


def bounded(problem: Problem, arithmetic: Arithmetic | None = None) -> bool:
    """Whether anything can be claimed of a sum that rounds: not over too many terms for its accumulator."""
    node = problems.program(problem.ir).contract
    unit = 2 * (arithmetic or Arithmetic()).ulps * unit_roundoff(node)
    return gamma(steps(node, node.start is not None), unit) < float("inf")


def exact(node: Contract, operands: Sequence[Array]) -> bool:
    """Whether all operands are integers so small that no sum of theirs can round, whichever element it is."""
    a, b, start = (float(np.abs(values).max(initial=0.0)) for values in operands)
    kept = 2.0 ** (operand_mantissa(node.a.dtype, node.multiplied) + 1)
    if node.multiplied and max(a, b) > kept:
        return False
    small = a * b * prod(node.sizes[loop] for loop in node.dims.k) + start <= 2.0 ** precision(node)
    return small and all(integral(values) for values in operands)


def rounding(node: Contract, size: Array, operands: Sequence[Array], how: Arithmetic) -> Array:
    """The largest error of the sum, elementwise, by the derivation above; `size`, |c| + sum |a||b|, is used up."""
    accumulator = lookup(node.dtype)
    length = prod(node.sizes[loop] for loop in node.dims.k)
    count = steps(node, bool(operands[2].any()))
    relative = gamma(count, 2 * how.ulps * unit_roundoff(node)) + gamma(count + 1, 2.0**-53)
    least = ml_dtypes.finfo(accumulator.numpy)
    underflow = length * float(least.smallest_subnormal)
    if how.denormals == "flushed":
        underflow = 2 * length * float(least.smallest_normal)
    whole = all(integral(x) for x in operands) and not node.multiplied
    rounds = size > 2.0 ** precision(node) if whole else None
    moved = operand_error(node, size, operands, relative)
    if relative == np.inf:
        size[size > 0] = np.inf  # and no sum of zeros is anything but zero
    else:
        size *= relative if count else 0.0
    size += underflow
    size += moved
    return size if rounds is None else np.where(rounds, size, 0.0)


def operand_error(node: Contract, size: Array, operands: Sequence[Array], relative: float) -> Array | float:
    """What rounding the operands adds to the error; `size` is sum |a||b|, `relative` the error of the sum itself."""
    if not node.multiplied:
        return 0.0
    kept = operand_mantissa(node.a.dtype, node.multiplied)
    each = 2.0**-kept
    last = float(ml_dtypes.finfo(np.float32).smallest_normal) * each
    largest = sum(float(np.abs(values[np.isfinite(values)]).max(initial=0.0)) for values in operands[:2])
    length = prod(node.sizes[loop] for loop in node.dims.k)
    return np.array((2 * each + each * each) * (1 + relative) * size + length * last * (largest + last))


def steps(node: Contract, started: bool) -> int:
    """How many roundings a term goes through at most: n of the derivation above."""
    length = prod(node.sizes[loop] for loop in node.dims.k)
    cuts = -(-length // INSTRUCTION) + 1 if node.a.dtype in SUMS else 0
    return length - 1 + cuts + rounds_products(node) + started


def precision(node: Contract) -> int:
    """Bits of a sum's mantissa with its leading one."""
    return sum_mantissa(node.a.dtype, node.dtype) + 1


def unit_roundoff(node: Contract) -> float:
    """u of the derivation above."""
    return 2.0 ** -precision(node)


def rounds_products(node: Contract) -> bool:
    """Whether a product of two elements may have more bits than the accumulator holds."""
    elements = [lookup(each.dtype) for each in (node.a, node.b)]
    exact = sum(each.mantissa + 1 for each in elements) <= lookup(node.dtype).mantissa + 1
    return not (exact and all(each.kind == "float" for each in elements))


def integral(values: Array) -> bool:
    """Whether all values are integers."""
    return bool(np.all(values == np.rint(values)))


# --- the product, for every layout through BLAS ----------------------------------------------------------------------


def product(node: Contract, a: Array, b: Array) -> Array:
    """sum_k a b in float64. Shape: the node's. Integers are exact up to 2^53."""
    dims, (at_a, at_b, at_c) = node.dims, node.positions
    rows = arranged(a, at_a, (dims.batch, dims.m, dims.k), node.sizes)
    columns = arranged(b, at_b, (dims.batch, dims.k, dims.n), node.sizes)
    order = (*dims.batch, *dims.m, *dims.n)
    found = np.matmul(rows, columns).reshape([node.sizes[loop] for loop in order])
    return found.transpose([order.index(loop) for loop in at_c if loop is not None]).reshape(node.shape)


def arranged(values: Array, at: Positions, groups: Sequence[tuple[int, ...]], sizes: Sequence[int]) -> Array:
    """An operand as a three-dimensional array, its loops gathered into groups."""
    kept = values[tuple(0 if loop is None else slice(None) for loop in at)]
    axes = [loop for loop in at if loop is not None]
    moved = kept.transpose([axes.index(loop) for group in groups for loop in group])
    return moved.reshape([prod(sizes[loop] for loop in group) for group in groups])
