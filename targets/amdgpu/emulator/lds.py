"""LDS: workgroup memory, and its checks.

Each workgroup of a batch has its own part of one array. Two things are found on the way: a read of a byte that nobody
wrote, and a race, which is two waves at the same place with no barrier between of which one writes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lowering.targets.amdgpu.emulator.decode import Instruction
from lowering.targets.amdgpu.emulator.findings import Findings
from lowering.targets.amdgpu.emulator.memory import gather, scatter
from lowering.targets.amdgpu.emulator.waves import LANES, Waves

Array = np.ndarray[Any, Any]

MANY = 63  # as the number of a wave: several


@dataclass
class Shadow:
    """Who wrote and who read each unit of LDS last: epoch << 40 | wave << 32 | address of the instruction, or 0."""

    unit: int  # bytes
    writer: Array
    reader: Array
    epoch: Array  # of each workgroup: 1 + the barriers it has passed

    def __post_init__(self) -> None:
        # for native code: the tables, and the unit as a shift
        self.places = (self.writer.ctypes.data, self.reader.ctypes.data, self.epoch.ctypes.data)
        self.shift = self.unit.bit_length() - 1


def upper(table: Array) -> Array:
    """The upper halves of tags: epoch << 8 | wave."""
    return table.view(np.uint32)[1::2]


@dataclass(frozen=True)
class Access:
    """What lanes access at an instruction: their tags, and the LDS addresses of their first bytes."""

    instruction: Instruction
    waves: Waves
    lanes: Array
    tag: Array
    address: Array

    def others(self, last: Array) -> Array:
        """Which upper halves of tags are of this epoch and of another wave: they differ in the wave only."""
        found: Array = (last ^ upper(self.tag)) - np.uint32(1) < 63
        return found


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
                    f"LDS address {int(address[i]):#x}, {nbytes} bytes, of a workgroup that has {self.size} bytes with "
                    "the dynamic ones that were asked for (--lds)"
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
            access = Access(one, w, lanes, self.tags(one, w, lanes), address)
            for step in range(0, nbytes, self.unit):
                self.note_read(access, place + step, step)
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
        access = Access(one, w, lanes, self.tags(one, w, lanes), address)
        changes, loses = before != kept, after != kept
        for step in range(0, nbytes, self.unit):
            self.note_write(access, place + step, step, changes[step // 4], loses[step // 4])

    def place(self, w: Waves, address: Array, lanes: Array) -> Array:
        """Offsets into the array of all workgroups."""
        return w.group[lanes // LANES] * self.stride + address.astype(np.int64)

    def tags(self, one: Instruction, w: Waves, lanes: Array) -> Array:
        """The tag of an access by each lane."""
        assert self.shadow is not None
        of_wave = self.shadow.epoch[w.group] << 40 | w.number.astype(np.int64) << 32 | one.address
        return np.repeat(of_wave, LANES) if len(lanes) == LANES * w.count else of_wave[lanes // LANES]

    def note_read(self, access: Access, place: Array, step: int) -> None:
        """Looks for a read that races with a write or finds nothing; keeps who read."""
        assert self.shadow is not None
        unit, writer, reader = place >> self.shadow.shift, self.shadow.writer, self.shadow.reader
        last = upper(writer)[unit]
        nothing = last == 0
        if nothing.any():
            self.unwritten(access, nothing, step)
        raced = access.others(last)
        if raced.any():
            self.race(access, raced, step, writer[unit], "read", "written")
        tag = access.tag
        others = access.others(upper(reader)[unit])
        many = tag | MANY << 32
        kept = np.where(others, many, tag) if others.any() else tag
        reader[unit] = kept
        lost = reader[unit] != kept
        if lost.any():
            reader[unit[lost]] = many[lost]

    def note_write(self, access: Access, place: Array, step: int, changes: Array, loses: Array) -> None:
        """Looks for a write that races with a read or another write; keeps who wrote.

        A write of what is there already is none: compilers let several waves store the same value. `loses`: another
        lane of the same instruction wrote something else.
        """
        assert self.shadow is not None
        unit = place >> self.shadow.shift
        for table, did in ((self.shadow.writer, "written"), (self.shadow.reader, "read")):
            others = access.others(upper(table)[unit])
            if others.any():
                self.race(access, others & changes, step, table[unit], "write", did)
        self.shadow.writer[unit] = access.tag
        if loses.any():
            last = self.shadow.writer[unit]
            self.race(access, (last >> 32 != access.tag >> 32) & loses, step, last, "write", "written")

    def unwritten(self, access: Access, bad: Array, step: int) -> None:
        """Reports reads of what nobody wrote, `step` bytes behind the addresses."""

        def detail(i: int) -> str:
            return f"LDS address {int(access.address[i]) + step:#x} was never written"

        self.findings.add("unwritten LDS", access.instruction, access.waves, bad, access.lanes, detail)

    def race(self, access: Access, bad: Array, step: int, last: Array, does: str, did: str) -> None:
        """Reports a race where there is one. `last`: the tags that were met."""
        if not bad.any():
            return

        def detail(i: int) -> str:
            other = int(last[i]) >> 32 & 63
            who = "several waves" if other == MANY else f"wave {other}"
            return (
                f"a {does} of LDS address {int(access.address[i]) + step:#x}, {did} by {who} at "
                f"{int(last[i]) & 0xFFFFFFFF:#x} with no barrier between"
            )

        self.findings.add("race", access.instruction, access.waves, bad, access.lanes, detail)
