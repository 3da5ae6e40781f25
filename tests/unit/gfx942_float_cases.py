"""What each vector instruction on floats computes, given anew in LLVM IR or exact arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
from gfx942_case import Oracle, case
from lane_oracle import (
    ARRAYS,
    BITS,
    MANTISSA,
    TYPES,
    clamp_int,
    exact,
    fma16,
    infinity,
    is_nan,
    is_signalling,
    lanewise,
    magnitude,
    maximum,
    median,
    minimum,
    raw,
    rounded,
    signed,
    width,
)


def by_f32(function: Oracle) -> Oracle:
    """One operation of half floats by way of f32: rounding twice is harmless, for 24 >= 2 * 11 + 2."""
    return lambda *sources: function(*(each.astype(np.float32) for each in sources)).astype(np.float16)


def near(function: Callable[[float], float]) -> Oracle:
    """A function of Python's floats on each value, in the kind of the source."""

    def apply(a: np.ndarray) -> np.ndarray:
        return np.array([function(v) for v in a.ravel().astype(np.float64).tolist()]).astype(a.dtype).reshape(a.shape)

    return apply


def reciprocal(x: float) -> float:
    """1 / x."""
    return math.copysign(math.inf, x) if x == 0 else 1 / x


def root(x: float) -> float:
    """The square root."""
    return x if x == 0 else math.nan if x < 0 else math.sqrt(x)


def logarithm(x: float) -> float:
    """To base 2."""
    return -math.inf if x == 0 else math.nan if x < 0 else math.log2(x)


def power(x: float) -> float:
    """2 to the x."""
    return math.inf if x >= 1024 else math.exp2(x)


def turned(function: Callable[[float], float]) -> Callable[[float], float]:
    """Sine or cosine of a number of turns."""
    return lambda x: function(2 * math.pi * math.fmod(x, 1)) if math.isfinite(x) else math.nan


def fraction(a: np.ndarray) -> np.ndarray:
    """x - floor(x) by exact arithmetic, below 1."""
    below = np.nextafter(ARRAYS[f"f{8 * a.itemsize}"](1), ARRAYS[f"f{8 * a.itemsize}"](0))
    found = exact(lambda x: x - math.floor(x), f"f{8 * a.itemsize}", lambda x: x - np.floor(x), a)
    return np.where(found >= 1, below, found).astype(a.dtype)


def scaled(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """A float times a power of two, rounded once."""
    kind, bits = f"f{8 * a.itemsize}", 8 * b.itemsize
    found = raw(a).copy().ravel()
    for i, (x, n) in enumerate(zip(a.ravel().tolist(), b.ravel().tolist(), strict=True)):
        if math.isfinite(x) and x != 0:
            sign = int(found[i]) >> (width(kind) - 1) << (width(kind) - 1)
            found[i] = sign | rounded(abs(Fraction(x)) * Fraction(2) ** clamp_int(signed(n, bits), -3000, 3000), kind)
    return found.view(a.dtype).reshape(a.shape)


def fields(a: np.ndarray, part: int) -> np.ndarray:
    """Mantissa or exponent, of each number."""
    rows = [math.frexp(v)[part] if math.isfinite(v) else (v, 0)[part] for v in a.ravel().astype(np.float64).tolist()]
    return np.array(rows).reshape(a.shape)


def is_class(a: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Whether the class of a float is in a mask, by its bits."""
    size = 8 * a.dtype.itemsize
    bits, sign = raw(a) & magnitude(size), raw(a) >> BITS[size](size - 1) != 0
    normal, inf = BITS[size](1 << MANTISSA[f"f{size}"]), infinity(size)
    negative = np.select([bits == 0, bits < normal, bits < inf], [5, 4, 3], 2)
    number = np.where(is_nan(a), np.where(is_signalling(a), 0, 1), np.where(sign, negative, 11 - negative))
    return mask >> number.astype(np.uint32) & 1 != 0


def fixed_up(quotient: np.ndarray, below: np.ndarray, above: np.ndarray) -> np.ndarray:
    """V_DIV_FIXUP of the ISA guide, on one number at a time; quotients beyond the range are infinite or 0."""
    size = 8 * quotient.dtype.itemsize
    mantissa, sign_bit, inf = MANTISSA[f"f{size}"], 1 << (size - 1), int(infinity(size))
    bias = (inf >> mantissa) // 2

    def one(q: int, d: int, n: int) -> int:
        sign, q, d, n = (d ^ n) & sign_bit, q & ~sign_bit, d & ~sign_bit, n & ~sign_bit
        if n > inf or d > inf or (n == 0 and d == 0) or (n == inf and d == inf):
            return inf + 1 + (1 << mantissa - 1)
        apart = (n >> mantissa) - (d >> mantissa)
        if d == 0 or n == inf or (apart > bias + 1 and d < inf):
            return sign | inf
        return sign | (0 if d == inf or n == 0 or apart < -bias - mantissa else q)

    return lanewise(one, f"f{size}")(quotient, below, above)


def toward_zero(a: np.ndarray) -> list[int]:
    """f32 as half floats that are not larger."""
    found = []
    for value, bits in zip(a.ravel().tolist(), raw(a).ravel().tolist(), strict=True):
        sign = bits >> 16 & 0x8000
        if math.isfinite(value):
            found.append(sign | rounded(abs(Fraction(value)), "f16", toward_zero=True))
        else:
            found.append(sign | 0x7C00 if math.isinf(value) else 0x7E00)
    return found


def halves_toward_zero(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Two halves in a dword."""
    return np.array([x | y << 16 for x, y in zip(toward_zero(a), toward_zero(b), strict=True)], np.uint32).reshape(
        a.shape
    )


def narrowed(kind: str) -> Oracle:
    """A float rounded to a narrower kind by exact arithmetic."""
    return lambda a: exact(lambda x: x, kind, lambda x: x, a)


def to_integer(bits: int, is_signed: bool, rounding: Callable[[float], int] = math.trunc) -> Oracle:
    """A float to an integer within its range; NaN gives 0."""
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if is_signed else (0, (1 << bits) - 1)

    def one(value: float) -> int:
        if math.isnan(value):
            return 0
        return clamp_int(rounding(value), low, high) if math.isfinite(value) else low if value < 0 else high

    def apply(a: np.ndarray) -> np.ndarray:
        values = [one(v) & (1 << bits) - 1 for v in a.ravel().astype(np.float64).tolist()]
        return np.array(values, BITS[bits]).reshape(a.shape)

    return apply


def float_cases(kind: str) -> None:
    """What there is of all kinds of floats."""
    k, small = kind, kind == "f16"
    add, multiply = (by_f32(np.add), by_f32(np.multiply)) if small else ("fadd", "fmul")
    case(f"v_add_{k}", f"{k} {k} -> {k}", add)
    case(f"v_mul_{k}", f"{k} {k} -> {k}", multiply)
    case(f"v_fma_{k}", f"{k} {k} {k} -> {k}", fma16 if small else "llvm.fma")
    case(f"v_min_{k}", f"{k} {k} -> {k}", minimum)
    case(f"v_max_{k}", f"{k} {k} -> {k}", maximum)
    for name, call, function in (("floor", "floor", np.floor), ("ceil", "ceil", np.ceil), ("trunc", "trunc", np.trunc),
                                 ("rndne", "roundeven", np.rint)):  # fmt: skip
        case(f"v_{name}_{k}", f"{k} -> {k}", by_f32(function) if small else f"llvm.{call}")
    case(f"v_fract_{k}", f"{k} -> {k}", fraction)
    for name, function in (("rcp", reciprocal), ("sqrt", root), ("rsq", lambda x: reciprocal(root(x)))):
        case(f"v_{name}_{k}", f"{k} -> {k}", near(function), ulps=1)
    case(f"v_frexp_mant_{k}", f"{k} -> {k}", lambda a: fields(a, 0).astype(a.dtype))
    case(f"v_div_fixup_{k}", f"{k} {k} {k} -> {k}", fixed_up)
    if k == "f64":
        return
    case(f"v_sub_{k}", f"{k} {k} -> {k}", by_f32(np.subtract) if small else "fsub")
    reverse = by_f32(lambda a, b: b - a) if small else f"%r = fsub {TYPES[k]} %b, %a"
    case(f"v_subrev_{k}", f"{k} {k} -> {k}", reverse)
    for name, function in (("exp", power), ("log", logarithm), ("sin", turned(math.sin)), ("cos", turned(math.cos))):
        case(f"v_{name}_{k}", f"{k} -> {k}", near(function), ulps=1)
    case(f"v_min3_{k}", f"{k} {k} {k} -> {k}", lambda a, b, c: minimum(minimum(a, b), c))
    case(f"v_max3_{k}", f"{k} {k} {k} -> {k}", lambda a, b, c: maximum(maximum(a, b), c))
    case(f"v_med3_{k}", f"{k} {k} {k} -> {k}", median)


def other_floats() -> None:
    """Floats of one kind only."""
    case("v_fmac_f32", "f32 f32 d:f32 -> f32", "llvm.fma")
    case("v_fmac_f64", "f64 f64 d:f64 -> f64", "llvm.fma")
    case("v_fma_legacy_f16", "f16 f16 f16 -> f16", fma16)
    case("v_div_fixup_legacy_f16", "f16 f16 f16 -> f16", fixed_up)
    nothing = "%x = fcmp oeq float %a, 0.0;%y = fcmp oeq float %b, 0.0;%z = or i1 %x, %y"
    case(
        "v_mul_legacy_f32", "f32 f32 -> f32", f"{nothing};%p = fmul float %a, %b;%r = select i1 %z, float 0.0, float %p"
    )
    case("v_rcp_iflag_f32", "f32 -> f32", near(reciprocal), ulps=1)
    case("v_exp_legacy_f32", "f32 -> f32", near(power), ulps=1)
    case("v_log_legacy_f32", "f32 -> f32", near(logarithm), ulps=1)
    case("v_ldexp_f32", "f32 i32 -> f32", scaled)
    case("v_ldexp_f64", "f64 i32 -> f64", scaled)
    case("v_ldexp_f16", "f16 i16 -> f16", scaled)
    case("v_frexp_exp_i32_f32", "f32 -> i32", lambda a: fields(a, 1).astype(np.int32).view(np.uint32))
    case("v_frexp_exp_i32_f64", "f64 -> i32", lambda a: fields(a, 1).astype(np.int32).view(np.uint32))
    case("v_frexp_exp_i16_f16", "f16 -> i16", lambda a: fields(a, 1).astype(np.int16).view(np.uint16))


def conversion_cases() -> None:
    """From kind to kind."""
    case("v_cvt_f32_i32", "i32 -> f32", "%r = sitofp i32 %a to float")
    case("v_cvt_f32_u32", "i32 -> f32", "%r = uitofp i32 %a to float")
    case("v_cvt_f64_i32", "i32 -> f64", "%r = sitofp i32 %a to double")
    case("v_cvt_f64_u32", "i32 -> f64", "%r = uitofp i32 %a to double")
    case("v_cvt_f64_f32", "f32 -> f64", "%r = fpext float %a to double")
    case("v_cvt_f32_f64", "f64 -> f32", "%r = fptrunc double %a to float")
    case("v_cvt_f16_f32", "f32 -> f16", narrowed("f16"))
    case("v_cvt_f32_f16", "f16 -> f32", lambda a: exact(lambda x: x, "f32", lambda x: x, a))
    case("v_cvt_f16_u16", "i16 -> f16", lanewise(lambda a: rounded(Fraction(a), "f16"), "f16"))
    case("v_cvt_f16_i16", "i16 -> f16", lanewise(lambda a: rounded(Fraction(signed(a, 16)), "f16"), "f16"))
    for source, kind in (("f32", "float"), ("f64", "double")):
        case(f"v_cvt_u32_{source}", f"{source} -> i32", f"%r = call i32 @llvm.fptoui.sat.i32.{source}({kind} %a)")
        case(f"v_cvt_i32_{source}", f"{source} -> i32", f"%r = call i32 @llvm.fptosi.sat.i32.{source}({kind} %a)")
    case("v_cvt_u16_f16", "f16 -> i16", to_integer(16, False))
    case("v_cvt_i16_f16", "f16 -> i16", to_integer(16, True))
    case("v_cvt_rpi_i32_f32", "f32 -> i32", to_integer(32, True, lambda x: math.floor(Fraction(x) + Fraction(1, 2))))
    case("v_cvt_flr_i32_f32", "f32 -> i32", to_integer(32, True, math.floor))
    for n in range(4):
        body = f"%s = lshr i32 %a, {8 * n};%x = and i32 %s, 255;%r = uitofp i32 %x to float"
        case(f"v_cvt_f32_ubyte{n}", "i32 -> f32", body)
    case("v_cvt_pkrtz_f16_f32", "f32 f32 -> f16x2", halves_toward_zero)
    off = lanewise(lambda a: int(raw(np.float32([signed(a, 4) / 16]))[0]), "f32")
    case("v_cvt_off_f32_i4", "i32 -> f32", off)
