"""Floating-point arithmetic by fractions, one number at a time: what the emulator's array arithmetic is compared with.

The sums of CDNA3's matrix instructions are as MMA-Sim (arXiv 2511.10909) describes them; nothing here is shared with
the emulator.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Format:
    """A binary float: bits of its exponent and mantissa, its bias, whether it has infinities."""

    exponent: int
    mantissa: int
    bias: int
    ieee: bool = True

    @property
    def least(self) -> int:
        """The exponent of subnormals and of the smallest normal numbers."""
        return 1 - self.bias


FORMATS = {
    "f16": Format(5, 10, 15), "bf16": Format(8, 7, 127), "f32": Format(8, 23, 127), "xf32": Format(8, 23, 127),
    "f64": Format(11, 52, 1023), "fp8": Format(4, 3, 8, False), "bf8": Format(5, 2, 16, False),
}  # fmt: skip


def decode(bits: int, kind: str) -> Fraction | float:
    """The number that bits are; a float where it is an infinity or NaN. xf32 is cut to 10 bits of mantissa."""
    form = FORMATS[kind]
    mantissa, power = bits & (1 << form.mantissa) - 1, bits >> form.mantissa & (1 << form.exponent) - 1
    sign = -1 if bits >> form.mantissa + form.exponent else 1
    if not form.ieee and sign < 0 and not power and not mantissa:
        return math.nan
    if form.ieee and power == (1 << form.exponent) - 1:
        return math.nan if mantissa else sign * math.inf
    if kind == "xf32":
        mantissa &= ~0x1FFF
    whole = mantissa + (1 << form.mantissa if power else 0)
    return sign * whole * Fraction(2) ** (max(power, 1) - form.bias - form.mantissa)


def exponent_of(value: Fraction, least: int) -> int:
    """The largest e with 2^e <= |value|, not below `least`."""
    if value == 0:
        return least
    e = abs(value.numerator).bit_length() - value.denominator.bit_length()
    return max(e if Fraction(2) ** e <= abs(value) else e - 1, least)


def nearest(value: Fraction, kind: str) -> float:
    """The nearest number of a format, ties to even, as a Python float. A zero is +0; what underflows keeps its sign."""
    form = FORMATS[kind]
    unit = Fraction(2) ** (exponent_of(value, form.least) - form.mantissa)
    found = round(value / unit) * unit
    if abs(found) >= Fraction(2) ** ((1 << form.exponent) - 1 - form.bias):
        return math.inf if value > 0 else -math.inf
    return -float(-found) if value < 0 else float(found)


def fused(a: float, b: float, c: float, kind: str) -> float:
    """a * b + c rounded once, with IEEE 754's infinities and signs of zeros."""
    if not all(map(math.isfinite, (a, b, c))):
        return c if math.isfinite(a) and math.isfinite(b) else a * b + c
    total = Fraction(a) * Fraction(b) + Fraction(c)
    if total == 0 and (a == 0 or b == 0):
        return a * b + c
    return nearest(total, kind)


def floor_at(value: Fraction, power: int) -> Fraction:
    """Cut toward minus infinity to a multiple of 2^power."""
    return math.floor(value / Fraction(2) ** power) * Fraction(2) ** power


def cut_sum(products: list[tuple[Fraction, int]]) -> tuple[Fraction, int]:
    """The sum of products cut toward zero to 24 bits below the largest exponent, and that exponent."""
    largest = max(exponent for _, exponent in products)
    unit = Fraction(2) ** (largest - 24)
    return sum((math.trunc(value / unit) * unit for value, _ in products), Fraction(0)), largest


def matrix_sum(a: list[int], b: list[int], c: float, kinds: tuple[str, str]) -> float:
    """c plus the products of two rows of bits, as a matrix core of CDNA3 adds them."""
    eight = kinds[0] in ("fp8", "bf8")
    group = 16 if eight else 4 if kinds[0] == "xf32" else 8
    total = c
    for start in range(0, len(a), group):
        part = [product(pair, kinds) for pair in zip(a[start : start + group], b[start : start + group], strict=True)]
        halves = [cut_sum(part[0::2]), cut_sum(part[1::2])] if eight else [cut_sum(part)]
        em = max(exponent for _, exponent in halves)
        summed = sum((floor_at(value, em - 24) for value, _ in halves), Fraction(0))
        own = exponent_of(Fraction(total), -126)
        top = max(em, own)
        addend = Fraction(0) if eight and own < top - 25 else floor_at(Fraction(total), top - 24)
        total = nearest(floor_at(summed, top - 31) + addend, "f32")
    return total


def product(pair: tuple[int, int], kinds: tuple[str, str]) -> tuple[Fraction, int]:
    """A product and the sum of its factors' exponents; a zero's exponent is -126."""
    values = [decode(bits, kind) for bits, kind in zip(pair, kinds, strict=True)]
    exponents = [
        -126 if value == 0 else exponent_of(Fraction(value), FORMATS[kind].least)
        for value, kind in zip(values, kinds, strict=True)
    ]
    return Fraction(values[0]) * Fraction(values[1]), sum(exponents)
