"""The instructions that reach LDS (DS), and those that permute lanes through it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lowering.targets.amdgpu.emulator.atomics import ATOMICS, Atomic
from lowering.targets.amdgpu.emulator.decode import Instruction
from lowering.targets.amdgpu.emulator.lds import Lds
from lowering.targets.amdgpu.emulator.operands import Unsupported, register
from lowering.targets.amdgpu.emulator.text import two_offsets
from lowering.targets.amdgpu.emulator.waves import LANES, M0, Waves, active, put, put_at, values, values_at

Array = np.ndarray[Any, Any]
Step = Callable[[Waves], None]

LANE = np.arange(LANES)
WIDTHS = {"b8": 1, "u8": 1, "i8": 1, "b16": 2, "u16": 2, "i16": 2, "b32": 4, "b64": 8, "b96": 12, "b128": 16}


def bind(one: Instruction, lds: Callable[[], Lds]) -> Step:
    """What a DS instruction does. Raises Unsupported."""
    if one.fields["gds"]:
        raise Unsupported("global data share")
    name = one.name
    if name in CROSSING:
        return CROSSING[name](one)
    if name in ("ds_nop",):
        return lambda w: None
    parts = name.split("_")
    if parts[1].startswith("read") and "addtid" not in name:
        return load_pair(one, lds) if two_offsets(one) else load(one, lds)
    if parts[1].startswith("write") and "addtid" not in name:
        return store_pair(one, lds) if two_offsets(one) else store(one, lds)
    key = name.removeprefix("ds_").replace("_rtn", "")
    if key in ATOMICS:
        return atomic(one, lds, ATOMICS[key], "rtn" in name)
    raise Unsupported("its semantics are not implemented")


def addresses(one: Instruction, w: Waves, lanes: Array, offset: int) -> Array:
    """The byte address of each lane; it wraps at 32 bits."""
    base = values(w, one.fields["addr"], 1, lanes)[0]
    return base + np.uint32(offset)


def is_access(one: Instruction) -> bool:
    """Whether it is a plain load or store of LDS."""
    return one.opcode.format == "DS" and one.name.startswith(("ds_read", "ds_write")) and "addtid" not in one.name


def is_atomic(one: Instruction) -> bool:
    """Whether it is an atomic of LDS."""
    return one.opcode.format == "DS" and one.name.removeprefix("ds_").replace("_rtn", "") in ATOMICS


def size_of(one: Instruction) -> int:
    """Bytes of an access."""
    return next(WIDTHS[part] for part in one.name.split("_") if part in WIDTHS)


def extended(one: Instruction, found: Array) -> Array:
    """A byte or short with its sign, where the instruction says so."""
    parts = one.name.split("_")
    if "i8" in parts:
        return found.astype(np.uint8).view(np.int8).astype(np.int32).view(np.uint32)
    if "i16" in parts:
        return found.astype(np.uint16).view(np.int16).astype(np.int32).view(np.uint32)
    return found


def load(one: Instruction, lds: Callable[[], Lds]) -> Step:
    """ds_read of one place."""
    offset, nbytes = one.fields["offset0"] | one.fields["offset1"] << 8, size_of(one)
    index = register(one.operands["vdst"])
    d16 = "d16" in one.name
    high = one.name.endswith("_hi")

    def step(w: Waves) -> None:
        lanes = active(w)
        found = extended(one, lds().read(one, w, addresses(one, w, lanes, offset), lanes, nbytes))
        if d16:
            old = values(w, index, 1, lanes)
            half = found & np.uint32(0xFFFF)
            found = half << np.uint32(16) | old & np.uint32(0xFFFF) if high else half | old & np.uint32(0xFFFF0000)
        put(w, index, found, lanes)

    return step


def store(one: Instruction, lds: Callable[[], Lds]) -> Step:
    """ds_write of one place."""
    offset, nbytes = one.fields["offset0"] | one.fields["offset1"] << 8, size_of(one)
    index, shift = register(one.operands["data0"]), np.uint32(16 if one.name.endswith("_d16_hi") else 0)
    count = max(1, nbytes // 4)

    def step(w: Waves) -> None:
        lanes = active(w)
        data = values(w, index, count, lanes)
        lds().write(one, w, addresses(one, w, lanes, offset), lanes, data >> shift if shift else data, nbytes)

    return step


def pair_offsets(one: Instruction, nbytes: int) -> tuple[int, int]:
    """The two offsets in bytes: in units of the element, or of 64 of them."""
    unit = nbytes * (64 if "st64" in one.name else 1)
    return one.fields["offset0"] * unit, one.fields["offset1"] * unit


def both(one: Instruction, w: Waves, lanes: Array, nbytes: int) -> Array:
    """The two byte addresses of each lane, lane after lane."""
    found = [addresses(one, w, lanes, offset) for offset in pair_offsets(one, nbytes)]
    return np.stack(found, axis=1).reshape(-1)


def load_pair(one: Instruction, lds: Callable[[], Lds]) -> Step:
    """ds_read2: two places."""
    nbytes = size_of(one)
    index = register(one.operands["vdst"])

    def step(w: Waves) -> None:
        lanes = active(w)
        found = lds().read(one, w, both(one, w, lanes, nbytes), lanes.repeat(2), nbytes)
        put(w, index, np.concatenate([found[:, 0::2], found[:, 1::2]]), lanes)

    return step


def store_pair(one: Instruction, lds: Callable[[], Lds]) -> Step:
    """ds_write2: two places."""
    nbytes = size_of(one)
    sources = [register(one.operands[name]) for name in ("data0", "data1")]

    def step(w: Waves) -> None:
        lanes = active(w)
        data = np.stack([values(w, index, nbytes // 4, lanes) for index in sources], axis=2)
        data = data.reshape(nbytes // 4, 2 * len(lanes))
        lds().write(one, w, both(one, w, lanes, nbytes), lanes.repeat(2), data, nbytes)

    return step


def atomic(one: Instruction, lds: Callable[[], Lds], rule: Atomic, returns: bool) -> Step:
    """An atomic, lane by lane in order. ds_cmpst has the value to compare in data0."""
    offset = one.fields["offset0"] | one.fields["offset1"] << 8
    nbytes = rule.bytes
    names = ("data1", "data0") if "cmpst" in one.name else ("data0",)
    sources = [register(one.operands[name]) for name in names]

    def step(w: Waves) -> None:
        lanes = active(w)
        data = [values_at(w, index, nbytes // 4, lanes) for index in sources]
        old = lds().atomic(one, w, addresses(one, w, lanes, offset), lanes, rule, data)
        if returns:
            put_at(w, register(one.operands["vdst"]), old, lanes)

    return step


def backward_permute(one: Instruction) -> Step:
    """ds_bpermute: each lane takes the value of the lane that its address names; 0 where that one is not active."""
    index, offset = register(one.operands["data0"]), one.fields["offset0"] | one.fields["offset1"] << 8
    target = register(one.operands["vdst"])

    def step(w: Waves) -> None:
        lane = (w.v[one.fields["addr"]] + np.uint32(offset)) >> np.uint32(2) & np.uint32(63)
        rows = np.arange(w.count)[:, None]
        w.put(target, np.where(w.exec_mask[rows, lane], w.v[index][rows, lane], np.uint32(0)))

    return step


def permute(one: Instruction) -> Step:
    """ds_permute: each lane sends its value to the lane that its address names; the highest sender wins."""
    index, offset = register(one.operands["data0"]), one.fields["offset0"] | one.fields["offset1"] << 8
    target = register(one.operands["vdst"])

    def step(w: Waves) -> None:
        lane = (w.v[one.fields["addr"]] + np.uint32(offset)) >> np.uint32(2) & np.uint32(63)
        found = np.zeros(w.shape, np.uint32)
        rows, columns = np.nonzero(w.exec_mask)
        found[rows, lane[rows, columns]] = w.v[index][rows, columns]
        w.put(target, found)

    return step


def swizzle(one: Instruction) -> Step:
    """ds_swizzle: a permutation written in the offset, of quads or with masks within 32 lanes."""
    control = one.fields["offset0"] | one.fields["offset1"] << 8
    if control >> 15:
        source = (LANE & ~3) | (control >> 2 * (LANE & 3) & 3)
    else:
        place = LANE & 31
        source = (LANE & 32) | ((place & control & 31 | control >> 5 & 31) ^ (control >> 10 & 31))
    index, target = one.fields["addr"], register(one.operands["vdst"])

    def step(w: Waves) -> None:
        w.put(target, np.where(w.exec_mask[:, source], w.v[index][:, source], np.uint32(0)))

    return step


CROSSING: dict[str, Callable[[Instruction], Step]] = {
    "ds_bpermute_b32": backward_permute,
    "ds_permute_b32": permute,
    "ds_swizzle_b32": swizzle,
}


M0_MASK = np.uint32(0xFFFF)


def direct_address(w: Waves, lanes: Array, offset: int) -> Array:
    """Where a load that goes straight to LDS puts a lane's dword: M0 + offset + 4 * lane."""
    wave = lanes // LANES
    return (w.s[M0][wave] & M0_MASK) + np.uint32(offset) + (lanes % LANES * 4).astype(np.uint32)
