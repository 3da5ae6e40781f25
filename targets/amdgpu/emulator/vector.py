"""Vector instructions as functions of waves: sources read, the table's function, results written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lowering.targets.amdgpu.emulator import lane_ops as o
from lowering.targets.amdgpu.emulator.decode import Instruction, Operand
from lowering.targets.amdgpu.emulator.fp8 import decode_fp8
from lowering.targets.amdgpu.emulator.kinds import constant
from lowering.targets.amdgpu.emulator.operands import (
    Reader,
    Unsupported,
    plain,
    reader,
    register,
    scalar,
    vector,
    writer,
)
from lowering.targets.amdgpu.emulator.vector_table import SATURATING, VECTOR, Operation
from lowering.targets.amdgpu.emulator.waves import EXEC, VCC, Waves

Array = np.ndarray[Any, Any]
Step = Callable[[Waves], None]

BELOW = np.array([(1 << lane) - 1 for lane in range(64)], np.uint64)  # of each lane: the lanes before it
LOW_LANES, HIGH_LANES = (BELOW & np.uint64(0xFFFFFFFF)).astype(np.uint32), (BELOW >> np.uint64(32)).astype(np.uint32)


def bind(one: Instruction) -> Step:
    """What an instruction does. Raises Unsupported."""
    if one.name in SPECIAL:
        return SPECIAL[one.name](one)
    operation = VECTOR.get(one.name)
    if operation is None:
        raise Unsupported("its semantics are not implemented")
    return computed(one, operation)


def computed(one: Instruction, operation: Operation) -> Step:
    """A table's operation on the operands of an instruction."""
    function = operation.function
    if one.fields.get("clamp") and operation.results[0][0] in "iu" and one.opcode.format != "VOPC":
        if one.name not in SATURATING:
            raise Unsupported("clamp of this integer operation")
        function = SATURATING[one.name]
    names = [name for name, _ in one.opcode.operands]
    outputs, inputs = split(names, operation)
    reads = readers(one, inputs, operation)
    writes = [writer(one, name, kind) for name, kind in zip(outputs, operation.results, strict=True)]
    also_exec = one.name.startswith("v_cmpx")
    if len(writes) == 1 and not also_exec:
        return single(function, reads, writes[0])

    def step(w: Waves) -> None:
        found = function(*[read(w) for read in reads])
        for write, value in zip(writes, found if len(writes) > 1 else (found,), strict=True):
            write(w, value)
        if also_exec:
            w.put_lanes(EXEC, np.broadcast_to(found, w.shape) & w.exec_mask)

    return step


def single(function: Callable[..., Any], reads: list[Reader], write: Callable[[Waves, Any], None]) -> Step:
    """The usual case, unrolled by the number of sources."""
    if len(reads) == 1:
        (a,) = reads
        return lambda w: write(w, function(a(w)))
    if len(reads) == 2:
        a, b = reads
        return lambda w: write(w, function(a(w), b(w)))
    return lambda w: write(w, function(*[read(w) for read in reads]))


def split(names: list[str], operation: Operation) -> tuple[list[str], list[str]]:
    """The operands' fields as results and sources; a compare in VOPC writes vcc, which the text names first."""
    count = len(operation.results)
    return names[:count], names[count:]


def readers(one: Instruction, inputs: list[str], operation: Operation) -> list[Reader]:
    """A reader for each source of the signature."""
    found: list[Reader] = []
    left = iter(inputs)
    for kind in operation.sources:
        if kind.startswith("dst:"):
            found.append(vector(register(one.operands["vdst"]), kind[4:]))
            continue
        name = "vcc" if kind == "vcc" else next(left)
        if name == "vcc":
            found.append(scalar(VCC, "mask"))
        elif name == "literal":
            value = np.asarray(constant(Operand("literal", one.literal or 0, 1), kind))
            found.append(lambda w, value=value: value)
        else:
            found.append(mask_reader(one, name) if kind == "mask" else reader(one, name, kind))
    return found


def mask_reader(one: Instruction, name: str) -> Reader:
    """One bit a lane, from a pair of scalar registers or a constant."""
    place = one.operands[name]
    if place.file == "s":
        return scalar(place.index, "mask")
    value = constant(place, "u64")
    if value is None:
        raise Unsupported(f"source {place.index} as a mask")
    bits = (np.uint64(value) >> np.arange(64, dtype=np.uint64) & np.uint64(1)).astype(bool)
    return lambda w: bits


# --- instructions that cross lanes, or are otherwise not one function of a lane --------------------------------------


def read_first_lane(one: Instruction) -> Step:
    """The lowest active lane's value, lane 0 where none is."""
    index, target = register(one.operands["src0"]), one.fields["vdst"]

    def step(w: Waves) -> None:
        lane = np.argmax(w.exec_mask, axis=1)
        w.put_scalar(target, w.v[index][np.arange(w.count), lane])

    return step if one.operands["src0"].file != "s" else lambda w: w.put_scalar(target, w.s[one.fields["src0"]])


def read_lane(one: Instruction) -> Step:
    """One lane's value."""
    index, target, lane = register(one.operands["src0"]), one.fields["vdst"], lane_number(one)
    return lambda w: w.put_scalar(target, w.v[index][np.arange(w.count), lane(w)])


def write_lane(one: Instruction) -> Step:
    """A scalar into one lane, whatever EXEC says."""
    index, lane, value = register(one.operands["vdst"]), lane_number(one), plain(one.operands["src0"], "u32")

    def step(w: Waves) -> None:
        there = np.flatnonzero(w.active)
        values = np.broadcast_to(value(w), (w.count, 1))[:, 0]
        w.v[index][there, lane(w)[there]] = values[there]

    return step


def lane_number(one: Instruction) -> Callable[[Waves], Array]:
    """The lane that source 1 names, for each wave."""
    if one.operands["src1"].file not in ("s", "inline"):
        raise Unsupported("a lane number in a vector register")
    read = plain(one.operands["src1"], "u32")
    return lambda w: np.broadcast_to(read(w) & np.uint32(63), (w.count, 1))[:, 0]


def swap(one: Instruction) -> Step:
    """Two registers exchanged."""
    first, second = register(one.operands["vdst"]), register(one.operands["src0"])

    def step(w: Waves) -> None:
        kept = w.v[first].copy()
        w.put(first, w.v[second])
        w.put(second, kept)

    return step


def count_below(lanes: Array) -> Callable[[Instruction], Step]:
    """How many bits of a mask belong to lanes before each one, added to source 1."""
    return lambda one: computed(one, Operation(("u32", "u32"), ("u32",), lambda a, b: o.popcount(a & lanes) + b))


def unpack_fp8(name: str) -> Callable[[Instruction], Step]:
    """Two 8-bit floats of a half register as two f32."""

    def make(one: Instruction) -> Step:
        read, index = reader(one, "src0", "u32"), register(one.operands["vdst"])

        def step(w: Waves) -> None:
            value = np.broadcast_to(read(w), w.shape)
            parts = [decode_fp8(value >> np.uint32(8 * n) & np.uint32(255), name).view(np.uint32) for n in (0, 1)]
            w.put(index, parts[0])
            w.put(index + 1, parts[1])

        return step

    return make


def nothing(_: Instruction) -> Step:
    """No effect."""
    return lambda w: None


SPECIAL: dict[str, Callable[[Instruction], Step]] = {
    "v_nop": nothing,
    "v_clrexcp": nothing,
    "v_readfirstlane_b32": read_first_lane,
    "v_readlane_b32": read_lane,
    "v_writelane_b32": write_lane,
    "v_swap_b32": swap,
    "v_mbcnt_lo_u32_b32": count_below(LOW_LANES),
    "v_mbcnt_hi_u32_b32": count_below(HIGH_LANES),
    "v_cvt_pk_f32_fp8": unpack_fp8("fp8"),
    "v_cvt_pk_f32_bf8": unpack_fp8("bf8"),
}
