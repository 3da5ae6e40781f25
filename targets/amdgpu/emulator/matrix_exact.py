"""The arithmetic of CDNA3's matrix cores, bit by bit.

The rules are those that MMA-Sim (arXiv 2511.10909, MIT) found on hardware, stated anew: for each group of consecutive k
the exact products are cut to 24 fractional bits of the largest exponent among them and summed; the sum and the
accumulator are cut (toward minus infinity) at the larger exponent and rounded to nearest even once. f32 and f64 are
plain chains of fused multiply-adds.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from lowering.targets.amdgpu.emulator.lanes import fma32, fma64

Array = np.ndarray[Any, Any]


class Kinds(Protocol):
    """What is needed of a matrix instruction's shape: the kinds of A and B, and K."""

    @property
    def a(self) -> str: ...
    @property
    def b(self) -> str: ...
    @property
    def k(self) -> int: ...


LEAST = {"f16": -14, "bf16": -126, "xf32": -126, "fp8": -7, "bf8": -15, "f32": -126}  # exponents of subnormals
ZERO = -126  # the exponent that a zero operand counts with
PRODUCT_BITS, SUM_BITS, ADDEND_BITS = 24, 31, 24  # fractional bits that are kept
GROUP = 16  # the longest group: that of 8-bit floats
AT_ONCE = 1 << 16  # products of the waves that are computed together: their temporary arrays stay in the cache
FP8_GAP = 25  # an accumulator whose exponent is further below is dropped (8-bit floats)


def exact_sum(shape: Kinds, left: Array, right: Array, c: Array) -> Array:
    """A B + C of (waves, blocks, m, k), (waves, blocks, n, k) and (waves, blocks, m, n)."""
    full = np.broadcast_to(c, (*left.shape[:-1], right.shape[-2]))
    chosen = chain if shape.a in ("f32", "f64") else groups
    step = max(1, AT_ONCE // (full[0].size * min(shape.k, GROUP)))
    found = np.empty(full.shape, full.dtype)
    for start in range(0, len(full), step):
        some = slice(start, start + step)
        found[some] = chosen(shape, left[some], right[some], full[some])
    return found


def chain(shape: Kinds, left: Array, right: Array, total: Array) -> Array:
    """Sums as one fused multiply-add after the other."""
    fma = fma32 if shape.a == "f32" else fma64
    for k in range(shape.k):
        total = fma(left[..., :, None, k], right[..., None, :, k], total)
    return total


def groups(shape: Kinds, left: Array, right: Array, total: Array) -> Array:
    """Sums of a group of products after the other."""
    eight = shape.a in ("fp8", "bf8")
    group = GROUP if eight else 4 if shape.a == "xf32" else min(8, shape.k)
    for start in range(0, shape.k, group):
        part = slice(start, start + group)
        a, b = left[..., :, None, part].astype(np.float64), right[..., None, :, part].astype(np.float64)
        ea, eb = exponent(a, LEAST[shape.a]), exponent(b, LEAST[shape.b])
        total = accumulate(a * b, ea + eb, total, eight)
    return total


def exponent(value: Array, least: int) -> Array:
    """The exponent of a significand in [1, 2), or of the format's subnormals; of a zero it is -126."""
    _, above = np.frexp(value)
    return np.where(value == 0, ZERO, np.maximum(above - 1, least))


def accumulate(products: Array, exponents: Array, total: Array, eight: bool) -> Array:
    """One group of products added to f32 sums."""
    if eight:
        even, odd = (aligned(products[..., n::2], exponents[..., n::2]) for n in (0, 1))
        largest = np.maximum(even[1], odd[1])
        summed = floored(even[0], largest, PRODUCT_BITS) + floored(odd[0], largest, PRODUCT_BITS)
    else:
        summed, largest = aligned(products, exponents)
    wide = total.astype(np.float64)
    own = exponent(wide, ZERO)
    top = np.maximum(largest, own)
    added = floored(wide, top, ADDEND_BITS)
    if eight:
        added = np.where(own < top - FP8_GAP, 0.0, added)
    found = (floored(summed, top, SUM_BITS) + added).astype(np.float32)
    beyond = np.where(np.abs(products) >= 2.0**128, np.copysign(np.inf, products), products)
    strange = ~(np.isfinite(beyond).all(axis=-1) & np.isfinite(wide))
    return np.where(strange, (beyond.sum(axis=-1) + wide).astype(np.float32), found) if strange.any() else found


def aligned(products: Array, exponents: Array) -> tuple[Array, Array]:
    """The sum of products cut toward zero at the largest exponent, and that exponent."""
    largest = exponents.max(axis=-1)
    cut = np.trunc(products * power(PRODUCT_BITS - largest)[..., None])
    return cut.sum(axis=-1) * power(largest - PRODUCT_BITS), largest


def floored(value: Array, exponents: Array, bits: int) -> Array:
    """A value cut toward minus infinity to some fractional bits of a power of two."""
    return np.floor(value * power(bits - exponents)) * power(exponents - bits)


def power(exponents: Array) -> Array:
    """Powers of two, which are far within f64's range here: multiplying is exact, and faster than ldexp."""
    return ((exponents.astype(np.int64) + 1023) << 52).view(np.float64)
