"""Vector memory instructions: FLAT, GLOBAL, SCRATCH and MUBUF.

Each is an address for every lane, a test of it, and a load, a store or an atomic. Caches are not modelled, so the bits
that steer them have no effect. Global memory may be accessed at any byte, as in the mode that HSA runs in; atomics must
be aligned to their size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from lowering.targets.amdgpu.emulator.addresses import Locate, Place, locate, private
from lowering.targets.amdgpu.emulator.atomics import ATOMICS, Atomic, apply, flushing
from lowering.targets.amdgpu.emulator.decode import Instruction, signed
from lowering.targets.amdgpu.emulator.findings import Findings
from lowering.targets.amdgpu.emulator.kinds import PRIVATE_APERTURE, SHARED_APERTURE
from lowering.targets.amdgpu.emulator.lds import Lds
from lowering.targets.amdgpu.emulator.lds_steps import direct_address
from lowering.targets.amdgpu.emulator.memory import BASE, Memory, gather, scatter
from lowering.targets.amdgpu.emulator.operands import Unsupported, register
from lowering.targets.amdgpu.emulator.text import destination, returns
from lowering.targets.amdgpu.emulator.waves import Waves, active, put, put_at, values, values_at

Array = np.ndarray[Any, Any]
Step = Callable[[Waves], None]
SIZES = {
    "ubyte": 1, "sbyte": 1, "byte": 1, "ushort": 2, "sshort": 2, "short": 2, "dword": 4, "dwordx2": 8, "dwordx3": 12,
    "dwordx4": 16, "dwordx8": 32, "dwordx16": 64,
}  # fmt: skip


@dataclass
class Machine:
    """What memory instructions reach: global memory, the batch's LDS, and who is told of faults."""

    memory: Memory
    lds: Lds
    findings: Findings

    @cached_property
    def bounds(self) -> Array:
        """Where the buffers lie; they stay while a batch runs."""
        return self.memory.bounds()

    @cached_property
    def written_bounds(self) -> Array:
        """Where those lie that may be written."""
        return self.memory.bounds(written=True)


Get = Callable[[], Machine]


def bind(one: Instruction, machine: Get) -> Step:
    """What a vector memory instruction does. Raises Unsupported."""
    name = one.name
    if name in ("buffer_wbl2", "buffer_inv"):
        return lambda w: None
    if "format" in name:
        raise Unsupported("typed buffers")
    address = locate(one)
    if "_atomic_" in name:
        key = name.partition("_atomic_")[2]
        if key not in ATOMICS:
            raise Unsupported("its semantics are not implemented")
        return atomic(one, machine, address, ATOMICS[key])
    if "_lds_" in name or (one.opcode.format == "MUBUF" and one.fields["lds"]):
        return load_to_lds(one, machine, address)
    if "_load_" in name:
        return load(one, machine, address)
    return store(one, machine, address)


# --- loads, stores, atomics ------------------------------------------------------------------------------------------


def size_of(one: Instruction) -> int:
    """Bytes of an access."""
    return next(SIZES[part] for part in one.name.split("_")[2:] if part in SIZES)


def checked(
    one: Instruction, machine: Machine, w: Waves, place: Array, lanes: Array, nbytes: int, written: bool = False
) -> Array:
    """Which accesses lie in a buffer (that may be written); a fault is reported for the others."""
    if one.opcode.format == "SCRATCH":
        return checked_private(one, machine, w, place, lanes, nbytes)
    offsets = (place - np.uint64(BASE)).view(np.int64)
    bad = machine.memory.invalid(offsets, nbytes, written)
    if bad is None:
        return np.ones(len(place), bool)
    memory = machine.memory
    machine.findings.fault(
        "out of bounds",
        one,
        w,
        bad,
        lanes,
        lambda i: f"address {int(place[i]):#x}, {nbytes} bytes: {memory.nearest(int(place[i]))}",
    )
    return ~bad


def checked_private(one: Instruction, machine: Machine, w: Waves, place: Array, lanes: Array, nbytes: int) -> Array:
    """Which accesses lie in their lane's own scratch; a fault is reported for the others."""
    offset = (place - private(w, lanes)).view(np.int64)
    bad = (offset < 0) | (offset > w.scratch_bytes - nbytes)
    if bad.any():
        words = f"{nbytes} bytes, of a lane that has {w.scratch_bytes} bytes"
        fault = machine.findings.fault
        fault("out of bounds", one, w, bad, lanes, lambda i: f"scratch address {int(offset[i]):#x}, {words}")
    return ~bad


def fetch(one: Instruction, machine: Machine, w: Waves, found: Place, lanes: Array, nbytes: int) -> Array:
    """Loads for the lanes: uint32 (dwords, lanes). What a buffer resource excludes gives 0."""
    if one.opcode.format == "FLAT":
        return fetch_flat(one, machine, w, found, lanes, nbytes)
    if found.limit is not None and (found.limit < nbytes).any():
        return fetch_limited(one, machine, w, found, lanes, nbytes)
    good = checked(one, machine, w, found.address, lanes, nbytes)
    offsets = (found.address - np.uint64(BASE)).view(np.int64)
    if good.all():
        return gather(machine.memory.bytes_, offsets, nbytes)
    loaded = np.zeros((max(1, nbytes // 4), len(lanes)), np.uint32)
    loaded[:, good] = gather(machine.memory.bytes_, offsets[good], nbytes)
    return loaded


def fetch_limited(one: Instruction, machine: Machine, w: Waves, found: Place, lanes: Array, nbytes: int) -> Array:
    """A buffer load some of whose dwords are out of range: dword by dword."""
    assert found.limit is not None
    size = min(4, nbytes)
    loaded = np.zeros((max(1, nbytes // 4), len(lanes)), np.uint32)
    for n in range(len(loaded)):
        inside = found.limit >= np.uint64(4 * n + size)
        part = Place(found.address[inside] + np.uint64(4 * n))
        loaded[n, inside] = fetch(one, machine, w, part, lanes[inside], size)[0]
    return loaded


def fetch_flat(one: Instruction, machine: Machine, w: Waves, found: Place, lanes: Array, nbytes: int) -> Array:
    """A flat load: each lane from the memory that its address lies in."""
    loaded = np.zeros((max(1, nbytes // 4), len(lanes)), np.uint32)
    for some, space in apertures(found.address):
        if space == "lds":
            address = (found.address[some] & np.uint64(0xFFFFFFFF)).astype(np.uint32)
            loaded[:, some] = machine.lds.read(one, w, address, lanes[some], nbytes)
        else:
            own = space == "scratch"
            address = flat_private(w, found.address[some], lanes[some]) if own else found.address[some]
            good = (checked_private if own else checked)(one, machine, w, address, lanes[some], nbytes)
            rows = np.flatnonzero(some)[good]
            loaded[:, rows] = gather(machine.memory.bytes_, (address[good] - np.uint64(BASE)).view(np.int64), nbytes)
    return loaded


def flat_private(w: Waves, address: Array, lanes: Array) -> Array:
    """A flat address of scratch as a place in memory."""
    return private(w, lanes) + (address & np.uint64(0xFFFFFFFF))


def apertures(address: Array) -> list[tuple[Array, str]]:
    """The lanes whose flat addresses mean LDS, scratch and global memory."""
    high = address >> np.uint64(32)
    shared, own = high == SHARED_APERTURE >> 32, high == PRIVATE_APERTURE >> 32
    parts = ((shared, "lds"), (own, "scratch"), (~shared & ~own, "global"))
    return [(some, space) for some, space in parts if some.any()]


def load(one: Instruction, machine: Get, address: Locate) -> Step:
    """A load into vector registers."""
    nbytes = size_of(one)
    index = register(destination(one) if one.opcode.format != "MUBUF" else one.operands["vdata"])
    d16, high = "d16" in one.name, one.name.endswith("_hi")
    sign = {"sbyte": np.int8, "sshort": np.int16}.get(next((p for p in one.name.split("_") if p in SIZES), ""))

    def step(w: Waves) -> None:
        lanes = active(w)
        if not len(lanes):
            return
        found = fetch(one, machine(), w, address(w, lanes), lanes, nbytes)
        if sign is not None:
            found = found.astype(sign).astype(np.int32).view(np.uint32)
        if d16:
            old = values(w, index, 1, lanes)
            half = found & np.uint32(0xFFFF)
            found = half << np.uint32(16) | old & np.uint32(0xFFFF) if high else half | old & np.uint32(0xFFFF0000)
        put(w, index, found, lanes)

    return step


def store(one: Instruction, machine: Get, address: Locate) -> Step:
    """A store from vector registers."""
    nbytes = size_of(one)
    name = "vdata" if one.opcode.format == "MUBUF" else "data"
    index, count = register(one.operands[name]), max(1, nbytes // 4)
    shift = np.uint32(16 if one.name.endswith("_d16_hi") else 0)

    def step(w: Waves) -> None:
        lanes = active(w)
        if not len(lanes):
            return
        data = values(w, index, count, lanes)
        write(one, machine(), w, address(w, lanes), lanes, data >> shift if shift else data, nbytes)

    return step


def write(one: Instruction, machine: Machine, w: Waves, found: Place, lanes: Array, data: Array, nbytes: int) -> None:
    """Stores for the lanes. What a buffer resource excludes is dropped."""
    if one.opcode.format == "FLAT":
        write_flat(one, machine, w, found, lanes, data, nbytes)
        return
    if found.limit is not None and (found.limit < nbytes).any():
        size = min(4, nbytes)
        for n in range(len(data)):
            inside = found.limit >= np.uint64(4 * n + size)
            part = Place(found.address[inside] + np.uint64(4 * n))
            write(one, machine, w, part, lanes[inside], data[n : n + 1, inside], size)
        return
    put_bytes(one, machine, w, found.address, lanes, data, nbytes)


def put_bytes(
    one: Instruction, machine: Machine, w: Waves, address: Array, lanes: Array, data: Array, nbytes: int
) -> None:
    """Stores at global addresses that are tested first; keeps what was written where that is asked for."""
    if not len(lanes):
        return
    good = checked(one, machine, w, address, lanes, nbytes, written=True)
    offsets = (address - np.uint64(BASE)).view(np.int64)
    if not good.all():
        offsets, data = offsets[good], data[:, good]
    scatter(machine.memory.bytes_, offsets, data, nbytes)
    if machine.memory.written is not None:
        scatter(machine.memory.written, offsets, np.full_like(data, 0x01010101), nbytes)


def write_flat(
    one: Instruction, machine: Machine, w: Waves, found: Place, lanes: Array, data: Array, nbytes: int
) -> None:
    """A flat store: each lane to the memory that its address lies in."""
    for some, space in apertures(found.address):
        address = found.address[some]
        if space == "lds":
            place = (address & np.uint64(0xFFFFFFFF)).astype(np.uint32)
            machine.lds.write(one, w, place, lanes[some], data[:, some], nbytes)
        else:
            part, values = lanes[some], data[:, some]
            if space == "scratch":
                address = flat_private(w, address, part)
                good = checked_private(one, machine, w, address, part, nbytes)
                address, part, values = address[good], part[good], values[:, good]
            put_bytes(one, machine, w, address, part, values, nbytes)


def load_to_lds(one: Instruction, machine: Get, address: Locate) -> Step:
    """A load that goes straight to LDS, at M0 + offset + 4 * lane."""
    nbytes = size_of(one) if one.opcode.format == "MUBUF" else SIZES[one.name.split("_")[-1]]
    constant = one.fields["offset"] if one.opcode.format == "MUBUF" else signed(one.fields["offset"], 13)
    if nbytes < 4:
        raise Unsupported("loads of less than a dword to LDS")

    def step(w: Waves) -> None:
        lanes, here = active(w), machine()
        data = fetch(one, here, w, address(w, lanes), lanes, nbytes)
        here.lds.write(one, w, direct_address(w, lanes, constant & 0xFFFFFFFF), lanes, data, nbytes)

    return step


def atomic(one: Instruction, machine: Get, address: Locate, rule: Atomic) -> Step:
    """An atomic on global memory, lane by lane in order. cmpswap has the value to compare behind the data.

    Those of f32 flush denormals (CDNA3 ISA, "Memory scopes and atomics": the L2 does, whatever MODE says).
    """
    if rule.kind == "f32":
        rule = flushing(rule)
    count = rule.bytes // 4
    compares = "cmpswap" in one.name
    buffered = one.opcode.format == "MUBUF"
    index = register(one.operands["vdata" if buffered else "data"])
    target = index if buffered else register(destination(one))
    gives_back = returns(one)

    def step(w: Waves) -> None:
        lanes, here = active(w), machine()
        found = address(w, lanes)
        if one.opcode.format == "FLAT":
            data = [values_at(w, index + count * n, count, lanes) for n in range(2 if compares else 1)]
            old = atomic_flat(one, here, w, found.address, lanes, rule, data)
            if gives_back:
                put_at(w, target, old, lanes)
            return
        good = np.ones(len(lanes), bool) if found.limit is None else found.limit >= rule.bytes
        for test in (partial(checked, written=True), aligned):
            good[good] = test(one, here, w, found.address[good], lanes[good], rule.bytes)
        some = lanes[good]
        data = [values_at(w, index + count * n, count, some) for n in range(2 if compares else 1)]
        offsets = (found.address[good] - np.uint64(BASE)).view(np.int64)
        old = np.zeros((count, len(lanes)), np.uint32)  # of a lane that is excluded
        old[:, good] = apply(here.memory.bytes_, offsets, rule, data)
        if here.memory.written is not None:
            scatter(here.memory.written, offsets, np.full((count, len(some)), 0x01010101, np.uint32), rule.bytes)
        if gives_back:
            put_at(w, target, old, lanes)

    return step


def atomic_flat(
    one: Instruction, machine: Machine, w: Waves, address: Array, lanes: Array, rule: Atomic, data: list[Array]
) -> Array:
    """A flat atomic: each lane in the memory that its address lies in; the old values."""
    old = np.zeros((rule.bytes // 4, len(lanes)), np.uint32)
    for some, space in apertures(address):
        place, part, values = address[some], lanes[some], [each[:, some] for each in data]
        if space == "lds":
            low = (place & np.uint64(0xFFFFFFFF)).astype(np.uint32)
            old[:, some] = machine.lds.atomic(one, w, low, part, rule, values)
            continue
        own = space == "scratch"
        place = flat_private(w, place, part) if own else place
        good = (checked_private if own else partial(checked, written=True))(one, machine, w, place, part, rule.bytes)
        good[good] = aligned(one, machine, w, place[good], part[good], rule.bytes)
        offsets = (place[good] - np.uint64(BASE)).view(np.int64)
        found = np.zeros((rule.bytes // 4, len(part)), np.uint32)
        found[:, good] = apply(machine.memory.bytes_, offsets, rule, [each[:, good] for each in values])
        if machine.memory.written is not None:
            ones = np.full((rule.bytes // 4, len(offsets)), 0x01010101, np.uint32)
            scatter(machine.memory.written, offsets, ones, rule.bytes)
        old[:, some] = found
    return old


def aligned(one: Instruction, machine: Machine, w: Waves, address: Array, lanes: Array, nbytes: int) -> Array:
    """Which addresses are multiples of the access's size; a fault is reported for the others."""
    bad = address % np.uint64(nbytes) != 0
    if bad.any():
        machine.findings.fault(
            "misaligned", one, w, bad, lanes, lambda i: f"address {int(address[i]):#x} is no multiple of {nbytes}"
        )
    return ~bad
