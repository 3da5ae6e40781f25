"""What scalar instructions compute, one line each: kinds of sources and result, a function, and what SCC is.

AMD CDNA3 ISA guide, "Scalar ALU Operations": SCC is carry, overflow or `result != 0`, as each group says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowering.targets.amdgpu.emulator import lane_ops as o
from lowering.targets.amdgpu.emulator.kinds import NUMPY
from lowering.targets.amdgpu.emulator.scalar_rules import (
    absolute_difference,
    bit_field,
    bit_mask,
    bit_mask64,
    borrow_sub,
    carry_add,
    each_bit_twice,
    first_one,
    high,
    highest,
    highest_other,
    lshl_add,
    overflow_add,
    overflow_sub,
    pack,
    reverse_bits64,
)

Function = Callable[..., Any]


@dataclass(frozen=True)
class Scalar:
    """Kinds of sources, kind of the result ('' for none), the function, and SCC: '', 'nonzero' or 'second'.

    'second': the function gives a pair, and SCC is its second part. 'only': SCC is all that it gives.
    """

    sources: tuple[str, ...]
    result: str
    function: Function
    scc: str = ""


def op(signature: str, function: Function, scc: str = "") -> Scalar:
    """An operation of a signature `kinds -> kind`."""
    left, _, right = signature.partition("->")
    return Scalar(tuple(left.split()), right.strip(), function, scc)


def logic() -> dict[str, Scalar]:
    """Bitwise operations of both widths; SCC says whether the result is not 0."""
    functions: Mapping[str, Function] = {
        "and": lambda a, b: a & b,
        "or": lambda a, b: a | b,
        "xor": lambda a, b: a ^ b,
        "andn2": lambda a, b: a & ~b,
        "orn2": lambda a, b: a | ~b,
        "nand": lambda a, b: ~(a & b),
        "nor": lambda a, b: ~(a | b),
        "xnor": lambda a, b: ~(a ^ b),
    }
    found: dict[str, Scalar] = {}
    for bits in (32, 64):
        for name, function in functions.items():
            found[f"s_{name}_b{bits}"] = op(f"u{bits} u{bits} -> u{bits}", function, "nonzero")
        found[f"s_not_b{bits}"] = op(f"u{bits} -> u{bits}", lambda a: ~a, "nonzero")
        found[f"s_mov_b{bits}"] = op(f"u{bits} -> u{bits}", lambda a: a)
        found[f"s_cmov_b{bits}"] = op(f"u{bits} scc dst:u{bits} -> u{bits}", lambda a, c, d: np.where(c, a, d))
        found[f"s_cselect_b{bits}"] = op(f"u{bits} u{bits} scc -> u{bits}", lambda a, b, c: np.where(c, a, b))
        found[f"s_bcnt1_i32_b{bits}"] = op(f"u{bits} -> u32", o.popcount, "nonzero")
        found[f"s_bcnt0_i32_b{bits}"] = op(f"u{bits} -> u32", lambda a: o.popcount(~a), "nonzero")
        found[f"s_ff1_i32_b{bits}"] = op(f"u{bits} -> i32", first_one)
        found[f"s_ff0_i32_b{bits}"] = op(f"u{bits} -> i32", lambda a: first_one(~a))
        found[f"s_flbit_i32_b{bits}"] = op(f"u{bits} -> i32", highest)
    return found


def shifts() -> dict[str, Scalar]:
    """Shifts of both widths."""
    found: dict[str, Scalar] = {}
    for bits in (32, 64):
        mask = np.uint32(bits - 1)
        u, i = NUMPY[f"u{bits}"], NUMPY[f"i{bits}"]
        found[f"s_lshl_b{bits}"] = op(
            f"u{bits} u32 -> u{bits}", lambda a, b, mask=mask, u=u: a << (b & mask).astype(u), "nonzero"
        )
        found[f"s_lshr_b{bits}"] = op(
            f"u{bits} u32 -> u{bits}", lambda a, b, mask=mask, u=u: a >> (b & mask).astype(u), "nonzero"
        )
        found[f"s_ashr_i{bits}"] = op(
            f"i{bits} u32 -> i{bits}", lambda a, b, mask=mask, i=i: a >> (b & mask).astype(i), "nonzero"
        )
        found[f"s_bfe_u{bits}"] = op(f"u{bits} u32 -> u{bits}", bit_field, "nonzero")
        found[f"s_bfe_i{bits}"] = op(f"i{bits} u32 -> i{bits}", bit_field, "nonzero")
        found[f"s_bitset0_b{bits}"] = op(
            f"u32 dst:u{bits} -> u{bits}", lambda a, d, mask=mask, u=u: d & ~(u(1) << (a & mask).astype(u))
        )
        found[f"s_bitset1_b{bits}"] = op(
            f"u32 dst:u{bits} -> u{bits}", lambda a, d, mask=mask, u=u: d | (u(1) << (a & mask).astype(u))
        )
        for wanted in (0, 1):
            found[f"s_bitcmp{wanted}_b{bits}"] = op(
                f"u{bits} u32 ->",
                lambda a, b, mask=mask, u=u, wanted=wanted: (a >> (b & mask).astype(u) & u(1)) == wanted,
                "only",
            )
    return found


def compares() -> dict[str, Scalar]:
    """s_cmp and s_cmpk: only SCC."""
    functions: Mapping[str, Function] = {
        "eq": lambda a, b: a == b,
        "lg": lambda a, b: a != b,
        "gt": lambda a, b: a > b,
        "ge": lambda a, b: a >= b,
        "lt": lambda a, b: a < b,
        "le": lambda a, b: a <= b,
    }
    found: dict[str, Scalar] = {}
    for kind in ("i32", "u32"):
        for name, function in functions.items():
            found[f"s_cmp_{name}_{kind}"] = op(f"{kind} {kind} ->", function, "only")
            found[f"s_cmpk_{name}_{kind}"] = op(f"dst:{kind} {kind} ->", function, "only")
    for name in ("eq", "lg"):
        found[f"s_cmp_{name}_u64"] = op("u64 u64 ->", functions[name], "only")
    return found


ARITHMETIC: dict[str, Scalar] = {
    "s_add_u32": op("u32 u32 -> u32", lambda a, b: (a + b, a + b < a), "second"),
    "s_sub_u32": op("u32 u32 -> u32", lambda a, b: (a - b, a < b), "second"),
    "s_add_i32": op("i32 i32 -> i32", overflow_add, "second"),
    "s_sub_i32": op("i32 i32 -> i32", overflow_sub, "second"),
    "s_addc_u32": op("u32 u32 scc -> u32", carry_add, "second"),
    "s_subb_u32": op("u32 u32 scc -> u32", borrow_sub, "second"),
    "s_min_i32": op("i32 i32 -> i32", lambda a, b: (np.minimum(a, b), a < b), "second"),
    "s_min_u32": op("u32 u32 -> u32", lambda a, b: (np.minimum(a, b), a < b), "second"),
    "s_max_i32": op("i32 i32 -> i32", lambda a, b: (np.maximum(a, b), a >= b), "second"),
    "s_max_u32": op("u32 u32 -> u32", lambda a, b: (np.maximum(a, b), a >= b), "second"),
    "s_mul_i32": op("u32 u32 -> u32", lambda a, b: a * b),
    "s_mul_hi_u32": op("u32 u32 -> u32", lambda a, b: high(a.astype(np.uint64) * b.astype(np.uint64))),
    "s_mul_hi_i32": op("i32 i32 -> u32", lambda a, b: high(a.astype(np.int64) * b.astype(np.int64))),
    "s_absdiff_i32": op("i32 i32 -> i32", absolute_difference, "nonzero"),
    "s_abs_i32": op("i32 -> i32", np.abs, "nonzero"),
    "s_bfm_b32": op("u32 u32 -> u32", bit_mask),
    "s_bfm_b64": op("u32 u32 -> u64", bit_mask64),
    "s_brev_b32": op("u32 -> u32", o.reverse_bits),
    "s_brev_b64": op("u64 -> u64", reverse_bits64),
    "s_bitreplicate_b64_b32": op("u32 -> u64", each_bit_twice),
    "s_flbit_i32": op("i32 -> i32", highest_other),
    "s_flbit_i32_i64": op("i64 -> i32", highest_other),
    "s_sext_i32_i8": op("u32 -> i32", lambda a: a.astype(np.int8).astype(np.int32)),
    "s_sext_i32_i16": op("u32 -> i32", lambda a: a.astype(np.int16).astype(np.int32)),
    **{f"s_lshl{n}_add_u32": op("u32 u32 -> u32", lshl_add(n), "second") for n in (1, 2, 3, 4)},
    "s_pack_ll_b32_b16": op("u32 u32 -> u32", lambda a, b: pack(a, 0, b, 0)),
    "s_pack_lh_b32_b16": op("u32 u32 -> u32", lambda a, b: pack(a, 0, b, 16)),
    "s_pack_hh_b32_b16": op("u32 u32 -> u32", lambda a, b: pack(a, 16, b, 16)),
    "s_movk_i32": op("i32 -> i32", lambda a: a),
    "s_cmovk_i32": op("i32 scc dst:i32 -> i32", lambda a, c, d: np.where(c, a, d)),
    "s_addk_i32": op("dst:i32 i32 -> i32", overflow_add, "second"),
    "s_mulk_i32": op("dst:i32 i32 -> i32", lambda a, b: a * b),
}  # fmt: skip

TABLE: Mapping[str, Scalar] = {**ARITHMETIC, **logic(), **shifts(), **compares()}
