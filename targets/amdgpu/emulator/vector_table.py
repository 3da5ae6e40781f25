"""What vector instructions compute, one line each: the kinds of operands and result, and a function of one lane.

The kinds are those of the sources in the order of the assembly text, then of the results: `u32 u32 mask -> u32 mask`
is an addition with carry. `dst` is the old value of the destination, `vcc` the mask in VCC where the text does not
name it. b32 and b64 are bits whose kind does not matter. AMD CDNA3 ISA guide, "Vector ALU Opcodes".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lowering.targets.amdgpu.emulator import float_rules as rules
from lowering.targets.amdgpu.emulator import lane_ops as o
from lowering.targets.amdgpu.emulator.fp8 import decode_fp8, encode_fp8
from lowering.targets.amdgpu.emulator.integer_rules import (
    add_carry,
    averages,
    clamp_i16,
    clamp_u8,
    clamp_u16,
    distance,
    dot,
    extend,
    field,
    first_other,
    high,
    low,
    mad_i64,
    mad_u64,
    median,
    mul_i24,
    pair,
    permute,
    saturate16,
    signed_field,
    sub_borrow,
    wide,
)

Function = Callable[..., Any]


@dataclass(frozen=True)
class Operation:
    """Kinds of sources and results, and the function."""

    sources: tuple[str, ...]
    results: tuple[str, ...]
    function: Function


def op(signature: str, function: Function) -> Operation:
    """An operation of a signature `kinds -> kinds`."""
    left, _, right = signature.partition("->")
    return Operation(tuple(left.split()), tuple(right.split()), function)


INTEGERS: dict[str, Operation] = {
    "v_mov_b32": op("b32 -> u32", lambda a: a),
    "v_mov_b64": op("b64 -> u64", lambda a: a),
    "v_accvgpr_read_b32": op("b32 -> u32", lambda a: a),
    "v_accvgpr_write_b32": op("b32 -> u32", lambda a: a),
    "v_accvgpr_mov_b32": op("b32 -> u32", lambda a: a),
    "v_not_b32": op("u32 -> u32", lambda a: ~a),
    "v_bfrev_b32": op("u32 -> u32", o.reverse_bits),
    "v_ffbh_u32": op("u32 -> u32", lambda a: o.select(a == 0, o.bits(o.const(-1, "i32"), "u32"), o.leading_zeros(a))),
    "v_ffbl_b32": op("u32 -> u32", lambda a: o.select(a == 0, o.bits(o.const(-1, "i32"), "u32"), o.trailing_zeros(a))),
    "v_ffbh_i32": op("i32 -> u32", lambda a: first_other(a)),
    "v_cndmask_b32": op("b32 b32 mask -> u32", lambda a, b, m: o.select(m, b, a)),
    "v_add_u32": op("u32 u32 -> u32", lambda a, b: a + b),
    "v_sub_u32": op("u32 u32 -> u32", lambda a, b: a - b),
    "v_subrev_u32": op("u32 u32 -> u32", lambda a, b: b - a),
    "v_add_i32": op("u32 u32 -> u32", lambda a, b: a + b),
    "v_sub_i32": op("u32 u32 -> u32", lambda a, b: a - b),
    "v_add_co_u32": op("u32 u32 -> u32 mask", lambda a, b: (a + b, a + b < a)),
    "v_sub_co_u32": op("u32 u32 -> u32 mask", lambda a, b: (a - b, a < b)),
    "v_subrev_co_u32": op("u32 u32 -> u32 mask", lambda a, b: (b - a, b < a)),
    "v_addc_co_u32": op("u32 u32 mask -> u32 mask", lambda a, b, c: add_carry(a, b, c)),
    "v_subb_co_u32": op("u32 u32 mask -> u32 mask", lambda a, b, c: sub_borrow(a, b, c)),
    "v_subbrev_co_u32": op("u32 u32 mask -> u32 mask", lambda a, b, c: sub_borrow(b, a, c)),
    "v_mul_i32_i24": op("u32 u32 -> i32", lambda a, b: extend(a, "i32", 0, 24) * extend(b, "i32", 0, 24)),
    "v_mul_u32_u24": op("u32 u32 -> u32", lambda a, b: (a & 0xFFFFFF) * (b & 0xFFFFFF)),
    "v_mul_hi_i32_i24": op("u32 u32 -> u32", lambda a, b: high(mul_i24(a, b))),
    "v_mul_hi_u32_u24": op("u32 u32 -> u32", lambda a, b: high(wide(a & 0xFFFFFF) * wide(b & 0xFFFFFF))),
    "v_mad_i32_i24": op("u32 u32 i32 -> i32", lambda a, b, c: extend(a, "i32", 0, 24) * extend(b, "i32", 0, 24) + c),
    "v_mad_u32_u24": op("u32 u32 u32 -> u32", lambda a, b, c: (a & 0xFFFFFF) * (b & 0xFFFFFF) + c),
    "v_mul_lo_u32": op("u32 u32 -> u32", lambda a, b: a * b),
    "v_mul_hi_u32": op("u32 u32 -> u32", lambda a, b: high(wide(a) * wide(b))),
    "v_mul_hi_i32": op("i32 i32 -> u32", lambda a, b: high(o.cast(a, "i64") * o.cast(b, "i64"))),
    "v_mad_u64_u32": op("u32 u32 u64 -> u64 mask", lambda a, b, c: mad_u64(a, b, c)),
    "v_mad_i64_i32": op("i32 i32 i64 -> i64 mask", lambda a, b, c: mad_i64(a, b, c)),
    "v_min_i32": op("i32 i32 -> i32", o.minimum),
    "v_max_i32": op("i32 i32 -> i32", o.maximum),
    "v_min_u32": op("u32 u32 -> u32", o.minimum),
    "v_max_u32": op("u32 u32 -> u32", o.maximum),
    "v_min3_i32": op("i32 i32 i32 -> i32", lambda a, b, c: o.minimum(o.minimum(a, b), c)),
    "v_max3_i32": op("i32 i32 i32 -> i32", lambda a, b, c: o.maximum(o.maximum(a, b), c)),
    "v_min3_u32": op("u32 u32 u32 -> u32", lambda a, b, c: o.minimum(o.minimum(a, b), c)),
    "v_max3_u32": op("u32 u32 u32 -> u32", lambda a, b, c: o.maximum(o.maximum(a, b), c)),
    "v_med3_i32": op("i32 i32 i32 -> i32", lambda a, b, c: median(a, b, c)),
    "v_med3_u32": op("u32 u32 u32 -> u32", lambda a, b, c: median(a, b, c)),
    "v_lshlrev_b32": op("u32 u32 -> u32", lambda a, b: b << (a & 31)),
    "v_lshrrev_b32": op("u32 u32 -> u32", lambda a, b: b >> (a & 31)),
    "v_ashrrev_i32": op("i32 i32 -> i32", lambda a, b: b >> (a & 31)),
    "v_lshlrev_b64": op("u32 u64 -> u64", lambda a, b: b << o.cast(a & 63, "u64")),
    "v_lshrrev_b64": op("u32 u64 -> u64", lambda a, b: b >> o.cast(a & 63, "u64")),
    "v_ashrrev_i64": op("u32 i64 -> i64", lambda a, b: b >> o.cast(a & 63, "i64")),
    "v_and_b32": op("u32 u32 -> u32", lambda a, b: a & b),
    "v_or_b32": op("u32 u32 -> u32", lambda a, b: a | b),
    "v_xor_b32": op("u32 u32 -> u32", lambda a, b: a ^ b),
    "v_xnor_b32": op("u32 u32 -> u32", lambda a, b: ~(a ^ b)),
    "v_bfe_u32": op("u32 u32 u32 -> u32", lambda a, b, c: field(a, b & 31, c & 31)),
    "v_bfe_i32": op("u32 u32 u32 -> i32", lambda a, b, c: signed_field(a, b & 31, c & 31)),
    "v_bfi_b32": op("u32 u32 u32 -> u32", lambda a, b, c: (a & b) | (~a & c)),
    "v_bfm_b32": op("u32 u32 -> u32", lambda a, b: ((o.const(1, "u32") << (a & 31)) - o.const(1, "u32")) << (b & 31)),
    "v_alignbit_b32": op("u32 u32 u32 -> u32", lambda a, b, c: low(pair(b, a) >> wide(c & 31))),
    "v_alignbyte_b32": op("u32 u32 u32 -> u32", lambda a, b, c: low(pair(b, a) >> wide((c & 3) << 3))),
    "v_perm_b32": op("u32 u32 u32 -> u32", lambda a, b, c: permute(a, b, c)),
    "v_xad_u32": op("u32 u32 u32 -> u32", lambda a, b, c: (a ^ b) + c),
    "v_lshl_add_u32": op("u32 u32 u32 -> u32", lambda a, b, c: (a << (b & 31)) + c),
    "v_add_lshl_u32": op("u32 u32 u32 -> u32", lambda a, b, c: (a + b) << (c & 31)),
    "v_add3_u32": op("u32 u32 u32 -> u32", lambda a, b, c: a + b + c),
    "v_lshl_or_b32": op("u32 u32 u32 -> u32", lambda a, b, c: (a << (b & 31)) | c),
    "v_and_or_b32": op("u32 u32 u32 -> u32", lambda a, b, c: (a & b) | c),
    "v_or3_b32": op("u32 u32 u32 -> u32", lambda a, b, c: a | b | c),
    "v_lshl_add_u64": op("u64 u32 u64 -> u64", lambda a, b, c: (a << o.cast(b & 7, "u64")) + c),
    "v_bcnt_u32_b32": op("u32 u32 -> u32", lambda a, b: o.popcount(a) + b),
    "v_sad_u32": op("u32 u32 u32 -> u32", lambda a, b, c: o.maximum(a, b) - o.minimum(a, b) + c),
    "v_sad_u8": op("u32 u32 u32 -> u32", lambda a, b, c: distance(a, b, 8) + c),
    "v_sad_hi_u8": op("u32 u32 u32 -> u32", lambda a, b, c: (distance(a, b, 8) << 16) + c),
    "v_sad_u16": op("u32 u32 u32 -> u32", lambda a, b, c: distance(a, b, 16) + c),
    "v_msad_u8": op("u32 u32 u32 -> u32", lambda a, b, c: distance(a, b, 8, masked=True) + c),
    "v_lerp_u8": op("u32 u32 u32 -> u32", lambda a, b, c: averages(a, b, c)),
    "v_sat_pk_u8_i16": op("u32 -> u16", lambda a: clamp_u8(a, 0) | (clamp_u8(a, 16) << 8)),
    "v_mad_u32_u16": op("u16 u16 u32 -> u32", lambda a, b, c: o.cast(a, "u32") * o.cast(b, "u32") + c),
    "v_mad_i32_i16": op("i16 i16 i32 -> i32", lambda a, b, c: o.cast(a, "i32") * o.cast(b, "i32") + c),
    "v_dot4c_i32_i8": op("u32 u32 dst:i32 -> i32", lambda a, b, c: c + dot(a, b, 4)),
    "v_dot8c_i32_i4": op("u32 u32 dst:i32 -> i32", lambda a, b, c: c + dot(a, b, 8)),
    "v_dot2c_i32_i16": op("u32 u32 dst:i32 -> i32", lambda a, b, c: c + dot(a, b, 2)),
    "v_cvt_pk_u16_u32": op("u32 u32 -> u32", lambda a, b: clamp_u16(a) | (clamp_u16(b) << 16)),
    "v_cvt_pk_i16_i32": op("i32 i32 -> u32", lambda a, b: clamp_i16(a) | (clamp_i16(b) << 16)),
    "v_pack_b32_f16": op("u16 u16 -> u32", lambda a, b: o.cast(a, "u32") | (o.cast(b, "u32") << 16)),
    # 16-bit integers
    "v_add_u16": op("u16 u16 -> u16", lambda a, b: a + b),
    "v_sub_u16": op("u16 u16 -> u16", lambda a, b: a - b),
    "v_subrev_u16": op("u16 u16 -> u16", lambda a, b: b - a),
    "v_add_i16": op("u16 u16 -> u16", lambda a, b: a + b),
    "v_sub_i16": op("u16 u16 -> u16", lambda a, b: a - b),
    "v_mul_lo_u16": op("u16 u16 -> u16", lambda a, b: a * b),
    "v_lshlrev_b16": op("u16 u16 -> u16", lambda a, b: b << (a & 15)),
    "v_lshrrev_b16": op("u16 u16 -> u16", lambda a, b: b >> (a & 15)),
    "v_ashrrev_i16": op("i16 i16 -> i16", lambda a, b: b >> (a & 15)),
    "v_max_u16": op("u16 u16 -> u16", o.maximum),
    "v_min_u16": op("u16 u16 -> u16", o.minimum),
    "v_max_i16": op("i16 i16 -> i16", o.maximum),
    "v_min_i16": op("i16 i16 -> i16", o.minimum),
    "v_mad_u16": op("u16 u16 u16 -> u16", lambda a, b, c: a * b + c),
    "v_mad_i16": op("u16 u16 u16 -> u16", lambda a, b, c: a * b + c),
    "v_mad_legacy_u16": op("u16 u16 u16 -> u16", lambda a, b, c: a * b + c),
    "v_mad_legacy_i16": op("u16 u16 u16 -> u16", lambda a, b, c: a * b + c),
    "v_min3_i16": op("i16 i16 i16 -> i16", lambda a, b, c: o.minimum(o.minimum(a, b), c)),
    "v_max3_i16": op("i16 i16 i16 -> i16", lambda a, b, c: o.maximum(o.maximum(a, b), c)),
    "v_min3_u16": op("u16 u16 u16 -> u16", lambda a, b, c: o.minimum(o.minimum(a, b), c)),
    "v_max3_u16": op("u16 u16 u16 -> u16", lambda a, b, c: o.maximum(o.maximum(a, b), c)),
    "v_med3_i16": op("i16 i16 i16 -> i16", lambda a, b, c: median(a, b, c)),
    "v_med3_u16": op("u16 u16 u16 -> u16", lambda a, b, c: median(a, b, c)),
}  # fmt: skip


def floats(kind: str) -> dict[str, Operation]:
    """What there is of all three float kinds."""
    k = kind
    return {
        f"v_add_{k}": op(f"{k} {k} -> {k}", lambda a, b: a + b),
        f"v_mul_{k}": op(f"{k} {k} -> {k}", lambda a, b: a * b),
        f"v_fma_{k}": op(f"{k} {k} {k} -> {k}", o.fma),
        f"v_min_{k}": op(f"{k} {k} -> {k}", rules.minimum),
        f"v_max_{k}": op(f"{k} {k} -> {k}", rules.maximum),
        f"v_floor_{k}": op(f"{k} -> {k}", o.floor),
        f"v_ceil_{k}": op(f"{k} -> {k}", o.ceil),
        f"v_trunc_{k}": op(f"{k} -> {k}", o.trunc),
        f"v_rndne_{k}": op(f"{k} -> {k}", o.rint),
        f"v_fract_{k}": op(f"{k} -> {k}", rules.fraction),
        f"v_rcp_{k}": op(f"{k} -> {k}", lambda a: o.by_f64("rcp", a)),
        f"v_rsq_{k}": op(f"{k} -> {k}", lambda a: o.by_f64("rsq", a)),
        f"v_sqrt_{k}": op(f"{k} -> {k}", lambda a: o.by_f64("sqrt", a)),
        f"v_frexp_mant_{k}": op(f"{k} -> {k}", lambda a: o.frexp(a)[0]),
        f"v_div_fixup_{k}": op(f"{k} {k} {k} -> {k}", rules.div_fixup),
    }


def small_floats(kind: str) -> dict[str, Operation]:
    """What there is of f16 and f32."""
    k = kind
    return {
        f"v_sub_{k}": op(f"{k} {k} -> {k}", lambda a, b: a - b),
        f"v_subrev_{k}": op(f"{k} {k} -> {k}", lambda a, b: b - a),
        f"v_exp_{k}": op(f"{k} -> {k}", lambda a: o.by_f64("exp2", a)),
        f"v_log_{k}": op(f"{k} -> {k}", lambda a: o.by_f64("log2", a)),
        f"v_sin_{k}": op(f"{k} -> {k}", lambda a: o.by_f64("sin", a)),
        f"v_cos_{k}": op(f"{k} -> {k}", lambda a: o.by_f64("cos", a)),
        f"v_min3_{k}": op(f"{k} {k} {k} -> {k}", lambda a, b, c: rules.minimum(rules.minimum(a, b), c)),
        f"v_max3_{k}": op(f"{k} {k} {k} -> {k}", lambda a, b, c: rules.maximum(rules.maximum(a, b), c)),
        f"v_med3_{k}": op(f"{k} {k} {k} -> {k}", rules.median),
    }


CONVERSIONS: dict[str, Operation] = {
    "v_cvt_f32_i32": op("i32 -> f32", lambda a: o.cast(a, "f32")),
    "v_cvt_f32_u32": op("u32 -> f32", lambda a: o.cast(a, "f32")),
    "v_cvt_f64_i32": op("i32 -> f64", lambda a: o.cast(a, "f64")),
    "v_cvt_f64_u32": op("u32 -> f64", lambda a: o.cast(a, "f64")),
    "v_cvt_f64_f32": op("f32 -> f64", lambda a: o.cast(a, "f64")),
    "v_cvt_f32_f64": op("f64 -> f32", lambda a: o.cast(a, "f32")),
    "v_cvt_f16_f32": op("f32 -> f16", lambda a: o.cast(a, "f16")),
    "v_cvt_f32_f16": op("f16 -> f32", lambda a: o.cast(a, "f32")),
    "v_cvt_f16_u16": op("u16 -> f16", lambda a: o.cast(a, "f16")),
    "v_cvt_f16_i16": op("i16 -> f16", lambda a: o.cast(a, "f16")),
    "v_cvt_u32_f32": op("f32 -> u32", lambda a: o.to_int(a, "u32")),
    "v_cvt_i32_f32": op("f32 -> i32", lambda a: o.to_int(a, "i32")),
    "v_cvt_u32_f64": op("f64 -> u32", lambda a: o.to_int(a, "u32")),
    "v_cvt_i32_f64": op("f64 -> i32", lambda a: o.to_int(a, "i32")),
    "v_cvt_u16_f16": op("f16 -> u16", lambda a: o.to_int(a, "u16")),
    "v_cvt_i16_f16": op("f16 -> i16", lambda a: o.to_int(a, "i16")),
    "v_cvt_rpi_i32_f32": op("f32 -> i32", lambda a: o.to_int(o.floor(o.cast(a, "f64") + o.const(0.5, "f64")), "i32")),
    "v_cvt_flr_i32_f32": op("f32 -> i32", lambda a: o.to_int(o.floor(a), "i32")),
    **{
        f"v_cvt_f32_ubyte{n}": op("u32 -> f32", lambda a, n=n: o.cast((a >> (8 * n)) & 255, "f32")) for n in range(4)
    },
    "v_cvt_off_f32_i4": op("u32 -> f32", lambda a: o.cast(extend(a, "i32", 0, 4), "f32") * o.const(0.0625, "f32")),
    "v_cvt_pkrtz_f16_f32": op("f32 f32 -> u32", lambda a, b: rules.halves_toward_zero(a, b)),
    "v_cvt_f32_fp8": op("u32 -> f32", lambda a: decode_fp8(a & 255, "fp8")),
    "v_cvt_f32_bf8": op("u32 -> f32", lambda a: decode_fp8(a & 255, "bf8")),
    "v_frexp_exp_i32_f32": op("f32 -> i32", lambda a: o.frexp(a)[1]),
    "v_frexp_exp_i32_f64": op("f64 -> i32", lambda a: o.frexp(a)[1]),
    "v_ldexp_f32": op("f32 i32 -> f32", o.ldexp),
    "v_ldexp_f64": op("f64 i32 -> f64", o.ldexp),
    "v_ldexp_f16": op("f16 i16 -> f16", lambda a, b: o.ldexp(a, o.cast(b, "i32"))),
}  # fmt: skip

FLOATS: dict[str, Operation] = {
    "v_fmac_f32": op("f32 f32 dst:f32 -> f32", o.fma),
    "v_fmac_f64": op("f64 f64 dst:f64 -> f64", o.fma),
    "v_fmamk_f32": op("f32 f32 f32 -> f32", o.fma),
    "v_fmaak_f32": op("f32 f32 f32 -> f32", o.fma),
    "v_mul_legacy_f32": op("f32 f32 -> f32", rules.legacy_product),
    "v_rcp_iflag_f32": op("f32 -> f32", lambda a: o.by_f64("rcp", a)),
    "v_exp_legacy_f32": op("f32 -> f32", lambda a: o.by_f64("exp2", a)),
    "v_log_legacy_f32": op("f32 -> f32", lambda a: o.by_f64("log2", a)),
    "v_fma_legacy_f16": op("f16 f16 f16 -> f16", o.fma),
    "v_div_fixup_legacy_f16": op("f16 f16 f16 -> f16", rules.div_fixup),
    "v_div_scale_f32": op("f32 f32 f32 -> f32 mask", rules.div_scale),
    "v_div_scale_f64": op("f64 f64 f64 -> f64 mask", rules.div_scale),
    "v_div_fmas_f32": op("f32 f32 f32 vcc -> f32", rules.div_fmas),
    "v_div_fmas_f64": op("f64 f64 f64 vcc -> f64", rules.div_fmas),
    "v_dot2c_f32_f16": op("u32 u32 dst:f32 -> f32", lambda a, b, c: rules.dot2(a, b, c)),
}  # fmt: skip

COMPARISONS: Mapping[str, Function] = {
    "f": lambda a, b: (a != a) & (a == a),
    "lt": lambda a, b: a < b,
    "eq": lambda a, b: a == b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "lg": lambda a, b: (a < b) | (a > b),
    "ne": lambda a, b: a != b,
    "o": lambda a, b: (a == a) & (b == b),
    "u": lambda a, b: (a != a) | (b != b),
    "nge": lambda a, b: ~(a >= b),
    "nlg": lambda a, b: ~((a < b) | (a > b)),
    "ngt": lambda a, b: ~(a > b),
    "nle": lambda a, b: ~(a <= b),
    "neq": lambda a, b: a != b,
    "nlt": lambda a, b: ~(a < b),
    "tru": lambda a, b: (a == a) | (a != a),
    "t": lambda a, b: (a == a) | (a != a),
}


def comparisons() -> dict[str, Operation]:
    """All v_cmp and v_cmpx; the latter write EXEC too."""
    found: dict[str, Operation] = {}
    for kind in ("f16", "f32", "f64", "i16", "u16", "i32", "u32", "i64", "u64"):
        for name, function in COMPARISONS.items():
            for prefix in ("v_cmp", "v_cmpx"):
                found[f"{prefix}_{name}_{kind}"] = op(f"{kind} {kind} -> mask", function)
    for kind in ("f16", "f32", "f64"):
        for prefix in ("v_cmp", "v_cmpx"):
            found[f"{prefix}_class_{kind}"] = op(f"{kind} u32 -> mask", rules.is_class)
    return found


VECTOR: Mapping[str, Operation] = {
    **INTEGERS,
    **CONVERSIONS,
    **floats("f16"),
    **floats("f32"),
    **floats("f64"),
    **small_floats("f16"),
    **small_floats("f32"),
    **FLOATS,
    **comparisons(),
    "v_frexp_exp_i16_f16": op("f16 -> i16", lambda a: o.cast(o.frexp(a)[1], "i16")),
    "v_cvt_pk_fp8_f32": op("f32 f32 -> u16", lambda a, b: encode_fp8(a, "fp8") | (encode_fp8(b, "fp8") << 8)),
    "v_cvt_pk_bf8_f32": op("f32 f32 -> u16", lambda a, b: encode_fp8(a, "bf8") | (encode_fp8(b, "bf8") << 8)),
}

SATURATING: Mapping[str, Function] = {
    "v_add_u32": lambda a, b: o.select(a + b < a, ~(a & 0), a + b),
    "v_sub_u32": lambda a, b: o.select(a < b, a & 0, a - b),
    "v_subrev_u32": lambda a, b: o.select(b < a, a & 0, b - a),
    "v_add_u16": lambda a, b: o.select(a + b < a, ~(a & 0), a + b),
    "v_sub_u16": lambda a, b: o.select(a < b, a & 0, a - b),
    "v_add_i32": lambda a, b: rules.saturate(o.cast(o.bits(a, "i32"), "i64") + o.cast(o.bits(b, "i32"), "i64")),
    "v_sub_i32": lambda a, b: rules.saturate(o.cast(o.bits(a, "i32"), "i64") - o.cast(o.bits(b, "i32"), "i64")),
    "v_subrev_u16": lambda a, b: o.select(b < a, a & 0, b - a),
    "v_add_i16": lambda a, b: saturate16(o.cast(o.bits(a, "i16"), "i32") + o.cast(o.bits(b, "i16"), "i32")),
    "v_sub_i16": lambda a, b: saturate16(o.cast(o.bits(a, "i16"), "i32") - o.cast(o.bits(b, "i16"), "i32")),
}
"""What `clamp` means for integers, where it is implemented."""
