"""Interval arithmetic that knows how a machine rounds: what an op may give when its operands are known within limits.

An interval holds two float64 arrays, so one of them stands for a whole tensor. NaN in both ends means that the value is
NaN. Every op widens its result by the rounding of the type it works in, except where the result is one representable
number: then IEEE arithmetic gives exactly that number, in any order and with or without fused multiply-adds.
Reference: IEEE 754-2019, clause 4.3 (correct rounding is monotone); Higham, Accuracy and Stability of Numerical
Algorithms, 2nd ed., section 2.2 (the standard model, fl(x op y) = (x op y)(1 + d), |d| <= u, and 2.8 for underflow).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from lowering.dtypes import lookup

Array = np.ndarray[Any, np.dtype[Any]]
Function = Callable[[Array], Array]
FUNCTION_ULPS = 16  # what a vendor's or a polynomial exp, tanh, erf, ... may be off by, in units in the last place
DIRECT = ("f16", "f32", "f64")  # numpy rounds float64 to these in one step; to the others by way of float32


@dataclass(frozen=True)
class Interval:
    """Values known to lie between `low` and `high`, elementwise, both inclusive."""

    low: Array
    high: Array

    def map(self, function: Callable[[Array], Array]) -> Interval:
        """The same change of shape, or increasing function, on both ends."""
        return Interval(function(self.low), function(self.high))


def point(values: Any) -> Interval:
    """The interval of exactly known values."""
    exact = np.asarray(values).astype(np.float64)
    return Interval(exact, exact)


def tiny(dtype: str) -> float:
    """The smallest positive subnormal of a float type."""
    return float(ml_dtypes.finfo(lookup(dtype).numpy).smallest_subnormal)


def representable(values: Array, dtype: str) -> Array:
    """Where values are numbers of the type. For f64, whose rounding float64 cannot see, only integers to 2^53 count."""
    known = lookup(dtype)
    if known.kind == "int":
        return (values == np.rint(values)) & (np.abs(values) <= 2.0**53)
    if dtype == "f64":
        return ((values == np.rint(values)) & (np.abs(values) <= 2.0**53)) | ~np.isfinite(values)
    with np.errstate(over="ignore", invalid="ignore"):
        return (values.astype(known.numpy).astype(np.float64) == values) | np.isnan(values)


def settle(low: Array, high: Array, dtype: str, ulps: float = 0.5) -> Interval:
    """The interval after an op of the type rounded its result: single representable values stay, all else is widened.

    `ulps` is the largest rounding error in units in the last place; 0.5 for correctly rounded ops.
    """
    if lookup(dtype).kind == "int":
        return wrap(low, high, dtype)
    slack = 2 * ulps * lookup(dtype).unit_roundoff
    if ulps == 0.5 and bool(np.all((low == high) | np.isnan(low))) and bool(np.all(representable(low, dtype))):
        return Interval(low, high)
    exact = (low == high) & representable(low, dtype) if ulps == 0.5 else np.zeros(np.shape(low), bool)
    floor, most = 2 * ulps * tiny(dtype), float(ml_dtypes.finfo(lookup(dtype).numpy).max)
    down = np.where(exact | ~np.isfinite(low), low, low - slack * np.abs(low) - floor)
    up = np.where(exact | ~np.isfinite(high), high, high + slack * np.abs(high) + floor)
    return Interval(np.where(down < -most, -np.inf, down), np.where(up > most, np.inf, up))


def wrap(low: Array, high: Array, dtype: str) -> Interval:
    """Two's-complement wrap-around. An interval that is cut by it becomes the whole range of the type."""
    bits = lookup(dtype).bits
    half, size = 2.0 ** (bits - 1), 2.0**bits
    if bits == 1 or bool(np.all((low >= -half) & (high < half))):
        return Interval(low, high)
    turns_low, turns_high = np.floor((low + half) / size), np.floor((high + half) / size)
    whole = turns_low == turns_high
    return Interval(np.where(whole, low - turns_low * size, -half), np.where(whole, high - turns_high * size, half - 1))


def narrow(x: Interval, dtype: str) -> Interval:
    """Rounding to nearest even into a narrower float type. Rounding is monotone, so the ends round like the value."""
    return Interval(rounded(x.low, dtype, -np.inf), rounded(x.high, dtype, np.inf))


def rounded(values: Array, dtype: str, outward: float) -> Array:
    """Values rounded to the type, as float64. Where numpy rounds twice, the first step goes outward."""
    kind = lookup(dtype).numpy
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        if dtype in DIRECT:
            return values.astype(kind).astype(np.float64)
        single = values.astype(np.float32)
        inside = single > values if outward < 0 else single < values
        single = np.where(inside, np.nextafter(single, np.float32(outward)), single)
        return single.astype(kind).astype(np.float64)


# --- ops, each (operands, result type) -> interval --------------------------------------------------------------------


def add(a: Interval, b: Interval, dtype: str) -> Interval:
    """a + b."""
    return settle(a.low + b.low, a.high + b.high, dtype)


def subtract(a: Interval, b: Interval, dtype: str) -> Interval:
    """a - b."""
    return settle(a.low - b.high, a.high - b.low, dtype)


def multiply(a: Interval, b: Interval, dtype: str) -> Interval:
    """a * b: the extremes are at the corners."""
    return settle(*corners(a, b, np.multiply), dtype)


def divide(a: Interval, b: Interval, dtype: str) -> Interval:
    """a / b; anything at all where b may be zero but need not be."""
    low, high = corners(a, b, np.divide)
    unsure = (b.low <= 0) & (b.high >= 0) & (b.low != b.high)
    return settle(np.where(unsure, -np.inf, low), np.where(unsure, np.inf, high), dtype)


def corners(a: Interval, b: Interval, op: Callable[[Array, Array], Array]) -> tuple[Array, Array]:
    """The extremes of an op that is monotone in each operand. NaN at a corner of a real box (0 * inf) counts as 0."""
    with np.errstate(all="ignore"):
        found = [op(x, y) for x in (a.low, a.high) for y in (b.low, b.high)]
    single = (a.low == a.high) & (b.low == b.high) | np.isnan(a.low) | np.isnan(b.low)
    safe = [np.where(np.isnan(value), 0.0, value) for value in found]
    low = np.where(single, found[0], np.minimum.reduce(safe))
    return low, np.where(single, found[0], np.maximum.reduce(safe))


def negate(a: Interval, _: str) -> Interval:
    """-a, which is exact."""
    return Interval(-a.high, -a.low)


def absolute(a: Interval, _: str) -> Interval:
    """|a|, which is exact."""
    crosses = (a.low < 0) & (a.high > 0)
    ends = np.abs(a.low), np.abs(a.high)
    return Interval(np.where(crosses, 0.0, np.minimum(*ends)), np.maximum(*ends))


def exact(op: Callable[[Array, Array], Array]) -> Callable[[Interval, Interval, str], Interval]:
    """An op that returns one of its operands and increases in both: maximum, minimum."""
    return lambda a, b, _: Interval(op(a.low, b.low), op(a.high, b.high))


def increasing(function: Function, least: float = -np.inf, most: float = np.inf) -> Callable[[Interval, str], Interval]:
    """An elementary function that nowhere decreases and keeps to [least, most]; a vendor's or polynomial one.

    Where it is defined for some of the values only, anything may come out.
    """

    def op(a: Interval, dtype: str) -> Interval:
        low, high = function(a.low), function(a.high)
        found = settle(low, high, dtype, FUNCTION_ULPS)
        crosses = np.isnan(low) & np.isnan(high) & (a.low < 0) & (a.high > 0)
        partly = (np.isnan(low) != np.isnan(high)) | crosses
        return Interval(
            np.where(partly, -np.inf, np.maximum(found.low, least)),
            np.where(partly, np.inf, np.minimum(found.high, most)),
        )

    return op


def decreasing(function: Function, least: float = -np.inf, most: float = np.inf) -> Callable[[Interval, str], Interval]:
    """The same for a function that nowhere increases."""
    mirrored = increasing(lambda x: function(-x), least, most)
    return lambda a, dtype: mirrored(negate(a, dtype), dtype)


def lipschitz(function: Function) -> Callable[[Interval, str], Interval]:
    """A function within [-1, 1] of slope at most 1 (sine, cosine): the middle's value, give or take half the width."""

    def op(a: Interval, dtype: str) -> Interval:
        single = (a.low == a.high) | np.isnan(a.low)
        half = np.where(single, 0.0, (a.high - a.low) / 2)
        middle = function(np.where(np.isfinite(half), np.where(single, a.low, (a.low + a.high) / 2), 0.0))
        found = settle(middle - half, middle + half, dtype, FUNCTION_ULPS)
        return Interval(np.maximum(found.low, -1.0), np.minimum(found.high, 1.0))

    return op


def choose(condition: Interval, a: Interval, b: Interval, _: str) -> Interval:
    """select: both branches where the condition is not certain."""
    both = Interval(np.fmin(a.low, b.low), np.fmax(a.high, b.high))
    sure = condition.low == condition.high
    yes, no = sure & (condition.low != 0), sure & (condition.low == 0)
    return Interval(
        np.where(yes, a.low, np.where(no, b.low, both.low)), np.where(yes, a.high, np.where(no, b.high, both.high))
    )


def bitwise(op: Callable[[Array, Array], Array]) -> Callable[[Interval, Interval, str], Interval]:
    """and, or, xor: exact on known values; elsewhere the whole range of the type."""

    def found(a: Interval, b: Interval, dtype: str) -> Interval:
        whole = lookup(dtype).bits
        low, high = (0.0, 1.0) if whole == 1 else (-(2.0 ** (whole - 1)), 2.0 ** (whole - 1) - 1)
        known = (a.low == a.high) & (b.low == b.high)
        value = op(a.low.astype(np.int64), b.low.astype(np.int64)).astype(np.float64)
        return Interval(np.where(known, value, low), np.where(known, value, high))

    return found


def compare(predicate: str, a: Interval, b: Interval) -> Interval:
    """A comparison as an interval of {0, 1}: [0, 1] where it is not certain.

    `predicate` is MLIR's: ogt, ult, sle, ...; on NaN those that begin with o are false and those that begin with u
    true.
    """
    nan = np.isnan(a.low) | np.isnan(b.low)
    on_nan = predicate[0] in "ut"
    if predicate in ("ord", "uno", "true", "false"):
        surely = maybe = np.full(nan.shape, predicate in ("ord", "true"))
    else:
        surely, maybe = certainty(predicate[-2:], a, b)
    return Interval(np.where(nan, on_nan, surely).astype(np.float64), np.where(nan, on_nan, maybe).astype(np.float64))


def certainty(kind: str, a: Interval, b: Interval) -> tuple[Array, Array]:
    """Where `a kind b` holds for all values, and where it holds for some."""
    if kind in ("lt", "le"):
        kind, a, b = {"lt": "gt", "le": "ge"}[kind], b, a
    if kind == "gt":
        return a.low > b.high, a.high > b.low
    if kind == "ge":
        return a.low >= b.high, a.high >= b.low
    same = (a.low == a.high) & (b.low == b.high) & (a.low == b.low)
    overlap = (a.low <= b.high) & (b.low <= a.high)
    return (same, overlap) if kind == "eq" else (~overlap, ~same)
