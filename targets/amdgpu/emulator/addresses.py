"""How a vector memory instruction finds the address of each lane: FLAT, GLOBAL, SCRATCH and MUBUF."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowering.targets.amdgpu.emulator.decode import Instruction, Operand, signed
from lowering.targets.amdgpu.emulator.kinds import constant
from lowering.targets.amdgpu.emulator.operands import Unsupported, joined
from lowering.targets.amdgpu.emulator.waves import FLAT_SCRATCH, LANES, Waves, values

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Place:
    """Addresses of lanes; `limit`: how many bytes lie between each and the end of its buffer resource."""

    address: Array
    limit: Array | None = None


Locate = Callable[[Waves, Array], Place]


def locate(one: Instruction) -> Locate:
    """How an instruction finds the address of each lane (given by its place in the flattened batch)."""
    return {"FLAT": flat, "GLOBAL": global_address, "SCRATCH": scratch, "MUBUF": buffer}[one.opcode.format](one)


def pair(w: Waves, index: int, lanes: Array) -> Array:
    """Two vector registers as uint64 addresses."""
    both = values(w, index, 2, lanes)
    return joined(both[0], both[1])


def flat(one: Instruction) -> Locate:
    """A 64-bit address that may mean global memory, LDS or scratch."""
    offset = np.uint64(one.fields["offset"] & 0xFFF)
    return lambda w, lanes: Place(pair(w, one.fields["addr"], lanes) + offset)


def global_address(one: Instruction) -> Locate:
    """A pair of vector registers, or a pair of scalar registers and a 32-bit offset; and a signed constant."""
    offset = np.uint64(signed(one.fields["offset"], 13) & (1 << 64) - 1)
    base, index = one.fields["saddr"], one.fields["addr"]
    if base == 127:
        return lambda w, lanes: Place(pair(w, index, lanes) + offset)

    def find(w: Waves, lanes: Array) -> Place:
        start = joined(w.s[base], w.s[base + 1])[lanes // LANES]
        return Place(start + values(w, index, 1, lanes)[0].astype(np.uint64) + offset)

    return find


def scratch(one: Instruction) -> Locate:
    """A lane's own memory: FLAT_SCRATCH of the wave plus a vector, a scalar and a constant offset.

    Each lane's part is contiguous here; hardware interleaves them, which no program can tell.
    """
    constant, base = signed(one.fields["offset"], 13), one.fields["saddr"]
    has_vector = one.fields["lds"]

    def find(w: Waves, lanes: Array) -> Place:
        wave = lanes // LANES
        offset = np.full(len(lanes), constant, np.int64)
        if has_vector:
            offset += values(w, one.fields["addr"], 1, lanes)[0]
        if base != 127:
            offset += w.s[base][wave]
        return Place(private(w, lanes) + offset.astype(np.uint64), None)

    return find


def private(w: Waves, lanes: Array) -> Array:
    """Where each lane's scratch begins."""
    wave = lanes // LANES
    start = joined(w.s[FLAT_SCRATCH], w.s[FLAT_SCRATCH + 1])[wave]
    return start + (lanes % LANES).astype(np.uint64) * np.uint64(w.scratch_bytes)


def buffer(one: Instruction) -> Locate:
    """A buffer resource: base, and the range check of the hardware.

    Raw buffers (stride 0): the offset counts from the base, SOFFSET and the constant included, and each dword must end
    within num_records. With idxen the index is checked against num_records instead.
    """
    fields, resource, constant = one.fields, 4 * one.fields["srsrc"], one.fields["offset"]
    soffset = scalar_offset(one.operands["soffset"])

    def find(w: Waves, lanes: Array) -> Place:
        wave = lanes // LANES
        words = [w.s[resource + n][wave].astype(np.uint64) for n in range(4)]
        base = words[0] | (words[1] & np.uint64(0xFFFF)) << np.uint64(32)
        stride, records = words[1] >> np.uint64(16) & np.uint64(0x3FFF), words[2]
        index = fields["vaddr"]
        element = values(w, index, 1, lanes)[0].astype(np.uint64) if fields["idxen"] else np.uint64(0)
        lane = np.zeros(len(lanes), np.uint64)
        if fields["offen"]:
            lane = values(w, index + fields["idxen"], 1, lanes)[0].astype(np.uint64)
        inner = (lane + np.uint64(constant)) & np.uint64(0xFFFFFFFF)
        beyond = inner + soffset(w)[wave]
        address = base + beyond + element * stride
        if fields["idxen"]:
            whole = np.uint64(1 << 62)
            inside = (element < records) & ((stride == 0) | (inner < stride))
            return Place(address, np.where(inside, whole, np.uint64(0)))
        return Place(address, within(beyond, records))

    return find


def within(beyond: Array, records: Array) -> Array:
    """How many bytes of a raw buffer lie behind an offset: 0 past its end."""
    return np.where(beyond < records, records - beyond, np.uint64(0))


def scalar_offset(place: Operand) -> Callable[[Waves], Array]:
    """SOFFSET of each wave. Raises Unsupported for what is neither a scalar register nor a constant."""
    if place.file == "s":
        return lambda w: w.s[place.index].astype(np.uint64)
    value = np.uint64(constant_offset(place))
    return lambda w: np.full(w.count, value)


def constant_offset(place: Operand) -> int:
    """SOFFSET where it is an inline constant: its 32 bits."""
    value = constant(place, "u32")
    if value is None:
        raise Unsupported(f"SOFFSET {place.index}")
    return int(value)
