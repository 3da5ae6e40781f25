"""Operands of vector instructions: the one place for neg, abs, clamp, op_sel, DPP, SDWA and the masking by EXEC.

A reader gives a source as an array that broadcasts to (waves, 64), in the kind that the operation works on. A writer
takes a result of some kind and puts it where the instruction says, in the lanes that take part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lowering.targets.amdgpu.emulator import float_rules
from lowering.targets.amdgpu.emulator.decode import Instruction, Operand
from lowering.targets.amdgpu.emulator.dpp import permuted
from lowering.targets.amdgpu.emulator.kinds import NUMPY, constant, width
from lowering.targets.amdgpu.emulator.text import sign_flags
from lowering.targets.amdgpu.emulator.waves import ACC, EXEC, VCC, Waves

Array = np.ndarray[Any, Any]
Reader = Callable[[Waves], Array]
Writer = Callable[[Waves, Array], None]

SIGN = {16: 0x8000, 32: 0x80000000, 64: 1 << 63}
NUMBERS = {"src0": 0, "src1": 1, "vsrc1": 1, "src2": 2}
BITS = {"b32": "u32", "b64": "u64"}  # kinds whose sign bit is flipped as a float's


class Unsupported(Exception):
    """An instruction that is decoded and not executed: what it would need."""


def register(place: Operand) -> int:
    """The row of a vector register."""
    return place.index + (ACC if place.file == "a" else 0)


def reader(one: Instruction, name: str, kind: str) -> Reader:
    """A source in a kind, with its modifiers."""
    numeric = BITS.get(kind, kind)
    place, number = one.operands[name], NUMBERS.get(name, 3)
    if number < 2 and one.sdwa is not None:
        read = selected(one, number, place, numeric)
    elif number == 0 and one.dpp is not None:
        read = permuted(one.dpp, place, numeric)
    else:
        read = plain(place, numeric, half(one, number, numeric))
    return signed(read, one, number, kind)


def half(one: Instruction, number: int, kind: str) -> int:
    """Which half of a register a 16-bit source is, by op_sel of VOP3."""
    return one.fields["op_sel"] >> number & 1 if one.opcode.format == "VOP3" and width(kind) == 16 else 0


def plain(place: Operand, kind: str, part: int = 0) -> Reader:
    """A source without modifiers."""
    if place.file in ("v", "a"):
        return vector(register(place), kind, part)
    if place.file == "s":
        return scalar(place.index, kind, part)
    value = constant(place, kind)
    if value is not None:
        held = np.asarray(value)
        return lambda w: held
    conditions: Mapping[int, Reader] = {
        251: lambda w: (w.s[VCC] | w.s[VCC + 1]) == 0,
        252: lambda w: (w.s[EXEC] | w.s[EXEC + 1]) == 0,
        253: lambda w: w.scc,
    }
    if place.index not in conditions:
        raise Unsupported(f"source {place.index}")
    return lambda w: conditions[place.index](w).astype(NUMPY[kind])[:, None]


def vector(index: int, kind: str, part: int = 0) -> Reader:
    """A vector register as a kind."""
    target = NUMPY[kind]
    if width(kind) == 64:
        return lambda w: joined(w.v[index], w.v[index + 1]).view(target)
    if width(kind) == 16:
        return lambda w: w.v[index].view(np.uint16)[..., part::2].view(target)
    return lambda w: w.v[index].view(target)


def scalar(index: int, kind: str, part: int = 0) -> Reader:
    """A scalar register as a kind, for all lanes of its wave."""
    target = NUMPY[kind]
    if kind == "mask":
        return lambda w: w.lanes(index)
    if width(kind) == 64:
        return lambda w: joined(w.s[index], w.s[index + 1]).view(target)[:, None]
    if width(kind) == 16:
        return lambda w: (w.s[index] >> np.uint32(16 * part)).astype(np.uint16).view(target)[:, None]
    return lambda w: w.s[index].view(target)[:, None]


def joined(low: Array, high: Array) -> Array:
    """Two uint32 as uint64."""
    both = np.empty((*low.shape, 2), np.uint32)
    both[..., 0], both[..., 1] = low, high
    return both.view(np.uint64)[..., 0]


def signed(read: Reader, one: Instruction, number: int, kind: str) -> Reader:
    """abs, then neg, of a source that may have them."""
    if number > 2 or one.opcode.format in ("VOP3P",):
        return read
    negative, absolute, _ = sign_flags(one, number)
    if not negative and not absolute:
        return read
    if kind[0] == "f":
        first: Reader = (lambda w: np.abs(read(w))) if absolute else read
        return (lambda w: np.negative(first(w))) if negative else first
    if kind[0] == "i":
        raise Unsupported("the sign of an integer source")
    make: Any = NUMPY[BITS.get(kind, kind)]
    flip = make(SIGN[width(BITS.get(kind, kind))])
    masked: Reader = (lambda w: read(w) & ~flip) if absolute else read
    return (lambda w: masked(w) ^ flip) if negative else masked


# --- SDWA ------------------------------------------------------------------------------------------------------------


def selected(one: Instruction, number: int, place: Operand, kind: str) -> Reader:
    """A byte, word or all of a register (SDWA), sign-extended where the instruction says so."""
    assert one.sdwa is not None
    if number == 1 and one.opcode.format != "VOP1":
        place = Operand("s" if one.sdwa["s1"] else "v", place.index, place.width)
    choice, extended = one.sdwa[f"sel{number}"], one.sdwa[f"sext{number}"]
    if choice == 6:
        return plain(place, kind)
    if choice > 6 or width(kind) == 64:
        raise Unsupported("a part of a register that SDWA does not have")
    read, target = plain(place, "u32"), NUMPY[kind]
    low, bits = (8 * choice, 8) if choice < 4 else (16 * (choice - 4), 16)
    left, right = np.uint32(32 - low - bits), 32 - bits

    def get(w: Waves) -> Array:
        moved = read(w) << left
        value = (moved.view(np.int32) >> np.int32(right)).view(np.uint32) if extended else moved >> np.uint32(right)
        return value.astype(np.uint16).view(target) if width(kind) == 16 else value.view(target)

    return get


def part_writer(one: Instruction, index: int) -> Writer:
    """Puts a 32-bit result into a byte or word of a register (SDWA)."""
    assert one.sdwa is not None
    choice, unused = one.sdwa["dst_sel"], one.sdwa["dst_unused"]
    if choice > 6 or unused > 2:
        raise Unsupported("a part of a register that SDWA does not have")
    low, bits = (0, 32) if choice == 6 else (8 * choice, 8) if choice < 4 else (16 * (choice - 4), 16)
    every = np.uint32(((1 << bits) - 1) << low)

    def put(w: Waves, value: Array) -> None:
        placed = (value << np.uint32(low)) & every
        if unused == 2:
            placed = placed | (w.v[index] & ~every)
        elif unused == 1:
            grown = (value << np.uint32(32 - bits)).view(np.int32) >> np.int32(32 - bits)
            placed = grown.view(np.uint32) << np.uint32(low)
        w.put(index, placed)

    return put


# --- results ---------------------------------------------------------------------------------------------------------


def writer(one: Instruction, name: str, kind: str) -> Writer:
    """Where a result goes."""
    place = one.operands[name] if name in one.operands else one.operand("sdst", 2)
    if kind == "mask":
        return mask_writer(place.index)
    if place.file == "s":
        raise Unsupported("a vector result in a scalar register")
    index = register(place)
    clamped = clamping(one, kind)
    enabled = dpp_rows(one)
    if width(kind) == 64:
        return lambda w, value: put_pair(w, index, np.asarray(clamped(value)), enabled and enabled(w))
    if width(kind) == 16:
        return half_writer(one, index, clamped)
    if one.sdwa is not None:
        put = part_writer(one, index)
        return lambda w, value: put(w, np.asarray(clamped(value)).view(np.uint32))
    if enabled is None:
        return lambda w, value: w.put(index, np.asarray(clamped(value)).view(np.uint32))
    return lambda w, value: w.put(index, np.asarray(clamped(value)).view(np.uint32), enabled(w))


def dpp_rows(one: Instruction) -> Callable[[Waves], Array] | None:
    """Which lanes a DPP instruction may write; None for one without DPP."""
    if one.dpp is None:
        return None
    from lowering.targets.amdgpu.emulator.dpp import writable

    return writable(one.dpp)


def mask_writer(index: int) -> Writer:
    """One bit a lane, 0 for the lanes that take no part."""
    return lambda w, value: w.put_lanes(index, np.broadcast_to(value, w.shape) & w.exec_mask)


def put_pair(w: Waves, index: int, value: Array, mask: Array | None = None) -> None:
    """A 64-bit result."""
    words = value.view(np.uint64)
    w.put(index, (words & np.uint64(0xFFFFFFFF)).astype(np.uint32), mask)
    w.put(index + 1, (words >> np.uint64(32)).astype(np.uint32), mask)


PRESERVING = frozenset({"v_cvt_pk_fp8_f32", "v_cvt_pk_bf8_f32", "v_fma_mixlo_f16", "v_fma_mixhi_f16"})
"""16-bit results beside which the other half stays; the others clear the upper half (facts: gfx9)."""


def half_writer(one: Instruction, index: int, clamped: Callable[[Array], Array]) -> Writer:
    """A 16-bit result: low half with the high one cleared, or the high half beside the old low one."""
    high = (one.opcode.format == "VOP3" and one.fields["op_sel"] >> 3 & 1) or one.name == "v_fma_mixhi_f16"
    keeps = one.name in PRESERVING
    part = part_writer(one, index) if one.sdwa is not None else None
    enabled = dpp_rows(one)

    def put(w: Waves, value: Array) -> None:
        word = np.asarray(clamped(value)).view(np.uint16).astype(np.uint32)
        if part is not None:
            part(w, word)
            return
        if high:
            word = (word << np.uint32(16)) | (w.v[index] & np.uint32(0xFFFF))
        elif keeps:
            word = word | (w.v[index] & np.uint32(0xFFFF0000))
        w.put(index, word, None if enabled is None else enabled(w))

    return put


def clamping(one: Instruction, kind: str) -> Callable[[Array], Array]:
    """What `clamp` does to a float result; omod has no effect where denormals are kept, as in all our modes."""
    flag = one.sdwa["clamp"] if one.sdwa is not None and "clamp" in one.sdwa else one.fields.get("clamp", 0)
    if not flag or one.opcode.format not in ("VOP1", "VOP2", "VOP3", "VOP3P") or kind[0] != "f":
        return lambda value: value
    return float_rules.clamp
