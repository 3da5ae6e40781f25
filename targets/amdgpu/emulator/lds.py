"""LDS: workgroup memory, its checks, and the instructions that reach it (DS).

Each workgroup of a batch has its own part of one array. Two things are found on the way: a read of a byte that nobody
wrote, and a race, which is two waves at the same place with no barrier between of which one writes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lowering.targets.amdgpu.emulator.atomics import ATOMICS, Atomic, apply
from lowering.targets.amdgpu.emulator.decode import Instruction
from lowering.targets.amdgpu.emulator.findings import Findings
from lowering.targets.amdgpu.emulator.memory import gather, scatter
from lowering.targets.amdgpu.emulator.operands import Unsupported, register
from lowering.targets.amdgpu.emulator.text import two_offsets
from lowering.targets.amdgpu.emulator.waves import LANES, M0, Waves

Array = np.ndarray[Any, Any]
Step = Callable[[Waves], None]

MANY = 63  # as the number of a wave: several
LANE = np.arange(LANES)


@dataclass
class Shadow:
    """Who wrote and who read each unit of LDS last: epoch << 40 | wave << 32 | address of the instruction, or 0."""

    unit: int  # bytes
    writer: Array
    reader: Array
    epoch: Array  # of each workgroup: 1 + the barriers it has passed

    @property
    def addresses(self) -> tuple[int, int, int, int]:
        """For native code: the tables and the unit as a shift."""
        return (*self.places, self.unit.bit_length() - 1)

    def __post_init__(self) -> None:
        self.places = (self.writer.ctypes.data, self.reader.ctypes.data, self.epoch.ctypes.data)


@dataclass
class Lds:
    """Workgroup memory of a batch: `size` bytes for each of `groups` workgroups."""

    size: int
    groups: int
    findings: Findings
    checked: bool = True
    unit: int = 4
    stride: int = field(init=False)
    bytes_: Array = field(init=False)
    shadow: Shadow | None = field(init=False)

    def __post_init__(self) -> None:
        self.stride = -(-max(self.size, 16) // 16) * 16
        self.bytes_ = np.zeros(self.groups * self.stride, np.uint8)
        self.bytes_at = self.bytes_.ctypes.data
        self.shadow = None
        if self.checked:
            units = self.bytes_.size // self.unit
            zeros = (np.zeros(units, np.int64), np.zeros(units, np.int64))
            self.shadow = Shadow(self.unit, *zeros, np.ones(self.groups, np.int64))

    def barrier(self, groups: Array) -> None:
        """The waves of these workgroups have met."""
        if self.shadow is not None:
            self.shadow.epoch[groups] += 1

    def inside(self, one: Instruction, w: Waves, address: Array, lanes: Array, nbytes: int) -> Array:
        """Which accesses lie in the workgroup's memory; a fault is reported for the others."""
        bad = address.astype(np.int64) + nbytes > self.size
        if bad.any():
            self.findings.fault(
                "out of bounds",
                one,
                w,
                bad,
                lanes,
                lambda i: (
                    f"LDS address {int(address[i]):#x}, {nbytes} bytes, of a workgroup that has {self.size} bytes"
                ),
            )
        return ~bad

    def read(self, one: Instruction, w: Waves, address: Array, lanes: Array, nbytes: int) -> Array:
        """Loads at LDS byte addresses of the lanes; out of range reads 0."""
        good = self.inside(one, w, address, lanes, nbytes)
        if not good.all():
            found = np.zeros((max(1, nbytes // 4), len(lanes)), np.uint32)
            found[:, good] = self.read(one, w, address[good], lanes[good], nbytes)
            return found
        place = self.place(w, address, lanes)
        if self.shadow is not None:
            for step in range(0, nbytes, self.unit):
                self.note_read(one, w, place + step, lanes, address + np.uint32(step))
        return gather(self.bytes_, place, nbytes)

    def write(self, one: Instruction, w: Waves, address: Array, lanes: Array, values: Array, nbytes: int) -> None:
        """Stores; out of range is dropped."""
        good = self.inside(one, w, address, lanes, nbytes)
        if not good.all():
            address, lanes, values = address[good], lanes[good], values[:, good]
        place = self.place(w, address, lanes)
        if self.shadow is None:
            scatter(self.bytes_, place, values, nbytes)
            return
        before = gather(self.bytes_, place, nbytes)
        scatter(self.bytes_, place, values, nbytes)
        after = gather(self.bytes_, place, nbytes)
        kept = values & np.uint32((1 << 8 * min(nbytes, 4)) - 1)
        for step in range(0, nbytes, self.unit):
            row = step // 4
            changes, loses = before[row] != kept[row], after[row] != kept[row]
            self.note_write(one, w, place + step, lanes, address + np.uint32(step), changes, loses)

    def place(self, w: Waves, address: Array, lanes: Array) -> Array:
        """Offsets into the array of all workgroups."""
        return w.group[lanes // LANES] * self.stride + address.astype(np.int64)

    def tags(self, one: Instruction, w: Waves, lanes: Array) -> tuple[Array, Array, Array]:
        """Epoch, wave and the tag of an access by each lane."""
        assert self.shadow is not None
        wave = lanes // LANES
        epoch, number = self.shadow.epoch[w.group[wave]], w.number[wave].astype(np.int64)
        return epoch, number, epoch << 40 | number << 32 | one.address

    def note_read(self, one: Instruction, w: Waves, place: Array, lanes: Array, address: Array) -> None:
        """Looks for a read that races with a write or finds nothing; keeps who read."""
        assert self.shadow is not None
        unit = place // self.shadow.unit
        epoch, number, tag = self.tags(one, w, lanes)
        last = self.shadow.writer[unit]
        self.unwritten(one, w, last == 0, lanes, address)
        self.race(one, w, (last >> 40 == epoch) & (last >> 32 & 63 != number), lanes, address, last, "read", "written")
        before = self.shadow.reader[unit]
        others = (before >> 40 == epoch) & (before >> 32 & 63 != number)
        many = epoch << 40 | MANY << 32 | one.address
        kept = np.where(others, many, tag)
        self.shadow.reader[unit] = kept
        lost = self.shadow.reader[unit] != kept
        self.shadow.reader[unit[lost]] = many[lost]

    def note_write(
        self, one: Instruction, w: Waves, place: Array, lanes: Array, address: Array, changes: Array, loses: Array
    ) -> None:
        """Looks for a write that races with a read or another write; keeps who wrote.

        A write of what is there already is none: compilers let several waves store the same value. `loses`: another
        lane of the same instruction wrote something else.
        """
        assert self.shadow is not None
        unit = place // self.shadow.unit
        epoch, number, tag = self.tags(one, w, lanes)
        for table, did in ((self.shadow.writer, "written"), (self.shadow.reader, "read")):
            last = table[unit]
            other = (last >> 40 == epoch) & (last >> 32 & 63 != number) & changes
            self.race(one, w, other, lanes, address, last, "write", did)
        self.shadow.writer[unit] = tag
        last = self.shadow.writer[unit]
        self.race(one, w, (last >> 32 != tag >> 32) & loses, lanes, address, last, "write", "written")

    def unwritten(self, one: Instruction, w: Waves, bad: Array, lanes: Array, address: Array) -> None:
        """Reports reads of what nobody wrote, where there are any."""
        if bad.any():
            words: Callable[[int], str] = lambda i: f"LDS address {int(address[i]):#x} was never written"  # noqa: E731
            self.findings.add("unwritten LDS", one, w, bad, lanes, words)

    def race(
        self, one: Instruction, w: Waves, bad: Array, lanes: Array, address: Array, last: Array, does: str, did: str
    ) -> None:
        """Reports a race where there is one."""
        if not bad.any():
            return

        def detail(i: int) -> str:
            other = int(last[i]) >> 32 & 63
            who = "several waves" if other == MANY else f"wave {other}"
            return (
                f"a {does} of LDS address {int(address[i]):#x}, {did} by {who} at {int(last[i]) & 0xFFFFFFFF:#x} "
                "with no barrier between"
            )

        self.findings.add("race", one, w, bad, lanes, detail)


# --- the instructions ------------------------------------------------------------------------------------------------

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


def active(w: Waves) -> Array:
    """The places of the lanes that take part, in the flattened batch."""
    return w.every if w.full else np.flatnonzero(w.mask)


def values(w: Waves, index: int, count: int, lanes: Array) -> Array:
    """Some registers of the lanes: (count, lanes)."""
    return (
        w.v[index : index + count].reshape(count, -1)[:, lanes]
        if not w.full
        else w.v[index : index + count].reshape(count, -1)
    )


def put(w: Waves, index: int, found: Array, lanes: Array) -> None:
    """Writes registers of the lanes."""
    if w.full:
        w.v[index : index + len(found)] = found.reshape(len(found), w.count, LANES)
    else:
        for n, row in enumerate(found):
            w.v[index + n].reshape(-1)[lanes] = row


def addresses(one: Instruction, w: Waves, lanes: Array, offset: int) -> Array:
    """The byte address of each lane; it wraps at 32 bits."""
    base = values(w, one.fields["addr"], 1, lanes)[0]
    return base + np.uint32(offset)


def is_access(one: Instruction) -> bool:
    """Whether it is a plain load or store of LDS."""
    return one.opcode.format == "DS" and one.name.startswith(("ds_read", "ds_write")) and "addtid" not in one.name


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


def load_pair(one: Instruction, lds: Callable[[], Lds]) -> Step:
    """ds_read2: two places."""
    nbytes = size_of(one)
    index = register(one.operands["vdst"])

    def step(w: Waves) -> None:
        lanes = active(w)
        found = [
            lds().read(one, w, addresses(one, w, lanes, offset), lanes, nbytes) for offset in pair_offsets(one, nbytes)
        ]
        put(w, index, np.concatenate(found), lanes)

    return step


def store_pair(one: Instruction, lds: Callable[[], Lds]) -> Step:
    """ds_write2: two places."""
    nbytes = size_of(one)
    sources = [register(one.operands[name]) for name in ("data0", "data1")]

    def step(w: Waves) -> None:
        lanes = active(w)
        for offset, index in zip(pair_offsets(one, nbytes), sources, strict=True):
            data = values(w, index, nbytes // 4, lanes)
            lds().write(one, w, addresses(one, w, lanes, offset), lanes, data, nbytes)

    return step


def atomic(one: Instruction, lds: Callable[[], Lds], rule: Atomic, returns: bool) -> Step:
    """An atomic, lane by lane in order. ds_cmpst has the value to compare in data0."""
    offset = one.fields["offset0"] | one.fields["offset1"] << 8
    nbytes = rule.bytes
    names = ("data1", "data0") if "cmpst" in one.name else ("data0",)
    sources = [register(one.operands[name]) for name in names]

    def step(w: Waves) -> None:
        memory, lanes = lds(), active(w)
        address = addresses(one, w, lanes, offset)
        good = memory.inside(one, w, address, lanes, nbytes)
        address, lanes = address[good], lanes[good]
        data = [values_at(w, index, nbytes // 4, lanes) for index in sources]
        old = apply(memory.bytes_, memory.place(w, address, lanes), rule, data)
        if memory.shadow is not None:
            unit = memory.place(w, address, lanes) // memory.unit
            memory.shadow.writer[unit] = np.maximum(memory.shadow.writer[unit], 1)
        if returns:
            put_at(w, register(one.operands["vdst"]), old, lanes)

    return step


def values_at(w: Waves, index: int, count: int, lanes: Array) -> Array:
    """Some registers of chosen lanes."""
    return w.v[index : index + count].reshape(count, -1)[:, lanes]


def put_at(w: Waves, index: int, found: Array, lanes: Array) -> None:
    """Writes registers of chosen lanes."""
    for n, row in enumerate(found):
        w.v[index + n].reshape(-1)[lanes] = row


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
