"""What each vector instruction on integers computes, given anew in LLVM IR or Python."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from gfx942_case import Oracle, case
from lane_oracle import (
    clamp_int,
    lanewise,
    parts,
    raw,
    signed,
)


def shift(operation: str, kind: str, mask: int) -> str:
    """IR of `b shifted by a`, whose amount is taken from an i32 or i16 of its low bits."""
    return f"%n = and {kind} %a, {mask};%r = {operation} {kind} %b, %n"


def shift64(operation: str) -> str:
    """The same of 64 bits."""
    return f"%m = and i32 %a, 63;%n = zext i32 %m to i64;%r = {operation} i64 %b, %n"


def low24(is_signed: bool, last: str) -> str:
    """IR of %x and %y, the i64 of 24 bits of the first two sources, before `last`."""
    found = []
    for name, source in (("x", "a"), ("y", "b")):
        if is_signed:
            found += [f"%{name}1 = shl i32 %{source}, 8", f"%{name}2 = ashr i32 %{name}1, 8"]
            found += [f"%{name} = sext i32 %{name}2 to i64"]
        else:
            found += [f"%{name}1 = and i32 %{source}, 16777215", f"%{name} = zext i32 %{name}1 to i64"]
    return ";".join([*found, "%p = mul i64 %x, %y", last])


def wide(extend: str, size: int, last: str) -> str:
    """IR of %x and %y (and %z of an i64 source for i65), extended, and their product %p."""
    found = [f"%x = {extend} i32 %a to i{size}", f"%y = {extend} i32 %b to i{size}", f"%p = mul i{size} %x, %y"]
    if size == 65:
        found += [f"%z = {extend} i64 %c to i65", "%t = add i65 %p, %z"]
    return ";".join([*found, last])


def permute(a: int, b: int, c: int) -> int:
    """v_perm_b32, byte by byte."""
    both = [*parts(b, 8), *parts(a, 8)]
    found = 0
    for n, chosen in enumerate(parts(c, 8)):
        if chosen < 8:
            byte = both[chosen]
        elif chosen < 12:
            byte = 255 * (both[(1, 3, 5, 7)[chosen - 8]] >> 7)
        else:
            byte = 0 if chosen == 12 else 255
        found |= byte << 8 * n
    return found


def first_different(a: int) -> int:
    """How far below the sign the first other bit is."""
    return next((i for i in range(1, 32) if a >> (31 - i) & 1 != a >> 31), -1)


def middle(*sources: np.ndarray) -> np.ndarray:
    """The median of integers."""
    return np.sort(np.stack(sources), axis=0)[1]


def signed_middle(*sources: np.ndarray) -> np.ndarray:
    """The median of signed integers."""
    kind = f"i{sources[0].dtype.itemsize}"
    return middle(*(each.view(kind) for each in sources)).view(sources[0].dtype)


def dot(size: int, is_signed: bool) -> Oracle:
    """Products of parts, added to a third source."""

    def function(a: int, b: int, c: int) -> int:
        return c + sum(x * y for x, y in zip(parts(a, size, is_signed), parts(b, size, is_signed), strict=True))

    return lanewise(function, "i32")


def sum_of(size: int, function: Callable[[int, int], int]) -> Oracle:
    """A sum over parts of two dwords, added to a third source."""
    return lanewise(lambda a, b, c: c + sum(map(function, parts(a, size), parts(b, size))), "i32")


def three(operation: str, kind: str) -> str:
    """IR of an intrinsic over three."""
    call = f"call {kind} @llvm.{operation}.{kind}"
    return f"%t = {call}({kind} %a, {kind} %b);%r = {call}({kind} %t, {kind} %c)"


def integer_cases() -> None:
    """32 and 64 bits."""
    case("v_mov_b32", "i32 -> i32", lambda a: a)
    case("v_mov_b64", "i64 -> i64", lambda a: a)
    case("v_not_b32", "i32 -> i32", "%r = xor i32 %a, -1")
    case("v_bfrev_b32", "i32 -> i32", "llvm.bitreverse")
    for name, count in (("v_ffbh_u32", "ctlz"), ("v_ffbl_b32", "cttz")):
        body = f"%n = call i32 @llvm.{count}.i32(i32 %a, i1 false);%z = icmp eq i32 %a, 0"
        case(name, "i32 -> i32", f"{body};%r = select i1 %z, i32 -1, i32 %n")
    case("v_ffbh_i32", "i32 -> i32", lanewise(first_different, "i32"))
    case("v_cndmask_b32", "f32 f32 m -> i32", lambda a, b, m: np.where(m, raw(b), raw(a)))
    case("v_add_u32", "i32 i32 -> i32", "add", clamped="llvm.uadd.sat")
    case("v_sub_u32", "i32 i32 -> i32", "sub", clamped="llvm.usub.sat")
    subtract = "%r = call i32 @llvm.usub.sat.i32(i32 %b, i32 %a)"
    case("v_subrev_u32", "i32 i32 -> i32", "%r = sub i32 %b, %a", clamped=subtract)
    case("v_add_i32", "i32 i32 -> i32", "add", clamped="llvm.sadd.sat")
    case("v_sub_i32", "i32 i32 -> i32", "sub", clamped="llvm.ssub.sat")
    carries = "%x = zext i32 %a to i64;%y = zext i32 %b to i64"
    case("v_add_co_u32", "i32 i32 -> i32 m", "add", f"{carries};%t = add i64 %x, %y;%r = icmp ugt i64 %t, 4294967295")
    case("v_sub_co_u32", "i32 i32 -> i32 m", "sub", "%r = icmp ult i32 %a, %b")
    case("v_subrev_co_u32", "i32 i32 -> i32 m", "%r = sub i32 %b, %a", "%r = icmp ult i32 %b, %a")
    carries += ";%z = zext i1 %c to i64"
    for name, first, second in (("v_subb_co_u32", "x", "y"), ("v_subbrev_co_u32", "y", "x")):
        body = f"{carries};%t = sub i64 %{first}, %{second};%u = sub i64 %t, %z"
        case(name, "i32 i32 m -> i32 m", f"{body};%r = trunc i64 %u to i32", f"{body};%r = icmp slt i64 %u, 0")
    body = f"{carries};%t = add i64 %x, %y;%u = add i64 %t, %z"
    carry = f"{body};%r = icmp ugt i64 %u, 4294967295"
    case("v_addc_co_u32", "i32 i32 m -> i32 m", f"{body};%r = trunc i64 %u to i32", carry)
    multiplications()
    for sign, letter in (("i", "s"), ("u", "u")):
        for which in ("min", "max"):
            case(f"v_{which}_{sign}32", "i32 i32 -> i32", f"llvm.{letter}{which}")
            case(f"v_{which}3_{sign}32", "i32 i32 i32 -> i32", three(f"{letter}{which}", "i32"))
    case("v_med3_u32", "i32 i32 i32 -> i32", middle)
    case("v_med3_i32", "i32 i32 i32 -> i32", signed_middle)
    bit_cases()
    sums()


def multiplications() -> None:
    """Products of 16, 24 and 32 bits."""
    low, high = "%r = trunc i64 %p to i32", "%h = lshr i64 %p, 32;%r = trunc i64 %h to i32"
    for sign, is_signed in (("i32_i24", True), ("u32_u24", False)):
        case(f"v_mul_{sign}", "i32 i32 -> i32", low24(is_signed, low))
        case(f"v_mul_hi_{sign}", "i32 i32 -> i32", low24(is_signed, high))
        case(f"v_mad_{sign}", "i32 i32 i32 -> i32", low24(is_signed, "%l = trunc i64 %p to i32;%r = add i32 %l, %c"))
    case("v_mul_lo_u32", "i32 i32 -> i32", "mul")
    case("v_mul_hi_u32", "i32 i32 -> i32", wide("zext", 64, high))
    case("v_mul_hi_i32", "i32 i32 -> i32", wide("sext", 64, high))
    for name, extend in (("v_mad_u64_u32", "zext"), ("v_mad_i64_i32", "sext")):
        total = wide(extend, 65, "%r = trunc i65 %t to i64")
        case(name, "i32 i32 i64 -> i64 m", total, wide(extend, 65, "%h = lshr i65 %t, 64;%r = trunc i65 %h to i1"))
    for name, extend in (("v_mad_u32_u16", "zext"), ("v_mad_i32_i16", "sext")):
        body = f"%x = {extend} i16 %a to i32;%y = {extend} i16 %b to i32;%p = mul i32 %x, %y;%r = add i32 %p, %c"
        case(name, "i16 i16 i32 -> i32", body)


def bit_cases() -> None:
    """Shifts, fields and logic."""
    case("v_lshlrev_b32", "i32 i32 -> i32", shift("shl", "i32", 31))
    case("v_lshrrev_b32", "i32 i32 -> i32", shift("lshr", "i32", 31))
    case("v_ashrrev_i32", "i32 i32 -> i32", shift("ashr", "i32", 31))
    case("v_lshlrev_b64", "i32 i64 -> i64", shift64("shl"))
    case("v_lshrrev_b64", "i32 i64 -> i64", shift64("lshr"))
    case("v_ashrrev_i64", "i32 i64 -> i64", shift64("ashr"))
    for name in ("and", "or", "xor"):
        case(f"v_{name}_b32", "i32 i32 -> i32", name)
    case("v_xnor_b32", "i32 i32 -> i32", "%t = xor i32 %a, %b;%r = xor i32 %t, -1")
    case("v_bfe_u32", "i32 i32 i32 -> i32", lanewise(lambda a, b, c: a >> (b & 31) & (1 << (c & 31)) - 1, "i32"))
    field = lanewise(lambda a, b, c: signed(signed(a, 32) >> (b & 31), c & 31) if c & 31 else 0, "i32")
    case("v_bfe_i32", "i32 i32 i32 -> i32", field)
    body = "%x = and i32 %a, %b;%n = xor i32 %a, -1;%y = and i32 %n, %c;%r = or i32 %x, %y"
    case("v_bfi_b32", "i32 i32 i32 -> i32", body)
    case("v_bfm_b32", "i32 i32 -> i32", lanewise(lambda a, b: ((1 << (a & 31)) - 1) << (b & 31), "i32"))
    case("v_alignbit_b32", "i32 i32 i32 -> i32", "llvm.fshr")
    body = "%n = and i32 %c, 3;%m = mul i32 %n, 8;%r = call i32 @llvm.fshr.i32(i32 %a, i32 %b, i32 %m)"
    case("v_alignbyte_b32", "i32 i32 i32 -> i32", body)
    case("v_perm_b32", "i32 i32 i32 -> i32", lanewise(permute, "i32"))
    case("v_bcnt_u32_b32", "i32 i32 -> i32", "%n = call i32 @llvm.ctpop.i32(i32 %a);%r = add i32 %n, %b")
    by_b = "%n = and i32 %b, 31;%t = shl i32 %a, %n"
    case("v_lshl_add_u32", "i32 i32 i32 -> i32", f"{by_b};%r = add i32 %t, %c")
    case("v_lshl_or_b32", "i32 i32 i32 -> i32", f"{by_b};%r = or i32 %t, %c")
    case("v_add_lshl_u32", "i32 i32 i32 -> i32", "%t = add i32 %a, %b;%n = and i32 %c, 31;%r = shl i32 %t, %n")
    for name, first, second in (("xad_u32", "xor", "add"), ("add3_u32", "add", "add"), ("and_or_b32", "and", "or"),
                                ("or3_b32", "or", "or")):  # fmt: skip
        case(f"v_{name}", "i32 i32 i32 -> i32", f"%t = {first} i32 %a, %b;%r = {second} i32 %t, %c")
    shifted = "%n = and i32 %b, 7;%m = zext i32 %n to i64;%t = shl i64 %a, %m;%r = add i64 %t, %c"
    case("v_lshl_add_u64", "i64 i32 i64 -> i64", shifted)


def sums() -> None:
    """Sums over parts of dwords, and packing."""
    case("v_sad_u32", "i32 i32 i32 -> i32", lanewise(lambda a, b, c: c + abs(a - b), "i32"))
    case("v_sad_u8", "i32 i32 i32 -> i32", sum_of(8, lambda x, y: abs(x - y)))
    case("v_msad_u8", "i32 i32 i32 -> i32", sum_of(8, lambda x, y: abs(x - y) if y else 0))
    case("v_sad_hi_u8", "i32 i32 i32 -> i32", sum_of(8, lambda x, y: abs(x - y) << 16))
    case("v_sad_u16", "i32 i32 i32 -> i32", sum_of(16, lambda x, y: abs(x - y)))
    case("v_lerp_u8", "i32 i32 i32 -> i32", lanewise(
        lambda a, b, c: sum((x + y + (z & 1) >> 1) << 8 * n
                            for n, (x, y, z) in enumerate(zip(parts(a, 8), parts(b, 8), parts(c, 8), strict=True))),
        "i32"))  # fmt: skip
    for name, size in (("v_dot4c_i32_i8", 8), ("v_dot8c_i32_i4", 4), ("v_dot2c_i32_i16", 16)):
        case(name, "i32 i32 d:i32 -> i32", dot(size, True))
    case("v_cvt_pk_u16_u32", "i32 i32 -> i32", lanewise(lambda a, b: min(a, 65535) | min(b, 65535) << 16, "i32"))
    case("v_cvt_pk_i16_i32", "i32 i32 -> i32", lanewise(
        lambda a, b: (clamp_int(signed(a, 32), -32768, 32767) & 0xFFFF)
        | (clamp_int(signed(b, 32), -32768, 32767) & 0xFFFF) << 16, "i32"))  # fmt: skip
    case("v_pack_b32_f16", "f16 f16 -> i32", lanewise(lambda a, b: a | b << 16, "i32"))
    case("v_sat_pk_u8_i16", "i32 -> i16", lanewise(
        lambda a: clamp_int(signed(a, 16), 0, 255) | clamp_int(signed(a >> 16, 16), 0, 255) << 8, "i16"))  # fmt: skip


def short_cases() -> None:
    """16-bit integers."""
    for name, operation, sat in (("add", "add", "add"), ("sub", "sub", "sub")):
        case(f"v_{name}_u16", "i16 i16 -> i16", operation, clamped=f"llvm.u{sat}.sat")
        case(f"v_{name}_i16", "i16 i16 -> i16", operation, clamped=f"llvm.s{sat}.sat")
    subtract = "%r = call i16 @llvm.usub.sat.i16(i16 %b, i16 %a)"
    case("v_subrev_u16", "i16 i16 -> i16", "%r = sub i16 %b, %a", clamped=subtract)
    case("v_mul_lo_u16", "i16 i16 -> i16", "mul")
    case("v_lshlrev_b16", "i16 i16 -> i16", shift("shl", "i16", 15))
    case("v_lshrrev_b16", "i16 i16 -> i16", shift("lshr", "i16", 15))
    case("v_ashrrev_i16", "i16 i16 -> i16", shift("ashr", "i16", 15))
    for sign, letter in (("i", "s"), ("u", "u")):
        for which in ("min", "max"):
            case(f"v_{which}_{sign}16", "i16 i16 -> i16", f"llvm.{letter}{which}")
            case(f"v_{which}3_{sign}16", "i16 i16 i16 -> i16", three(f"{letter}{which}", "i16"))
        for name in (f"v_mad_{sign}16", f"v_mad_legacy_{sign}16"):
            case(name, "i16 i16 i16 -> i16", "%p = mul i16 %a, %b;%r = add i16 %p, %c")
    case("v_med3_u16", "i16 i16 i16 -> i16", middle)
    case("v_med3_i16", "i16 i16 i16 -> i16", signed_middle)
