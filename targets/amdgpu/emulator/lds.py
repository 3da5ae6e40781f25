"""LDS: workgroup memory, and its checks.

Each workgroup of a batch has its own part of one array. Two things are found on the way: a read of a byte that nobody
wrote, and a race, which is two waves at the same place with no barrier between of which one writes.
"""

from __future__ import annotations

from collections.abc import Callable
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
