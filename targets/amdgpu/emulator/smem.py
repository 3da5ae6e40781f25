"""Scalar loads: dwords from buffers, or from the code object itself, into scalar registers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lowering.targets.amdgpu.emulator.addresses import Place, within
from lowering.targets.amdgpu.emulator.decode import Instruction, signed
from lowering.targets.amdgpu.emulator.operands import Unsupported, joined
from lowering.targets.amdgpu.emulator.vmem import SIZES, Get, fetch
from lowering.targets.amdgpu.emulator.waves import LANES, Waves

Array = np.ndarray[Any, Any]
Step = Callable[[Waves], None]


def bind(one: Instruction, machine: Get) -> Step:
    """s_load and s_buffer_load: dwords into scalar registers."""
    name = one.name
    if name.startswith("s_dcache"):
        return lambda w: None
    if not name.startswith(("s_load", "s_buffer_load")):
        raise Unsupported("its semantics are not implemented")
    nbytes, base, target = size_of(name), 2 * one.fields["sbase"], one.fields["sdata"]
    offset = offset_of(one)
    limited = name.startswith("s_buffer")

    def step(w: Waves) -> None:
        here = machine()
        beyond = offset(w)
        start = joined(w.s[base], w.s[base + 1])
        if limited:
            start = start & np.uint64(0xFFFFFFFFFFFF)
        address = (start + beyond) & ~np.uint64(3)
        found = np.zeros((nbytes // 4, w.count), np.uint32)
        some = np.flatnonzero(w.active)
        limit = within(beyond & ~np.uint64(3), w.s[base + 2].astype(np.uint64))[some] if limited else None
        found[:, some] = fetch(one, here, w, Place(address[some], limit), some * LANES, nbytes)
        for n in range(nbytes // 4):
            w.put_scalar(target + n, found[n])

    return step


def size_of(name: str) -> int:
    """Bytes of a scalar load."""
    return SIZES[name.split("_")[-1]]


def offset_of(one: Instruction) -> Callable[[Waves], Array]:
    """The offset of a scalar load for each wave: a register, a signed constant, or both."""
    fields = one.fields
    constant = np.uint64(signed(fields["offset"], 21) & (1 << 64) - 1) if fields["imm"] else np.uint64(0)
    if fields["soffset_en"]:
        return lambda w: w.s[fields["soffset"]].astype(np.uint64) + constant
    if not fields["imm"]:
        return lambda w: w.s[fields["offset"] & 127].astype(np.uint64)
    return lambda w: np.full(w.count, constant)
