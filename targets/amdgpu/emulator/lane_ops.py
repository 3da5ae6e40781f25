"""What one lane can compute, on numpy arrays of lanes: the words in which the tables of semantics are written.

Operators (+, &, <<, ==, ...) work on the arrays themselves; everything else goes through one of these functions, so
that another engine can give its own. Integers wrap; a shift is by less than the width.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import Any

import numpy as np

from lowering.targets.amdgpu.emulator import lanes
from lowering.targets.amdgpu.emulator.kinds import NUMPY
from lowering.targets.amdgpu.emulator.trace import KINDS, Symbol

Array = np.ndarray[Any, Any]
Value = Any  # an array, or a symbol of a trace


def on_lanes(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of arrays that leaves symbols to their trace."""
    name = function.__name__

    @wraps(function)
    def call(*values: Value) -> Value:
        for each in values:
            if isinstance(each, Symbol):
                return getattr(each.trace, name)(*values)
        return function(*values)

    return call


@on_lanes
def select(condition: Value, yes: Value, no: Value) -> Value:
    """`yes` where the condition holds, else `no`; both of one kind."""
    return np.where(condition, yes, no)


@on_lanes
def cast(value: Value, kind: str) -> Value:
    """The value in another kind: integers are cut or extended by their own sign, floats rounded to nearest even."""
    return value.astype(NUMPY[kind])


@on_lanes
def bits(value: Value, kind: str) -> Value:
    """The same bits as another kind of the same width."""
    return value.view(NUMPY[kind])


@cache
def const(value: float, kind: str) -> Value:
    """A constant of a kind."""
    return np.dtype(NUMPY[kind]).type(value)


@on_lanes
def to_int(value: Value, kind: str) -> Value:
    """A float cut toward zero to an integer kind: saturating, NaN gives 0."""
    limits: Any = np.iinfo
    known = limits(NUMPY[kind])
    wide = np.nan_to_num(np.trunc(value.astype(np.float64)), nan=0.0, posinf=np.inf, neginf=-np.inf)
    high = np.nextafter(float(known.max), 0.0) if known.bits == 64 else float(known.max)
    cut = np.clip(wide, float(known.min), high).astype(NUMPY[kind])
    return np.where(wide >= float(known.max), known.max, cut) if known.bits == 64 else cut


@on_lanes
def fma(a: Value, b: Value, c: Value) -> Value:
    """a * b + c, rounded once."""
    kind = np.result_type(a, b, c)
    if kind == np.float64:
        return lanes.fma64(a, b, c)
    return lanes.fma32(a, b, c) if kind == np.float32 else fma16(a, b, c)


def fma16(a: Value, b: Value, c: Value) -> Value:
    """a * b + c of half floats: exact in the product, the sum rounded to odd, so that rounding again is right."""
    x, y, z = (np.asarray(each).astype(np.float64) for each in (a, b, c))
    product = x * y
    total = product + z
    back = total - product
    rest = (product - (total - back)) + (z - back)
    raw = total.view(np.int64)
    away = (rest > 0) == (total > 0)
    nudged = np.where((rest != 0) & np.isfinite(total) & (raw & 1 == 0), raw + np.where(away, 1, -1), raw)
    return nudged.view(np.float64).astype(np.float16)


@on_lanes
def kind(value: Value) -> str:
    """The kind of a value: u32, f16, ..."""
    return KINDS[np.asarray(value).dtype]


@on_lanes
def isnan(value: Value) -> Value:
    """Whether it is no number."""
    return value != value


@on_lanes
def minimum(a: Value, b: Value) -> Value:
    """The smaller integer."""
    return np.minimum(a, b)


@on_lanes
def maximum(a: Value, b: Value) -> Value:
    """The larger integer."""
    return np.maximum(a, b)


@on_lanes
def floor(value: Value) -> Value:
    """Toward minus infinity."""
    return np.floor(value)


@on_lanes
def ceil(value: Value) -> Value:
    """Toward infinity."""
    return np.ceil(value)


@on_lanes
def trunc(value: Value) -> Value:
    """Toward zero."""
    return np.trunc(value)


@on_lanes
def rint(value: Value) -> Value:
    """To nearest even."""
    return np.rint(value)


@on_lanes
def popcount(value: Value) -> Value:
    """How many bits are set, as u32."""
    return np.bitwise_count(value).astype(np.uint32)


@on_lanes
def leading_zeros(value: Value) -> Value:
    """Zeros above the highest set bit of an unsigned integer, as u32; its width where none is set."""
    kind = np.asarray(value).dtype
    width = 8 * kind.itemsize
    spread = np.asarray(value).copy()
    for step in (1, 2, 4, 8, 16, 32)[: width.bit_length() - 1]:
        spread |= spread >> kind.type(step)
    return np.uint32(width) - np.bitwise_count(spread).astype(np.uint32)


@on_lanes
def trailing_zeros(value: Value) -> Value:
    """Zeros below the lowest set bit of an unsigned integer, as u32; its width where none is set."""
    return np.bitwise_count(~value & (value - np.asarray(value).dtype.type(1))).astype(np.uint32)


@on_lanes
def reverse_bits(value: Value) -> Value:
    """A u32 with its bits in reverse order."""
    x = value
    for shift, mask in ((1, 0x55555555), (2, 0x33333333), (4, 0x0F0F0F0F), (8, 0x00FF00FF)):
        x = ((x >> shift) & mask) | ((x & mask) << shift)
    return (x >> 16) | (x << 16)


@on_lanes
def by_f64(name: str, value: Value) -> Value:
    """A function that hardware approximates: here computed in f64 and rounded to the value's own kind.

    rcp, rsq, sqrt, exp2, log2, sin and cos (of turns). The ISA guide does not give the bits of the hardware's results.
    """
    wide = np.asarray(value).astype(np.float64)
    return FUNCTIONS[name](wide).astype(np.asarray(value).dtype)


FUNCTIONS = {
    "rcp": lambda x: 1.0 / x,
    "rsq": lambda x: 1.0 / np.sqrt(x),
    "sqrt": np.sqrt,
    "exp2": np.exp2,
    "log2": np.log2,
    "sin": lambda x: np.sin(2 * np.pi * np.fmod(x, 1.0)),
    "cos": lambda x: np.cos(2 * np.pi * np.fmod(x, 1.0)),
}


@on_lanes
def ldexp(value: Value, power: Value) -> Value:
    """A float times a power of two, rounded once."""
    return np.ldexp(value, np.clip(power, -4096, 4096)).astype(np.asarray(value).dtype)


@on_lanes
def scaled_fma(a: Value, b: Value, c: Value, power: Value) -> Value:
    """(a * b + c) * 2^power, rounded once."""
    return lanes.scaled_fma(a, b, c, power)


@on_lanes
def frexp(value: Value) -> tuple[Value, Value]:
    """Mantissa in [0.5, 1) and exponent (i32) of a float; the exponent of 0, infinities and NaN is 0."""
    mantissa, exponent = np.frexp(value)
    return mantissa, np.where(np.isfinite(value), exponent, 0).astype(np.int32)
