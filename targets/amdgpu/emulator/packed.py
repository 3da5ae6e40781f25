"""Packed instructions (VOP3P): the same operation on two parts of each operand, and the mixed-precision ones.

op_sel and op_sel_hi choose which part of each source feeds the low and the high result; neg_lo and neg_hi flip signs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lowering.targets.amdgpu.emulator import float_rules as rules
from lowering.targets.amdgpu.emulator import lane_ops as o
from lowering.targets.amdgpu.emulator.decode import Instruction, Operand
from lowering.targets.amdgpu.emulator.integer_rules import dot
from lowering.targets.amdgpu.emulator.kinds import NUMPY, constant
from lowering.targets.amdgpu.emulator.operands import Unsupported, plain, register, writer
from lowering.targets.amdgpu.emulator.vector_table import SATURATING, VECTOR, Operation, op
from lowering.targets.amdgpu.emulator.waves import Waves

Array = np.ndarray[Any, Any]
Step = Callable[[Waves], None]
Read = Callable[[Waves], Array]

HALVES: dict[str, Operation] = {
    f"v_pk_{name}": VECTOR[f"v_{name}"]
    for name in (
        "mad_i16", "mul_lo_u16", "add_i16", "sub_i16", "lshlrev_b16", "lshrrev_b16", "ashrrev_i16", "max_i16",
        "min_i16", "mad_u16", "add_u16", "sub_u16", "max_u16", "min_u16", "fma_f16", "add_f16", "mul_f16", "min_f16",
        "max_f16",
    )
}  # fmt: skip
WORDS: dict[str, Operation] = {f"v_pk_{name}": VECTOR[f"v_{name}"] for name in ("fma_f32", "mul_f32", "add_f32")}
DOTS: dict[str, Operation] = {
    "v_dot2_f32_f16": op("u32 u32 f32 -> f32", rules.dot2),
    "v_dot2_i32_i16": op("u32 u32 i32 -> i32", lambda a, b, c: c + dot(a, b, 2)),
    "v_dot4_i32_i8": op("u32 u32 i32 -> i32", lambda a, b, c: c + dot(a, b, 4)),
    "v_dot8_i32_i4": op("u32 u32 i32 -> i32", lambda a, b, c: c + dot(a, b, 8)),
    "v_dot2_u32_u16": op("u32 u32 u32 -> u32", lambda a, b, c: c + unsigned_dot(a, b, 2)),
    "v_dot4_u32_u8": op("u32 u32 u32 -> u32", lambda a, b, c: c + unsigned_dot(a, b, 4)),
    "v_dot8_u32_u4": op("u32 u32 u32 -> u32", lambda a, b, c: c + unsigned_dot(a, b, 8)),
}
MIXED = ("v_fma_mix_f32", "v_fma_mixlo_f16", "v_fma_mixhi_f16", "v_mad_mix_f32", "v_mad_mixlo_f16", "v_mad_mixhi_f16")


def unsigned_dot(a: Any, b: Any, parts: int) -> Any:
    """The sum of products of unsigned parts of two dwords."""
    size, mask = 32 // parts, (1 << 32 // parts) - 1
    total = (a & mask) * (b & mask)
    for n in range(1, parts):
        total = total + ((a >> (size * n)) & mask) * ((b >> (size * n)) & mask)
    return total


def bind(one: Instruction) -> Step:
    """What a packed instruction does. Raises Unsupported."""
    if one.name in HALVES:
        return halves(one, HALVES[one.name])
    if one.name in WORDS:
        return words(one, WORDS[one.name])
    if one.name == "v_pk_mov_b32":
        return move(one)
    if one.name in MIXED:
        return mixed(one)
    if one.name in DOTS:
        return dotted(one, DOTS[one.name])
    raise Unsupported("its semantics are not implemented")


def sources(one: Instruction) -> list[str]:
    """The source fields."""
    return [name for name, width in one.opcode.operands if width and name.startswith("src")]


def flags(one: Instruction) -> tuple[int, int]:
    """op_sel and op_sel_hi, all three bits."""
    return one.fields["op_sel"], one.fields["op_sel_hi"] | one.fields["op_sel_hi2"] << 2


def half(place: Operand, kind: str, part: int, negative: int) -> Read:
    """One half of a source. A constant has 32 bits: a float in the low half, an integer with its sign."""
    target = NUMPY[kind]
    if place.is_register:
        read = plain(place, kind, part)
    else:
        whole = constant_word(place, kind)
        value = np.asarray(np.uint16(whole >> 16 * part & 0xFFFF)).view(target)
        read = lambda w: value  # noqa: E731
    if not negative:
        return read
    return lambda w: (read(w).view(np.uint16) ^ np.uint16(0x8000)).view(target)


def constant_word(place: Operand, kind: str) -> int:
    """The 32 bits of a constant in an operand of two halves."""
    if 240 <= place.index <= 248 and place.file == "inline":
        return int(np.asarray(constant(place, kind)).view(np.uint16))
    value = constant(place, "u32")
    if value is None:
        raise Unsupported(f"source {place.index}")
    return int(value)


def halves(one: Instruction, operation: Operation) -> Step:
    """Two 16-bit operations."""
    low, high = flags(one)
    reads = [
        [
            half(one.operands[name], kind, bits >> n & 1, negative >> n & 1)
            for n, (name, kind) in enumerate(zip(sources(one), operation.sources, strict=True))
        ]
        for bits, negative in ((low, one.fields["neg"]), (high, one.fields["neg_hi"]))
    ]
    index, function = register(one.operands["vdst"]), operation.function
    clamp = one.fields["clamp"]
    if clamp and operation.results[0][0] != "f":
        plain = one.name.replace("v_pk_", "v_")
        if plain not in SATURATING:
            raise Unsupported("clamp of this packed operation")
        function, clamp = SATURATING[plain], 0

    def step(w: Waves) -> None:
        found = [function(*[read(w) for read in each]) for each in reads]
        a, b = ((rules.clamp(each) if clamp else each) for each in found)
        bits = [np.asarray(each).view(np.uint16).astype(np.uint32) for each in (a, b)]
        w.put(index, bits[0] | (bits[1] << np.uint32(16)))

    return step


def word(place: Operand, kind: str, part: int, negative: int) -> Read:
    """One dword of a 64-bit source as f32; a constant is the same in both."""
    if place.is_register:
        chosen = Operand(place.file, place.index + part, 1)
        read = plain(chosen, kind)
    else:
        read = plain(place, kind)
    return (lambda w: -read(w)) if negative else read


def words(one: Instruction, operation: Operation) -> Step:
    """Two 32-bit operations on pairs of registers."""
    low, high = flags(one)
    reads = [
        [
            word(one.operands[name], kind, bits >> n & 1, negative >> n & 1)
            for n, (name, kind) in enumerate(zip(sources(one), operation.sources, strict=True))
        ]
        for bits, negative in ((low, one.fields["neg"]), (high, one.fields["neg_hi"]))
    ]
    index, function = register(one.operands["vdst"]), operation.function
    clamp = one.fields["clamp"]

    def step(w: Waves) -> None:
        found = [function(*[read(w) for read in each]) for each in reads]
        for n, value in enumerate(found):
            w.put(index + n, np.asarray(rules.clamp(value) if clamp else value).view(np.uint32))

    return step


def move(one: Instruction) -> Step:
    """v_pk_mov_b32: one dword of each source."""
    low, _ = flags(one)
    a = word(one.operands["src0"], "u32", low & 1, 0)
    b = word(one.operands["src1"], "u32", low >> 1 & 1, 0)
    index = register(one.operands["vdst"])

    def step(w: Waves) -> None:
        first, second = a(w).copy(), b(w).copy()
        w.put(index, first)
        w.put(index + 1, second)

    return step


def mixed(one: Instruction) -> Step:
    """A fused multiply-add whose sources are f32, or halves where op_sel_hi says so; neg_hi means the magnitude."""
    low, high = flags(one)
    reads = [
        mixed_source(one, name, high >> n & 1, low >> n & 1, one.fields["neg_hi"] >> n & 1, one.fields["neg"] >> n & 1)
        for n, name in enumerate(sources(one))
    ]
    narrow = one.name.endswith("_f16")
    write = writer(one, "vdst", "f16" if narrow else "f32")

    def step(w: Waves) -> None:
        total = o.fma(*[read(w) for read in reads])
        write(w, o.cast(total, "f16") if narrow else total)

    return step


def mixed_source(one: Instruction, name: str, is_half: int, part: int, absolute: int, negative: int) -> Read:
    """A source of a mixed operation as f32."""
    place = one.operands[name]
    read = half(place, "f16", part, 0) if is_half else plain(place, "f32")

    def get(w: Waves) -> Array:
        value = read(w).astype(np.float32)
        value = np.abs(value) if absolute else value
        return -value if negative else value

    return get


def dotted(one: Instruction, operation: Operation) -> Step:
    """Sums of products of the parts of dwords, with the parts in their own order."""
    low, high = flags(one)
    if one.fields["clamp"] or low or one.fields["neg"] or one.fields["neg_hi"] or high & 3 != 3:
        raise Unsupported("modifiers of a dot product")
    reads = [plain(one.operands[n], kind) for n, kind in zip(sources(one), operation.sources, strict=True)]
    write, function = writer(one, "vdst", operation.results[0]), operation.function
    return lambda w: write(w, function(*[read(w) for read in reads]))
