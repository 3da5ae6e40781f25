"""Rules of float instructions that are more than one operation: minima, classes, the steps of a division.

AMD CDNA3 ISA guide, pseudo code of V_DIV_SCALE, V_DIV_FMAS, V_DIV_FIXUP and V_CMP_CLASS. All kernels of the known
compilers run with IEEE mode on: a signalling NaN is quieted, a number wins over a NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lowering.targets.amdgpu.emulator import lane_ops as o

Value = Any


@dataclass(frozen=True)
class FloatFormat:
    """Bits of a float kind and the constants of its division steps."""

    integer: str
    mantissa: int
    exponent_mask: int
    bias: int
    scale: int  # how far a division scales, as a power of two
    apart: int  # difference of exponents from which a quotient needs scaling
    tiny: int  # biased exponent of a numerator that needs scaling

    @property
    def sign(self) -> int:
        """The sign's bit."""
        return 1 << {"u16": 15, "u32": 31, "u64": 63}[self.integer]


FORMATS = {
    "f16": FloatFormat("u16", 10, 31, 15, 0, 0, 0),
    "f32": FloatFormat("u32", 23, 255, 127, 64, 96, 23),
    "f64": FloatFormat("u64", 52, 2047, 1023, 128, 768, 53),
}


def form(value: Value) -> FloatFormat:
    """The format of a value's kind."""
    return FORMATS[o.kind(value)]


def raw(value: Value) -> Value:
    """The bits of a float."""
    return o.bits(value, form(value).integer)


def minimum(a: Value, b: Value) -> Value:
    """The smaller number; -0 is below +0."""
    equal = o.bits(raw(a) | raw(b), kind_of(a))
    return number_of(a, b, o.select(a == b, equal, o.select(a < b, a, b)))


def maximum(a: Value, b: Value) -> Value:
    """The larger number; +0 is above -0."""
    return number_of(a, b, larger(a, b))


def larger(a: Value, b: Value) -> Value:
    """The larger of two that are numbers."""
    equal = o.bits(raw(a) & raw(b), kind_of(a))
    return o.select(a == b, equal, o.select(a > b, a, b))


def number_of(a: Value, b: Value, chosen: Value) -> Value:
    """What was chosen of two numbers; beside a NaN the other one, but a signalling NaN is passed on, quieted."""
    nan_a, nan_b = o.isnan(a), o.isnan(b)
    loud = (nan_a & ~has_quiet_bit(a)) | (nan_b & ~has_quiet_bit(b))
    return o.select(loud, a + b, o.select(nan_a, b, o.select(nan_b, a, chosen)))


def has_quiet_bit(value: Value) -> Value:
    """Whether a NaN is a quiet one."""
    known = form(value)
    return (raw(value) & o.const(1 << (known.mantissa - 1), known.integer)) != 0


def median(a: Value, b: Value, c: Value) -> Value:
    """The larger of the two that are not the largest; with a NaN the minimum of all three."""
    most = larger(larger(a, b), c)
    middle = o.select(most == a, larger(b, c), o.select(most == b, larger(a, c), larger(a, b)))
    return o.select(o.isnan(a) | o.isnan(b) | o.isnan(c), minimum(minimum(a, b), c), middle)


def kind_of(value: Value) -> str:
    """f16, f32 or f64."""
    return o.kind(value)


def quiet(value: Value) -> Value:
    """A signalling NaN made quiet, everything else as it is."""
    known = form(value)
    bit = o.const(1 << (known.mantissa - 1), known.integer)
    return o.select(o.isnan(value), o.bits(raw(value) | bit, kind_of(value)), value)


def fraction(value: Value) -> Value:
    """x - floor(x), below 1; NaN for an infinity."""
    kind = kind_of(value)
    found = value - o.floor(value)
    one = np.nextafter(o.const(1, kind), o.const(0, kind))
    return o.select(found >= o.const(1, kind), one + value * 0, found)


def half_toward_zero(value: Value) -> Value:
    """An f32 as the bits of an f16 rounded toward zero, as u32."""
    near = o.cast(value, "f16")
    over = abs(o.cast(near, "f32")) > abs(value)
    return o.cast(raw(quiet(near)) - o.cast(over, "u16"), "u32")


def halves_toward_zero(a: Value, b: Value) -> Value:
    """Two f32 as halves of a u32, rounded toward zero."""
    return half_toward_zero(a) | (half_toward_zero(b) << 16)


def legacy_product(a: Value, b: Value) -> Value:
    """A product in which 0 times anything is 0."""
    return o.select((a == 0) | (b == 0), o.const(0, kind_of(a)), a * b)


def exponent(value: Value) -> Value:
    """The biased exponent, as i32."""
    known = form(value)
    return o.cast(
        (raw(value) >> o.const(known.mantissa, known.integer)) & o.const(known.exponent_mask, known.integer), "i32"
    )


def subnormal(value: Value) -> Value:
    """Whether it is below the normal numbers and not zero."""
    return (exponent(value) == 0) & (value != 0)


def div_scale(chosen: Value, below: Value, above: Value) -> tuple[Value, Value]:
    """Step 1 of a division `above / below`: one of the two, scaled where the steps would over- or underflow."""
    known, kind = form(chosen), kind_of(chosen)
    up, down = o.ldexp(chosen, known.scale), o.ldexp(chosen, -known.scale)
    tiny_inverse = subnormal(o.const(1, kind) / below)
    tiny_quotient = subnormal(above / below) | ((above / below == 0) & (above != 0))
    zero = (above == 0) | (below == 0)
    apart = exponent(above) - exponent(below) >= known.apart
    is_below, is_above = raw(chosen) == raw(below), raw(chosen) == raw(above)
    both = tiny_inverse & tiny_quotient
    found = o.select(exponent(above) <= known.tiny, up, chosen)
    found = o.select(tiny_quotient, o.select(is_above, up, chosen), found)
    found = o.select(tiny_inverse, down, found)
    # the guide has the denominator scaled up here too, which would overflow: it is near the largest number
    found = o.select(both, o.select(is_below, down, chosen), found)
    found = o.select(subnormal(below), up, found)
    found = o.select(apart, o.select(is_below, up, chosen), found)
    found = o.select(zero, o.const(np.nan, kind) + chosen, found)
    flag = ~zero & (apart | (~subnormal(below) & (both | (~tiny_inverse & tiny_quotient))))
    return found, flag


def div_fmas(a: Value, b: Value, c: Value, scaled: Value) -> Value:
    """Step 2: a fused multiply-add, scaled back, with one rounding: up where the quotient is large, else down."""
    known = form(a)
    power = o.select(scaled, o.select(exponent(c) > known.bias, known.scale, -known.scale), 0)
    return o.scaled_fma(a, b, c, power)


def div_fixup(quotient: Value, below: Value, above: Value) -> Value:
    """Step 3: the quotient, or what IEEE says of zeros, infinities, NaN, and of exponents too far apart."""
    known, kind = form(quotient), kind_of(quotient)
    sign = (raw(below) ^ raw(above)) & o.const(known.sign, known.integer)
    infinity = o.bits(o.const(known.exponent_mask << known.mantissa, known.integer) | sign, kind)
    zero, nothing = o.bits(sign, kind), o.const(np.nan, kind) + quotient * 0
    magnitude = o.bits((raw(quotient) & o.const(known.sign - 1, known.integer)) | sign, kind)
    no_number = ((below == 0) & (above == 0)) | (o.isnan(below - below) & o.isnan(above - above))
    infinite = (below == 0) | (o.isnan(above - above))
    apart = exponent(above) - exponent(below)
    infinite |= (apart > known.bias + 1) & ~o.isnan(below - below)
    vanishing = o.isnan(below - below) | (above == 0) | (apart < -(known.bias + known.mantissa))
    found = o.select(infinite, infinity, o.select(vanishing, zero, magnitude))
    found = o.select(no_number, nothing, found)
    return o.select(o.isnan(above), quiet(above), o.select(o.isnan(below), quiet(below), found))


def is_class(value: Value, mask: Value) -> Value:
    """Whether a value is of one of the classes in a mask: sNaN, qNaN, -inf, -normal, -subnormal, -0, +0, ... +inf."""
    known = form(value)
    word = raw(value)
    negative = (word & o.const(known.sign, known.integer)) != 0
    nan, full = o.isnan(value), exponent(value) == known.exponent_mask
    zero, small = value == 0, subnormal(value)
    number = o.select(zero, 5, o.select(small, 4, o.select(full, 2, 3)))
    number = o.select(negative, number, 11 - number)
    number = o.cast(o.select(nan, o.select(has_quiet_bit(value), 1, 0), number), "u32")
    return ((mask >> number) & 1) != 0


def dot2(a: Value, b: Value, c: Value) -> Value:
    """Two products of half floats added to an f32, each step rounded to f32."""
    total = c
    for shift in (0, 16):
        x, y = (o.cast(o.bits(o.cast((each >> shift) & 0xFFFF, "u16"), "f16"), "f32") for each in (a, b))
        total = o.fma(x, y, total)
    return total


def saturate(value: Value) -> Value:
    """An i64 saturated to 32 bits, as u32."""
    cut = o.minimum(o.maximum(value, o.const(-(2**31), "i64")), o.const(2**31 - 1, "i64"))
    return o.bits(o.cast(cut, "i32"), "u32")


def clamp(value: Value) -> Value:
    """A float held between 0 and 1; NaN gives 0, as DX10_CLAMP has it."""
    kind = kind_of(value)
    zero, one = o.const(0, kind), o.const(1, kind)
    return o.select(value > one, one, o.select(value > zero, value, zero))
