"""What each scalar instruction computes and does to SCC, given anew in LLVM IR or Python."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from lane_oracle import ir, lanewise, signed

Oracle = Callable[..., np.ndarray]


@dataclass(frozen=True)
class Case:
    """Kinds of sources (c: SCC, d: the old destination, k: the 16-bit constant), the result's kind, and functions."""

    sources: tuple[str, ...]
    kind: str  # of the result, or nothing
    result: Oracle | None
    scc: Oracle | str | None  # "nonzero", or a function of the sources


CASES: dict[str, Case] = {}


def case(name: str, signature: str, result: Oracle | str | None, scc: Oracle | str | None = None) -> None:
    """Adds a case; functions given as text are LLVM IR."""
    left, _, kind = signature.partition("->")
    sources, kind = tuple(left.split()), kind.strip()
    kinds = " ".join("m" if each == "c" else each.split(":")[-1] for each in sources)
    if isinstance(result, str):
        result = ir(f"{kinds} -> {kind}", result)
    if isinstance(scc, str) and scc != "nonzero":
        scc = ir(f"{kinds} -> m", scc)
    CASES[name] = Case(sources, kind, result, scc)


def arithmetic() -> None:
    """Sums, products and extremes, with carry, overflow or the choice in SCC."""
    both = "%x = zext i32 %a to i64;%y = zext i32 %b to i64"
    signs = "%x = sext i32 %a to i64;%y = sext i32 %b to i64"
    overflow = "%o = add i64 %t, 2147483648;%r = icmp ugt i64 %o, 4294967295"
    case("s_add_u32", "i32 i32 -> i32", "add", f"{both};%t = add i64 %x, %y;%r = icmp ugt i64 %t, 4294967295")
    case("s_sub_u32", "i32 i32 -> i32", "sub", "%r = icmp ult i32 %a, %b")
    case("s_add_i32", "i32 i32 -> i32", "add", f"{signs};%t = add i64 %x, %y;{overflow}")
    case("s_sub_i32", "i32 i32 -> i32", "sub", f"{signs};%t = sub i64 %x, %y;{overflow}")
    case("s_addk_i32", "d:i32 k:i32 -> i32", "add", f"{signs};%t = add i64 %x, %y;{overflow}")
    carry = f"{both};%z = zext i1 %c to i64"
    add, sub = f"{carry};%u = add i64 %x, %y;%t = add i64 %u, %z", f"{carry};%u = sub i64 %x, %y;%t = sub i64 %u, %z"
    case("s_addc_u32", "i32 i32 c -> i32", f"{add};%r = trunc i64 %t to i32", f"{add};%r = icmp ugt i64 %t, 4294967295")
    case("s_subb_u32", "i32 i32 c -> i32", f"{sub};%r = trunc i64 %t to i32", f"{sub};%r = icmp slt i64 %t, 0")
    for sign, letter in (("i", "s"), ("u", "u")):
        case(f"s_min_{sign}32", "i32 i32 -> i32", f"llvm.{letter}min", f"%r = icmp {letter}lt i32 %a, %b")
        case(f"s_max_{sign}32", "i32 i32 -> i32", f"llvm.{letter}max", f"%r = icmp {letter}ge i32 %a, %b")
    case("s_mul_i32", "i32 i32 -> i32", "mul")
    case("s_mulk_i32", "d:i32 k:i32 -> i32", "mul")
    high = "%p = mul i64 %x, %y;%h = lshr i64 %p, 32;%r = trunc i64 %h to i32"
    case("s_mul_hi_u32", "i32 i32 -> i32", f"{both};{high}")
    case("s_mul_hi_i32", "i32 i32 -> i32", f"{signs};{high}")
    case(
        "s_absdiff_i32",
        "i32 i32 -> i32",
        "%d = sub i32 %a, %b;%r = call i32 @llvm.abs.i32(i32 %d, i1 false)",
        "nonzero",
    )
    case("s_abs_i32", "i32 -> i32", "%r = call i32 @llvm.abs.i32(i32 %a, i1 false)", "nonzero")
    for n in (1, 2, 3, 4):
        shifted = lanewise(lambda a, b, n=n: (a << n) + b, "i32")
        carries = lanewise(lambda a, b, n=n: int((a << n) + b >= 1 << 32), "i32")
        case(f"s_lshl{n}_add_u32", "i32 i32 -> i32", shifted, lambda a, b, f=carries: f(a, b) != 0)


def logic() -> None:
    """Bitwise operations, shifts and fields of both widths."""
    functions: dict[str, Callable[[int, int], int]] = {
        "and": lambda a, b: a & b, "or": lambda a, b: a | b, "xor": lambda a, b: a ^ b, "andn2": lambda a, b: a & ~b,
        "orn2": lambda a, b: a | ~b, "nand": lambda a, b: ~(a & b), "nor": lambda a, b: ~(a | b),
        "xnor": lambda a, b: ~(a ^ b),
    }  # fmt: skip
    for bits in (32, 64):
        k = f"i{bits}"
        for name, function in functions.items():
            case(f"s_{name}_b{bits}", f"{k} {k} -> {k}", lanewise(function, k), "nonzero")
        case(f"s_not_b{bits}", f"{k} -> {k}", f"%r = xor {k} %a, -1", "nonzero")
        case(f"s_mov_b{bits}", f"{k} -> {k}", lambda a: a)
        case(f"s_cmov_b{bits}", f"{k} c d:{k} -> {k}", lambda a, c, d: np.where(c, a, d))
        case(f"s_cselect_b{bits}", f"{k} {k} c -> {k}", lambda a, b, c: np.where(c, a, b))
        amount = f"%m = and i32 %b, {bits - 1};" + ("%n = zext i32 %m to i64" if bits == 64 else "%n = add i32 %m, 0")
        for name, operation in (("lshl_b", "shl"), ("lshr_b", "lshr"), ("ashr_i", "ashr")):
            case(f"s_{name}{bits}", f"{k} i32 -> {k}", f"{amount};%r = {operation} {k} %a, %n", "nonzero")
        case(f"s_bfm_b{bits}", f"i32 i32 -> {k}", lanewise(
            lambda a, b, m=bits - 1: ((1 << (a & m)) - 1) << (b & m), k))  # fmt: skip
        case(f"s_bfe_u{bits}", f"{k} i32 -> {k}", lanewise(lambda a, b, n=bits: unsigned_field(a, b, n), k), "nonzero")
        case(f"s_bfe_i{bits}", f"{k} i32 -> {k}", lanewise(lambda a, b, n=bits: signed_field(a, b, n), k), "nonzero")
        case(f"s_bitset0_b{bits}", f"i32 d:{k} -> {k}", lanewise(lambda a, d, m=bits - 1: d & ~(1 << (a & m)), k))
        case(f"s_bitset1_b{bits}", f"i32 d:{k} -> {k}", lanewise(lambda a, d, m=bits - 1: d | 1 << (a & m), k))
        for wanted in (0, 1):
            body = f"{amount};%s = lshr {k} %a, %n;%t = and {k} %s, 1;%r = icmp eq {k} %t, {wanted}"
            case(f"s_bitcmp{wanted}_b{bits}", f"{k} i32 ->", None, body)


def unsigned_field(a: int, b: int, bits: int) -> int:
    """Offset in the low bits, width in bits 16 to 22."""
    return a >> (b & bits - 1) & (1 << (b >> 16 & 127)) - 1


def signed_field(a: int, b: int, bits: int) -> int:
    """The same of a signed number."""
    size = b >> 16 & 127
    return signed(signed(a, bits) >> (b & bits - 1), size) if size else 0


def first_different(a: int, bits: int) -> int:
    """How far below the sign the first other bit is."""
    return next((i for i in range(1, bits) if a >> bits - 1 - i & 1 != a >> bits - 1), -1)


def counts() -> None:
    """Bits counted and found."""
    for bits in (32, 64):
        k = f"i{bits}"
        case(f"s_bcnt1_i32_b{bits}", f"{k} -> i32", lanewise(lambda a: a.bit_count(), "i32"), "nonzero")
        case(f"s_bcnt0_i32_b{bits}", f"{k} -> i32", lanewise(lambda a, n=bits: n - a.bit_count(), "i32"), "nonzero")
        case(f"s_ff1_i32_b{bits}", f"{k} -> i32", lanewise(lambda a: (a & -a).bit_length() - 1, "i32"))
        case(f"s_ff0_i32_b{bits}", f"{k} -> i32", lanewise(
            lambda a, n=bits: next((i for i in range(n) if not a >> i & 1), -1), "i32"))  # fmt: skip
        case(f"s_flbit_i32_b{bits}", f"{k} -> i32", lanewise(lambda a, n=bits: n - a.bit_length() if a else -1, "i32"))
        name = "s_flbit_i32" if bits == 32 else "s_flbit_i32_i64"
        case(name, f"{k} -> i32", lanewise(lambda a, n=bits: first_different(a, n), "i32"))
        case(f"s_brev_b{bits}", f"{k} -> {k}", "llvm.bitreverse")
        quads = lambda a, n=bits: [a >> i & 15 for i in range(0, n, 4)]  # noqa: E731
        case(f"s_wqm_b{bits}", f"{k} -> {k}", lanewise(
            lambda a, q=quads: sum(15 << 4 * i for i, each in enumerate(q(a)) if each), k), "nonzero")  # fmt: skip
        case(f"s_quadmask_b{bits}", f"{k} -> {k}", lanewise(
            lambda a, q=quads: sum(1 << i for i, each in enumerate(q(a)) if each), k), "nonzero")  # fmt: skip
    case("s_bitreplicate_b64_b32", "i32 -> i64", lanewise(
        lambda a: sum((a >> i & 1) * 3 << 2 * i for i in range(32)), "i64"))  # fmt: skip
    case("s_sext_i32_i8", "i32 -> i32", "%t = trunc i32 %a to i8;%r = sext i8 %t to i32")
    case("s_sext_i32_i16", "i32 -> i32", "%t = trunc i32 %a to i16;%r = sext i16 %t to i32")
    for name, low, high in (("ll", 0, 0), ("lh", 0, 16), ("hh", 16, 16)):
        case(f"s_pack_{name}_b32_b16", "i32 i32 -> i32", lanewise(
            lambda a, b, x=low, y=high: (a >> x & 0xFFFF) | (b >> y & 0xFFFF) << 16, "i32"))  # fmt: skip
    case("s_movk_i32", "k:i32 -> i32", lambda a: a)
    case("s_cmovk_i32", "k:i32 c d:i32 -> i32", lambda a, c, d: np.where(c, a, d))


def compares() -> None:
    """s_cmp and s_cmpk."""
    for sign, letter in (("i", "s"), ("u", "u")):
        for name in ("eq", "lg", "gt", "ge", "lt", "le"):
            predicate = {"eq": "eq", "lg": "ne"}.get(name, letter + name)
            case(f"s_cmp_{name}_{sign}32", "i32 i32 ->", None, f"%r = icmp {predicate} i32 %a, %b")
            case(f"s_cmpk_{name}_{sign}32", "d:i32 k:i32 ->", None, f"%r = icmp {predicate} i32 %a, %b")
    for name, predicate in (("eq", "eq"), ("lg", "ne")):
        case(f"s_cmp_{name}_u64", "i64 i64 ->", None, f"%r = icmp {predicate} i64 %a, %b")


arithmetic()
logic()
counts()
compares()
