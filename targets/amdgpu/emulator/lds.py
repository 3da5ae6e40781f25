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


def upper(table: Array) -> Array:
    """The upper halves of tags: epoch << 8 | wave."""
    return table.view(np.uint32)[1::2]


@dataclass(frozen=True)
class Reach:
    """The units of LDS that lanes reach, (lanes, units of each), and the lanes' tags, (lanes, 1).

    `address`: the LDS addresses of the lanes' first units. `value`: which dword of which column of the values that are
    stored begins at a unit.
    """

    lanes: Array
    tag: Array
    unit: Array
    address: Array
    value: tuple[Array, Array]

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

    def met(self, bad: Array, did: Literal["written", "read"], tags: Array, unit: int) -> Iterator[Met]:
        """The first lane of those that are bad, if any is; `tags`: what they met, `unit`: bytes of one."""
        if bad.any():
            row, column = divmod(int(np.flatnonzero(bad)[0]), self.unit.shape[1])
            yield Met(int(self.lanes[row]), int(self.address[row]) + column * unit, did, int(tags[row, column]))


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
        before = gather(self.bytes_, place, nbytes)
        scatter(self.bytes_, place, values, nbytes)
        kept = values & np.uint32((1 << 8 * min(nbytes, 4)) - 1)
        changes, loses = before != kept, gather(self.bytes_, place, nbytes) != kept
        each = self.reach(one, w, address, lanes, nbytes)
        self.told(one, w, "write", self.note_write(self.shadow, each, changes[each.value], loses[each.value]))

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
        tag = np.repeat(of_wave, LANES) if len(lanes) == LANES * w.count else of_wave[lanes // LANES]
        behind = np.arange(nbytes >> self.shadow.shift)
        unit = (place >> self.shadow.shift)[:, None] + behind
        return Reach(
            lanes, tag[:, None], unit, address, (behind * self.shadow.unit >> 2, np.arange(len(lanes))[:, None])
        )

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

    def note_write(self, shadow: Shadow, each: Reach, changes: Array, loses: Array) -> Iterator[Met]:
        """Looks for a write that races with a read or another write; keeps who wrote.

        A write of what is there already is none: compilers let several waves store the same value. `loses`: another
        lane of the same instruction wrote something else.
        """
        writer, reader, unit = shadow.writer, shadow.reader, each.unit
        yield from self.met(each, each.others(upper(writer)[unit]) & changes, "written")
        yield from self.met(each, each.others(upper(reader)[unit]) & changes, "read")
        writer[unit] = each.tag
        if not loses.any():
            return
        lost = np.flatnonzero(loses & (upper(writer)[unit] != each.own))
        if len(lost):  # the next wave's lane raced with the first that lost
            tag, number = np.broadcast_to(each.tag, unit.shape), np.arange(unit.size).reshape(unit.shape)
            row, column = divmod(int(lost[0]), unit.shape[1])
            after = (unit == unit[row, column]) & (tag != tag[row, 0]) & (number > lost[0])
            yield from each.met(after, "written", np.full(unit.shape, tag[row, 0]), shadow.unit)

    def note_atomic(self, shadow: Shadow, each: Reach) -> Iterator[Met]:
        """Looks for an atomic that races with a plain access or finds nothing; keeps who did it."""
        writer, reader, unit = shadow.writer, shadow.reader, each.unit
        last = writer[unit]
        plain, others = last & ATOMIC == 0, each.others(upper(writer)[unit])
        yield from self.met(each, last == 0, "written")
        yield from self.met(each, others & plain, "written")
        yield from self.met(each, each.others(upper(reader)[unit]), "read")
        many, own = np.broadcast_to(each.many | ATOMIC, unit.shape), last >> 32 == each.own
        kept = np.where(others, many, np.where(own & plain, each.tag, each.tag | ATOMIC))
        writer[unit] = kept
        lost = writer[unit] >> 32 != kept >> 32
        writer[unit[lost]] = many[lost]

    def met(self, each: Reach, bad: Array, did: Literal["written", "read"]) -> Iterator[Met]:
        """The first lane of those that are bad, if any is, with the tag that it met."""
        if bad.any():
            assert self.shadow is not None
            tags = self.shadow.writer if did == "written" else self.shadow.reader
            yield from each.met(bad, did, tags[each.unit], self.shadow.unit)

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
