"""Fused multiply-adds on numpy arrays, rounded once: numpy itself has none.

f32: the product is exact in f64 and only its sum is rounded; rounding that again to f32 is wrong only where the sum
lies on a tie of f32, or below its normal numbers, and there the sum is rounded to odd first. f64: error-free
transformations (S. Boldo, G. Melquiond, Emulation of FMA and correctly rounded sums: proved algorithms using rounding
to odd, IEEE Trans. Computers 57, 2008), and exact fractions where those could over- or underflow.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

BELOW = 0x1FFFFFFF  # the bits of an f64 below the last one of an f32
TIE = 0x10000000
NORMAL = 2.0**-126  # the smallest normal f32
SPLIT = 134217729.0  # 2^27 + 1
# Factors and products above the first have no errors that underflow, nor have their sums with any f64; below the second
# nothing overflows.
RANGE = (2.0**-900, 2.0**900)


def fma32(a: Array, b: Array, c: Array) -> Array:
    """a * b + c of f32 arrays that broadcast together."""
    with np.errstate(all="ignore"):
        product = np.multiply(a, b, dtype=np.float64)
        total = product + c
        found = total.astype(np.float32)
    bits = total.view(np.int64)
    unsure = (bits & BELOW) == TIE
    unsure |= np.abs(total) < NORMAL
    if not unsure.any():
        return found
    addend = np.broadcast_to(np.asarray(c, np.float64), total.shape)
    with np.errstate(all="ignore"):
        fixed = to_odd(np.broadcast_to(product, total.shape), addend, total).astype(np.float32)
    return np.where(unsure, fixed, found)


def to_odd(a: Array, b: Array, total: Array) -> Array:
    """The f64 sum of a and b rounded to odd, `total` being the nearest one."""
    back = total - a
    rest = (a - (total - back)) + (b - back)
    bits = total.view(np.int64)
    step = np.where((rest > 0) == (total > 0), 1, -1)
    moved = np.where((rest != 0) & (bits & 1 == 0) & np.isfinite(total), bits + step, bits)
    return moved.view(np.float64)


def two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """The sum and its error."""
    total = a + b
    back = total - a
    return total, (a - (total - back)) + (b - back)


def two_product(a: Array, b: Array) -> tuple[Array, Array]:
    """The product and its error, by halves of 26 bits."""
    product = a * b
    high_a, high_b = SPLIT * a, SPLIT * b
    high_a, high_b = high_a - (high_a - a), high_b - (high_b - b)
    low_a, low_b = a - high_a, b - high_b
    return product, ((high_a * high_b - product) + high_a * low_b + low_a * high_b) + low_a * low_b


def fma64(a: Array, b: Array, c: Array) -> Array:
    """a * b + c of f64 arrays that broadcast together."""
    a, b, c = np.broadcast_arrays(*(np.asarray(each, np.float64) for each in (a, b, c)))
    with np.errstate(all="ignore"):
        high, low = two_product(a, b)
        first, second = two_sum(c, low)
        upper, lower = two_sum(high, first)
        rest = second + lower
        found = upper + to_odd(second, lower, rest)
        finite = np.isfinite(a) & np.isfinite(b)
        plain = np.where(np.isinf(c) & finite, c, high + c)  # a product that overflows has no say against infinity
        safe = finite & np.isfinite(c)
        for factor in (a, b, high):
            safe &= np.abs(factor) > RANGE[0]
        for size in (a, b, high, c, found):
            safe &= np.abs(size) < RANGE[1]
    if safe.all():
        return found
    found = np.where(safe, found, plain)
    exact = np.flatnonzero(~safe & finite & np.isfinite(c) & (a != 0) & (b != 0))  # a sum with zero is right as it is
    flat = found.reshape(-1)
    for i in exact:
        flat[i] = slow(float(a.flat[i]), float(b.flat[i]), float(c.flat[i]))
    return flat.reshape(found.shape)


def slow(a: float, b: float, c: float) -> float:
    """One fused multiply-add by exact fractions."""
    total = Fraction(a) * Fraction(b) + Fraction(c)
    if total == 0:
        return 0.0
    try:
        return float(total)
    except OverflowError:
        return float("inf") if total > 0 else float("-inf")


def scaled_fma(a: Array, b: Array, c: Array, power: Array) -> Array:
    """(a * b + c) * 2^power of f32 or f64 arrays, rounded once (f64: twice where the result is subnormal)."""
    if np.result_type(a, b, c) == np.float64:
        return np.ldexp(fma64(a, b, c), power)
    product = np.multiply(a, b, dtype=np.float64)
    addend = np.broadcast_to(np.asarray(c, np.float64), product.shape)
    total = to_odd(product, addend, product + addend)
    return np.ldexp(total, power).astype(np.float32)
