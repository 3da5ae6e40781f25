"""Lane permutations of DPP: where each lane of a source comes from, and which lanes are written.

A row is 16 lanes, a bank four. AMD CDNA3 ISA guide, "Data Parallel Processing"; row_bcast as LLVM uses it in scans.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np

from lowering.targets.amdgpu.emulator.decode import Operand
from lowering.targets.amdgpu.emulator.kinds import NUMPY, width
from lowering.targets.amdgpu.emulator.waves import Waves

Array = np.ndarray[Any, Any]
LANES = np.arange(64)
NONE = -1


@cache
def sources(control: int) -> Array:
    """The lane that each lane reads, -1 where there is none. Raises ValueError for a control that is unknown."""
    row, place = LANES & ~15, LANES & 15
    n = control & 15
    if control < 0x100:
        return (LANES & ~3) | (control >> 2 * (LANES & 3) & 3)
    if 0x101 <= control <= 0x10F:
        return np.where(place + n < 16, LANES + n, NONE)
    if 0x111 <= control <= 0x11F:
        return np.where(place >= n, LANES - n, NONE)
    if 0x121 <= control <= 0x12F:
        return row | (place - n) & 15
    if 0x150 <= control <= 0x15F:
        return row | n
    known = {
        0x130: np.where(LANES < 63, LANES + 1, NONE),
        0x134: (LANES + 1) & 63,
        0x138: np.where(LANES > 0, LANES - 1, NONE),
        0x13C: (LANES - 1) & 63,
        0x140: row | 15 - place,
        0x141: (LANES & ~7) | 7 - (LANES & 7),
        0x142: np.where(LANES >= 16, row - 1, NONE),
        0x143: np.where(LANES >= 32, 31, NONE),
    }
    if control not in known:
        raise ValueError(f"DPP control {control:#x}")
    return known[control]


def permuted(dpp: Mapping[str, int], place: Operand, kind: str) -> Callable[[Waves], Array]:
    """A source through a permutation; what has no source reads 0."""
    lanes = sources(dpp["ctrl"])
    there, index, target = lanes >= 0, np.maximum(lanes, 0), NUMPY[kind]
    first = place.index

    def get(w: Waves) -> Array:
        valid = there & w.exec_mask[:, index]
        words = [np.where(valid, w.v[first + n][:, index], np.uint32(0)) for n in range(max(1, width(kind) // 32))]
        if len(words) == 2:
            return (words[0].astype(np.uint64) | words[1].astype(np.uint64) << np.uint64(32)).view(target)
        return words[0].astype(np.uint16).view(target) if width(kind) == 16 else words[0].view(target)

    return get


def writable(dpp: Mapping[str, int]) -> Callable[[Waves], Array]:
    """Which lanes are written: those of the rows and banks chosen and, without bound_ctrl, those that have a source."""
    lanes = sources(dpp["ctrl"])
    chosen = (dpp["row_mask"] >> (LANES >> 4) & 1 & (dpp["bank_mask"] >> (LANES >> 2 & 3))).astype(bool)
    there, index, zero = lanes >= 0, np.maximum(lanes, 0), bool(dpp["bound_ctrl"])
    return lambda w: np.broadcast_to(chosen, w.shape) if zero else chosen & there & w.exec_mask[:, index]
