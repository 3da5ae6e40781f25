"""More ops in interval arithmetic: those that are monotone piece by piece, and integer ops with undefined operands.

Where an op is undefined (division by zero, a float that fits no integer, a shift by too much) any value of the type is
right. Sources: the MLIR documentation of the arith and math dialects; C23, 7.12 and F.10, for the special cases of pow,
fmod and atan2.
"""

from __future__ import annotations

import numpy as np

from lowering.dtypes import lookup
from lowering.intervals import FUNCTION_ULPS, Array, Function, Interval, absolute, corners, increasing, settle, wrap


def whole(dtype: str) -> tuple[float, float]:
    """The least and the largest value of an integer type."""
    half = 2.0 ** (lookup(dtype).bits - 1)
    return -half, half - 1


def known(a: Interval, b: Interval) -> Array:
    """Where both operands are certain, NaN among them."""
    return (a.low == a.high) & (b.low == b.high) | np.isnan(a.low) | np.isnan(b.low)


def has_zero(b: Interval) -> Array:
    """Where a divisor may be zero."""
    return (b.low <= 0) & (b.high >= 0)


def half_away(x: Array) -> Array:
    """math.round: to the nearest integer, halves away from zero."""
    cut = np.trunc(x)
    return np.where(np.abs(x - cut) >= 0.5, cut + np.sign(x), cut)


def to_integer(a: Interval, dtype: str) -> Interval:
    """fptosi: towards zero; anything where the operand is not finite or need not fit."""
    least, most = whole(dtype)
    low, high = np.trunc(a.low), np.trunc(a.high)
    fits = (low >= least) & (high <= most)
    return Interval(np.where(fits, low, least), np.where(fits, high, most))


def unsigned(a: Interval, bits: int) -> Interval:
    """The same bits read as an unsigned number."""
    size = 2.0**bits
    low, high = np.where(a.low < 0, a.low + size, a.low), np.where(a.high < 0, a.high + size, a.high)
    crosses = (a.low < 0) & (a.high >= 0)
    return Interval(np.where(crosses, 0.0, low), np.where(crosses, size - 1, high))


def quotient(a: Interval, b: Interval, dtype: str, rounding: Function) -> Interval:
    """Integer division with the given rounding: monotone in each operand where the divisor keeps its sign."""
    low, high = corners(a, b, lambda x, y: rounding(x / y))
    least, most = whole(dtype)
    undefined = has_zero(b)
    return wrap(np.where(undefined, least, low), np.where(undefined, most, high), dtype)


def shift(a: Interval, b: Interval, dtype: str, left: bool) -> Interval:
    """shli and shrsi by a known number of bits; anything else gives anything."""
    least, most = whole(dtype)
    defined = (b.low == b.high) & (b.low >= 0) & (b.low < lookup(dtype).bits)
    factor = 2.0 ** np.where(defined, b.low if left else -b.low, 0.0)
    found = wrap(np.floor(a.low * factor), np.floor(a.high * factor), dtype)
    return Interval(np.where(defined, found.low, least), np.where(defined, found.high, most))


def remainder(a: Interval, b: Interval, dtype: str) -> Interval:
    """remf and remsi: a - b trunc(a / b), which is exact and has a's sign. Rises with a between two multiples of b."""
    low, high = np.fmod(a.low, b.low), np.fmod(a.high, b.low)
    size = np.maximum(np.abs(b.low), np.abs(b.high))
    rises = (b.low == b.high) & ((a.low >= 0) | (a.high <= 0)) & (a.high - a.low < size) & (low <= high)
    sure = known(a, b) | rises
    low = np.where(sure, low, np.where(a.low < 0, np.maximum(-size, a.low), 0.0))
    high = np.where(sure, high, np.where(a.high > 0, np.minimum(size, a.high), 0.0))
    if lookup(dtype).kind == "int":
        least, most = whole(dtype)
        return Interval(np.where(has_zero(b), least, low), np.where(has_zero(b), most, high))
    undefined = ~known(a, b) & (has_zero(b) | np.isinf(a.low) | np.isinf(a.high))
    return Interval(np.where(undefined, -np.inf, low), np.where(undefined, np.inf, high))


def power(a: Interval, b: Interval, dtype: str) -> Interval:
    """powf and fpowi. Monotone in each operand for a >= 0; for a < 0 only known, whole exponents are defined.

    As exp(b log a) the error grows by b log a units in the last place.
    """
    low, high = corners(a, b, np.power)
    least, most = corners(absolute(a, dtype), b, np.power)
    even, odd = ((b.low == b.high) & (np.mod(b.low, 2) == parity) for parity in (0, 1))
    cases = [known(a, b) & ~(odd & (b.low < 0) & (a.low == 0)), even, odd & (a.low > 0), odd & (a.high < 0)]
    cases += [odd & (b.low > 0), ~odd & (a.low >= 0)]
    lows = [low, least, least, -most, np.power(a.low, b.low), low]
    highs = [high, most, most, -least, np.power(a.high, b.low), high]
    low, high = np.select(cases, lows, -np.inf), np.select(cases, highs, np.inf)
    unit = 2 * FUNCTION_ULPS * lookup(dtype).unit_roundoff
    slack = [np.nan_to_num(unit * np.abs(x * np.log(np.abs(x))), posinf=0.0) for x in (low, high)]
    return settle(low - slack[0], high + slack[1], dtype, FUNCTION_ULPS)


def angle(y: Interval, x: Interval, dtype: str) -> Interval:
    """atan2: monotone in each operand on either side of the negative x axis, where it jumps from -pi to pi."""
    low, high = corners(y, x, np.arctan2)
    jumps = ~known(y, x) & (x.low <= 0) & has_zero(y) | (y.low == 0) & (y.high == 0) & (x.low <= 0)
    return settle(np.where(jumps, -np.pi, low), np.where(jumps, np.pi, high), dtype, FUNCTION_ULPS)


def with_sign(a: Interval, b: Interval, dtype: str) -> Interval:
    """copysign: |a| with the sign of b, which a zero does not tell here."""
    size = absolute(a, dtype)
    low, high = np.where(b.low > 0, size.low, -size.high), np.where(b.high < 0, -size.low, size.high)
    return Interval(low, high)


def cosine_hyperbolic(a: Interval, dtype: str) -> Interval:
    """cosh: rises with |a|."""
    return increasing(np.cosh, least=1.0)(absolute(a, dtype), dtype)


def tangent(a: Interval, dtype: str) -> Interval:
    """tan: rises between its poles; anything across one."""
    found = increasing(np.tan)(a, dtype)
    crosses = np.floor(a.low / np.pi + 0.5) != np.floor(a.high / np.pi + 0.5)
    unsure = (a.low != a.high) & crosses & ~np.isnan(a.low)
    return Interval(np.where(unsure, -np.inf, found.low), np.where(unsure, np.inf, found.high))
