"""What a launch did, counted: instructions, matrix cycles, LDS conflicts, lines of memory, occupancy.

Counts are exact for the workgroups that ran; nothing here is a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from lowering.core import Target
from lowering.targets.amdgpu.emulator import addresses, lds_banks, lds_steps, native_vmem, vmem
from lowering.targets.amdgpu.emulator.decode import Instruction
from lowering.targets.amdgpu.emulator.emulator import EmulationResult
from lowering.targets.amdgpu.emulator.image import Descriptor
from lowering.targets.amdgpu.emulator.matrix import shapes
from lowering.targets.amdgpu.emulator.native_lines import touched
from lowering.targets.amdgpu.emulator.text import text, two_offsets
from lowering.targets.amdgpu.emulator.waves import Waves, active

Array = np.ndarray[Any, Any]

LINES = (64, 128)  # bytes of a request to L2 or HBM, and of an L1 line
CLASSES = ("matrix", "vector", "LDS", "load", "store", "scalar memory", "scalar", "branch", "barrier", "wait", "other")


def class_of(one: Instruction) -> str:
    """The class that an instruction is counted in."""
    form, name = one.opcode.format, one.name
    if one.opcode.is_matrix:
        return "matrix"
    if form.startswith("VOP"):
        return "vector"
    if form == "DS":
        return "LDS"
    if form in ("FLAT", "GLOBAL", "SCRATCH", "MUBUF"):
        return "store" if "_store_" in name or "_atomic_" in name else "load"
    if form == "SMEM":
        return "scalar memory"
    if form == "SOPP":
        known = {"s_barrier": "barrier", "s_waitcnt": "wait"}
        return known.get(name) or ("branch" if "branch" in name else "other")
    return "scalar"


@dataclass
class Traffic:
    """Accesses of one instruction: waves that made it, cycles or lines, and the least there could be."""

    instruction: Instruction
    waves: int = 0
    taken: int = 0
    least: int = 0
    lines: dict[int, int] = field(default_factory=lambda: dict.fromkeys(LINES, 0))
    ideal: dict[int, int] = field(default_factory=lambda: dict.fromkeys(LINES, 0))
    bytes: int = 0

    @property
    def ratio(self) -> float:
        """Cycles against those without conflicts."""
        return self.taken / self.least if self.least else 1.0

    def line_ratio(self, line: int) -> float:
        """Lines touched against the fewest that hold as many bytes."""
        return self.lines[line] / self.ideal[line] if self.ideal[line] else 1.0


@dataclass
class Statistics:
    """Counts a launch: it watches memory accesses (`Options.watcher`), and takes the rest from the result.

    Accesses of LDS repeat their pattern from turn to turn, so a pattern is counted once.
    """

    counts: Counter[Instruction] = field(default_factory=Counter[Instruction])  # wave-instructions
    known: dict[tuple[object, ...], tuple[int, ...]] = field(default_factory=dict[tuple[object, ...], tuple[int, ...]])
    lds: dict[int, Traffic] = field(default_factory=dict[int, Traffic])
    memory: dict[int, Traffic] = field(default_factory=dict[int, Traffic])
    locate: dict[int, Callable[[Waves], None]] = field(default_factory=dict[int, Callable[[Waves], None]])

    def wants(self, one: Instruction) -> bool:
        """Plain accesses of LDS and of global memory."""
        form = one.opcode.format
        if form == "DS":
            return one.name.startswith(("ds_read", "ds_write"))
        return (
            form in ("GLOBAL", "MUBUF") and ("_load_" in one.name or "_store_" in one.name) and "format" not in one.name
        )

    def watch(self, one: Instruction, w: Waves) -> None:
        """Counts one access of the waves that are at it."""
        if one.opcode.format == "DS":
            self.conflicts(one, w)
        else:
            self.coalescing(one, w)

    def take(self, result: EmulationResult) -> None:
        """Adds the instructions of a launch."""
        self.counts.update(result.executed)

    def conflicts(self, one: Instruction, w: Waves) -> None:
        """Bank conflicts of an LDS access; one of two places is two accesses."""
        known = self.lds.setdefault(one.address, Traffic(one))
        nbytes, base = lds_steps.size_of(one), w.v[one.fields["addr"]]
        alone = one.fields["offset0"] | one.fields["offset1"] << 8
        offsets = lds_steps.pair_offsets(one, nbytes) if two_offsets(one) else (alone,)
        key = (one.address, digest(base), 0 if w.full else digest(w.mask), w.count)
        if key not in self.known:
            is_read = one.name.startswith("ds_read")
            found = [lds_banks.cycles(base + np.uint32(offset), w.mask, nbytes, is_read) for offset in offsets]
            lanes, waves = int(w.mask.sum()), int(w.mask.any(axis=1).sum())
            self.known[key] = (sum(n for n, _ in found), sum(n for _, n in found), lanes * nbytes * len(offsets), waves)
        taken, least, moved, waves = self.known[key]
        known.taken, known.least = known.taken + taken, known.least + least
        known.bytes, known.waves = known.bytes + moved, known.waves + waves

    def coalescing(self, one: Instruction, w: Waves) -> None:
        """Lines that each wave's access touches."""
        if one.address not in self.locate:
            self.locate[one.address] = places(one)
        self.locate[one.address](w)
        known, nbytes = self.memory.setdefault(one.address, Traffic(one)), vmem.size_of(one)
        counted = {line: touched(w.places, nbytes, line) for line in LINES}
        for line, found in counted.items():
            known.lines[line] += found.lines
            known.ideal[line] += found.ideal
        known.bytes += counted[LINES[0]].bytes
        known.waves += counted[LINES[0]].waves

    def by_class(self) -> Mapping[str, int]:
        """Wave-instructions of each class."""
        found: Counter[str] = Counter()
        for one, count in self.counts.items():
            found[class_of(one)] += count
        return {name: found[name] for name in CLASSES if found[name]}

    def by_mnemonic(self) -> Mapping[str, int]:
        """Wave-instructions of each mnemonic, most frequent first."""
        found: Counter[str] = Counter()
        for one, count in self.counts.items():
            found[one.name] += count
        return dict(found.most_common())

    def matrix_cycles(self, target: Target) -> tuple[int, int, tuple[str, ...]]:
        """Matrix instructions, their least cycles (issue to issue on one SIMD), and those whose cycles are unknown."""
        known = {row["name"]: int(row["cycles"]) for row in target.facts["matrix"]}
        count = total = 0
        unknown: dict[str, None] = {}
        for name, times in self.by_mnemonic().items():
            if name not in shapes():
                continue
            count += times
            if name in known:
                total += times * known[name]
            else:
                unknown[name] = None
        return count, total, tuple(unknown)


def digest(values: Array) -> int:
    """A checksum of an array's bytes, a multiple of 8: their sum with random weights, which two arrays that differ
    share by a chance of 2^-57 or less (the difference of 64 bits has at most 7 trailing zeros more than its weight)."""
    words = np.ascontiguousarray(values).reshape(-1).view(np.uint64)
    return int(np.dot(words, weights(len(words))))


@cache
def weights(count: int) -> Array:
    """Odd random numbers of 64 bits."""
    return np.random.default_rng(count).integers(0, 1 << 64, count, np.uint64) | np.uint64(1)


def places(one: Instruction) -> Callable[[Waves], None]:
    """How the addresses of an access are written to `w.places`; negative for lanes that access nothing."""
    find = native_vmem.locator(one)
    if find is not None:
        return lambda w: (find(w, NOWHERE), None)[1]  # whether they lie in a buffer is the access's own business
    locate = addresses.locate(one)

    def with_arrays(w: Waves) -> None:
        lanes = active(w)
        place = locate(w, lanes)
        w.places[:] = native_vmem.IDLE
        here = slice(None) if place.limit is None else place.limit > 0
        w.places[lanes[here]] = place.address[here].view(np.int64)

    return with_arrays


NOWHERE = np.zeros((0, 2), np.int64)


@dataclass(frozen=True)
class Occupancy:
    """Waves that a SIMD can hold at once, and what keeps it from holding more."""

    waves: int
    limit: str
    registers: int  # that a wave is given for each lane, of both kinds
    by_registers: int
    by_lds: int
    by_size: int

    def __str__(self) -> str:
        return (
            f"occupancy: {self.waves} waves a SIMD, limited by {self.limit} ({self.registers} registers "
            f"allocated a lane: {self.by_registers}, LDS {self.by_lds}, workgroup size {self.by_size})"
        )


def occupancy(descriptor: Descriptor, lds_bytes: int, waves_a_group: int, target: Target) -> Occupancy:
    """Waves a SIMD by registers, LDS and the size of workgroups; the chip's numbers are its facts.

    Registers are those that the descriptor allocates: LLVM asks for all that the occupancy by LDS leaves, used or not.
    """
    facts = {name: int(target.facts[name]) for name in NEEDED}
    granule = facts["register_granularity"]
    registers = -(-descriptor.registers // granule) * granule
    most, simds = facts["waves_per_simd_max"], facts["simds_per_compute_unit"]
    by_registers = min(most, facts["registers_per_simd"] // registers)
    allocated = -(-lds_bytes // facts["shared_granularity"]) * facts["shared_granularity"]
    groups = facts["shared_per_compute_unit"] // allocated if allocated else most * simds
    by_lds = min(most, groups * waves_a_group // simds) if groups * waves_a_group >= simds else 1 if groups else 0
    by_size = most // -(-waves_a_group // simds) * -(-waves_a_group // simds)
    limits = {"registers": by_registers, "LDS": by_lds, "the size of workgroups": by_size}
    least = min(limits.values())
    name = "the hardware" if least == most else " and ".join(key for key, value in limits.items() if value == least)
    return Occupancy(least, name, registers, by_registers, by_lds, by_size)


NEEDED = (
    "register_granularity", "waves_per_simd_max", "simds_per_compute_unit", "registers_per_simd", "shared_granularity",
    "shared_per_compute_unit",
)  # fmt: skip


def lines_of(found: Statistics, target: Target) -> Iterator[str]:
    """The counts in words: a few lines, most telling first."""
    classes = found.by_class()
    total = sum(classes.values())
    yield f"{total:,} wave-instructions: " + ", ".join(
        f"{name} {count:,} ({count / total:.0%})" for name, count in sorted(classes.items(), key=lambda kv: -kv[1])
    )
    count, cycles, unknown = found.matrix_cycles(target)
    if count:
        without = f"; not known of {', '.join(unknown)}" if unknown else ""
        yield f"{count:,} matrix instructions of at least {cycles:,} cycles on one SIMD{without}"
    for name, is_read in (("reads", True), ("writes", False)):
        rows = [t for t in found.lds.values() if t.instruction.name.startswith("ds_read") == is_read]
        if rows:
            taken, least = sum(t.taken for t in rows), sum(t.least for t in rows)
            yield f"LDS {name}: {taken:,} cycles of {least:,} without bank conflicts ({taken / max(1, least):.2f}x)"
    for name, key in (("loads", "_load_"), ("stores", "_store_")):
        rows = [t for t in found.memory.values() if key in t.instruction.name]
        if rows:
            totals = {n: (sum(t.lines[n] for t in rows), max(1, sum(t.ideal[n] for t in rows))) for n in LINES}
            ratios = ", ".join(f"{got / ideal:.2f}x the fewest {n}-byte lines" for n, (got, ideal) in totals.items())
            yield f"{name}: {sum(t.bytes for t in rows):,} bytes asked for, {ratios}"
    beside = sum(count for one, count in found.counts.items() if is_beside(one))
    if beside:
        yield f"no lines or conflicts are counted of {beside:,} flat, scratch and atomic accesses"


def is_beside(one: Instruction) -> bool:
    """Whether an instruction accesses memory in a way that is not watched."""
    return one.opcode.format in ("FLAT", "SCRATCH") or "_atomic_" in one.name or lds_steps.is_atomic(one)


def worst(found: Statistics, most: int = 5) -> Iterator[tuple[str, str, str]]:
    """Instructions with bank conflicts or needless lines: address, text, what."""
    rows = [(t.ratio, t, f"{t.ratio:.2f}x the cycles without bank conflicts") for t in found.lds.values()]
    wide = LINES[-1]
    for each in found.memory.values():
        rows.append((each.line_ratio(wide), each, f"{each.line_ratio(wide):.2f}x the fewest {wide}-byte lines"))
    for ratio, traffic, words in sorted(rows, key=lambda row: -row[0])[:most]:
        if ratio > 1:
            yield f"{traffic.instruction.address:#x}", text(traffic.instruction), words
