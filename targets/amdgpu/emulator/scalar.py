"""Scalar instructions: one value a wave. Tables of short functions, and what they do to SCC.

AMD CDNA3 ISA guide, "Scalar ALU Operations": SCC is carry, overflow or `result != 0`, as each group says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowering.targets.amdgpu.emulator import lane_ops as o
from lowering.targets.amdgpu.emulator.decode import Instruction, Operand, signed
from lowering.targets.amdgpu.emulator.kinds import NUMPY, constant, width
from lowering.targets.amdgpu.emulator.operands import Unsupported, joined
from lowering.targets.amdgpu.emulator.waves import EXEC, VCC, Waves

Array = np.ndarray[Any, Any]
Step = Callable[[Waves], None]
Read = Callable[[Waves], Array]
Function = Callable[..., Any]
ONE = np.uint32(1)
MODE = 1  # the hardware register of float modes


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


def overflow_add(a: Any, b: Any) -> Any:
    """A signed sum and whether it overflowed."""
    total = a + b
    return total, ((a ^ total) & (b ^ total)) < 0


def overflow_sub(a: Any, b: Any) -> Any:
    """A signed difference and whether it overflowed."""
    total = a - b
    return total, ((a ^ b) & (a ^ total)) < 0


def carry_add(a: Any, b: Any, carry: Any) -> Any:
    """A sum with carry."""
    total = a.astype(np.uint64) + b.astype(np.uint64) + carry.astype(np.uint64)
    return total.astype(np.uint32), total >> np.uint64(32) != 0


def borrow_sub(a: Any, b: Any, borrow: Any) -> Any:
    """A difference with borrow."""
    taken = b.astype(np.uint64) + borrow.astype(np.uint64)
    return (a.astype(np.uint64) - taken).astype(np.uint32), a.astype(np.uint64) < taken


def high(product: Any) -> Any:
    """The high half of a 64-bit product."""
    return (product.view(np.uint64) >> np.uint64(32)).astype(np.uint32)


def lshl_add(n: int) -> Function:
    """(a << n) + b and its carry."""

    def function(a: Any, b: Any) -> Any:
        total = (a.astype(np.uint64) << np.uint64(n)) + b.astype(np.uint64)
        return total.astype(np.uint32), total >> np.uint64(32) != 0

    return function


def bit_field(a: Any, b: Any) -> Any:
    """Offset in the low bits of b, width from bit 16 on; what lies above the last bit is 0, or the sign of `a`."""
    kind = np.asarray(a).dtype
    bits = 8 * kind.itemsize
    offset = (b & np.uint32(bits - 1)).astype(kind)
    size = np.minimum(b >> np.uint32(16) & np.uint32(127), np.uint32(bits)).astype(np.int64)
    shift = np.minimum(bits - size, bits - 1).astype(kind)
    return np.where(size == 0, np.zeros(1, kind), ((a >> offset) << shift) >> shift)


def bit_mask(a: Any, b: Any) -> Any:
    """A run of ones: its length and where it starts."""
    return ((ONE << (a & 31)) - ONE) << (b & 31)


def bit_mask64(a: Any, b: Any) -> Any:
    """A run of ones of up to 63 bits."""
    one = np.uint64(1)
    return ((one << (a & 63).astype(np.uint64)) - one) << (b & 63).astype(np.uint64)


def reverse_bits64(a: Any) -> Any:
    """A u64 with its bits in reverse order."""
    low, high = a.astype(np.uint32), (a >> np.uint64(32)).astype(np.uint32)
    return o.reverse_bits(high).astype(np.uint64) | o.reverse_bits(low).astype(np.uint64) << np.uint64(32)


def each_bit_twice(a: Any) -> Any:
    """A u32 with each bit doubled."""
    found = a.astype(np.uint64)
    for step, mask in (
        (16, 0x0000FFFF0000FFFF),
        (8, 0x00FF00FF00FF00FF),
        (4, 0x0F0F0F0F0F0F0F0F),
        (2, 0x3333333333333333),
        (1, 0x5555555555555555),
    ):
        found = (found | found << np.uint64(step)) & np.uint64(mask)
    return found | found << np.uint64(1)


def absolute_difference(a: Any, b: Any) -> Any:
    """|a - b|."""
    return np.abs(a - b)


def first_one(a: Any) -> Any:
    """The lowest set bit, -1 where there is none, as i32."""
    return np.where(a == 0, -1, o.trailing_zeros(a).astype(np.int32)).astype(np.int32)


def highest(a: Any) -> Any:
    """Zeros above the highest set bit, -1 where there is none, as i32."""
    return np.where(a == 0, -1, o.leading_zeros(a).astype(np.int32)).astype(np.int32)


def highest_other(a: Any) -> Any:
    """How many bits from the top are the same as the sign, -1 where all are, as i32."""
    folded = (a ^ (a >> np.asarray(a).dtype.type(8 * np.asarray(a).dtype.itemsize - 1))).view(
        f"u{np.asarray(a).dtype.itemsize}"
    )
    return highest(folded)


def pack(a: Any, low_shift: int, b: Any, high_shift: int) -> Any:
    """A half of each of two words."""
    return (a >> np.uint32(low_shift) & np.uint32(0xFFFF)) | (b >> np.uint32(high_shift) << np.uint32(16))


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


def bind(one: Instruction) -> Step:
    """What a scalar instruction does. Raises Unsupported."""
    if "saveexec" in one.name or "wrexec" in one.name:
        return save_exec(one)
    if one.name in SPECIAL:
        return SPECIAL[one.name](one)
    operation = TABLE.get(one.name)
    if operation is None:
        raise Unsupported("its semantics are not implemented")
    reads = readers(one, operation)
    write = writer(one, operation.result)
    function, scc = operation.function, operation.scc

    def step(w: Waves) -> None:
        found = function(*[read(w) for read in reads])
        value, flag = found if scc == "second" else (found, found)
        write(w, value)
        if scc:
            w.put_scc(flag if scc != "nonzero" else value != 0)

    return step


def readers(one: Instruction, operation: Scalar) -> list[Read]:
    """A reader for each source of the signature."""
    names = iter(name for name, _ in one.opcode.operands if name not in ("sdst",))
    found: list[Read] = []
    for kind in operation.sources:
        if kind == "scc":
            found.append(lambda w: w.scc)
        elif kind.startswith("dst:"):
            found.append(read(one.operands["sdst"], kind[4:]))
        elif one.opcode.format == "SOPK":
            value = np.asarray(immediate(one, kind))
            found.append(lambda w, value=value: value)
        else:
            found.append(read(one.operands[next(names)], kind))
    return found


def immediate(one: Instruction, kind: str) -> np.generic:
    """The 16-bit constant of SOPK: signed, but for the unsigned compares."""
    bits = one.fields["simm16"]
    return np.uint32(bits) if kind == "u32" else np.int32(signed(bits, 16))


def read(place: Operand, kind: str) -> Read:
    """A scalar source as an array of one value a wave, or one for all."""
    target = NUMPY[kind]
    if place.file == "s":
        index = place.index
        if width(kind) == 64:
            return lambda w: joined(w.s[index], w.s[index + 1]).view(target)
        return lambda w: w.s[index].view(target)
    value = constant(place, kind)
    if value is not None:
        held = np.asarray(value)
        return lambda w: held
    if place.index == 253:
        return lambda w: w.scc.astype(target)
    register = {251: VCC, 252: EXEC}.get(place.index)
    if register is None:
        raise Unsupported(f"source {place.index}")
    return lambda w: ((w.s[register] | w.s[register + 1]) == 0).astype(target)


def writer(one: Instruction, kind: str) -> Callable[[Waves, Any], None]:
    """Where the result goes; nowhere for compares."""
    if not kind:
        return lambda w, value: None
    index = one.operands["sdst"].index
    if width(kind) == 64:
        return lambda w, value: w.put_scalar_pair(index, np.asarray(value).view(np.uint64))
    return lambda w, value: w.put_scalar(index, np.asarray(value).view(np.uint32))


# --- EXEC, program counter, modes ------------------------------------------------------------------------------------

SAVES: Mapping[str, Function] = {
    "and": lambda a, e: a & e,
    "or": lambda a, e: a | e,
    "xor": lambda a, e: a ^ e,
    "andn1": lambda a, e: ~a & e,
    "andn2": lambda a, e: a & ~e,
    "orn1": lambda a, e: ~a | e,
    "orn2": lambda a, e: a | ~e,
    "nand": lambda a, e: ~(a & e),
    "nor": lambda a, e: ~(a | e),
    "xnor": lambda a, e: ~(a ^ e),
}


def save_exec(one: Instruction) -> Step:
    """EXEC := f(source, EXEC), SCC := EXEC != 0; the destination gets the old EXEC, or for wrexec the new one."""
    function = SAVES[one.name.split("_")[1]]
    source, index, wrexec = read(one.operands["ssrc0"], "u64"), one.operands["sdst"].index, "wrexec" in one.name

    def step(w: Waves) -> None:
        old = joined(w.s[EXEC], w.s[EXEC + 1])
        new = np.broadcast_to(function(source(w), old), old.shape)
        w.put_scalar_pair(index, new if wrexec else old)
        w.put_scalar_pair(EXEC, new)
        w.put_scc(new != 0)

    return step


def nothing(_: Instruction) -> Step:
    """No effect on results: hints, waits, caches."""
    return lambda w: None


def quad_mask(one: Instruction) -> Step:
    """One bit a quad: whether any of its four is set (quadmask), or all four of them (wqm)."""
    bits = 64 if one.name.endswith("64") else 32
    source, put = read(one.operands["ssrc0"], f"u{bits}"), writer(one, f"u{bits}")
    whole = "wqm" in one.name

    def step(w: Waves) -> None:
        value = np.atleast_1d(source(w))
        kind = value.dtype.type
        quads = [(value >> kind(4 * n) & kind(15)) != 0 for n in range(bits // 4)]
        found = sum(
            ((q.astype(value.dtype) * kind(15) << kind(4 * n)) if whole else (q.astype(value.dtype) << kind(n)))
            for n, q in enumerate(quads)
        )
        put(w, found)
        w.put_scc(np.asarray(found) != 0)

    return step


def get_register(one: Instruction) -> Step:
    """s_getreg: of the hardware registers only MODE is modelled, and it never changes."""
    if one.fields["simm16"] & 63 != MODE:
        raise Unsupported(f"hardware register {one.fields['simm16'] & 63}")
    offset, size = one.fields["simm16"] >> 6 & 31, (one.fields["simm16"] >> 11) + 1
    index = one.operands["sdst"].index
    return lambda w: w.put_scalar(index, np.uint32(KEPT_MODE >> offset & (1 << size) - 1))


KEPT_MODE = 0xF0 | 1 << 8 | 1 << 9  # round to nearest, denormals kept, DX10_CLAMP, IEEE


def set_register(one: Instruction) -> Step:
    """s_setreg of MODE: only to what it is already."""
    imm = one.fields["simm16"]
    offset, size = imm >> 6 & 31, (imm >> 11) + 1
    if imm & 63 != MODE:
        raise Unsupported(f"writing hardware register {imm & 63}")
    wanted = np.uint32(KEPT_MODE >> offset & (1 << size) - 1)
    mask = np.uint32((1 << size) - 1)
    if one.literal is not None:
        value = np.uint32(one.literal)
        get: Read = lambda w: np.asarray(value)  # noqa: E731
    else:
        get = read(Operand("s", one.fields["sdst"], 1), "u32")

    def step(w: Waves) -> None:
        if np.any((get(w) & mask) != wanted):
            raise Unsupported("another float mode: rounding to nearest and denormals kept are what is emulated")

    return step


SPECIAL: dict[str, Callable[[Instruction], Step]] = {
    **dict.fromkeys(
        (
            "s_nop", "s_waitcnt", "s_setprio", "s_sleep", "s_wakeup", "s_icache_inv", "s_ttracedata", "s_incperflevel",
            "s_decperflevel", "s_sethalt", "s_dcache_inv", "s_dcache_wb", "s_dcache_inv_vol", "s_dcache_wb_vol",
            "s_sendmsg",
        ),
        nothing,
    ),
    **dict.fromkeys(("s_wqm_b32", "s_wqm_b64", "s_quadmask_b32", "s_quadmask_b64"), quad_mask),
    "s_getreg_b32": get_register,
    "s_setreg_b32": set_register,
    "s_setreg_imm32_b32": set_register,
}  # fmt: skip
