"""LDS: workgroup memory, and its checks.

Each workgroup of a batch has its own part of one array. Two things are found on the way: a read of a byte that nobody
wrote, and a race, which is two waves at the same place with no barrier between of which one writes. Atomics do not race
with each other, but with plain accesses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from lowering.targets.amdgpu.emulator.atomics import Atomic, apply
from lowering.targets.amdgpu.emulator.decode import Instruction
from lowering.targets.amdgpu.emulator.findings import Findings
from lowering.targets.amdgpu.emulator.memory import gather, scatter
from lowering.targets.amdgpu.emulator.waves import LANES, Waves

Array = np.ndarray[Any, Any]
Does = Literal["read", "write", "atomic"]

MANY = 63  # as the number of a wave: several
ATOMIC = 1 << 31  # in a tag: an atomic wrote


@dataclass
class Shadow:
    """Who wrote and who read each unit of LDS last: epoch << 40 | wave << 32 | address of the instruction, or 0.

    An atomic writes, and its tag says so; where the same wave wrote plainly since the barrier, that is what is kept.
    """

    unit: int  # bytes
    writer: Array
    reader: Array
    epoch: Array  # of each workgroup: 1 + the barriers it has passed

    def __post_init__(self) -> None:
        # for native code: the tables, and the unit as a shift
        self.places = (self.writer.ctypes.data, self.reader.ctypes.data, self.epoch.ctypes.data)
        self.shift = self.unit.bit_length() - 1

    def refined(self, unit: int) -> Shadow:
        """The same in smaller units."""
        parts = self.unit // unit
        return Shadow(unit, np.repeat(self.writer, parts), np.repeat(self.reader, parts), self.epoch)


def is_other(last: int, tag: int) -> bool:
    """Whether a tag is of the epoch of another, and of another wave."""
    return last >> 40 == tag >> 40 and last >> 32 != tag >> 32


def upper(table: Array) -> Array:
    """The upper halves of tags: epoch << 8 | wave."""
    return table.view(np.uint32)[1::2]


@dataclass(frozen=True)
class Reach:
    """The units of LDS that lanes reach, (lanes, units of each), and the lanes' tags, (lanes, 1).

    `address`: the LDS addresses of the lanes' first units.
    """

    lanes: Array
    tag: Array
    unit: Array
    address: Array

    def others(self, last: Array) -> Array:
        """Which upper halves of tags are of this epoch and of another wave: they differ in the wave only."""
        found: Array = (last ^ self.own) - np.uint32(1) < 63
        return found

    @cached_property
    def own(self) -> Array:
        """The upper halves of the lanes' tags."""
        return (self.tag >> 32).astype(np.uint32)

    @cached_property
    def many(self) -> Array:
        """The tags that several waves leave."""
        return self.tag | MANY << 32


@dataclass(frozen=True)
class Met:
    """What a lane met at an LDS address: the tag of a write or read that races with its access, or 0, nothing."""

    lane: int
    address: int
    did: Literal["written", "read"]
    tag: int

    def __str__(self) -> str:
        wave = self.tag >> 32 & 63
        who = "several waves" if wave == MANY else f"wave {wave}"
        did = "changed by an atomic of" if self.tag & ATOMIC else f"{self.did} by"
        return f"{did} {who} at {self.tag & ATOMIC - 1:#x}"


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
            each = self.reach(one, w, address, lanes, nbytes)
            self.told(one, w, "read", self.note_read(self.shadow, each))
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
        each = self.reach(one, w, address, lanes, nbytes)
        if self.alone(self.shadow, each):
            scatter(self.bytes_, place, values, nbytes)
        else:
            self.told(one, w, "write", self.in_turn(self.shadow, each, place, values, nbytes))

    def atomic(
        self, one: Instruction, w: Waves, address: Array, lanes: Array, rule: Atomic, data: list[Array]
    ) -> Array:
        """An atomic, lane by lane in order: the old values; 0 of lanes out of range or misaligned, which do nothing."""
        good = self.inside(one, w, address, lanes, rule.bytes)
        bad = good & (address % np.uint32(rule.bytes) != 0)
        if bad.any():
            words = f"is no multiple of {rule.bytes}"
            self.findings.fault("misaligned", one, w, bad, lanes, lambda i: f"LDS address {int(address[i]):#x} {words}")
            good &= ~bad
        old = np.zeros((rule.bytes // 4, len(lanes)), np.uint32)
        address, lanes = address[good], lanes[good]
        if self.shadow is not None:
            each = self.reach(one, w, address, lanes, rule.bytes)
            self.told(one, w, "atomic", self.note_atomic(self.shadow, each))
        old[:, good] = apply(self.bytes_, self.place(w, address, lanes), rule, [each[:, good] for each in data])
        return old

    def place(self, w: Waves, address: Array, lanes: Array) -> Array:
        """Offsets into the array of all workgroups."""
        return w.group[lanes // LANES] * self.stride + address.astype(np.int64)

    def reach(self, one: Instruction, w: Waves, address: Array, lanes: Array, nbytes: int) -> Reach:
        """The units that lanes reach; they become smaller where an access has only a part of one."""
        assert self.shadow is not None
        place = self.place(w, address, lanes)
        low = int(np.bitwise_or.reduce(place, initial=nbytes | self.shadow.unit))
        if low & -low < self.shadow.unit:
            self.shadow = self.shadow.refined(low & -low)
        of_wave = self.shadow.epoch[w.group] << 40 | w.number.astype(np.int64) << 32 | one.address
        tag = of_wave[lanes // LANES]
        behind = np.arange(nbytes >> self.shadow.shift)
        unit = (place >> self.shadow.shift)[:, None] + behind
        return Reach(lanes, tag[:, None], unit, address)

    def note_read(self, shadow: Shadow, each: Reach) -> Iterator[Met]:
        """Looks for a read that races with a write or finds nothing; keeps who read."""
        writer, reader, unit = shadow.writer, shadow.reader, each.unit
        last = upper(writer)[unit]
        yield from self.met(each, last == 0, "written")
        yield from self.met(each, each.others(last), "written")
        others = each.others(upper(reader)[unit])
        kept = np.where(others, each.many, each.tag) if others.any() else each.tag
        reader[unit] = kept
        lost = reader[unit] != kept
        if lost.any():
            reader[unit[lost]] = np.broadcast_to(each.many, unit.shape)[lost]

    def alone(self, shadow: Shadow, each: Reach) -> bool:
        """Whether a write meets nothing of another wave, before or in the same instruction; then it is kept."""
        writer, unit = shadow.writer, each.unit
        last = writer[unit]
        if each.others(upper(writer)[unit]).any() or each.others(upper(shadow.reader)[unit]).any():
            return False
        writer[unit] = each.tag
        if (upper(writer)[unit] == each.own).all():
            return True
        writer[unit] = last
        return False

    def in_turn(self, shadow: Shadow, each: Reach, place: Array, values: Array, nbytes: int) -> Iterator[Met]:
        """Stores lane after lane; gives the writes that race with a read or another write, and keeps who wrote.

        A write of what is there already is none: compilers let several waves store the same value. Beside an atomic it
        is one, since that may come before or after it.
        """
        parts = np.ascontiguousarray(values.T).view(np.uint8)[:, :nbytes]
        for row, (start, tag) in enumerate(zip(place.tolist(), each.tag[:, 0].tolist(), strict=True)):
            for column, unit in enumerate(each.unit[row].tolist()):
                dword = column * shadow.unit // 4 * 4
                there = self.bytes_[start + dword : start + min(dword + 4, nbytes)]
                changes = not np.array_equal(there, parts[row, dword : dword + 4])
                last, read = int(shadow.writer[unit]), int(shadow.reader[unit])
                where = int(each.lanes[row]), int(each.address[row]) + column * shadow.unit
                if is_other(last, tag) and (changes or last & ATOMIC):
                    yield Met(*where, "written", last)
                elif is_other(read, tag) and changes:
                    yield Met(*where, "read", read)
                shadow.writer[unit] = tag | MANY << 32 if is_other(last, tag) else tag
            self.bytes_[start : start + nbytes] = parts[row]

    def note_atomic(self, shadow: Shadow, each: Reach) -> Iterator[Met]:
        """Looks for an atomic that races with a plain access or finds nothing; keeps who did it."""
        writer, reader, unit = shadow.writer, shadow.reader, each.unit
        last = writer[unit]
        plain, others = last & ATOMIC == 0, each.others(upper(writer)[unit])
        yield from self.met(each, last == 0, "written")
        yield from self.met(each, others & plain, "written")
        yield from self.met(each, each.others(upper(reader)[unit]), "read")
        many, own = np.broadcast_to(each.many | ATOMIC, unit.shape), last >> 32 == each.own
        kept = np.where(others, many, np.where(own & plain, last, each.tag | ATOMIC))
        writer[unit] = kept
        lost = writer[unit] >> 32 != kept >> 32
        writer[unit[lost]] = many[lost]

    def met(self, each: Reach, bad: Array, did: Literal["written", "read"]) -> Iterator[Met]:
        """The first lane of those that are bad, if any is, with the tag that it met."""
        if bad.any():
            assert self.shadow is not None
            row, column = divmod(int(np.flatnonzero(bad)[0]), each.unit.shape[1])
            tags = self.shadow.writer if did == "written" else self.shadow.reader
            address = int(each.address[row]) + column * self.shadow.unit
            yield Met(int(each.lanes[row]), address, did, int(tags[each.unit[row, column]]))

    def told(self, one: Instruction, w: Waves, does: Does, found: Iterable[Met]) -> None:
        """Reports what the first lane met at its first address: of what nobody wrote, and of races."""
        some = list(found)
        for nothing in (True, False):
            here = [each for each in some if (each.tag == 0) is nothing]
            if here:
                self.tell(one, w, does, min(here, key=lambda each: (each.lane, each.address)))

    def tell(self, one: Instruction, w: Waves, does: Does, met: Met) -> None:
        """Reports what a lane met."""
        lane, bad = np.array([met.lane]), np.ones(1, bool)
        if not met.tag:
            words = f"LDS address {met.address:#x} was never written"
            self.findings.add("unwritten LDS", one, w, bad, lane, lambda _: words)
            return
        does_it = "an atomic at" if does == "atomic" else f"a {does} of"
        words = f"{does_it} LDS address {met.address:#x}, {met} with no barrier between"
        self.findings.add("race", one, w, bad, lane, lambda _: words)
